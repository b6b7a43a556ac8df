//! The crates that we use and AOSP carries.

/// A crate that modules of ours may link.
pub struct Carried {
    krate: &'static str,
    /// The module with it.
    pub library: &'static str,
    /// Its version in external/rust/android-crates-io of Android 16.
    pub version: &'static str,
    /// Its features; `None` if they do not matter to us.
    pub features: Option<&'static [&'static str]>,
}

const fn of(
    krate: &'static str,
    library: &'static str,
    version: &'static str,
    features: Option<&'static [&'static str]>,
) -> Carried {
    Carried { krate, library, version, features }
}

/// flate2 is built on another library there. The two of binder come with AOSP's own source.
const PLATFORM: [Carried; 16] = [
    of("android_logger", "libandroid_logger", "0.15.0", None),
    of("anyhow", "libanyhow", "1.0.97", None),
    of("binder", "libbinder_rs", "0.0.0", None),
    of("binder_random_parcel_rs", "libbinder_random_parcel_rs", "0.0.0", None),
    of(
        "clap",
        "libclap",
        "4.5.53",
        Some(&["derive", "error-context", "help", "std", "string", "usage"]),
    ),
    of("flate2", "libflate2", "1.0.35", None),
    of("libc", "liblibc", "0.2.168", None),
    of("log", "liblog_rust", "0.4.26", None),
    of("png", "libpng_rust", "0.17.16", Some(&[])),
    of("proptest", "libproptest", "1.6.0", None),
    of("ring", "libring", "0.17.2", Some(&["alloc", "default", "dev_urandom_fallback", "std"])),
    of(
        "rustix",
        "librustix",
        "0.38.31",
        Some(&["alloc", "event", "fs", "libc", "mm", "std", "use-libc"]),
    ),
    of("serde", "libserde", "1.0.219", Some(&["default", "derive", "rc", "std"])),
    of("serde_json", "libserde_json", "1.0.142", Some(&["default", "std"])),
    of("tempfile", "libtempfile", "3.23.0", Some(&["default", "getrandom"])),
    of("thiserror", "libthiserror", "2.0.11", Some(&["default", "std"])),
];

/// The crate in AOSP, if AOSP carries it.
pub fn carried(krate: &str) -> Option<&'static Carried> {
    PLATFORM.iter().find(|carried| carried.krate == krate)
}
