//! Builds with cargo and learns from its messages what came out.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::exec::{self, Step};
use crate::tree;

/// A program that cargo built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The target's name: of a binary or of a test.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is a test.
    pub test: bool,
}

/// A cargo command, run in the tree by the cargo that runs us.
pub fn command(args: &[&str]) -> Command {
    let mut command = exec::command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(tree::root());
    // What `cargo run` tells us about our own package is not for other packages' builds.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a building cargo command and returns the programs that it made or found fresh.
pub fn build(what: &str, args: &[&str]) -> Result<Vec<Artifact>> {
    let mut command = command(args);
    command.arg("--message-format=json-render-diagnostics");
    let output = Step::new(what)
        .hint("`cargo build` in the tree shows the compiler's messages by themselves")
        .progress(|line| {
            let message: Message = serde_json::from_str(line).ok()?;
            message.target.map(|target| target.name)
        })
        .capture(&mut command)?;
    artifacts(&output)
}

/// The release programs of the product, one folder for all.
pub fn release() -> Result<PathBuf> {
    let built = build(
        "building the service and the command (release)",
        &["build", "--release", "--package", "dmabufio", "--package", "dmabufio_command", "--bins"],
    )?;
    let service = built.iter().find(|artifact| artifact.name == "dmabufio-service");
    let service = service
        .context("cargo built no dmabufio-service; is it still a binary of the root package?")?;
    service.path.parent().map(ToOwned::to_owned).context("a program without a folder")
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

fn artifacts(output: &str) -> Result<Vec<Artifact>> {
    let mut found = Vec::new();
    for line in output.lines().filter(|line| line.starts_with('{')) {
        let message: Message = match serde_json::from_str(line) {
            Ok(message) => message,
            // A build script may print lines of its own.
            Err(_) => continue,
        };
        let Message {
            reason,
            executable: Some(path),
            target: Some(target),
            profile: Some(profile),
        } = message
        else {
            continue;
        };
        if reason == "compiler-artifact" && !target.kind.iter().any(|kind| kind == "custom-build") {
            found.push(Artifact { name: target.name, path, test: profile.test });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_are_artifacts() -> Result<()> {
        let output = concat!(
            "   Compiling x\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"l"},"profile":{"test":false},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"t"},"profile":{"test":true},"executable":"/t-1"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
            "\n{ not json\n"
        );
        assert_eq!(
            artifacts(output)?,
            [Artifact { name: "t".into(), path: "/t-1".into(), test: true }]
        );
        Ok(())
    }
}
