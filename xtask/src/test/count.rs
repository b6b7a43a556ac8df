//! Reads the results in what test programs print: libtest's lines and TAP.

use std::iter::Sum;
use std::ops::Add;

/// The case of a program that died, or failed without a failed test.
const WHOLE: &str = "the program as a whole";

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
    /// Counts cases.
    pub fn of(cases: &[Case]) -> Self {
        let count = |outcome| cases.iter().filter(|case| case.outcome == outcome).count();
        Tally {
            passed: count(Outcome::Passed),
            failed: count(Outcome::Failed),
            skipped: count(Outcome::Skipped),
        }
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

/// What became of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It failed, or its program died.
    Failed,
    /// It was not run, and said so.
    Skipped,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name, unique within its program only.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What a failed one printed, or its whole program where that is not known. Why one was skipped.
    pub output: String,
}

impl Case {
    fn new(name: impl Into<String>, outcome: Outcome) -> Self {
        Case { name: name.into(), outcome, output: String::new() }
    }

    /// A check that passed.
    pub fn passed(name: impl Into<String>) -> Self {
        Self::new(name, Outcome::Passed)
    }

    /// A check that failed, and why.
    pub fn failed(name: impl Into<String>, why: impl Into<String>) -> Self {
        Case { output: why.into(), ..Self::new(name, Outcome::Failed) }
    }
}

/// The tests in the output of programs that ended with success or not. A program without a closing line is one failed
/// test more, and so is a failure without a failed test, or an output in which nothing can be counted.
pub fn cases(output: &str, success: bool) -> Vec<Case> {
    let mut all = Vec::new();
    for text in programs(output) {
        let mut found: Vec<Case> = text.lines().filter_map(libtest).collect();
        match text.lines().last().and_then(closing) {
            Some(tally) => found = complete(&found, tally),
            None if text.lines().any(begins) => found.push(Case::new(WHOLE, Outcome::Failed)),
            None => {}
        }
        found.extend(text.lines().filter_map(tap));
        for case in found.iter_mut().filter(|case| case.outcome == Outcome::Failed) {
            case.output = printed(text, &case.name).unwrap_or(text).to_owned();
        }
        all.append(&mut found);
    }
    let silent = all.is_empty();
    if (!success && Tally::of(&all).failed == 0)
        || (success && silent && !output.contains("test result: ok."))
    {
        all.push(Case::failed(WHOLE, output));
    }
    all
}

/// The text of each test program, which ends with its closing line or, if the program died, where the next one starts;
/// then what follows the last of them.
fn programs(output: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let (mut start, mut end) = (0, 0);
    let mut begun = false;
    for line in output.split_inclusive('\n') {
        if begun && running(line) {
            all.push(&output[start..end]);
            (start, begun) = (end, false);
        }
        end += line.len();
        begun |= begins(line);
        if closing(line).is_some() {
            all.push(&output[start..end]);
            (start, begun) = (end, false);
        }
    }
    all.push(&output[start..]);
    all
}

/// Whether only a test program that is to have a closing line writes this one.
fn begins(line: &str) -> bool {
    running(line) || libtest(line.trim_end()).is_some()
}

/// `running 1 test`, `running 2 tests`
fn running(line: &str) -> bool {
    let number = line
        .trim_end()
        .strip_prefix("running ")
        .and_then(|rest| rest.strip_suffix(" tests").or_else(|| rest.strip_suffix(" test")));
    number.is_some_and(|number| number.parse::<usize>().is_ok())
}

/// Makes a list agree with the closing line, which is right where a test has written into the lines of the list.
fn complete(listed: &[Case], tally: Tally) -> Vec<Case> {
    let parts = [
        (Outcome::Passed, tally.passed),
        (Outcome::Failed, tally.failed),
        (Outcome::Skipped, tally.skipped),
    ];
    let part = |(outcome, count): (Outcome, usize)| {
        let named = listed.iter().filter(move |case| case.outcome == outcome).cloned();
        let unnamed = (1..).map(move |i| Case::new(format!("unnamed {i}"), outcome));
        named.chain(unnamed).take(count)
    };
    parts.into_iter().flat_map(part).collect()
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
fn closing(line: &str) -> Option<Tally> {
    let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
    let number = |what: &str| {
        counts
            .split("; ")
            .find_map(|part| part.strip_suffix(what)?.trim().parse::<usize>().ok())
            .unwrap_or(0)
    };
    Some(Tally { passed: number("passed"), failed: number("failed"), skipped: number("ignored") })
}

/// `test a ... ok`, `test a ... FAILED`, `test a ... ignored, why`
fn libtest(line: &str) -> Option<Case> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let name = name.strip_suffix(" - should panic").unwrap_or(name);
    match outcome {
        "ok" => Some(Case::passed(name)),
        "FAILED" => Some(Case::new(name, Outcome::Failed)),
        _ => {
            let why = outcome.strip_prefix("ignored")?.trim_start_matches(", ").to_owned();
            Some(Case { output: why, ..Case::new(name, Outcome::Skipped) })
        }
    }
}

