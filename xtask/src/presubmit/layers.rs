//! Dependency direction: which module may import which, who may name binder, who may be unsafe. Read from the source
//! text, so that a rule is broken visibly and not by what happens to compile.

use anyhow::Result;

use super::files;
use crate::tree;

/// The modules of the core from the bottom up; a module imports its own group and those before it.
const GROUPS: &[&[&str]] = &[
    &["sys"],
    &["error", "priority"],
    &["dmabuf", "extent", "file", "heap"],
    &["method"],
    &["route", "support"],
    &["transfer"],
    &["probe", "pool"],
    &["load"],
    &["lib"],
];
/// The crates in which binder types live.
const BINDER: &[&str] = &["binder", "binder_ndk", "binder_shim", "rsbinder", "vendor_dmabufio"];

/// Everything that breaks a rule, as `file:line: what`.
pub fn check() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for name in files()?.iter().filter(|name| name.ends_with(".rs")) {
        problems.extend(problems_in(name, &tree::read(name)?));
    }
    Ok(problems)
}

fn problems_in(name: &str, text: &str) -> Vec<String> {
    let module = module(name);
    let mut problems = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let mut problem = |what: String| problems.push(format!("{name}:{}: {what}", number + 1));
        let attribute = code.trim_start().starts_with('#');
        if attribute && code.contains("allow(unsafe_code)") && module != Some("sys") {
            problem("only core/src/sys may be unsafe".into());
        }
        let stack = ["rsbinder", "binder_ndk"].into_iter().find(|stack| names_crate(code, stack));
        if let Some(stack) =
            stack.filter(|_| !name.starts_with("binder/") && !name.starts_with("aidl/"))
        {
            if !name.starts_with("xtask/") {
                problem(format!("names the binder stack {stack}; only binder/ and aidl/ know which one is linked"));
            }
        }
        let Some(module) = module else {
            continue;
        };
        {
            if let Some(named) = BINDER.iter().find(|named| names_crate(code, named)) {
                problem(format!("{module} names {named}; the core knows no binder"));
            }
        }
        for other in imports(code) {
            if rank(other) > rank(module) {
                problem(format!("{module} imports {other}, which is above it"));
            }
        }
        if let Some(sibling) = sibling(name, code) {
            problem(format!("a method imports its sibling {sibling}"));
        }
    }
    problems
}

/// The module of the core that a file belongs to.
fn module(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("core/src/")?;
    let first = rest.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

fn rank(module: &str) -> Option<usize> {
    // A name that is in no group is an item at the crate's root, not a module.
    GROUPS.iter().position(|group| group.contains(&module))
}

/// The modules that a line names as `crate::module`.
fn imports(code: &str) -> Vec<&str> {
    code.match_indices("crate::")
        .map(|(at, word)| {
            let rest = &code[at + word.len()..];
            let end =
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            &rest[..end]
        })
        .collect()
}

/// Whether a line names a crate, in a path or an import.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + name.len()..];
        let whole = !before.is_some_and(|c| c.is_ascii_alphanumeric() || "_:.\"".contains(c));
        whole
            && (after.starts_with("::")
                || (code.trim_start().starts_with("use ") && after.starts_with(';')))
    })
}

/// The other method that a line of a method's file imports.
fn sibling<'a>(name: &str, code: &'a str) -> Option<&'a str> {
    const METHODS: &[&str] = &["mapped", "rw_file"];
    let own = name.strip_prefix("core/src/transfer/")?.split(['/', '.']).next()?;
    METHODS.contains(&own).then_some(())?;
    METHODS.iter().filter(|method| **method != own).find_map(|method| {
        let found = code.find(&format!("super::{method}")).map(|at| at + "super::".len());
        let found = found.or_else(|| {
            code.find(&format!("transfer::{method}")).map(|at| at + "transfer::".len())
        })?;
        code.get(found..found + method.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn import_from_above_is_found() {
        assert_eq!(
            problems_in("core/src/method.rs", "use crate::transfer::plan;\n"),
            ["core/src/method.rs:1: method imports transfer, which is above it"]
        );
        assert!(problems_in("core/src/load.rs", "use crate::method;\nuse crate::sys::uapi;\n")
            .is_empty());
    }

    #[test]
    fn sys_imports_nothing_of_ours() {
        assert_eq!(problems_in("core/src/sys/mmap.rs", "use crate::error::Error;\n").len(), 1);
    }

    #[test]
    fn binder_below_service_is_found() {
        assert_eq!(problems_in("core/src/transfer.rs", "use vendor_dmabufio::aidl;\n").len(), 1);
        assert_eq!(problems_in("core/src/heap.rs", "fn f(s: binder_shim::Status) {}\n").len(), 1);
        assert!(problems_in("core/src/heap.rs", "// as binder::Status says\n").is_empty());
        assert!(problems_in("wire/src/status.rs", "use binder_shim::Status;\n").is_empty());
    }

    #[test]
    fn binder_stack_is_named_in_one_place() {
        assert_eq!(problems_in("client/src/lib.rs", "use rsbinder::Strong;\n").len(), 1);
        assert!(problems_in("binder/src/rsbinder.rs", "use rsbinder::Strong;\n").is_empty());
    }

    #[test]
    fn methods_do_not_know_each_other() {
        assert_eq!(problems_in("core/src/transfer/mapped.rs", "use super::rw_file;\n").len(), 1);
        assert_eq!(
            problems_in("core/src/transfer/mapped.rs", "use crate::transfer::rw_file::x;\n").len(),
            1
        );
        assert!(problems_in("core/src/transfer/mapped.rs", "use super::piece::Piece;\n").is_empty());
    }

    #[test]
    fn unsafe_is_allowed_in_sys_only() {
        assert_eq!(problems_in("core/src/dmabuf.rs", "#![allow(unsafe_code)]\n").len(), 1);
        assert!(problems_in("core/src/sys.rs", "#![allow(unsafe_code)]\n").is_empty());
    }
}
