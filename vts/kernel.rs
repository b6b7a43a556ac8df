//! The configuration of the kernel, against `kernel/configs/device`.

use flate2::read::GzDecoder;
use std::fs::File;
use std::io::Read;

const NECESSARY: &str = include_str!("../kernel/configs/device/necessary.config");
const RECOMMENDED: &str = include_str!("../kernel/configs/device/recommended.config");

/// The options of a fragment that a configuration lacks, each with the comment above it. A module is as good as built in.
/// Of an option that is set twice the last line counts, as in Kconfig.
fn lacking(fragment: &str, config: &str) -> Vec<String> {
    let has = |option: &str| {
        let off = format!("# {option} is not set");
        let set = config.lines().rev().find_map(|line| match line.strip_prefix(option) {
            Some(value) => value.strip_prefix('='),
            None => (line == off).then_some("n"),
        });
        matches!(set, Some("y" | "m"))
    };
    let mut reason = "";
    let mut lacking = Vec::new();
    for line in fragment.lines() {
        match line.strip_suffix("=y") {
            Some(option) if !has(option) => lacking.push(format!("{option} is off: {reason}")),
            Some(_) => {}
            None => reason = line.trim_start_matches('#').trim(),
        }
    }
    lacking
}

#[test]
fn kernel_has_the_necessary_options() {
    // Android asks every kernel for this file.
    let file = File::open("/proc/config.gz").expect("open /proc/config.gz");
    let mut config = String::new();
    GzDecoder::new(file).read_to_string(&mut config).expect("inflate /proc/config.gz");
    for option in lacking(RECOMMENDED, &config) {
        println!("recommended: {option}");
    }
    let lacking = lacking(NECESSARY, &config);
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

#[test]
fn missing_option_is_named_with_its_reason() {
    let fragment = "# File.\n\n# For a.\nCONFIG_A=y\n# For b.\nCONFIG_B=y\n# For c.\nCONFIG_C=y\n";
    let config = "CONFIG_A=m\n# CONFIG_B is not set\nCONFIG_C_MORE=y\n";
    let expected = ["CONFIG_B is off: For b.", "CONFIG_C is off: For c."];
    assert_eq!(lacking(fragment, config), expected);
    for off in ["# CONFIG_A is not set\n", "CONFIG_A=n\n"] {
        let twice = format!("CONFIG_A=y\n{off}CONFIG_B=y\nCONFIG_C=y\n");
        assert_eq!(lacking(fragment, &twice), ["CONFIG_A is off: For a."], "{off}");
    }
    for fragment in [NECESSARY, RECOMMENDED] {
        assert!(lacking(fragment, "").len() >= 5);
    }
}
