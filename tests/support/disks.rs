//! File systems of all kinds, on loop devices in a folder of the test disk. For the VM, as root.

use super::device::run;
use super::fuse::FuseFile;
use super::{linux_since, scratch};
#[allow(deprecated, reason = "AOSP's rustix has no feature `mount`")]
use rustix::fs::{mount, MountFlags, OFlags};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Room for the smallest f2fs and a few files. Sparse.
const IMAGE: u64 = 128 << 20;

/// File systems by name, mounted when first asked for. Gone when dropped.
pub struct Disks {
    mounts: HashMap<&'static str, Mount>,
    fuse: Option<FuseFile>,
    dir: TempDir,
}

/// A mounted file system.
struct Mount {
    path: PathBuf,
    /// The folder of its layers, if it is an overlay.
    layers: Option<PathBuf>,
    device: Option<String>,
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
        if let Some(device) = &self.device {
            let _ = Command::new("losetup").arg("-d").arg(device).status();
        }
    }
}

impl Disks {
    pub fn new() -> Self {
        Self { mounts: HashMap::new(), fuse: None, dir: scratch() }
    }

    /// Whether files on `file_system` can be opened with these flags, and behave as the table says.
    /// erofs has no direct I/O for compressed files. In Linux 6.12, it needs no loop device and
    /// tells what direct I/O it has and why not; in 6.1, not yet. tmpfs takes `O_DIRECT` since 6.6.
    pub fn has(file_system: &str, flags: OFlags) -> bool {
        let direct = flags.contains(OFlags::DIRECT);
        match file_system {
            "erofs" => linux_since(6, 12),
            "erofs lz4" | "erofs without a device" => !direct && linux_since(6, 12),
            "tmpfs" => !direct || linux_since(6, 6),
            _ => true,
        }
    }

    /// A folder on `file_system`.
    pub fn folder(&mut self, file_system: &'static str) -> PathBuf {
        // As the test disk is formatted: that one is not on a loop device.
        if std::env::var("DMABUFIO_FS").is_ok_and(|disk| disk == file_system) {
            return self.dir.path().to_owned();
        }
        if !self.mounts.contains_key(file_system) {
            let mount = self.mount(file_system);
            self.mounts.insert(file_system, mount);
        }
        self.mounts[file_system].path.clone()
    }

    /// A file of `content` on `file_system`, some of which have files from their making only.
    pub fn file(&mut self, file_system: &'static str, name: &str, content: &[u8]) -> PathBuf {
        match file_system {
            "FUSE" => {
                self.fuse = None;
                let file = FuseFile::answering(self.dir.path(), content);
                self.fuse.insert(file).path.clone()
            }
            "erofs" | "erofs lz4" | "erofs without a device" => {
                self.mounts.remove(file_system);
                let source = TempDir::new_in(self.dir.path()).expect("a folder");
                fs::write(source.path().join(name), content).expect("write");
                let image = self.dir.path().join(format!("{file_system}.image"));
                let mut mkfs = Command::new("mkfs.erofs");
                if file_system == "erofs lz4" {
                    mkfs.arg("-zlz4");
                }
                run(mkfs.arg("--quiet").arg(&image).arg(source.path()));
                let mount = match file_system {
                    "erofs without a device" => self.mount_file(file_system, &image),
                    _ => self.mount_image(file_system, &image, 512, "erofs", "ro"),
                };
                let path = mount.path.join(name);
                self.mounts.insert(file_system, mount);
                path
            }
            _ => {
                let path = self.folder(file_system).join(name);
                let real = self.below(file_system, "lower", name).unwrap_or_else(|| path.clone());
                fs::write(real, content).expect("write a test file");
                path
            }
        }
    }

    /// The file that really holds the data, if `file_system` is an overlay: in the layer `lower`, or,
    /// once it has been opened for writing, in `upper`.
    pub fn below(&self, file_system: &str, layer: &str, name: &str) -> Option<PathBuf> {
        Some(self.mounts.get(file_system)?.layers.as_ref()?.join(layer).join(name))
    }

