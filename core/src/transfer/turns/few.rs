//! Turns for tests, of which there are few.

use super::{Turns, TURN_UNIT};
use crate::error::{Error, ErrorKind, Result};

/// Gives `left` turns of [`TURN_UNIT`], and keeps what it was asked.
pub struct Few {
    pub left: usize,
    /// What has moved and what is wanted, of each call.
    pub asked: Vec<(u64, u64)>,
}

impl Turns for Few {
    fn next(&mut self, moved: u64, wanted: u64) -> Result<u64> {
        self.asked.push((moved, wanted));
        if wanted > 0 {
            let error = || Error::new(ErrorKind::Cancelled, "no more turns");
            self.left = self.left.checked_sub(1).ok_or_else(error)?;
        }
        Ok(wanted.min(TURN_UNIT))
    }
}
