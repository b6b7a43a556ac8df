//! Finds words that tie the tree to one machine or one network, and long files.

use std::fs;

use anyhow::{Context, Result};
use xtask::tree;
/// A file of more lines than this is hard to keep in mind.
const LONG: usize = 400;

/// Hosts of package registries. They depend on the machine, so the tree must not name them. In two
/// parts, so that this file does not name them either.
const HOSTS: &[(&str, &str)] = &[
    ("crates", "io"),
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("deb.debian", "org"),
    ("ftp.debian", "org"),
    ("snapshot.debian", "org"),
    ("proxy.golang", "org"),
];

/// The forbidden words, as `file:line: what`.
pub fn check() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for name in tree::files()? {
        // Cargo always writes the address of its default registry there.
        if name.ends_with("Cargo.lock") {
            continue;
        }
        let bytes = fs::read(tree::path(&name)).with_context(|| format!("reading {name}"))?;
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            if let Some(host) = host_in(line) {
                problems.push(format!("{name}:{}: names the registry host {host}", number + 1));
            }
        }
    }
    Ok(problems)
}

fn host_in(line: &str) -> Option<String> {
    HOSTS
        .iter()
        .map(|(name, domain)| format!("{name}.{domain}"))
        .find(|host| line.contains(host.as_str()))
}

/// Rust files that are too long; tests in the same file do not count.
pub fn long_files() -> Result<Vec<String>> {
    let mut long = Vec::new();
    for name in
        tree::files()?.into_iter().filter(|name| name.ends_with(".rs") && !name.contains("tests"))
    {
        let text =
            fs::read_to_string(tree::path(&name)).with_context(|| format!("reading {name}"))?;
        let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        if lines > LONG {
            long.push(format!("{name} has {lines} lines; above {LONG}, split it by noun"));
        }
    }
    Ok(long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_host_is_found() {
        let (name, domain) = HOSTS[0];
        assert_eq!(
            host_in(&format!("see https://{name}.{domain}/x")),
            Some(format!("{name}.{domain}"))
        );
        assert_eq!(host_in("see the crate registry"), None);
    }
}
