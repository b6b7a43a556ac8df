//! Counts test results in what test programs print: libtest's closing line and TAP.

use std::iter::Sum;
use std::ops::Add;

/// How many tests passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Passed.
    pub passed: usize,
    /// Failed, and those of programs that died before they could say so.
    pub failed: usize,
    /// Not run, and said so.
    pub skipped: usize,
}

impl Tally {
    /// The tally of one check.
    pub fn one(passed: bool) -> Self {
        Tally { passed: usize::from(passed), failed: usize::from(!passed), skipped: 0 }
    }
}

impl Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        Tally {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Tally>>(tallies: I) -> Tally {
        tallies.fold(Tally::default(), Add::add)
    }
}

/// The results in the output of a program that ended with success or not. A program that failed without a failed
/// test, or said nothing that can be counted, counts as one failed test.
pub fn count(output: &str, success: bool) -> Tally {
    let tally: Tally = output.lines().filter_map(|line| libtest(line).or_else(|| tap(line))).sum();
    let silent = tally == Tally::default();
    if (!success && tally.failed == 0)
        || (success && silent && !output.contains("test result: ok."))
    {
        return tally + Tally::one(false);
    }
    tally
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
fn libtest(line: &str) -> Option<Tally> {
    let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
    let number = |what: &str| {
        counts
            .split("; ")
            .find_map(|part| part.strip_suffix(what)?.trim().parse::<usize>().ok())
            .unwrap_or(0)
    };
    Some(Tally { passed: number("passed"), failed: number("failed"), skipped: number("ignored") })
}

/// `ok 1 - what`, `not ok 2 - what`, `ok 3 - what # SKIP why`
fn tap(line: &str) -> Option<Tally> {
    let (passed, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok ")?),
    };
    rest.split_whitespace().next()?.parse::<usize>().ok()?;
    if passed && rest.to_ascii_uppercase().contains("# SKIP") {
        return Some(Tally { skipped: 1, ..Tally::default() });
    }
    Some(Tally::one(passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: usize, failed: usize, skipped: usize) -> Tally {
        Tally { passed, failed, skipped }
    }

    #[test]
    fn closing_lines_of_all_binaries_add_up() {
        let output = "\
test a ... ok
test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        assert_eq!(count(output, false), tally(5, 4, 1));
    }

    #[test]
    fn tap_lines_count_one_each() {
        let output = "TAP version 13\n1..4\nok 1 - a\nnot ok 2 - b\nok 3 # SKIP no heap\nok 4 c\n# Totals: pass:2\n";
        assert_eq!(count(output, false), tally(2, 1, 1));
    }

    #[test]
    fn dead_program_is_a_failure() {
        assert_eq!(count("running 3 tests\ntest a ... ok\n", false), tally(0, 1, 0));
        assert_eq!(count("test result: ok. 2 passed; 0 failed; 0 ignored", false), tally(2, 1, 0));
    }

    #[test]
    fn silence_is_a_failure() {
        assert_eq!(count("", true), tally(0, 1, 0));
    }

    #[test]
    fn empty_suite_that_ended_well_is_nothing() {
        assert_eq!(count("test result: ok. 0 passed; 0 failed; 0 ignored", true), tally(0, 0, 0));
    }

    #[test]
    fn words_that_start_with_ok_are_not_tap() {
        assert_eq!(count("ok then\nok 1 - a\n", true), tally(1, 0, 0));
    }
}
