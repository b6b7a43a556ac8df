//! What a benchmark found: `bench.json`. `docs/performance.md` describes it for readers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Raised when the meaning of a field changes.
pub const SCHEMA: u32 = 1;

/// One run of `cargo xtask bench`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bench {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When it ended, in seconds since 1970.
    pub unix_time: u64,
    /// The commit of the tree, with `-dirty` behind it if the tree differed.
    pub commit: String,
    /// Whether this was `--quick`.
    pub quick: bool,
    /// What it ran on.
    pub machine: Machine,
    /// Bytes in the stripped release service.
    pub service_bytes: u64,
    /// The boots.
    pub sessions: Vec<Session>,
    /// The targets and what was measured for them.
    pub targets: Vec<Target>,
}

/// What a benchmark ran on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Release of the guest's kernel.
    pub kernel: String,
    /// Names what the kernel was built from: source, patches and configuration.
    pub kernel_build: String,
    /// The CPU as the guest sees it.
    pub cpu: String,
    /// How many.
    pub cpus: usize,
    /// The guest's memory in KiB.
    pub memory_kib: u64,
    /// The disk.
    pub disk: String,
    /// The file system.
    pub file_system: String,
    /// The emulator.
    pub qemu: String,
}

/// One boot.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// What the disk was limited to, in bytes a second; `null` for no limit.
    pub disk_rate: Option<u64>,
    /// What each `dmabufio bench` of the session printed, by name.
    pub reports: BTreeMap<String, Report>,
}

impl Session {
    /// The table `id`, whichever report it is in; the cold one first.
    pub fn table(&self, id: &str) -> Option<&Table> {
        let tables = || self.reports.values().flat_map(|report| &report.tables);
        tables()
            .find(|table| table.id == id && table.cache == "cold")
            .or_else(|| tables().find(|table| table.id == id))
    }

    /// The row `name` of the table `id`.
    pub fn row(&self, id: &str, name: &str) -> Option<&Row> {
        self.table(id)?.rows.iter().find(|row| row.name == name)
    }
}

/// What one `dmabufio bench --json` printed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The file in the guest.
    pub file: String,
    /// Bytes of it that were used.
    pub bytes: u64,
    /// Bytes in a buffer.
    pub chunk: u64,
    /// Measured runs of each row.
    pub runs: u32,
    /// The tables.
    pub tables: Vec<Table>,
    /// What the service costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// From the start of a service process until it is registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Spread>,
}

/// Rows whose runs were interleaved.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Its name on the command line.
    pub id: String,
    /// `cold` or `warm`: whether the page cache held the file before each run.
    pub cache: String,
    /// The rows.
    pub rows: Vec<Row>,
}

/// One row.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What the table varies: bytes in a request, extents, clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<u64>,
    /// Bytes that one run moved.
    pub bytes: u64,
    /// `null` if it could not run.
    pub figures: Option<Figures>,
    /// Why it could not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Milliseconds for 1 GiB as published: allocate, read, total.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published_ms: Option<[u32; 3]>,
}

impl Row {
    /// The median of the total in nanoseconds.
    pub fn nanos(&self) -> Option<f64> {
        self.figures.as_ref().map(|figures| figures.total.median_nanos as f64)
    }

    /// Bytes a second, of the median.
    pub fn rate(&self) -> Option<f64> {
        self.nanos().map(|nanos| self.bytes as f64 * 1e9 / nanos)
    }
}

/// What the runs of a row took.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Allocating, where that is apart from reading.
    pub alloc: Option<Spread>,
    /// Reading or writing, where that is apart from allocating.
    pub io: Option<Spread>,
    /// Both.
    pub total: Spread,
    /// CPU time of the command, the service and fio for each GiB.
    pub cpu_seconds_per_gib: f64,
    /// Pages by which the page cache's part of the file grew, at most.
    pub page_cache_growth_pages: u64,
}

/// The times of the runs, in nanoseconds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Half of the runs took no longer.
    pub median_nanos: u64,
    /// The shortest.
    pub min_nanos: u64,
    /// The longest.
    pub max_nanos: u64,
    /// All, in the order in which they ran; run n of all rows of a table belong together.
    pub samples_nanos: Vec<u64>,
}

/// What the service costs as a process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Resident memory before the first request.
    pub idle_rss_bytes: u64,
    /// The most above that during the loads.
    pub rss_growth_bytes: u64,
    /// Loads at the same time.
    pub loads: u64,
    /// Bytes in each.
    pub bytes_per_load: u64,
    /// Pages by which the page cache's part of the file grew.
    pub page_cache_growth_pages: u64,
}

/// A target and whether it was met.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `P1` to `P8`.
    pub id: String,
    /// What is measured.
    pub what: String,
    /// What came out, in words; also where it could not be measured.
    pub measured: String,
    /// What was wanted, in words.
    pub wanted: String,
    /// Whether it was met. What could not be measured was not.
    pub met: bool,
    /// What keeps it from being better.
    pub limited_by: String,
}
