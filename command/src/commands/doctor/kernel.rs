//! The kernel: its release, its page size, and whether it is configured as `kernel/configs/device` asks.

use super::{Finding, Group, Verdict};
use crate::connect::ConnectArgs;
use dmabufio_core::heap::Heap;
use dmabufio_core::sys::sysconf::page_size;
use flate2::read::GzDecoder;
use std::collections::BTreeMap;
use std::fs::{self, read_to_string};
use std::io::{self, Read};
use std::path::Path;

/// Where a kernel with CONFIG_IKCONFIG_PROC shows its configuration.
const RUNNING: &str = "/proc/config.gz";

/// The fragments for device teams, and what a missing option means.
const FRAGMENTS: [(Group, Verdict, &str); 3] = [
    (
        Group::Necessary,
        Verdict::Broken,
        include_str!("../../../../kernel/configs/device/necessary.config"),
    ),
    (
        Group::Recommended,
        Verdict::Slow,
        include_str!("../../../../kernel/configs/device/recommended.config"),
    ),
    (
        Group::Informative,
        Verdict::Info,
        include_str!("../../../../kernel/configs/device/debugging.config"),
    ),
];

/// All that there is to say about the kernel. Its configuration matters where buffers come from the system heap, and
/// where it was asked for by name.
pub fn findings(config: Option<&Path>, connect: &ConnectArgs) -> Vec<Finding> {
    let matters = config.is_some() || (connect.socket.is_none() && connect.heap == Heap::System);
    let release = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let text = format!("{}, pages of {} KiB", release.trim(), page_size() / 1024);
    let mut findings = vec![Finding::new(Group::Informative, "kernel", Verdict::Info, text)];
    let path = config.unwrap_or(Path::new(RUNNING));
    match read(path) {
        Ok(text) => {
            findings.extend(FRAGMENTS.map(|(group, missing, fragment)| {
                let missing = if matters { missing } else { Verdict::Info };
                compare(group, missing, fragment, &text, &path.display().to_string())
            }));
        }
        Err(error) => {
            let text = format!("{}: {error}", path.display());
            let (group, verdict) = match config {
                // What was asked for has to be looked at.
                Some(_) => (Group::Necessary, Verdict::Broken),
                None => (Group::Informative, Verdict::Info),
            };
            let finding = Finding::new(group, "kernel config", verdict, text);
            findings.push(finding.fix("name the kernel's configuration with --config"));
        }
    }
    findings
}

/// A configuration, compressed or not.
fn read(path: &Path) -> io::Result<String> {
    let bytes = fs::read(path)?;
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        GzDecoder::new(bytes.as_slice()).read_to_string(&mut text)?;
    } else {
        text = String::from_utf8_lossy(&bytes).into_owned();
    }
    Ok(text)
}

fn compare(
    group: Group,
    missing: Verdict,
    fragment: &'static str,
    config: &str,
    place: &str,
) -> Finding {
    let have: BTreeMap<&str, &str> =
        config.lines().filter_map(|line| line.trim().split_once('=')).collect();
    let lacking: Vec<(&str, &str)> = wanted(fragment)
        // What may be a module may be built in and the other way round.
        .filter(|(option, _)| !matches!(have.get(option), Some(&("y" | "m"))))
        .collect();
    let subject = "kernel config";
    if lacking.is_empty() {
        let text = format!("all {group} options are on in {place}");
        return Finding::new(group, subject, Verdict::Ok, text);
    }
    let reasons: Vec<String> =
        lacking.iter().map(|(option, reason)| format!("{option} is off: {reason}")).collect();
    let options: Vec<String> = lacking.iter().map(|(option, _)| format!("{option}=y")).collect();
    Finding::new(group, subject, missing, reasons.join(" "))
        .fix(format!("build the kernel with {}", options.join(" ")))
}

/// The options of a fragment, each with the comment above it.
fn wanted(fragment: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut reason = "";
    fragment.lines().filter_map(move |line| match line.strip_suffix("=y") {
        Some(option) => Some((option, reason)),
        None => {
            reason = line.trim_start_matches('#').trim();
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAGMENT: &str = "# File.\n\n# Needed for a.\nCONFIG_A=y\n# Needed for b.\nCONFIG_B=y\n";

    fn compared(config: &str) -> Finding {
        compare(Group::Necessary, Verdict::Broken, FRAGMENT, config, "here")
    }

    #[test]
    fn module_and_built_in_are_both_there() {
        assert!(compared("CONFIG_A=m\nCONFIG_B=y\n").verdict == Verdict::Ok);
    }

    #[test]
    fn missing_option_is_named_with_its_reason_and_the_fix() {
        let finding = compared("CONFIG_A=y\n# CONFIG_B is not set\n");
        assert!(finding.verdict == Verdict::Broken);
        assert_eq!(finding.text, "CONFIG_B is off: Needed for b.");
        assert_eq!(finding.fix.as_deref(), Some("build the kernel with CONFIG_B=y"));
    }

    #[test]
    fn every_option_for_devices_has_a_reason() {
        for (group, _, fragment) in FRAGMENTS {
            assert!(wanted(fragment).count() >= 5, "{group}");
            for (option, reason) in wanted(fragment) {
                assert!(option.starts_with("CONFIG_"), "{option}");
                assert!(reason.ends_with('.'), "{option}: {reason}");
            }
        }
    }
}
