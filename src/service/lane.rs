//! Keeps file systems that may stall from taking all threads of the service.
//!
//! A client can serve a file itself, through FUSE, and never answer. The request then holds its
//! binder thread; what it must not do is hold all of them.

use crate::error::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many requests on such file systems run at a time: less than half of the binder threads.
const MAX_RUNNING: usize = 4;

/// How many of them may be one user's.
const MAX_OF_ONE_USER: usize = 2;

/// Admits requests on file systems that may stall.
#[derive(Debug, Default)]
pub(super) struct Lane {
    running: Mutex<HashMap<u32, usize>>,
}

/// A request in the lane, until dropped.
#[derive(Debug)]
pub(super) struct InLane<'a> {
    lane: &'a Lane,
    uid: u32,
}

impl Lane {
    /// Admits a request of `uid`.
    ///
    /// # Errors
    /// `Busy` if the lane is full, of this user's requests or of all.
    pub fn enter(&self, uid: u32) -> Result<InLane<'_>> {
        let mut running = self.lock();
        let all: usize = running.values().sum();
        let own = running.entry(uid).or_default();
        if all >= MAX_RUNNING || *own >= MAX_OF_ONE_USER {
            let own = *own;
            running.retain(|_, count| *count > 0);
            return Err(Error::new(
                ErrorKind::Busy,
                format!(
                    "file: {own} requests of this user and {all} in all are waiting for file \
                     systems that may stall; retry when they are done"
                ),
            ));
        }
        *own += 1;
        Ok(InLane { lane: self, uid })
    }

    /// How many requests are in the lane.
    pub fn running(&self) -> usize {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        // A panic ends the process, and the counts are consistent at every point anyway.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InLane<'_> {
    fn drop(&mut self) {
        let mut running = self.lane.lock();
        if let Some(count) = running.get_mut(&self.uid) {
            *count -= 1;
        }
        running.retain(|_, count| *count > 0);
    }
}

#[cfg(test)]
mod tests;
