//! A file served by a FUSE daemon of this process, made of `/dev/fuse` and `mount(2)`. For VTS and for the tests of the VM.
//!
//! Source of the protocol: `include/uapi/linux/fuse.h`.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    deprecated,
    reason = "AOSP's rustix has no feature `mount`, only what it moved there from `fs`"
)]

use rustix::fs::{mount, unmount, MountFlags, UnmountFlags};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

const FUSE_GETATTR: u32 = 3;
const FUSE_OPEN: u32 = 14;
const FUSE_READ: u32 = 15;
const FUSE_STATFS: u32 = 17;
const FUSE_RELEASE: u32 = 18;
const FUSE_FLUSH: u32 = 25;
const FUSE_INIT: u32 = 26;
const EIO: i32 = 5;
const ENOSYS: i32 = 38;

/// Longer than any test takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The size that a stalling file claims to have.
pub const SIZE: u64 = 1 << 20;

/// A mounted file. Gone when dropped, and then whoever waits for it gets an error.
pub struct FuseFile {
    pub path: PathBuf,
}

/// How the daemon answers.
#[derive(Default)]
struct Daemon {
    /// What it has, if it answers anything but what opening and closing take.
    content: Option<Vec<u8>>,
    /// The size that it claims. What it does not have of that never comes.
    size: u64,
    /// How long each read takes, which the kernel makes page by page here.
    delay: Duration,
    /// From which offset on reads fail, and the errno.
    failure: Option<(u64, i32)>,
    /// Whether reads go past the page cache, and so past the size that the file claims.
    direct: bool,
}

impl FuseFile {
    /// A file whose content never comes.
    pub fn stalling(dir: &Path) -> Self {
        Self::mount(dir.join("stalling"), Daemon { size: SIZE, ..Daemon::default() })
    }

    /// A file of [`SIZE`] bytes of which no more than `content` ever comes.
    pub fn stalling_after(dir: &Path, content: &[u8]) -> Self {
        let content = Some(content.to_owned());
        Self::mount(dir.join("stalling-after"), Daemon { content, size: SIZE, ..Daemon::default() })
    }

    /// A read-only file.
    pub fn answering(dir: &Path, content: &[u8]) -> Self {
        Self::slow(dir, content, Duration::ZERO)
    }

    /// A read-only file, each page of which takes `delay`.
    pub fn slow(dir: &Path, content: &[u8], delay: Duration) -> Self {
        let (content, size) = (Some(content.to_owned()), content.len() as u64);
        Self::mount(dir.join("answering"), Daemon { content, size, delay, ..Daemon::default() })
    }

    /// A file of [`SIZE`] bytes, each read of which fails with `EIO`.
    pub fn failing(dir: &Path) -> Self {
        Self::failing_after(dir, &[], EIO)
    }

    /// A file of [`SIZE`] bytes: after `content` each read fails with `errno`.
    pub fn failing_after(dir: &Path, content: &[u8], errno: i32) -> Self {
        let daemon = Daemon {
            content: Some(content.to_owned()),
            size: SIZE,
            failure: Some((content.len() as u64, errno)),
            ..Daemon::default()
        };
        Self::mount(dir.join("failing"), daemon)
    }

    /// A file of `content` that claims to have `size` bytes.
    pub fn lying(dir: &Path, content: &[u8], size: u64) -> Self {
        let daemon =
            Daemon { content: Some(content.to_owned()), size, direct: true, ..Daemon::default() };
        Self::mount(dir.join("lying"), daemon)
    }

    fn mount(path: PathBuf, daemon: Daemon) -> Self {
        File::create(&path).expect("a file to mount on");
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").expect("FUSE");
        let fd = device.as_raw_fd();
        let options = format!("fd={fd},rootmode=100644,user_id=0,group_id=0,allow_other");
        mount("test", &path, "fuse", MountFlags::empty(), options).expect("mount FUSE");
        thread::spawn(move || serve(device, &daemon));
        // A test that fails while a thread of its own waits for the file must not wait for ever.
        let stale = path.clone();
        thread::spawn(move || {
            thread::sleep(PATIENCE);
            end(&stale);
        });
        Self { path }
    }
}

