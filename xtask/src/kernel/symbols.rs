//! The symbols of the kernel that `kernel/module` needs: a build of it against the table in the tree.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{bail, ensure, Context, Result};
use xtask::{exec, tree};

use super::Base;

/// The document with the table.
const TABLE: &str = "kernel/module/symbols.md";

/// Compares what the object of `kernel/module` leaves open with what the table has for `base`.
pub fn check(base: Base, object: &Path) -> Result<()> {
    let output = Command::new("nm").arg("-u").arg(object).output().context("starting nm")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "nm {} {}: {said}",
        object.display(),
        exec::describe(&output.status)
    );
    let needed = needed(&String::from_utf8_lossy(&output.stdout));
    let listed = listed(&tree::read(TABLE)?, &format!("VM {base}"))?;
    let problems = differences(&needed, &listed);
    if !problems.is_empty() {
        bail!(
            "{TABLE} and the symbols that the module needs of Linux {base} differ:\n    {}\nnext: correct the column \
             `VM {base}`, and look a new symbol up in the lists of Android's kernels",
            problems.join("\n    ")
        );
    }
    Ok(())
}

/// The symbols in the output of `nm -u`, as a device's build of the module needs them.
fn needed(nm: &str) -> BTreeSet<String> {
    let names = nm.lines().filter_map(|line| line.split_whitespace().last());
    // The build itself makes __this_module. node.c, which no device builds, stands in for dma_heap_add.
    let names = names.filter(|name| *name != "__this_module");
    names
        .map(|name| if name == "heap_node_add" { "dma_heap_add" } else { name }.to_owned())
        .collect()
}

/// The symbols of the rows that have something in the column with that title.
fn listed(text: &str, title: &str) -> Result<BTreeSet<String>> {
    let mut rows = text.lines().filter(|line| line.starts_with('|'));
    let cells = |row: &str| -> Vec<String> {
        row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let titles = cells(rows.next().with_context(|| format!("{TABLE} has no table"))?);
    let column = titles.iter().position(|cell| cell == title);
    let column = column.with_context(|| format!("{TABLE} has no column `{title}`"))?;
    let rows = rows.skip(1).map(cells);
    let needing = rows.filter(|row| row.get(column).is_some_and(|cell| !cell.is_empty()));
    Ok(needing.map(|row| row[0].trim_matches('`').to_owned()).collect())
}

fn differences(needed: &BTreeSet<String>, listed: &BTreeSet<String>) -> Vec<String> {
    let missing = needed.difference(listed).map(|name| format!("{name} is needed and not listed"));
    let stale = listed.difference(needed).map(|name| format!("{name} is listed and not needed"));
    missing.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "\
# Symbols

| symbol | VM 6.1 | VM 6.12 | android16-6.12 |
|---|---|---|---|
| `kfree` | x | x | 9 |
| `dma_heap_add` | x | x | 9 |
| `alloc` | x | | none |
";

    fn differences_of(nm: &str, title: &str) -> Vec<String> {
        differences(&needed(nm), &listed(DOCUMENT, title).unwrap())
    }

    #[test]
    fn symbols_of_a_build_are_those_of_its_column() {
        let nm = "                 U __this_module\n                 U heap_node_add\n                 U kfree\n";
        assert_eq!(differences_of(nm, "VM 6.12"), [""; 0]);
        assert_eq!(differences_of(nm, "VM 6.1"), ["alloc is listed and not needed"]);
        let more = format!("{nm}                 U vmap\n");
        assert_eq!(differences_of(&more, "VM 6.12"), ["vmap is needed and not listed"]);
        assert!(listed(DOCUMENT, "VM 7.2").is_err());
        assert!(listed("# Symbols\n", "VM 6.1").is_err());
    }

    #[test]
    fn table_of_the_tree_has_all_bases() {
        for base in [Base::Linux6_12, Base::Linux6_1] {
            let listed = listed(&tree::read(TABLE).unwrap(), &format!("VM {base}")).unwrap();
            assert!(listed.len() > 20, "{listed:?}");
        }
    }
}
