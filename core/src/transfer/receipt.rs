//! The report on a transfer.

use super::attempt::Moved;
use super::plan::Role;
use crate::method::{FallbackReason, Method};
use std::time::Duration;

/// The report on a transfer. Counts are bytes; their sum `direct + bounced + buffered` moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Names the request in the dump and in the trace of the service; 0 without a service.
    pub id: u64,
    /// Moved by direct I/O, without the page cache.
    pub direct: u64,
    /// Moved by the CPU at the edges of direct bodies.
    pub bounced: u64,
    /// Moved by the CPU because a run did not go direct.
    pub buffered: u64,
    /// The method that moved the most bytes; `None` if nothing moved.
    pub method: Option<Method>,
    /// The reason why the first fallback happened; `None` if all bodies took the best path.
    pub first_fallback: Option<FallbackReason>,
    /// Whether all of `direct` was checked: the page cache did not take in the loaded data. `false`
    /// if nothing went direct, for a save, and without evidence; see [`super::watch::Watch::start`].
    pub checked: bool,
    /// Time from the arrival of the request to the start of its I/O, and between its turns.
    pub queue: Duration,
    /// Time in I/O.
    pub io: Duration,
    /// Time making a save durable.
    pub sync: Duration,
}

impl Receipt {
    /// The number of bytes that moved.
    pub fn bytes(&self) -> u64 {
        self.direct + self.bounced + self.buffered
    }

    /// Adds the receipt of another transfer. Keeps the first id. Takes the method from the receipt
    /// with more bytes; if both have the same number, from the one with more direct bytes.
    pub fn add(&mut self, other: &Self) {
        if (other.bytes(), other.direct) > (self.bytes(), self.direct) {
            self.method = other.method;
        }
        // A transfer with nothing direct has nothing to check.
        let checked = |receipt: &Self| receipt.direct == 0 || receipt.checked;
        self.checked = self.direct + other.direct > 0 && checked(self) && checked(other);
        if self.id == 0 {
            self.id = other.id;
        }
        self.direct += other.direct;
        self.bounced += other.bounced;
        self.buffered += other.buffered;
        self.first_fallback = self.first_fallback.or(other.first_fallback);
        self.queue += other.queue;
        self.io += other.io;
        self.sync += other.sync;
    }

    /// The receipt of the same transfer, if the file system moved the direct part
    /// through the page cache.
    pub fn found_buffered(self) -> Self {
        Self {
            direct: 0,
            buffered: self.buffered + self.direct,
            method: self.method.map(Method::buffered),
            first_fallback: Some(FallbackReason::FileNotDirect),
            checked: false,
            ..self
        }
    }
}

/// A receipt that grows piece by piece.
#[derive(Debug, Default)]
pub(super) struct Tally {
    receipt: Receipt,
    checked: u64,
    by_method: [u64; Method::ALL.len()],
}

impl Tally {
    /// Adds a piece. `reason` is the reason why a body did not take the best path.
    ///
    /// See docs/design/0001-first-slice.md#the-receipt-gives-the-first-reason
    pub fn add(&mut self, role: Role, moved: &Moved, reason: Option<FallbackReason>) {
        let Moved { method, len, found_buffered } = *moved;
        let (method, reason) = match found_buffered {
            Some(true) => (method.buffered(), Some(FallbackReason::FileNotDirect)),
            _ => (method, reason),
        };
        let receipt = &mut self.receipt;
        match role {
            Role::Edge => receipt.bounced += len,
            Role::Body if method.is_direct() => receipt.direct += len,
            Role::Body | Role::Buffered => receipt.buffered += len,
        }
        if found_buffered == Some(false) {
            self.checked += len;
        }
        if role != Role::Edge && receipt.first_fallback.is_none() {
            receipt.first_fallback = reason;
        }
        for (total, candidate) in self.by_method.iter_mut().zip(Method::ALL) {
            if candidate == method {
                *total += len;
            }
        }
    }

    /// Whether no byte has moved so far.
    pub fn is_empty(&self) -> bool {
        self.receipt.bytes() == 0
    }

    /// The receipt, with the method that moved the most; on a tie the better one.
    pub fn finish(self) -> Receipt {
        let totals = Method::ALL.into_iter().zip(self.by_method).rev();
        let most = totals.max_by_key(|(_, total)| *total).filter(|(_, total)| *total > 0);
        let checked = self.checked > 0 && self.checked == self.receipt.direct;
        Receipt { method: most.map(|(method, _)| method), checked, ..self.receipt }
    }
}
