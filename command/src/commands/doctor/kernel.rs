//! The kernel: its release, its page size, and whether it is configured as `kernel/configs/device` asks.

use super::finding::{Finding, Group, Verdict};
use super::running;
use crate::connect::ConnectArgs;
use dmabufio_core::heap::Heap;
use dmabufio_core::sys::sysconf::page_size;
use flate2::read::MultiGzDecoder;
use std::collections::BTreeMap;
use std::fs::{self, read_to_string};
use std::io::{self, ErrorKind, Read};
use std::mem;
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

/// All that there is to say about the kernel. A missing option matters where buffers come from the system heap, and
/// where the caller named a configuration.
///
/// `/proc/config.gz` may be unreadable, and some vendors show the configuration of another kernel there on purpose. So an
/// option counts as on if the configuration or the running kernel itself has it. A configuration that the caller named is
/// judged alone.
pub fn findings(config: Option<&Path>, connect: &ConnectArgs) -> Vec<Finding> {
    let matters = config.is_some() || (connect.socket.is_none() && connect.heap() == Heap::System);
    let release = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let text = format!("{}, pages of {} KiB", release.trim(), page_size() / 1024);
    let mut findings = vec![Finding::new(Group::Informative, "kernel", Verdict::Info, text)];
    let path = config.unwrap_or(Path::new(RUNNING));
    let text = read(path);
    let shows = if config.is_some() { |_: &str| None } else { running::shows };
    let (subject, options) = match &text {
        Ok(text) => ("kernel config", Some(options(text))),
        Err(error) => {
            let text = format!("{}: {error}", path.display());
            findings.push(match config {
                // The caller asked for this file.
                Some(_) => Finding::new(Group::Necessary, "kernel config", Verdict::Broken, text)
                    .fix("name a kernel's configuration, as text or in gzip format"),
                None => {
                    let text = format!("{text}; the running kernel was asked instead");
                    Finding::new(Group::Informative, "kernel config", Verdict::Info, text)
                        .fix("name the kernel's configuration with --config")
                }
            });
            if config.is_some() {
                return findings;
            }
            ("kernel", None)
        }
    };
    findings.extend(FRAGMENTS.map(|(group, missing, fragment)| {
        let missing = if matters { missing } else { Verdict::Info };
        compare(subject, group, missing, fragment, options.as_ref(), shows)
    }));
    findings
}

/// A configuration, compressed or not.
fn read(path: &Path) -> io::Result<String> {
    let mut bytes = fs::read(path)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let compressed = mem::take(&mut bytes);
        // Files in gzip format that were joined are one configuration.
        MultiGzDecoder::new(compressed.as_slice()).read_to_end(&mut bytes)?;
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if options(&text).is_empty() {
        return Err(io::Error::new(ErrorKind::InvalidData, "no kernel configuration"));
    }
    Ok(text)
}

/// The options of a configuration with their values. Of an option that is set twice the last line counts, as in Kconfig,
/// whichever way it says so.
fn options(config: &str) -> BTreeMap<&str, &str> {
    let lines = config.lines().map(str::trim_end);
    let options = lines.filter_map(|line| match line.strip_prefix("# ") {
        Some(comment) => comment.strip_suffix(" is not set").map(|option| (option, "n")),
        None => line.split_once('='),
    });
    options.filter(|(option, _)| option.starts_with("CONFIG_")).collect()
}

