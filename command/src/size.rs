//! Reads and writes sizes, rates and times for people.

use std::time::Duration;

const UNITS: [(&str, u32); 5] = [("T", 40), ("G", 30), ("M", 20), ("K", 10), ("", 0)];

/// Reads a number of bytes, with an optional binary suffix: `4096`, `64K`, `32M`, `1GiB`.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let suffix = text[digits.len()..].to_ascii_uppercase();
    let suffix = suffix.trim_end_matches('B').trim_end_matches('I');
    let shift = UNITS.iter().find(|(unit, _)| *unit == suffix).map(|(_, shift)| *shift);
    let (Ok(number), Some(shift)) = (digits.parse::<u64>(), shift) else {
        return Err("not a size; write it like 4096, 64K, 32M or 1G".to_owned());
    };
    number.checked_mul(1 << shift).ok_or_else(|| "too large".to_owned())
}

/// `268435456` as `256.0 MiB`.
pub fn bytes(value: u64) -> String {
    match UNITS.iter().find(|(_, shift)| value >> shift > 0) {
        Some((unit, shift)) if *shift > 0 => {
            format!("{:.1} {unit}iB", value as f64 / (1_u64 << shift) as f64)
        }
        _ => format!("{value} B"),
    }
}

/// Bytes in a time as `3.78 GB/s`: decimal, as disks are sold.
pub fn rate(bytes: u64, time: Duration) -> String {
    let rate = bytes as f64 / time.as_secs_f64().max(1e-9);
    match rate {
        _ if bytes == 0 => "-".to_owned(),
        _ if rate >= 1e9 => format!("{:.2} GB/s", rate / 1e9),
        _ => format!("{:.1} MB/s", rate / 1e6),
    }
}

/// A time as `72.1 ms`.
pub fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds >= 10.0 => format!("{seconds:.1} s"),
        seconds if seconds >= 1.0 => format!("{seconds:.2} s"),
        seconds if seconds >= 1e-3 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{:.0} us", seconds * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_binary_suffixes_are_read() {
        for (text, value) in
            [("0", 0), ("4096", 4096), ("64K", 65536), ("32MiB", 32 << 20), ("5g", 5 << 30)]
        {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "K", "-1", "1.5G", "12X", "99999999999T"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_fits() {
        for (value, text) in [(0, "0 B"), (1023, "1023 B"), (1 << 28, "256.0 MiB")] {
            assert_eq!(bytes(value), text);
        }
    }
}