    fn mount(&mut self, file_system: &'static str) -> Mount {
        const F2FS: &[&str] = &["-f", "-q", "-O", "extra_attr,encrypt,verity,compression"];
        const EXT4: &[&str] = &["-F", "-q", "-b", "4096", "-O", "encrypt,verity"];
        // In an inode of 256 bytes an SELinux label takes the room of the data.
        const INLINE: &[&str] = &["-F", "-q", "-I", "1024", "-O", "inline_data"];
        let (mkfs, args, sector, options) = match file_system {
            "tmpfs" => {
                let path = self.mount_point(file_system);
                run(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&path));
                return Mount { path, layers: None, device: None };
            }
            "overlayfs on f2fs" => return self.overlay(file_system, "f2fs"),
            "overlayfs on ext4" => return self.overlay(file_system, "ext4"),
            "f2fs" => ("mkfs.f2fs", F2FS, 4096, ""),
            "f2fs, 512-byte sectors" => ("mkfs.f2fs", F2FS, 512, ""),
            "f2fs, inlinecrypt" => ("mkfs.f2fs", F2FS, 512, "inlinecrypt"),
            "ext4" => ("mkfs.ext4", EXT4, 512, ""),
            "ext4, 4096-byte sectors" => ("mkfs.ext4", EXT4, 4096, ""),
            "ext4, inlinecrypt" => ("mkfs.ext4", EXT4, 512, "inlinecrypt"),
            "ext4, inline_data" => ("mkfs.ext4", INLINE, 512, ""),
            _ => panic!("{file_system}: how is that made?"),
        };
        let image = self.dir.path().join(format!("{file_system}.image"));
        let bytes = File::create(&image).expect("create an image");
        bytes.set_len(IMAGE).expect("size an image");
        run(Command::new(mkfs).args(args).arg(&image));
        let kind = mkfs.trim_start_matches("mkfs.");
        self.mount_image(file_system, &image, sector, kind, options)
    }

    fn mount_image(
        &self,
        name: &str,
        image: &Path,
        sector: u32,
        kind: &str,
        options: &str,
    ) -> Mount {
        let path = self.mount_point(name);
        let sector = sector.to_string();
        let losetup =
            run(Command::new("losetup").args(["--find", "--show", "-b", &sector]).arg(image));
        let device = losetup.trim().to_owned();
        let mut mount = Command::new("mount");
        if !options.is_empty() {
            mount.args(["-o", options]);
        }
        run(mount.args(["-t", kind, &device]).arg(&path));
        Mount { path, layers: None, device: Some(device) }
    }

    /// Mounts an erofs image without a loop device, as Linux can since 6.12.
    #[allow(deprecated, reason = "AOSP's rustix has no feature `mount`")]
    fn mount_file(&self, name: &str, image: &Path) -> Mount {
        let path = self.mount_point(name);
        mount(image, &path, "erofs", MountFlags::RDONLY, "").expect("mount an image file");
        Mount { path, layers: None, device: None }
    }

    fn overlay(&mut self, name: &str, on: &'static str) -> Mount {
        let base = TempDir::new_in(self.folder(on)).expect("a folder").keep();
        let folder = |name: &str| {
            let path = base.join(name);
            fs::create_dir(&path).expect("mkdir");
            path
        };
        let (lower, upper, work) = (folder("lower"), folder("upper"), folder("work"));
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            upper.display(),
            work.display()
        );
        let path = self.mount_point(name);
        run(Command::new("mount").args(["-t", "overlay", "-o", &options, "none"]).arg(&path));
        Mount { path, layers: Some(base), device: None }
    }

    fn mount_point(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name.replace([' ', ','], "-"));
        fs::create_dir_all(&path).expect("mkdir");
        path
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        // Stacked ones first, so that what they lie on can go.
        self.mounts.retain(|_, mount| mount.layers.is_none());
    }
}

/// Makes the files that will be created in `dir` encrypted, by a key that the file system of `dir`
/// gets.
pub fn encrypt(dir: &Path) {
    let mut child = Command::new("xfs_io")
        .args(["-c", "add_enckey"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start xfs_io");
    child.stdin.take().expect("its input").write_all(&[0x5a; 64]).expect("write the key");
    let output = child.wait_with_output().expect("run xfs_io");
    let text = String::from_utf8_lossy(&output.stdout);
    // "Added encryption key with identifier 69b2f6edeee720cce0577937eb8a6751"
    let key = text.split_whitespace().last().expect("xfs_io names the key");
    let text =
        run(Command::new("xfs_io").args(["-c", &format!("set_encpolicy -v 2 {key}")]).arg(dir));
    assert_eq!(text, "", "set_encpolicy");
}
