//! Counts the work of the service since its start, for its dump.

use dmabufio_core::error::Error;
use dmabufio_core::transfer::receipt::Receipt;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The number of remembered failures.
const REMEMBERED: usize = 8;

/// Totals and the last failures.
#[derive(Debug, Default)]
pub(crate) struct Statistics(Mutex<Totals>);

/// The numbers of [`Statistics`]. Counts of bytes are named after [`Receipt`].
#[derive(Debug, Default, Clone)]
pub(crate) struct Totals {
    pub transfers: u64,
    pub direct: u64,
    pub bounced: u64,
    pub buffered: u64,
    pub errors: u64,
    pub last_errors: VecDeque<String>,
}

impl Statistics {
    pub fn count_transfer(&self, receipt: &Receipt) {
        let mut totals = self.lock();
        totals.transfers += 1;
        totals.direct += receipt.direct;
        totals.bounced += receipt.bounced;
        totals.buffered += receipt.buffered;
    }

    pub fn count_error(&self, call: &str, uid: u32, error: &Error) {
        let mut totals = self.lock();
        totals.errors += 1;
        if totals.last_errors.len() == REMEMBERED {
            totals.last_errors.pop_front();
        }
        totals.last_errors.push_back(format!("{call} uid={uid}: {error}"));
    }

    /// The current numbers.
    pub fn totals(&self) -> Totals {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Totals> {
        // Counters have no invariant that a panic could break.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
