//! Times of many frames.

use crate::size;
use serde::Serialize;
use std::time::Duration;

/// The median, the 99th percentile and the maximum of many times, in nanoseconds.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Latencies {
    pub count: usize,
    pub median_nanos: u64,
    pub p99_nanos: u64,
    pub max_nanos: u64,
}

impl Latencies {
    /// `None` if there are no times.
    pub fn new(mut nanos: Vec<u64>) -> Option<Self> {
        nanos.sort_unstable();
        let max_nanos = *nanos.last()?;
        // The smallest time that at least so many hundredths of all do not exceed.
        let percentile = |percent: usize| nanos[(nanos.len() * percent).div_ceil(100) - 1];
        let (median_nanos, p99_nanos) = (percentile(50), percentile(99));
        Some(Self { count: nanos.len(), median_nanos, p99_nanos, max_nanos })
    }

    pub fn text(&self) -> String {
        let [median, p99, max] = [self.median_nanos, self.p99_nanos, self.max_nanos]
            .map(|nanos| size::time(Duration::from_nanos(nanos)));
        format!("{median:>10}  median of {}; 99 % below {p99}, longest {max}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_occurred() {
        let all = Latencies::new((1..=200).rev().collect()).expect("times");
        assert_eq!((all.median_nanos, all.p99_nanos, all.max_nanos), (100, 198, 200));
        let one = Latencies::new(vec![7]).expect("a time");
        assert_eq!((one.median_nanos, one.p99_nanos, one.max_nanos), (7, 7, 7));
        assert_eq!(Latencies::new(Vec::new()), None);
    }
}
