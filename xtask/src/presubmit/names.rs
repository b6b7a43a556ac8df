//! Checks that every name in "Life of one load" of ARCHITECTURE.md exists: a name with a file in
//! that file, `A::b` anywhere.

use anyhow::{Context, Result};
use xtask::tree;

const DOCUMENT: &str = "ARCHITECTURE.md";
const HEADING: &str = "\n## Life of one load\n";
/// The keywords before a defined name.
const KEYWORDS: [&str; 7] =
    ["fn ", "struct ", "enum ", "trait ", "interface ", "parcelable ", "type "];

/// The names that do not exist.
pub fn check() -> Result<Vec<String>> {
    let text = tree::read(DOCUMENT)?;
    let (_, section) =
        text.split_once(HEADING).with_context(|| format!("{DOCUMENT} lacks{HEADING}"))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let sources: Vec<String> = tree::files()?
        .into_iter()
        .filter(|name| name.ends_with(".rs") || name.ends_with(".aidl"))
        .collect();
    let mut problems = Vec::new();
    for (name, file) in names(section) {
        let places = file.map_or(sources.clone(), |file| vec![file.to_owned()]);
        let mut exists = false;
        for place in places {
            exists |= tree::read(&place).is_ok_and(|text| defines(&text, name));
        }
        if !exists {
            problems.push(format!(
                "{DOCUMENT}: there is no {name} in {}",
                file.unwrap_or("the sources")
            ));
        }
    }
    Ok(problems)
}

/// Names in backquotes, with the file in backquotes and parentheses behind them.
fn names(text: &str) -> Vec<(&str, Option<&str>)> {
    let parts: Vec<&str> = text.split('`').collect();
    let quoted = (1..parts.len()).step_by(2);
    let named = quoted.filter_map(|i| {
        let file = (parts.get(i + 1).map(|between| between.trim()) == Some("("))
            .then(|| parts.get(i + 2))
            .flatten();
        let file = file.copied().filter(|file| file.ends_with(".rs") || file.ends_with(".aidl"));
        let name = parts[i];
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c));
        (plain && (name.contains("::") || file.is_some())).then_some((name, file))
    });
    named.collect()
}

/// Whether a source defines the last part of a name.
fn defines(text: &str, name: &str) -> bool {
    let name = name.rsplit("::").next().unwrap_or(name);
    // AIDL has no keyword before the name of a method.
    let method = text.contains(&format!(" {name}(")) && text.contains("\ninterface ");
    method
        || KEYWORDS.iter().any(|keyword| {
            text.match_indices(&format!("{keyword}{name}")).any(|(at, found)| {
                !text[at + found.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_files() {
        let text =
            "1. `A::b` (`x/a.rs`) and `run`\n (`x/run.rs`) use `C::d`, `O_DIRECT` and `x/e.rs`.";
        assert_eq!(
            names(text),
            [("A::b", Some("x/a.rs")), ("run", Some("x/run.rs")), ("C::d", None)]
        );
    }

    #[test]
    fn only_a_whole_name_is_a_definition() {
        assert!(defines("pub fn run<T>(x: T) {}", "a::run"));
        assert!(!defines("fn runner() {}\nrun();", "run"));
        assert!(defines("\ninterface I {\n    Receipt transfer(in Request r);\n}", "I::transfer"));
    }
}
