//! The UFS device, from what the kernel shows of it in sysfs (`Documentation/ABI/testing/sysfs-driver-ufs`).

use super::{Finding, Group, Verdict};
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
    facts.extend(
        number("device_descriptor/queue_depth").map(|depth| format!("queue depth {depth}")),
    );
    if let Some(on) = read("flags/wb_enable") {
        let on = on == "true";
        let free = number("attributes/wb_avail_buf").filter(|_| on);
        let free = free.map(|tenths| format!(", {}% free", tenths * 10)).unwrap_or_default();
        facts.push(format!("WriteBooster {}{free}", if on { "on" } else { "off" }));
    }
    facts.extend(number("health_descriptor/eol_info").map(health));
    if let Some(worn) = number("health_descriptor/life_time_estimation_a").filter(|n| *n > 0) {
        facts.push(format!("{}% of its life used", worn * 10));
    }
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

    #[test]
    fn every_fact_that_is_there_is_told_and_no_other() {
        let device = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = device.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("mkdir");
            fs::write(path, text).expect("write");
        };
        file("device_descriptor/specification_version", "0x0400\n");
        assert_eq!(describe(device.path()), "UFS 4.0");
        file("device_descriptor/specification_version", "0x0310\n");
        file("device_descriptor/queue_depth", "0x20\n");
        file("string_descriptors/product_name", "PHONE DISK\n");
        file("power_info/gear", "HS_GEAR5\n");
        file("power_info/lane", "2\n");
        file("flags/wb_enable", "true\n");
        file("attributes/wb_avail_buf", "0x0000000a\n");
        file("health_descriptor/eol_info", "0x01\n");
        file("health_descriptor/life_time_estimation_a", "0x02\n");
        file("hwmon/hwmon0/temp1_input", "45000\n");
        assert_eq!(
            describe(device.path()),
            "UFS 3.1, PHONE DISK, gear HS_GEAR5, lanes 2, queue depth 32, WriteBooster on, 100% free, \
             health normal, 20% of its life used, 45 °C"
        );
    }
}