impl Drop for FuseFile {
    fn drop(&mut self) {
        end(&self.path);
    }
}

/// A forced unmount ends the connection: the daemon's read fails, and so do all requests.
fn end(path: &Path) {
    let _ = unmount(path, UnmountFlags::FORCE | UnmountFlags::DETACH);
}

fn serve(mut device: File, daemon: &Daemon) {
    let mut request = vec![0; 256 * 1024];
    while let Ok(len) = device.read(&mut request) {
        let word = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().expect("4"));
        assert!(len >= 40, "a request has a header");
        let answer = match (word(4), &daemon.content) {
            (FUSE_INIT, _) => Ok(init()),
            (FUSE_GETATTR, _) => Ok(attributes(daemon.size)),
            (FUSE_OPEN, _) => Ok(opened(daemon.direct)),
            (FUSE_FLUSH | FUSE_RELEASE, _) => Ok(Vec::new()),
            (FUSE_READ, Some(all)) => {
                // Offset and size of `struct fuse_read_in`; the offset is below 4 GiB.
                let start = word(48) as usize;
                let end = all.len().min(start + word(56) as usize);
                let start = all.len().min(start);
                match daemon.failure {
                    Some((at, errno)) if u64::from(word(48)) >= at => Err(errno),
                    _ if start == end && (start as u64) < daemon.size && !daemon.direct => continue,
                    _ => {
                        thread::sleep(daemon.delay);
                        Ok(all[start..end].to_owned())
                    }
                }
            }
            // `struct fuse_statfs_out`.
            (FUSE_STATFS, Some(_)) => Ok(vec![0; 80]),
            (FUSE_READ | FUSE_STATFS, None) => continue,
            _ => Err(ENOSYS),
        };
        let unique = &request[8..16];
        let error = answer.as_ref().err().map_or(0, |errno| -errno);
        let body = answer.unwrap_or_default();
        let mut reply = Vec::new();
        reply.extend_from_slice(&(16 + body.len() as u32).to_le_bytes());
        reply.extend_from_slice(&error.to_le_bytes());
        reply.extend_from_slice(unique);
        reply.extend_from_slice(&body);
        // The caller may have given up meanwhile.
        let _ = device.write(&reply);
    }
}

/// `struct fuse_init_out` of protocol 7.31.
fn init() -> Vec<u8> {
    let mut out = vec![0; 64];
    out[0..4].copy_from_slice(&7_u32.to_le_bytes());
    out[4..8].copy_from_slice(&31_u32.to_le_bytes());
    // max_write
    out[20..24].copy_from_slice(&4096_u32.to_le_bytes());
    out
}

/// `struct fuse_open_out`: file handle 0, and the flag `FOPEN_DIRECT_IO` or none.
fn opened(direct: bool) -> Vec<u8> {
    let mut out = vec![0; 16];
    out[8..12].copy_from_slice(&u32::from(direct).to_le_bytes());
    out
}

/// `struct fuse_attr_out` of a regular file of `size` bytes, valid for a long time.
fn attributes(size: u64) -> Vec<u8> {
    let mut out = vec![0; 104];
    out[0..8].copy_from_slice(&3600_u64.to_le_bytes());
    let attributes = &mut out[16..];
    attributes[0..8].copy_from_slice(&1_u64.to_le_bytes());
    attributes[8..16].copy_from_slice(&size.to_le_bytes());
    attributes[60..64].copy_from_slice(&0o100_644_u32.to_le_bytes());
    attributes[64..68].copy_from_slice(&1_u32.to_le_bytes());
    attributes[80..84].copy_from_slice(&4096_u32.to_le_bytes());
    out
}