/// `ok 1 - what`, `not ok 2 - what`, `ok 3 - what # SKIP why`
fn tap(line: &str) -> Option<Case> {
    let (outcome, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (Outcome::Failed, rest),
        None => (Outcome::Passed, line.strip_prefix("ok ")?),
    };
    let (number, name) = rest.split_once(' ').unwrap_or((rest, rest));
    number.parse::<usize>().ok()?;
    let name = name.trim_start_matches("- ");
    let skipped = name.to_ascii_uppercase().find("# SKIP").filter(|_| outcome == Outcome::Passed);
    Some(match skipped {
        Some(at) => Case {
            output: name[at + "# SKIP".len()..].trim().to_owned(),
            ..Case::new(name[..at].trim(), Outcome::Skipped)
        },
        None => Case::new(name, outcome),
    })
}

/// What libtest repeats of a failed test: from `---- NAME stdout ----` to the next such line or the list of failures.
fn printed<'a>(output: &'a str, name: &str) -> Option<&'a str> {
    let head = format!("---- {name} stdout ----\n");
    let (_, rest) = output.split_once(&head)?;
    let end = ["\n---- ", "\nfailures:\n"].into_iter().filter_map(|next| rest.find(next)).min();
    Some(rest[..end.unwrap_or(rest.len())].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(output: &str, success: bool) -> Tally {
        Tally::of(&cases(output, success))
    }

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
        assert_eq!(count("running 3 tests\ntest a ... ok\n", false), tally(1, 1, 0));
        assert_eq!(count("test result: ok. 2 passed; 0 failed; 0 ignored", false), tally(2, 1, 0));
    }

    #[test]
    fn dead_program_before_another_keeps_its_cases() {
        let dead = "running 2 tests\ntest a ... ok\nerror: test failed (signal: 6)\n";
        let next = "\
running 1 test
test b ... FAILED
test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";
        let a = Case::passed("a");
        let (whole, b) = (Case::failed(WHOLE, dead), Case::failed("b", next));
        assert_eq!(cases(&format!("{dead}{next}"), false), [a.clone(), whole.clone(), b.clone()]);
        assert_eq!(cases(&format!("{next}{dead}"), false), [b, a, whole]);
    }

    #[test]
    fn dead_program_that_listed_nothing_is_a_failure() {
        let output = "running 1 test\nrunning 1 test\ntest b ... FAILED\n\
                      test result: FAILED. 0 passed; 1 failed; 0 ignored\n";
        assert_eq!(count(output, false), tally(0, 2, 0));
    }

    #[test]
    fn tests_of_one_name_have_the_output_of_their_own_program() {
        let program = |why: &str| {
            format!(
                "running 1 test\ntest a ... FAILED\n\nfailures:\n\n---- a stdout ----\n{why}\n\n\
                 failures:\n    a\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored\n"
            )
        };
        let output = program("one") + &program("two");
        assert_eq!(cases(&output, false), [Case::failed("a", "one"), Case::failed("a", "two")]);
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

    #[test]
    fn cases_have_their_names_and_their_output() {
        let output = "\
running 3 tests
test a::b ... ok
test c - should panic ... FAILED
test d ... ignored, too slow

failures:

---- c stdout ----
why it
failed

failures:
    c

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
ok 1 - e f
ok 2 - g # SKIP no heap
";
        let skipped =
            |name, why: &str| Case { output: why.to_owned(), ..Case::new(name, Outcome::Skipped) };
        assert_eq!(
            cases(output, false),
            [
                Case::passed("a::b"),
                Case::failed("c", "why it\nfailed"),
                skipped("d", "too slow"),
                Case::passed("e f"),
                skipped("g", "no heap"),
            ]
        );
    }

    #[test]
    fn closing_line_decides_where_lines_are_broken() {
        let output =
            "test a ... noise\nok\ntest b ... ok\ntest result: ok. 2 passed; 0 failed; 0 ignored";
        assert_eq!(cases(output, true), [Case::passed("b"), Case::passed("unnamed 1")]);
    }
}
