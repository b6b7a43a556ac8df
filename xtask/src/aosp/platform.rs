//! What AOSP carries of the crates that we use.

/// What modules of ours may link beyond our own: what AOSP carries, its version there (external/rust/android-crates-io
/// of Android 16), and its features, unless whatever they are is the same to us. flate2 is built on another library there.
pub const PLATFORM: [(&str, &str, Option<&[&str]>); 14] = [
    ("libandroid_logger", "0.15.0", None),
    ("libanyhow", "1.0.97", None),
    ("libbinder_rs", "", None),
    ("libbinder_random_parcel_rs", "", None),
    ("libclap", "4.5.53", Some(&["derive", "error-context", "help", "std", "string", "usage"])),
    ("libflate2", "1.0.35", None),
    ("liblibc", "0.2.168", None),
    ("liblog_rust", "0.4.26", None),
    ("libproptest", "1.6.0", None),
    ("librustix", "0.38.31", Some(&["alloc", "event", "fs", "libc", "mm", "std", "use-libc"])),
    ("libserde", "1.0.219", Some(&["default", "derive", "rc", "std"])),
    ("libserde_json", "1.0.142", Some(&["default", "std"])),
    ("libtempfile", "3.23.0", Some(&["default", "getrandom"])),
    ("libthiserror", "2.0.11", Some(&["default", "std"])),
];

/// The version of a crate that AOSP carries, and its features unless whatever they are is the same to us.
pub fn carried(krate: &str) -> Option<(&'static str, Option<&'static [&'static str]>)> {
    let found = PLATFORM.iter().find(|(library, ..)| crate_of(library) == krate);
    found.map(|(_, version, features)| (*version, *features))
}

/// Whether a version is at least the one that is asked for, and compatible with it: `^1.2.3`, as Cargo writes a plain
/// requirement.
pub fn satisfies(version: &str, asked: &str) -> bool {
    let numbers = |text: &str| -> Option<Vec<u64>> {
        let mut numbers: Vec<u64> =
            text.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        numbers.resize(3, 0);
        Some(numbers)
    };
    let (Some(have), Some(least)) = (numbers(version), asked.strip_prefix('^').and_then(numbers))
    else {
        return false;
    };
    // What comes before and with the first number that is not zero must be the same.
    let fixed = least.iter().position(|number| *number != 0).unwrap_or(2) + 1;
    have >= least && have[..fixed] == least[..fixed]
}

/// The name of the crate in a Soong library.
pub fn crate_of(library: &str) -> String {
    if let Some((interface, _)) = library.split_once("-V").filter(|_| library.ends_with("-rust")) {
        return interface.replace(['.', '-'], "_");
    }
    let name = library.strip_prefix("lib").unwrap_or(library);
    name.strip_suffix("_rust").unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_cargo_does() {
        for (version, asked, enough) in [
            ("1.0.97", "^1.0.97", true),
            ("1.0.97", "^1", true),
            ("1.0.96", "^1.0.97", false),
            ("2.0.0", "^1.0", false),
            ("0.38.31", "^0.38.31", true),
            ("0.39.0", "^0.38.31", false),
            ("0.4.26", "^0.4", true),
        ] {
            assert_eq!(satisfies(version, asked), enough, "{version} for {asked}");
        }
    }

    #[test]
    fn crate_is_found_behind_the_name_of_the_library() {
        for (library, name) in [
            ("libanyhow", "anyhow"),
            ("liblog_rust", "log"),
            ("liblibc", "libc"),
            ("libandroid_logger", "android_logger"),
            ("vendor.dmabufio-V1-rust", "vendor_dmabufio"),
        ] {
            assert_eq!(crate_of(library), name);
        }
    }
}
