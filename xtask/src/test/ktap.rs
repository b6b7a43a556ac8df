//! Reads KTAP, the format of the results of the kernel's selftests.

use quick_junit::{TestCase, TestCaseStatus, TestSuite};

use xtask::table::case;

/// The suite `name` of a program that printed `output`. A program that died before its last test
/// has one more failed test.
pub fn suite(name: &str, output: &str, succeeded: bool) -> TestSuite {
    let mut suite = TestSuite::new(name);
    suite.add_test_cases(output.lines().filter_map(|line| result(line, output)));
    let planned =
        output.lines().find_map(|line| line.strip_prefix("1..")?.trim().parse::<usize>().ok());
    if planned != Some(suite.tests) || (!succeeded && suite.failures == 0) {
        suite.add_test_case(case("the program as a whole", Some(output.to_owned())));
    }
    suite
}

/// `ok 1 - what`, `not ok 2 - what`, `ok 3 - what # SKIP why`
fn result(line: &str, output: &str) -> Option<TestCase> {
    let (passed, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok ")?),
    };
    let (number, what) = rest.split_once(' ')?;
    number.parse::<usize>().ok()?;
    let (what, directive) = what.split_once('#').unwrap_or((what, ""));
    let what = what.trim_start_matches("- ").trim();
    let mut case = case(what, (!passed).then(|| output.to_owned()));
    if let Some(why) = directive.trim().strip_prefix("SKIP").filter(|_| passed) {
        case.status = TestCaseStatus::skipped();
        case.status.set_message(why.trim());
    }
    Some(case)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask::table::counts;

    #[test]
    fn results_count_one_each() {
        let output = "TAP version 13\n1..4\nok 1 - a\nnot ok 2 b # why\nok 3 - c # SKIP no heap\nok 4 d\nok then\n";
        let suite = suite("s", output, false);
        assert_eq!(counts(&suite), [2, 1, 1]);
        let names: Vec<_> = suite.test_cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
    }

    #[test]
    fn program_that_died_is_a_failure() {
        assert_eq!(counts(&suite("s", "1..2\nok 1 a\n", false)), [1, 1, 0]);
        assert_eq!(counts(&suite("s", "1..1\nok 1 a\n", false)), [1, 1, 0]);
        assert_eq!(counts(&suite("s", "", true)), [0, 1, 0]);
        assert_eq!(counts(&suite("s", "1..1\nok 1 a\n", true)), [1, 0, 0]);
    }
}
