//! How long calls take that wait for no disk.

use super::fixture::Fixture;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Medians of five rounds of 200 calls each.
#[derive(Debug)]
#[allow(dead_code, reason = "printed")]
pub struct Percentiles {
    p50: Duration,
    pub p99: Duration,
    max: Duration,
}

impl Percentiles {
    /// The calls are getCapabilities.
    pub fn of_control_calls(fixture: &Fixture) -> Self {
        let call = || {
            let start = Instant::now();
            fixture.service.getCapabilities().expect("capabilities");
            let time = start.elapsed();
            sleep(Duration::from_millis(5));
            time
        };
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
