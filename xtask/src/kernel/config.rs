//! Did the kernel's configuration take what was asked for? Kconfig drops an option whose dependencies are missing
//! without a word.

use std::collections::BTreeMap;

/// The options of `fragments` that `config` has otherwise, one line each. Where two fragments disagree, the later counts.
pub fn lost(fragments: &[String], config: &str) -> Vec<String> {
    let mut asked = BTreeMap::new();
    for fragment in fragments {
        asked.extend(parse(fragment));
    }
    let have = parse(config);
    asked
        .iter()
        .filter_map(|(option, value)| {
            let got = have.get(option).copied().unwrap_or("n");
            (got != *value).then(|| format!("    {option}: asked for {value}, got {got}"))
        })
        .collect()
}

fn parse(text: &str) -> BTreeMap<&str, &str> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            match line.strip_prefix("# ").and_then(|rest| rest.strip_suffix(" is not set")) {
                Some(option) => Some((option, "n")),
                None => line.split_once('=').filter(|(option, _)| option.starts_with("CONFIG_")),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost_of(fragments: &[&str], config: &str) -> Vec<String> {
        lost(&fragments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), config)
    }

    #[test]
    fn dropped_option_is_named() {
        let lost = lost_of(&["CONFIG_A=y\nCONFIG_B=y\n"], "CONFIG_A=y\n# CONFIG_C is not set\n");
        assert_eq!(lost, ["    CONFIG_B: asked for y, got n"]);
    }

    #[test]
    fn module_is_not_built_in() {
        assert_eq!(lost_of(&["CONFIG_A=y"], "CONFIG_A=m"), ["    CONFIG_A: asked for y, got m"]);
    }

    #[test]
    fn off_may_be_said_in_three_ways() {
        for off in ["", "CONFIG_A=n", "# CONFIG_A is not set"] {
            assert!(lost_of(&["# CONFIG_A is not set"], off).is_empty());
            assert!(lost_of(&["CONFIG_A=n"], off).is_empty());
        }
        assert_eq!(lost_of(&["# CONFIG_A is not set"], "CONFIG_A=y").len(), 1);
    }

    #[test]
    fn later_fragment_wins() {
        assert!(lost_of(&["CONFIG_A=y", "# CONFIG_A is not set"], "").is_empty());
    }

    #[test]
    fn comments_are_not_options() {
        assert!(lost_of(&["# CONFIG_A=y would be nice\n#CONFIG_B=y\n"], "").is_empty());
    }
}
