//! `dmabufio bench` where all its rows can run: on the patched kernel, with the service up.

#![allow(missing_docs, reason = "test code")]

mod support;

use std::fs::{self, File};
use std::io::{copy, Read};
use std::path::PathBuf;
use support::bench;
use support::report::{Report, Row};

const LEN: u64 = 8 << 20;
const PAGES: u64 = LEN / 4096;

/// A file on the test disk, removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::var("DMABUFIO_TEST_DIR").expect("DMABUFIO_TEST_DIR: run in the VM");
        let path = PathBuf::from(dir).join(name);
        let mut file = File::create(&path).expect("create");
        let random = File::open("/dev/urandom").expect("open /dev/urandom");
        copy(&mut random.take(LEN), &mut file).expect("write");
        file.sync_all().expect("sync");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn rows(report: &Report) -> impl Iterator<Item = &Row> {
    report.tables.iter().flat_map(|table| &table.rows)
}

/// By how many pages the page cache grew in the row `name`.
fn cached(report: &Report, name: &str) -> u64 {
    let row = rows(report).find(|row| row.name == name).expect(name);
    row.figures.as_ref().expect(name).page_cache_growth_pages
}

#[test]
fn every_table_is_measured() {
    let file = Scratch::new("bench-tables");
    let tables = "published,ours,whole,sizes,extents,clients,model,snapshot";
    let report = bench(&file.0, &["--chunk", "1M", "--table", tables]);
    assert_eq!(report.tables.len(), 8);
    for row in rows(&report) {
        let figures = row.figures.as_ref().unwrap_or_else(|| panic!("{row:?}"));
        assert!(figures.total.median_nanos > 0 && row.bytes > 0, "{row:?}");
    }
    assert_eq!(cached(&report, "RW_FILE direct read"), 0);
    assert_eq!(cached(&report, "dmabuf buffer read"), PAGES);
    // The part of a page at the end of the file.
    let end = cached(&report, "model through the service");
    assert!(end <= 1, "{end}");
    assert!(cached(&report, "mmap, touch each tensor") > PAGES / 2);
    let rows: Vec<&str> = report.tables[7].rows.iter().map(|row| row.name.as_str()).collect();
    let kinds = ["snapshot", "PNG", "JPEG"];
    assert_eq!(
        rows,
        [kinds.map(|kind| format!("save: {kind}")), kinds.map(|kind| format!("restore: {kind}"))]
            .concat()
    );
    let folder = file.0.parent().expect("a folder");
    let left = fs::read_dir(folder).expect("list").flatten().map(|entry| entry.file_name());
    let left: Vec<_> =
        left.filter(|name| name.as_encoded_bytes().starts_with(b".dmabufio")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn warm_cache_holds_the_file_before_a_run() {
    let file = Scratch::new("bench-warm");
    let report = bench(&file.0, &["--chunk", "1M", "--cache", "warm"]);
    assert_eq!(report.tables[0].cache, "warm");
    assert_eq!(cached(&report, "dmabuf buffer read"), 0);
}

#[test]
fn memory_of_the_service_is_measured() {
    let file = Scratch::new("bench-service");
    let service = bench(&file.0, &["--table", "service"]).service.expect("figures");
    assert!(service.idle_rss_bytes > 0, "{service:?}");
    assert_eq!((service.loads, service.bytes_per_load), (8, LEN));
    assert_eq!(service.page_cache_growth_pages, 0);
}
