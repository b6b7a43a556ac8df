//! The figures of a benchmark, for the command that measures them and for `cargo xtask bench`, which
//! reads them. `docs/performance.md` describes them. Times are in nanoseconds.

use serde::{Deserialize, Serialize};

/// The times of one kind in the runs of a row.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    pub median_nanos: u64,
    pub min_nanos: u64,
    pub max_nanos: u64,
    /// In the order of the runs, so that rows of one table can be compared run by run.
    pub samples_nanos: Vec<u64>,
}

/// The cost of the runs of one row.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// The allocation, if it is separate.
    pub alloc: Option<Spread>,
    /// Reading or writing, if it is separate.
    pub io: Option<Spread>,
    /// Both.
    pub total: Spread,
    /// CPU time of this process, the service and fio, per GiB moved, mean of the runs. Counted by
    /// the kernel in steps of 10 ms.
    pub cpu_seconds_per_gib: f64,
    /// The largest growth of the file's part in the page cache during a run.
    pub page_cache_growth_pages: u64,
}

/// One row of a table.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub name: String,
    /// The variable of the table: bytes in a request, extents, clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<u64>,
    /// The bytes of one run.
    pub bytes: u64,
    /// `None` if it could not run.
    pub figures: Option<Figures>,
    /// The reason why it could not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Milliseconds for 1 GiB as published: allocate, read, total.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_ms: Option<[u32; 3]>,
}

/// Rows whose runs were interleaved.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub id: String,
    /// Whether the page cache held the file before each run: "cold" or "warm".
    pub cache: String,
    pub rows: Vec<Row>,
}

/// The memory of the service when it is idle, and at most.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceFigures {
    pub idle_rss_bytes: u64,
    /// The most memory during the loads, above idle.
    pub rss_growth_bytes: u64,
    pub loads: u64,
    pub bytes_per_load: u64,
    pub page_cache_growth_pages: u64,
}
