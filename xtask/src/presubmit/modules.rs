//! Checks three rules that rustc does not check: no modules of a crate import each other in a
//! circle, `unsafe` has one place, and only `binder/` and `aidl/` know the binder stack.

use std::collections::{BTreeMap, BTreeSet};
use std::slice;

use anyhow::{ensure, Result};
use xtask::{cargo, tree};

/// The only folders with `unsafe`: for system calls, and for the pointers that C code passes.
const UNSAFE: [&str; 2] = ["core/src/sys", "client/c/src/sys"];
/// The packages that may depend on a binder stack, and the crates of such stacks.
const SHIM: [&str; 2] = ["binder_shim", "vendor_dmabufio"];
const STACKS: [&str; 2] = ["rsbinder", "binder_ndk"];

/// The violations of the rules.
pub fn check() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut crates: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for name in tree::files()?.into_iter().filter(|name| name.ends_with(".rs")) {
        let text = tree::read(&name)?;
        let allowed =
            text.lines().any(|line| line.starts_with('#') && line.contains("allow(unsafe_code)"));
        if allowed && !UNSAFE.iter().any(|folder| name.starts_with(folder)) {
            problems.push(format!("{name}: only {} may be unsafe", UNSAFE.join(" and ")));
        }
        if let Some((folder, file)) =
            name.split_once("src/").filter(|(_, file)| !file.ends_with("tests.rs"))
        {
            crates.entry(folder.to_owned()).or_default().push((file.to_owned(), text));
        }
    }
    for (folder, files) in crates {
        let found = circles(&files);
        problems.extend(found.iter().map(|circle| format!("{folder}src: {circle}")));
    }
    let metadata = cargo::metadata(&["--no-deps"])?;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            let for_tests = dependency["kind"] == "dev";
            if STACKS.contains(&on) && !SHIM.contains(&name) && !for_tests {
                problems.push(format!("{name} depends on {on}; only {} may", SHIM.join(" and ")));
            }
        }
    }
    let tree = cargo::command(&[
        "tree",
        "--package=dmabufio_core",
        "--edges=normal,build",
        "--target=all",
        "--prefix=none",
    ])
    .output()?;
    ensure!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    let lines = String::from_utf8(tree.stdout)?;
    problems.extend(
        lines
            .lines()
            .filter(|line| line.contains("binder"))
            .map(|line| format!("the core links {line}")),
    );
    Ok(problems)
}

/// The circles among the modules in `files`, as `a -> b -> a`; `crate` is the root.
fn circles(files: &[(String, String)]) -> Vec<String> {
    let module = |file: &str| {
        let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
        if matches!(path, "lib" | "main") {
            String::new()
        } else {
            path.replace('/', "::")
        }
    };
    let names: BTreeSet<String> = files.iter().map(|(file, _)| module(file)).collect();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, text) in files {
        let from = module(file);
        let to = paths(text).into_iter().filter_map(|path| target(&path, &from, &names));
        edges.entry(from.clone()).or_default().extend(to.filter(|to| *to != from));
    }
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for start in &names {
        if let Some(circle) = circle(start, &edges).filter(|circle| !seen.contains(&circle[1])) {
            seen.extend(circle.iter().cloned());
            let shown = circle.iter().map(|name| if name.is_empty() { "crate" } else { name });
            found.push(shown.collect::<Vec<_>>().join(" -> "));
        }
    }
    found
}

/// The shortest way from `start` back to it.
fn circle(start: &str, edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut ways = vec![vec![start.to_owned()]];
    let mut visited = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in edges.get(way.last()?).into_iter().flatten() {
                let way = [way.as_slice(), slice::from_ref(next)].concat();
                if next == start {
                    return Some(way);
                }
                if visited.insert(next) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

/// The target module of a path in the module `from`.
fn target(path: &str, from: &str, names: &BTreeSet<String>) -> Option<String> {
    let mut at: Vec<&str> = from.split("::").filter(|part| !part.is_empty()).collect();
    let mut parts = path.split("::").peekable();
    match *parts.peek()? {
        "crate" => at.clear(),
        "super" | "self" => {}
        child if names.contains(&[at.as_slice(), &[child]].concat().join("::")) => {}
        _ => return None,
    }
    for part in parts.filter(|part| !matches!(*part, "crate" | "self")) {
        if part == "super" {
            at.pop()?;
            continue;
        }
        at.push(part);
        if !names.contains(&at.join("::")) {
            at.pop();
            break;
        }
    }
    Some(at.join("::"))
}

/// The paths with more than one part in a file, one by one for a `use` with braces, without its
/// tests.
fn paths(text: &str) -> Vec<String> {
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    let code: String =
        lines.map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    let mut prefixes = Vec::new();
    let mut path = String::new();
    let mut rest = code.as_str();
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let word = if end > 0 {
            &rest[..end]
        } else {
            first.encode_utf8(&mut [0; 4]);
            &rest[..first.len_utf8()]
        };
        rest = &rest[word.len()..];
        if end > 0 {
            path += word;
            let after = rest.trim_start();
            if let Some(next) = after.strip_prefix("::") {
                (path, rest) = (path + "::", next.trim_start());
                if let Some(inside) = rest.strip_prefix('{') {
                    prefixes.push(path.clone());
                    rest = inside;
                } else {
                    continue;
                }
            } else if path.contains("::") {
                found.push(path.clone());
            }
        } else if word == "}" {
            prefixes.pop();
        }
        path = prefixes.last().cloned().unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        circles(
            &files
                .iter()
                .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn paths_are_found_one_by_one() {
        let text = "use crate::{a::{self, B}, c};\nfn f(x: super::d::E) -> g {} // not::this\n#[cfg(test)]\nuse not::me;\n";
        assert_eq!(paths(text), ["crate::a::self", "crate::a::B", "crate::c", "super::d::E"]);
    }

    #[test]
    fn circle_is_found_wherever_it_hides() {
        let named = [("a.rs", "use crate::b::X;"), ("b.rs", "use super::a;")];
        assert_eq!(found(&named), ["a -> b -> a"]);
        let by_parent = [("a.rs", "mod b;\nfn f() { b::g() }"), ("a/b.rs", "use super::Shared;")];
        assert_eq!(found(&by_parent), ["a -> a::b -> a"]);
        let by_root = [("lib.rs", "mod a;\npub use a::X;"), ("a.rs", "use crate::X;")];
        assert_eq!(found(&by_root), ["crate -> a -> crate"]);
        let of_three =
            [("a.rs", "use crate::b;"), ("b.rs", "use crate::c;"), ("c.rs", "use crate::a;")];
        assert_eq!(found(&of_three), ["a -> b -> c -> a"]);
    }

    #[test]
    fn siblings_in_one_direction_are_no_circle() {
        let files = [
            ("lib.rs", "mod a;\nuse a::b::f;"),
            ("a.rs", "pub mod b;\nmod c;\nuse std::fs;"),
            ("a/b.rs", "use super::c::X;"),
            ("a/c.rs", "#[cfg(test)]\nmod tests { use crate::a::b::f; }"),
        ];
        assert!(found(&files).is_empty());
    }
}
