//! How long calls take.

use std::time::Duration;

/// Medians of five rounds of 200 calls each.
#[derive(Debug)]
#[allow(dead_code, reason = "printed")]
pub struct Percentiles {
    p50: Duration,
    pub p99: Duration,
    max: Duration,
}

impl Percentiles {
    /// `call` returns how long it took.
    pub fn of_rounds(call: impl Fn() -> Duration) -> Self {
        let rounds = [(); 5].map(|()| {
            let mut times: Vec<_> = (0..200).map(|_| call()).collect();
            times.sort_unstable();
            [times[100], times[198], times[199]]
        });
        let [p50, p99, max] = [0, 1, 2].map(|which| {
            let mut figures = rounds.map(|round| round[which]);
            figures.sort_unstable();
            figures[2]
        });
        Self { p50, p99, max }
    }
}
