//! Takes features of the kernel away from a thread, for tests: a filter of seccomp answers instead of
//! the kernel, as an older one would.

use crate::sys::uapi;
use libc::{c_long, sock_filter, sock_fprog};
use std::thread;

/// A feature, and since when Linux has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// `STATX_DIOALIGN`, 6.1.
    DirectAlignment,
    /// `cachestat(2)`, 6.5.
    Cachestat,
    /// Triggers of memory pressure for processes without privileges, 6.5.
    PressureTriggers,
    /// `RWF_DONTCACHE`, 6.14.
    UncachedReads,
}

/// A system call that fails if all of `bits` are set in one of its arguments.
struct Rule {
    call: c_long,
    argument: u32,
    bits: u32,
    errno: i32,
}

impl Feature {
    fn rules(self) -> Vec<Rule> {
        const TRIGGER: u32 = (libc::O_RDWR | libc::O_NONBLOCK) as u32;
        let rule = |call, argument, bits, errno| Rule { call, argument, bits, errno };
        match self {
            // Success that leaves all fields as they were: zero.
            Self::DirectAlignment => vec![rule(libc::SYS_statx, 3, uapi::STATX_DIOALIGN, 0)],
            Self::Cachestat => vec![rule(uapi::SYS_CACHESTAT as _, 0, 0, libc::ENOSYS)],
            Self::PressureTriggers => vec![
                rule(libc::SYS_openat, 2, TRIGGER, libc::EPERM),
                #[cfg(target_arch = "x86_64")]
                rule(libc::SYS_open, 1, TRIGGER, libc::EPERM),
            ],
            Self::UncachedReads => {
                vec![rule(libc::SYS_preadv2, 5, uapi::RWF_DONTCACHE as u32, libc::EOPNOTSUPP)]
            }
        }
    }
}

/// Runs `work` on a thread that lacks `features`, and so do the threads that it starts.
pub fn without<T: Send>(features: &[Feature], work: impl FnOnce() -> T + Send) -> T {
    let run = || {
        features.iter().flat_map(|feature| feature.rules()).for_each(|rule| filter(&rule));
        work()
    };
    thread::scope(|scope| scope.spawn(run).join().expect("the test has failed above"))
}

/// Adds a filter to the calling thread, which keeps it until it ends.
fn filter(rule: &Rule) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    // struct seccomp_data has the number of the call, and at 16 its arguments, 8 bytes each. Of an
    // argument, this takes the lower half, which comes first.
    const { assert!(cfg!(target_endian = "little")) };
    let step = |code, k, jt, jf| sock_filter { code, jt, jf, k };
    let mut program = [
        step(LOAD, 0, 0, 0),
        step(JUMP_IF_EQUAL, rule.call as u32, 0, 4),
        step(LOAD, 16 + 8 * rule.argument, 0, 0),
        step(AND, rule.bits, 0, 0),
        step(JUMP_IF_EQUAL, rule.bits, 0, 1),
        step(RETURN, libc::SECCOMP_RET_ERRNO | rule.errno as u32, 0, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the call takes no pointer. It lets a process without privileges add a filter.
    let promised = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: the kernel copies the program, whose array lives across the call, and keeps no pointer.
    let added =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    assert_eq!((promised, added), (0, 0), "seccomp: {}", super::last_errno());
}
