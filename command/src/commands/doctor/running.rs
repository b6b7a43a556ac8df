//! What the running kernel shows of its options, whatever its configuration says.

use dmabufio_core::heap::{Allocator, Heap};
use dmabufio_core::method::FallbackReason;
use dmabufio_core::probe;
use rustix::fs::{memfd_create, MemfdFlags};
use rustix::io::Errno;
use std::fs::{read_dir, read_to_string};
use std::path::Path;

/// Whether the running kernel has what an option of `kernel/configs/device` brings. `None` where that cannot be told. A
/// module counts once it is loaded.
pub fn shows(option: &str) -> Option<bool> {
    match option {
        "CONFIG_DMA_SHARED_BUFFER" => {
            yes(exists("/sys/class/dma_heap") == Some(true) || exists(UDMABUF) == Some(true))
        }
        "CONFIG_DMABUF_HEAPS" => exists("/sys/class/dma_heap"),
        "CONFIG_DMABUF_HEAPS_SYSTEM" => exists("/sys/class/dma_heap/system"),
        "CONFIG_ANDROID_BINDER_IPC" => match file_system("binder") {
            Some(true) => Some(true),
            _ => exists("/sys/module/binder"),
        },
        "CONFIG_ANDROID_BINDERFS" => file_system("binder"),
        "CONFIG_DMABUF_RW_FILE" => {
            let support = Allocator::open(Heap::System).and_then(|heap| probe::heap(&heap)).ok()?;
            match support.rw_file {
                Ok(()) => Some(true),
                Err(FallbackReason::NoIoctl) => Some(false),
                Err(_) => None,
            }
        }
        "CONFIG_F2FS_FS" => file_system("f2fs"),
        // Only a disk that encrypts shows the folder. `inlinecrypt` needs this option as well as the next.
        "CONFIG_BLK_INLINE_ENCRYPTION" => {
            yes(any("/sys/class/block", "queue/crypto") || inline_encryption_is_used())
        }
        "CONFIG_FS_ENCRYPTION_INLINE_CRYPT" => yes(inline_encryption_is_used()),
        "CONFIG_MEMFD_CREATE" => has_call(memfd_create("doctor", MemfdFlags::CLOEXEC).err()),
        "CONFIG_UDMABUF" => exists(UDMABUF),
        "CONFIG_IKCONFIG_PROC" => exists("/proc/config.gz"),
        "CONFIG_DMABUF_SYSFS_STATS" => exists("/sys/kernel/dmabuf/buffers"),
        "CONFIG_BLK_DEV_IO_TRACE" => yes(any("/sys/class/block", "trace")),
        "CONFIG_TASK_IO_ACCOUNTING" => exists("/proc/self/io"),
        "CONFIG_F2FS_IOSTAT" => yes(any("/sys/fs/f2fs", "iostat_enable")),
        _ => None,
    }
}

const UDMABUF: &str = "/sys/class/misc/udmabuf";

/// The answer of a sign that proves an option to be on, and whose absence proves nothing.
fn yes(found: bool) -> Option<bool> {
    found.then_some(true)
}

/// Whether there is a file, unless this process may not look, or the file system it would be on is not mounted.
fn exists(path: &str) -> Option<bool> {
    let mounted = ["/proc/self", "/sys/class"].iter().all(|path| Path::new(path).exists());
    Path::new(path).try_exists().ok().filter(|found| *found || mounted)
}

/// Whether any entry of a folder has a file.
fn any(folder: &str, file: &str) -> bool {
    read_dir(folder).into_iter().flatten().flatten().any(|entry| entry.path().join(file).exists())
}

/// Whether a file system is registered (proc(5)).
fn file_system(name: &str) -> Option<bool> {
    let list = read_to_string("/proc/filesystems").ok()?;
    Some(list.lines().any(|line| line.split_whitespace().last() == Some(name)))
}

/// A file system takes the option `inlinecrypt` on a kernel with CONFIG_FS_ENCRYPTION_INLINE_CRYPT only.
fn inline_encryption_is_used() -> bool {
    let table = read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut options = table.lines().filter_map(|line| line.split(' ').nth(3));
    options.any(|options| options.split(',').any(|option| option == "inlinecrypt"))
}

/// From how a system call failed, if it did.
fn has_call(error: Option<Errno>) -> Option<bool> {
    match error {
        Some(Errno::NOSYS) => Some(false),
        // A filter of system calls; the kernel was not asked.
        Some(Errno::PERM) => None,
        _ => Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_and_hidden_are_not_the_same() {
        assert_eq!(exists("/proc/self/status"), Some(true));
        assert_eq!(exists("/proc/self/absent"), Some(false));
        // A file has no entries.
        assert_eq!(exists("/proc/self/status/x"), None);
        assert_eq!(file_system("proc"), Some(true));
        assert_eq!(file_system("pro"), Some(false));
    }

    #[test]
    fn only_a_call_that_is_not_there_is_missing() {
        assert_eq!(has_call(None), Some(true));
        assert_eq!(has_call(Some(Errno::NOSYS)), Some(false));
        assert_eq!(has_call(Some(Errno::PERM)), None);
        assert_eq!(has_call(Some(Errno::BADF)), Some(true));
    }
}
