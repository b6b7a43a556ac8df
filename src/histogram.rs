//! Times, counted in steps that grow with the time: a fixed size, whatever is counted.

use std::time::Duration;

/// Steps for each doubling of the time. A percentile is at most a quarter too high.
const STEPS: usize = 4;

/// The number of steps: up to 2^32 microseconds, more than an hour.
const LEN: usize = STEPS * 31;

/// Counts times.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: [u64; LEN],
    count: u64,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; LEN], count: 0, max: Duration::ZERO }
    }
}

impl Histogram {
    pub fn add(&mut self, time: Duration) {
        self.counts[step(time)] += 1;
        self.count += 1;
        self.max = self.max.max(time);
    }

    /// How many times it has counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn max(&self) -> Duration {
        self.max
    }

    /// A time that `percent` percent of all times do not exceed; zero if there are none.
    pub fn percentile(&self, percent: u64) -> Duration {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut below = 0;
        let reached = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        });
        reached.map_or(Duration::ZERO, |step| end(step).min(self.max))
    }
}

/// The step of a time. The first ones have a microsecond each.
fn step(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    match micros.checked_ilog2() {
        Some(log) if log >= 2 => {
            let quarter = (micros >> (log - 2)) as usize % STEPS;
            (STEPS * (log as usize - 1) + quarter).min(LEN - 1)
        }
        _ => micros as usize,
    }
}

/// The first time that is beyond a step.
fn end(step: usize) -> Duration {
    let next = step + 1;
    Duration::from_micros(match next / STEPS {
        0 => next as u64,
        log => ((STEPS + next % STEPS) as u64) << (log - 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_lies_before_the_end_of_its_step_and_not_before_the_last_one() {
        for micros in (0..5000).chain((12..32).flat_map(|log| [(1 << log) - 1, 1 << log])) {
            let time = Duration::from_micros(micros);
            let step = step(time);
            assert!(time < end(step), "{time:?} in step {step}");
            assert!(step == 0 || time >= end(step - 1), "{time:?} in step {step}");
            assert!(end(step) <= time * 5 / 4 + Duration::from_micros(1), "{time:?}");
        }
        assert_eq!(step(Duration::MAX), LEN - 1);
    }

    #[test]
    fn percentiles_are_at_most_a_quarter_too_high() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(99), Duration::ZERO);
        (1..=1000).for_each(|ms| histogram.add(Duration::from_millis(ms)));
        for percent in [1, 50, 90, 99] {
            let (exact, found) =
                (Duration::from_millis(10 * percent), histogram.percentile(percent));
            assert!(found >= exact && found <= exact * 5 / 4, "{percent}: {found:?}");
        }
        assert_eq!(histogram.percentile(100), Duration::from_secs(1));
        assert_eq!((histogram.count(), histogram.max()), (1000, Duration::from_secs(1)));
    }
}
