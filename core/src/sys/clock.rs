//! Clocks.

/// `clock_gettime(CLOCK_MONOTONIC)`—Returns nanoseconds, which all processes compare.
///
/// # References
///  - `clock_gettime(2)`
#[doc(alias = "clock_gettime")]
pub fn monotonic_nanos() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` and keeps no pointer to it. The call cannot fail for
    // this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
