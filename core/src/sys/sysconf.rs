//! Constants of the running system.

/// `sysconf(_SC_PAGESIZE)`—Returns the page size in bytes.
///
/// # References
///  - `sysconf(3)`
#[doc(alias = "sysconf")]
pub fn page_size() -> u64 {
    get(libc::_SC_PAGESIZE)
}

/// `sysconf(_SC_PHYS_PAGES)`—Returns the number of pages of physical memory.
///
/// # References
///  - `sysconf(3)`
#[doc(alias = "sysconf")]
pub fn physical_pages() -> u64 {
    get(libc::_SC_PHYS_PAGES)
}

/// `sysconf(_SC_OPEN_MAX)`—Returns the number of descriptors that this process may have.
///
/// # References
///  - `sysconf(3)`
#[doc(alias = "sysconf")]
pub fn open_files() -> u64 {
    get(libc::_SC_OPEN_MAX)
}

fn get(name: i32) -> u64 {
    // SAFETY: takes and returns integers only.
    let value = unsafe { libc::sysconf(name) };
    // All of these exist on every Linux; a missing one would be negative.
    value.try_into().unwrap_or(0)
}
