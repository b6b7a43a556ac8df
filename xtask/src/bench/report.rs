//! The results of a benchmark: `bench.json`. `docs/performance.md` describes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[path = "../../../command/src/commands/bench/figures.rs"]
mod figures;

pub use figures::{Row, ServiceFigures, Spread, Table};

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
    /// The machine.
    pub machine: Machine,
    /// Bytes in the stripped release service.
    pub service_bytes: u64,
    /// The boots.
    pub sessions: Vec<Session>,
    /// The targets and their measurements.
    pub targets: Vec<Target>,
}

/// The machine of a benchmark.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Release of the guest's kernel.
    pub kernel: String,
    /// A name for the source, the patches and the configuration of the kernel.
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
    /// The limit of the disk in bytes a second; `null` for no limit.
    pub disk_rate: Option<u64>,
    /// The output of each `dmabufio bench` of the session, by name.
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

/// The output of one `dmabufio bench --json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The file in the guest.
    pub file: String,
    /// The used bytes of the file.
    pub bytes: u64,
    /// Bytes in a buffer.
    pub chunk: u64,
    /// Measured runs of each row.
    pub runs: u32,
    /// The tables.
    pub tables: Vec<Table>,
    /// The cost of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceFigures>,
    /// From the start of a service process until it is registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Spread>,
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

/// A target and whether it was met.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `P1` to `P11`.
    pub id: String,
    /// The measured quantity.
    pub what: String,
    /// The result in words, also if there is no measurement.
    pub measured: String,
    /// The bound in words.
    pub wanted: String,
    /// Whether the target was met. A target without a measurement is missed.
    pub met: bool,
    /// The reason why it is not better.
    pub limited_by: String,
}
