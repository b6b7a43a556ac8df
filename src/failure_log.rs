//! Logs failed requests. Callers cause most failures, and may cause many, so each user has a budget.

use dmabufio_core::error::Error;
use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The number of failures of one user in a row that the service logs.
const BURST: u32 = 10;

/// After this time, the service logs one more failure of the user.
const REFILL: Duration = Duration::from_secs(10);

/// The number of remembered users. The log can forget a user with a full budget.
const MAX_USERS: usize = 256;

/// Logs failures within each user's budget.
#[derive(Debug, Default)]
pub(crate) struct FailureLog(Mutex<Budgets>);

/// The remaining budget of each user.
#[derive(Debug, Default)]
struct Budgets(HashMap<u32, Budget>);

#[derive(Debug)]
struct Budget {
    left: u32,
    /// The time of the last refill of `left`.
    at: Instant,
    suppressed: u64,
}

impl FailureLog {
    /// Logs a failure of `call`, or counts it if the user's budget is spent.
    pub fn add(&self, call: &str, uid: u32, error: &Error) {
        let mut budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let suppressed = budgets.take(uid, Instant::now());
        drop(budgets);
        match suppressed {
            Some(0) => log::warn!("{call} uid={uid}: {error}"),
            Some(n) => log::warn!("{call} uid={uid}: {error} ({n} failures before not logged)"),
            None => log::debug!("{call} uid={uid}: {error}"),
        }
    }
}

impl Budgets {
    /// Takes one failure from the user's budget. Returns the number of omitted failures before it,
    /// or `None` if the log must omit this one, too.
    fn take(&mut self, uid: u32, now: Instant) -> Option<u64> {
        if self.0.len() >= MAX_USERS && !self.0.contains_key(&uid) {
            self.0.retain(|_, budget| budget.refill(now) < BURST);
            if self.0.len() >= MAX_USERS {
                return None;
            }
        }
        let budget = self.0.entry(uid).or_insert(Budget { left: BURST, at: now, suppressed: 0 });
        if budget.refill(now) == 0 {
            budget.suppressed += 1;
            return None;
        }
        budget.left -= 1;
        Some(mem::take(&mut budget.suppressed))
    }
}

impl Budget {
    /// Refills the budget for the time since the last refill, and returns it.
    fn refill(&mut self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.at).as_secs() / REFILL.as_secs();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(passed).min(BURST);
        self.at += REFILL.saturating_mul(passed);
        self.left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_is_logged_then_one_in_each_period_with_the_number_left_out() {
        let (mut budgets, start) = (Budgets::default(), Instant::now());
        for _ in 0..BURST {
            assert_eq!(budgets.take(1, start), Some(0));
        }
        for _ in 0..5 {
            assert_eq!(budgets.take(1, start), None);
        }
        assert_eq!(budgets.take(2, start), Some(0), "another user");
        assert_eq!(budgets.take(1, start + REFILL), Some(5));
        assert_eq!(budgets.take(1, start + REFILL), None);
    }

    #[test]
    fn budget_does_not_grow_beyond_a_burst() {
        let (mut budgets, start) = (Budgets::default(), Instant::now());
        budgets.take(1, start);
        let later = start + REFILL * 1000;
        let logged = (0..2 * BURST).filter(|_| budgets.take(1, later).is_some()).count();
        assert_eq!(logged, BURST as usize);
    }

    #[test]
    fn users_are_bounded_and_forgotten_once_their_budget_is_full() {
        let (mut budgets, start) = (Budgets::default(), Instant::now());
        for uid in 0..MAX_USERS as u32 {
            assert_eq!(budgets.take(uid, start), Some(0));
        }
        assert_eq!(budgets.take(9999, start), None);
        assert_eq!(budgets.take(9999, start + REFILL), Some(0));
        assert_eq!(budgets.0.len(), 1);
    }
}
