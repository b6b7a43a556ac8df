//! `dmabufio bench` prints what `cargo xtask bench` reads.

#![allow(missing_docs, reason = "test code")]

mod support;

use std::fs;
use support::bench;
use tempfile::TempDir;

#[test]
fn every_row_has_figures_or_a_reason() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let file = dir.path().join("model");
    fs::write(&file, vec![7; 1 << 20]).expect("write");
    let report = bench(&file, &["--table", "published,fair", "--chunk", "256K"]);
    assert_eq!(report.bytes, 1 << 20);
    let ids: Vec<&str> = report.tables.iter().map(|table| table.id.as_str()).collect();
    assert_eq!(ids, ["published", "fair"]);
    assert_eq!(report.tables[0].rows.len(), 6);
    for row in report.tables.iter().flat_map(|table| &table.rows) {
        assert!(row.figures.is_some() != row.error.is_some(), "{row:?}");
    }
    // This one needs nothing of a host but memory.
    let anonymous = "anonymous memory, direct read";
    let row = report.tables[1].rows.iter().find(|row| row.name == anonymous);
    assert!(row.is_some_and(|row| row.figures.is_some()), "{row:?}");
}
