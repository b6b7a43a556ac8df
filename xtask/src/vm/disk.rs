//! The test disk of one run: a sparse image without a name, which cannot stay behind.

use std::fmt;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process;

use anyhow::{Context, Result};
use clap::ValueEnum;
use xtask::exec::{self, Step};

/// Room for files above 4 GiB beside the others. Only written data takes space.
const SIZE: u64 = 12 << 30;

/// The bus of the disk in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Bus {
    /// An emulated UFS 4.0 device, through the kernel's ufshcd
    Ufs,
    /// virtio-blk
    Virtio,
}

/// The file system of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Fs {
    /// As user data on phones
    F2fs,
    /// As on other devices
    Ext4,
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bus::Ufs => "ufs",
            Bus::Virtio => "virtio",
        })
    }
}

impl fmt::Display for Fs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fs::F2fs => "f2fs",
            Fs::Ext4 => "ext4",
        })
    }
}

/// A formatted disk.
#[derive(Debug)]
pub struct Disk {
    image: File,
    bus: Bus,
}

impl Disk {
    /// Makes a disk with its bytes in `dir`.
    pub fn new(dir: &Path, bus: Bus, fs: Fs) -> Result<Self> {
        let image = tempfile::tempfile_in(dir)
            .with_context(|| format!("creating a disk image in {}", dir.display()))?;
        image
            .set_len(SIZE)
            .with_context(|| format!("making a disk image of {SIZE} bytes in {}", dir.display()))?;
        let disk = Disk { image, bus };
        let mut command = match fs {
            Fs::F2fs => exec::command("mkfs.f2fs"),
            Fs::Ext4 => exec::command("mkfs.ext4"),
        };
        // mkfs is in sbin, which only root's PATH has.
        command.env("PATH", exec::path_with(&[]));
        match fs {
            // The features of a phone's user data partition.
            Fs::F2fs => command.args([
                "-f",
                "-q",
                "-l",
                "dmabufio",
                "-O",
                "extra_attr,encrypt,verity,compression",
            ]),
            Fs::Ext4 => {
                command.args(["-F", "-q", "-L", "dmabufio", "-b", "4096", "-O", "encrypt,verity"])
            }
        };
        Step::new(format!("formatting the test disk with {fs}")).run(command.arg(disk.path()))?;
        Ok(disk)
    }

    /// The name of the device in the guest.
    pub fn device(&self) -> &'static str {
        match self.bus {
            Bus::Ufs => "/dev/sda",
            Bus::Virtio => "/dev/vda",
        }
    }

    /// The kernel's arguments for it. A virtio disk reaches all memory, so that bounce buffers are for the test importer of
    /// the patches only: what a transfer forgets to synchronize, this device does not see.
    pub fn kernel_args(&self) -> &'static [&'static str] {
        match self.bus {
            Bus::Ufs => &[],
            Bus::Virtio => &["swiotlb=force"],
        }
    }

    /// QEMU's arguments for it, limited to `rate` bytes a second.
    pub fn qemu_args(&self, rate: Option<u64>) -> Vec<String> {
        let limit = rate.map_or(String::new(), |rate| format!(",throttling.bps-total={rate}"));
        let drive = format!(
            "if=none,id=disk,format=raw,file={},cache=writeback,aio=threads,discard=unmap{limit}",
            self.path()
        );
        let devices: &[&str] = match self.bus {
            Bus::Ufs => {
                &["ufs,id=ufs0,serial=dmabufio,mcq=true", "ufs-lu,bus=ufs0,drive=disk,lun=0"]
            }
            Bus::Virtio => &["virtio-blk-pci,drive=disk,serial=dmabufio"],
        };
        let mut args = vec!["-drive".to_owned(), drive];
        for device in devices {
            args.extend(["-device".to_owned(), (*device).to_owned()]);
        }
        args
    }

    /// A path to the nameless file, valid as long as this process holds it.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.image.as_raw_fd())
    }
}