/// Looks for the options of a fragment in a configuration, if there is one. `shows` is what the running kernel says.
fn compare(
    subject: &'static str,
    group: Group,
    missing: Verdict,
    fragment: &'static str,
    config: Option<&BTreeMap<&str, &str>>,
    shows: impl Fn(&str) -> Option<bool>,
) -> Finding {
    let (mut lacking, mut untold, mut denied) = (Vec::new(), Vec::new(), Vec::new());
    for (option, reason) in wanted(fragment) {
        // A module is as good as an option that is built in.
        let set = config.map(|config| matches!(config.get(option), Some(&("y" | "m"))));
        match (set, shows(option)) {
            (Some(true), _) | (None, Some(true)) => {}
            (Some(false), Some(true)) => denied.push(option),
            (Some(false), _) => lacking.push((option, format!("{option} is off: {reason}"))),
            (None, Some(false)) => {
                let text = format!("{option} is off, or a module that is not loaded: {reason}");
                lacking.push((option, text));
            }
            (None, None) => untold.push(option),
        }
    }
    if !lacking.is_empty() {
        let reasons: Vec<&str> = lacking.iter().map(|(_, text)| text.as_str()).collect();
        let options: Vec<String> =
            lacking.iter().map(|(option, _)| format!("{option}=y")).collect();
        return Finding::new(group, subject, missing, reasons.join(" "))
            .fix(format!("build the kernel with {}", options.join(" ")));
    }
    if !untold.is_empty() {
        let text =
            format!("cannot tell whether these {group} options are on: {}", untold.join(", "));
        return Finding::new(group, subject, Verdict::Info, text);
    }
    let mut text = format!("all {group} options are on");
    if !denied.is_empty() {
        let denied = denied.join(", ");
        text = format!("{text}; the configuration says otherwise, but the kernel shows {denied}");
    }
    Finding::new(group, subject, Verdict::Ok, text)
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
    use flate2::write::GzEncoder;
    use flate2::Compression;
    use std::io::Write;

    const FRAGMENT: &str = "# File.\n\n# Needed for a.\nCONFIG_A=y\n# Needed for b.\nCONFIG_B=y\n";

    fn judged(config: Option<&str>, shows: impl Fn(&str) -> Option<bool>) -> Finding {
        let config = config.map(options);
        compare("here", Group::Necessary, Verdict::Broken, FRAGMENT, config.as_ref(), shows)
    }

    fn compared(config: &str) -> Finding {
        judged(Some(config), |_| None)
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
    fn option_that_is_set_twice_has_its_last_value() {
        let both = "CONFIG_A=y\nCONFIG_B=y\n";
        for off in ["# CONFIG_B is not set\n", "CONFIG_B=n\n", "# CONFIG_B is not set\r\n"] {
            let finding = compared(&format!("{both}{off}"));
            assert_eq!(finding.text, "CONFIG_B is off: Needed for b.", "{off}");
            assert!(compared(&format!("{off}{both}")).verdict == Verdict::Ok, "{off}");
        }
        for comment in ["# CONFIG_B=n\n", "# CONFIG_B_MORE is not set\n", "# CONFIG_B is off\n"] {
            assert!(compared(&format!("{both}{comment}")).verdict == Verdict::Ok, "{comment}");
        }
    }

    #[test]
    fn kernel_that_shows_an_option_is_believed_before_its_configuration() {
        let finding = judged(Some("CONFIG_A=y\n"), |option| Some(option == "CONFIG_B"));
        assert!(finding.verdict == Verdict::Ok);
        assert!(finding.text.ends_with("but the kernel shows CONFIG_B"), "{}", finding.text);
    }

    #[test]
    fn kernel_without_configuration_is_judged_by_what_it_shows() {
        assert!(judged(None, |_| Some(true)).verdict == Verdict::Ok);
        let finding = judged(None, |option| Some(option == "CONFIG_A"));
        assert!(finding.verdict == Verdict::Broken);
        assert_eq!(finding.text, "CONFIG_B is off, or a module that is not loaded: Needed for b.");
        let finding = judged(None, |option| (option == "CONFIG_A").then_some(true));
        assert!(finding.verdict == Verdict::Info);
        assert_eq!(finding.text, "cannot tell whether these necessary options are on: CONFIG_B");
    }

    #[test]
    fn configurations_are_read_as_text_and_in_gzip_format() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let judge = |bytes: &[u8]| {
            fs::write(file.path(), bytes).expect("write");
            read(file.path()).map_err(|error| error.kind())
        };
        let gzip = |text: &str| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text.as_bytes()).expect("compress");
            encoder.finish().expect("compress")
        };
        let (on, off) = ("CONFIG_A=y\n", "# CONFIG_A is not set\n");
        assert_eq!(judge(on.as_bytes()).as_deref(), Ok(on));
        let joined = [gzip(on), gzip(off)].concat();
        assert_eq!(judge(&joined).as_deref(), Ok(format!("{on}{off}").as_str()));
        assert_eq!(judge(&joined[..joined.len() - 4]), Err(ErrorKind::UnexpectedEof));
        for other in ["", "root:x:0:0::/root:/bin/sh\n", "HOME=/\n"] {
            assert_eq!(judge(other.as_bytes()), Err(ErrorKind::InvalidData), "{other}");
        }
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
