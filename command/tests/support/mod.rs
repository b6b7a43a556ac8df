//! `dmabufio bench` as `cargo xtask bench` reads it.

#[path = "../../../xtask/src/bench/report.rs"]
#[allow(dead_code, reason = "the schema, of which a test needs a part")]
pub mod report;

use report::Report;
use std::path::Path;
use std::process::Command;

/// Runs `dmabufio bench` once for each row.
pub fn bench(file: &Path, args: &[&str]) -> Report {
    let output = Command::new(env!("CARGO_BIN_EXE_dmabufio"))
        .args(["bench", "--json", "--runs", "1"])
        .arg(file)
        .args(args)
        .output()
        .expect("run dmabufio");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let text = String::from_utf8_lossy(&output.stdout);
        panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr))
    })
}
