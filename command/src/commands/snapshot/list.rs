//! `dmabufio snapshot list`

use super::choice::open;
use super::picture::PictureReport;
use crate::name::{shown, NameField};
use crate::output::Output;
use crate::size;
use anyhow::Result;
use dmabufio_client::snapshot::{Entry, SnapshotStore, Variant};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

/// List the tasks that have a snapshot, in the order in which they were saved
#[derive(clap::Args)]
pub struct Args {
    /// The folder of the snapshots
    store: PathBuf,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    store: NameField,
    bytes: u64,
    snapshots: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    user: u32,
    task: u32,
    bytes: u64,
    /// Seconds since 1970.
    saved_unix_seconds: u64,
    reduced: bool,
    picture: Option<PictureReport>,
    /// What is wrong with the header.
    error: Option<String>,
}

impl Row {
    fn new(store: &SnapshotStore, entry: &Entry) -> Self {
        let info = store.info(entry.task, Variant::Full);
        let since = entry.saved.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            user: entry.task.user,
            task: entry.task.task,
            bytes: entry.bytes,
            saved_unix_seconds: since.as_secs(),
            reduced: entry.reduced,
            picture: info.as_ref().ok().map(|info| PictureReport::new(&info.picture)),
            error: info.err().map(|error| error.to_string()),
        }
    }
}

pub fn run(args: &Args, output: &Output) -> Result<ExitCode> {
    let store = open(&args.store, None)?;
    let rows: Vec<Row> = store.list()?.iter().map(|entry| Row::new(&store, entry)).collect();
    let report = Report {
        store: NameField::new("store", &args.store),
        bytes: rows.iter().map(|row| row.bytes).sum(),
        snapshots: rows,
    };
    output.result(&report, |out| {
        let (count, bytes) = (report.snapshots.len(), size::bytes(report.bytes));
        writeln!(out, "{}: {count} snapshots, {bytes}", shown(&args.store))?;
        for row in &report.snapshots {
            let Row { user, task, reduced, .. } = row;
            let what = match (&row.picture, &row.error) {
                (Some(picture), _) => picture.summary(),
                (None, error) => error.clone().unwrap_or_default(),
            };
            let bytes = size::bytes(row.bytes);
            let reduced = if *reduced { ", and reduced" } else { "" };
            writeln!(out, "  user {user:<4} task {task:<8} {bytes:>10}  {what}{reduced}")?;
        }
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}
