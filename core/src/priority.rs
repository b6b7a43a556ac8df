//! The I/O priority of a request.

use crate::sys::ioprio::{self, IoPriority};

/// The waiter for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Priority {
    /// A person.
    Interactive,
    /// A program.
    #[default]
    Normal,
    /// Nobody.
    Background,
}

impl Priority {
    /// All priorities, the most urgent one first.
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Normal, Self::Background];

    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Normal => "normal",
            Self::Background => "background",
        }
    }
}

/// Keeps the calling thread at the I/O priority of a request. A drop restores the old priority.
#[derive(Debug)]
pub struct PriorityGuard {
    before: Option<IoPriority>,
}

impl PriorityGuard {
    /// Sets the priority. If the kernel refuses, the request is only slower, so this is no failure.
    pub fn new(priority: Priority) -> Self {
        let wanted = match priority {
            Priority::Interactive => IoPriority::BEST_EFFORT_HIGH,
            Priority::Normal => return Self { before: None },
            Priority::Background => IoPriority::IDLE,
        };
        let before = ioprio::get().and_then(|before| ioprio::set(wanted).map(|()| before));
        match before {
            Ok(before) => Self { before: Some(before) },
            Err(errno) => {
                log::debug!("ioprio_set for {priority:?}: {errno}");
                Self { before: None }
            }
        }
    }
}

impl Drop for PriorityGuard {
    fn drop(&mut self) {
        if let Some(Err(errno)) = self.before.map(ioprio::set) {
            log::warn!("ioprio_set back to the service's own priority: {errno}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The thread's next request may be that of somebody else.
    #[test]
    fn thread_has_its_old_priority_again_after_a_request() {
        let before = ioprio::get().expect("ioprio_get");
        let set = [Ok(IoPriority::BEST_EFFORT_HIGH), Ok(before), Ok(IoPriority::IDLE)];
        for (priority, set) in Priority::ALL.into_iter().zip(set) {
            let guard = PriorityGuard::new(priority);
            assert_eq!(ioprio::get(), set, "{priority:?}");
            drop(guard);
            assert_eq!(ioprio::get(), Ok(before), "after {priority:?}");
        }
    }
}
