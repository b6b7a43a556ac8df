//! Runs cargo.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::exec::{self, Step};
use crate::tree;

/// A command of the cargo that runs us, in the tree.
pub fn command(args: &[&str]) -> Command {
    let mut command = exec::command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(tree::root());
    // `cargo run` sets variables about our own package, which must not reach the builds of other
    // packages.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// A step that runs cargo, with the crate that it compiles as the progress.
pub fn step(what: impl Into<String>) -> Step {
    Step::new(what).progress(|line| {
        let (verb, krate) = line.trim().split_once(' ')?;
        matches!(verb, "Compiling" | "Checking" | "Documenting").then(|| krate.to_owned())
    })
}

/// The release programs of the product, one folder for all.
pub fn release() -> Result<PathBuf> {
    let output = step("building the service and the command (release)")
        .hint("`cargo build` in the tree shows the compiler's messages by themselves")
        .capture(&mut command(&[
            "build",
            "--release",
            "--package=dmabufio",
            "--package=dmabufio_command",
            "--bins",
            "--message-format=json-render-diagnostics",
        ]))?;
    let service = programs(&output).find(|program| program.ends_with("dmabufio-service"));
    let service = service
        .context("cargo built no dmabufio-service; is it still a binary of the root package?")?;
    service.parent().map(ToOwned::to_owned).context("a program without a folder")
}

/// The program of the tests `name` of the root package.
pub fn test(name: &str) -> Result<PathBuf> {
    let output = step(format!("building the tests {name}")).capture(&mut command(&[
        "test",
        "--no-run",
        "--test",
        name,
        "--message-format=json-render-diagnostics",
    ]))?;
    let is_it = |program: &PathBuf| {
        let file = program.file_name().map(OsStr::to_string_lossy);
        file.is_some_and(|file| file.starts_with(&format!("{name}-")))
    };
    let test = programs(&output).find(is_it);
    test.with_context(|| format!("cargo built no tests {name}"))
}

/// The programs that cargo names in its messages.
fn programs(messages: &str) -> impl Iterator<Item = PathBuf> + '_ {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// The metadata of the packages in the tree.
pub fn metadata(args: &[&str]) -> Result<Value> {
    let output = command(&["metadata", "--format-version=1", "--quiet"])
        .args(args)
        .output()
        .context("starting cargo")?;
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!(
            "`cargo metadata` {}: {}",
            exec::describe(&output.status),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}
