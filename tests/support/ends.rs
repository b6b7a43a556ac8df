//! The end of threads that work until a flag is set.

use std::sync::atomic::{AtomicBool, Ordering};

/// Sets the flag when dropped, after a panic too: a scope waits for its threads.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
