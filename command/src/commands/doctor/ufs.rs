//! The UFS device, from what the kernel shows of it in sysfs (`Documentation/ABI/testing/sysfs-driver-ufs`).

use super::finding::{Finding, Group, Verdict};
use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

/// Where controllers are.
const PLACES: [&str; 2] = ["/sys/bus/pci/drivers/ufshcd", "/sys/bus/platform/devices"];

pub fn finding() -> Finding {
    let device = PLACES
        .iter()
        .flat_map(|place| entries(Path::new(place)))
        .find(|path| path.join("device_descriptor/specification_version").exists());
    let text = device.map_or_else(|| "none".to_owned(), |device| describe(&device));
    Finding::new(Group::Informative, "UFS device", Verdict::Info, text)
}

/// What the device shows. A file that is missing, or that the device does not answer for, is left out.
fn describe(device: &Path) -> String {
    let read = |name: &str| {
        let text = read_to_string(device.join(name)).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let number = |name: &str| {
        let text = read(name)?;
        match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        }
    };
    let mut facts = Vec::new();
    // 0x0410 is 4.1, in binary-coded decimal.
    facts.push(match number("device_descriptor/specification_version") {
        Some(version) => format!("UFS {:x}.{:x}", version >> 8, (version >> 4) & 0xf),
        None => "UFS of unknown version".to_owned(),
    });
    facts.extend(read("string_descriptors/product_name"));
    if let (Some(gear), Some(lanes)) = (read("power_info/gear"), read("power_info/lane")) {
        facts.push(format!("gear {gear}, lanes {lanes}"));
    }
    // 0 means that each logical unit has a queue of its own.
    let depth = number("device_descriptor/queue_depth").filter(|depth| *depth > 0);
    facts.extend(depth.map(|depth| format!("queue depth {depth}")));
    match read("flags/wb_enable").as_deref() {
        Some("true") => {
            let free = number("attributes/wb_avail_buf").filter(|tenths| *tenths <= 10);
            let free = free.map(|tenths| format!(", {}% free", tenths * 10)).unwrap_or_default();
            facts.push(format!("WriteBooster on{free}"));
        }
        Some("false") => facts.push("WriteBooster off".to_owned()),
        _ => {}
    }
    facts.extend(number("health_descriptor/eol_info").map(health));
    // Two kinds of memory, or two ways to estimate the same; the worse one counts.
    let estimates = ["life_time_estimation_a", "life_time_estimation_b"]
        .map(|name| number(&format!("health_descriptor/{name}")).filter(|n| *n <= BEYOND_LIFE));
    facts.extend(estimates.into_iter().flatten().max().and_then(life));
    facts.extend(temperature(device).map(|degrees| format!("{degrees} °C")));
    facts.join(", ")
}

/// bPreEOLInfo of the health descriptor.
fn health(info: u64) -> String {
    match info {
        1 => "health normal".to_owned(),
        2 => "health warning: 80% of the reserved blocks are used".to_owned(),
        3 => "health critical: 90% of the reserved blocks are used".to_owned(),
        _ => "health not told".to_owned(),
    }
}

/// The largest value of bDeviceLifeTimeEstA and bDeviceLifeTimeEstB; those above it are reserved.
const BEYOND_LIFE: u64 = 0x0b;

/// bDeviceLifeTimeEstA or bDeviceLifeTimeEstB of the health descriptor: tenths of the life that the maker expects, begun
/// ones counted. 0 is not defined.
fn life(estimate: u64) -> Option<String> {
    match estimate {
        1..BEYOND_LIFE => {
            Some(format!("{}-{}% of its life used", (estimate - 1) * 10, estimate * 10))
        }
        BEYOND_LIFE => Some("beyond the life that its maker expects: replace it".to_owned()),
        _ => None,
    }
}

/// From the device's hardware monitor, in degrees.
fn temperature(device: &Path) -> Option<i64> {
    entries(&device.join("hwmon")).into_iter().find_map(|monitor| {
        let text = read_to_string(monitor.join("temp1_input")).ok()?;
        Some(text.trim().parse::<i64>().ok()? / 1000)
    })
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    /// A device that shows these facts.
    fn device(facts: &[(&str, &str)]) -> TempDir {
        let device = tempfile::tempdir().expect("a folder");
        for (name, text) in facts {
            let path = device.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("mkdir");
            fs::write(path, format!("{text}\n")).expect("write");
        }
        device
    }

    const VERSION: (&str, &str) = ("device_descriptor/specification_version", "0x0400");

    #[test]
    fn every_fact_that_is_there_is_told_and_no_other() {
        assert_eq!(describe(device(&[VERSION]).path()), "UFS 4.0");
        let full = device(&[
            ("device_descriptor/specification_version", "0x0310"),
            ("device_descriptor/queue_depth", "0x20"),
            ("string_descriptors/product_name", "PHONE DISK"),
            ("power_info/gear", "HS_GEAR5"),
            ("power_info/lane", "2"),
            ("flags/wb_enable", "true"),
            ("attributes/wb_avail_buf", "0x0000000a"),
            ("health_descriptor/eol_info", "0x01"),
            ("health_descriptor/life_time_estimation_a", "0x02"),
            ("hwmon/hwmon0/temp1_input", "45000"),
        ]);
        assert_eq!(
            describe(full.path()),
            "UFS 3.1, PHONE DISK, gear HS_GEAR5, lanes 2, queue depth 32, WriteBooster on, 100% free, \
             health normal, 10-20% of its life used, 45 °C"
        );
    }

    #[test]
    fn life_is_told_as_the_standard_defines_its_values() {
        let told = |a, b| {
            let (a, b) = (
                ("health_descriptor/life_time_estimation_a", a),
                ("health_descriptor/life_time_estimation_b", b),
            );
            describe(device(&[VERSION, a, b]).path())
        };
        for (a, b, expected) in [
            ("0x00", "0x00", "UFS 4.0"),
            ("0x01", "0x00", "UFS 4.0, 0-10% of its life used"),
            ("0x01", "0x09", "UFS 4.0, 80-90% of its life used"),
            ("0x0a", "", "UFS 4.0, 90-100% of its life used"),
            ("0x0b", "0x01", "UFS 4.0, beyond the life that its maker expects: replace it"),
            ("0x00", "0x0b", "UFS 4.0, beyond the life that its maker expects: replace it"),
            ("0x0c", "0xff", "UFS 4.0"),
        ] {
            assert_eq!(told(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn values_without_a_meaning_are_left_out() {
        let odd = device(&[
            VERSION,
            ("device_descriptor/queue_depth", "0x00"),
            ("flags/wb_enable", "true"),
            ("attributes/wb_avail_buf", "0x0000000b"),
        ]);
        assert_eq!(describe(odd.path()), "UFS 4.0, WriteBooster on");
        let odd = device(&[
            VERSION,
            ("device_descriptor/queue_depth", "0xzz"),
            ("flags/wb_enable", "none"),
            ("health_descriptor/life_time_estimation_a", ""),
        ]);
        assert_eq!(describe(odd.path()), "UFS 4.0");
    }
}
