//! The pages of a file in the page cache.

use crate::sys::mmap::{Access, Mapping};
use crate::sys::{last_errno, sysconf, uapi};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::fstat;
use rustix::io::{self, Errno};

/// The bytes that are mapped at a time.
const MAPPED: u64 = 64 << 20;

/// The number of pages of a byte range that are in the page cache, from the call that the kernel
/// has: [`cachestat`], else [`mincore`].
pub fn cached_pages(fd: BorrowedFd<'_>, off: u64, len: u64) -> io::Result<u64> {
    match cachestat(fd, off, len) {
        Err(Errno::NOSYS) => mincore(fd, off, len),
        result => Ok(result?.nr_cache),
    }
}

/// `cachestat(fd)`—Counts the pages of a byte range that are in the page cache. `len` 0 means to
/// the end of the file. `ENOSYS` before Linux 6.5.
///
/// # References
///  - `mm/filemap.c`, `SYSCALL_DEFINE4(cachestat)`
pub fn cachestat(fd: BorrowedFd<'_>, off: u64, len: u64) -> io::Result<uapi::cachestat> {
    let range = uapi::cachestat_range { off, len };
    let mut stat = uapi::cachestat::default();
    // SAFETY: both structures live across the call; the kernel reads the first, writes the second,
    // which is exclusively borrowed, and keeps no pointer to either.
    let result = unsafe {
        libc::syscall(uapi::SYS_CACHESTAT as _, fd.as_raw_fd(), &raw const range, &raw mut stat, 0)
    };
    if result == 0 {
        Ok(stat)
    } else {
        Err(last_errno())
    }
}

/// `mincore(2)`—As [`cachestat`], through mappings of the file. `EPERM` unless the file belongs to
/// the caller, because the kernel tells others that all pages are there. `EACCES` if the descriptor
/// is not open for reading.
///
/// # References
///  - `mm/mincore.c`, `can_do_mincore`
pub fn mincore(fd: BorrowedFd<'_>, off: u64, len: u64) -> io::Result<u64> {
    let stat = fstat(fd)?;
    // SAFETY: it takes no pointer, and cannot fail.
    if stat.st_uid != unsafe { libc::geteuid() } {
        return Err(Errno::PERM);
    }
    // Never negative for a file that can be mapped.
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let end = if len == 0 { size } else { off.saturating_add(len).min(size) };
    let page_size = sysconf::page_size();
    let mut at = off / page_size * page_size;
    let mut pages = 0;
    while at < end {
        let len = (end - at).min(MAPPED);
        pages += Mapping::new(fd, at, len as usize, Access::Read)?.resident_pages()?;
        at += len;
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{fadvise, Advice};
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{chown, FileExt};

    #[test]
    fn mincore_counts_what_cachestat_counts() {
        const LEN: u64 = 8 << 20;
        let page = sysconf::page_size();
        let mut file = tempfile::NamedTempFile::new_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.write_all(&vec![1; LEN as usize + 1]).unwrap();
        file.as_file().sync_all().unwrap();
        let file = File::open(file.path()).unwrap();
        fadvise(&file, 0, 0, Advice::DontNeed).unwrap();
        fadvise(&file, 0, 0, Advice::Random).unwrap();
        file.read_exact_at(&mut vec![0; 1 << 20], 1 << 20).unwrap();
        let counts = |off, len| {
            let count = mincore(file.as_fd(), off, len).unwrap();
            if let Ok(stat) = cachestat(file.as_fd(), off, len) {
                assert_eq!(count, stat.nr_cache, "{len} bytes from {off}");
            }
            count
        };
        assert_eq!(counts(0, 0), (1 << 20) / page);
        assert_eq!(counts(0, 1 << 20), 0);
        assert_eq!(counts((1 << 20) + 1, page), 2);
        assert_eq!(counts(2 << 20, LEN), 0);
        assert_eq!(counts(3 << 20, u64::MAX), 0);
    }

    #[test]
    fn file_of_another_user_is_not_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all_at(&[1; 5000], 0).unwrap();
        // SAFETY: it takes no pointer, and cannot fail.
        let file = if unsafe { libc::geteuid() } == 0 {
            chown(file.path(), Some(1), None).unwrap();
            File::open(file.path()).unwrap()
        } else {
            File::open("/etc/passwd").unwrap()
        };
        assert_eq!(mincore(file.as_fd(), 0, 0), Err(Errno::PERM));
    }
}
