//! Type-checks the Rust code as Soong would build it: against libbinder_rs and the code of AOSP's AIDL compiler.
//!
//! Copies the tree to the cache with three changes: `aidl/` holds the generated code, the crate
//! `binder` is added, and the manifests are those that Soong would use (`manifests`). The source
//! files are the same. A type check links nothing, so it needs neither Android's C library nor
//! libbinder itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use xtask::exec::Step;
use xtask::{cache, cargo, packages, tree};

use crate::aidl;
use crate::sandbox::{copy_dir, empty_dir, Sandbox};

mod manifests;

use manifests::{android_manifest, PACKAGES};

/// The published copy of libbinder_rs.
const LIBBINDER: (&str, &str) = ("binder_ndk", "=0.2.0");

/// More folders that the modules need.
const FOLDERS: [&str; 4] = ["src", "kernel/configs/device", "kernel/uapi", "vintf"];

/// The published copy is from Android 13. These edits give it the signatures of Android 14 and
/// later, in the few places that user code sees: `dump` writes to a `dyn Write`, and a descriptor
/// is an `OwnedFd`.
const NEWER: [(&str, &str, &str); 8] = [
    (
        "src/binder.rs",
        "fn dump(&self, _file: &File, _args: &[&CStr])",
        "fn dump(&self, _writer: &mut dyn std::io::Write, _args: &[&CStr])",
    ),
    (
        "src/binder.rs",
        "fn on_dump(&self, file: &File, args: &[&CStr])",
        "fn on_dump(&self, writer: &mut dyn std::io::Write, args: &[&CStr])",
    ),
    (
        "src/binder.rs",
        "fn on_dump(&self, file: &std::fs::File, args:",
        "fn on_dump(&self, file: &mut dyn std::io::Write, args:",
    ),
    ("src/binder.rs", "use std::fs::File;\n", ""),
    (
        "src/native.rs",
        "fn on_dump(&self, _file: &File, _args:",
        "fn on_dump(&self, _writer: &mut dyn std::io::Write, _args:",
    ),
    ("src/native.rs", "binder.on_dump(&file, &args)", "binder.on_dump(&mut &*file, &args)"),
    (
        "src/parcel/file_descriptor.rs",
        "pub fn new(file: File) -> Self {\n        Self(file)",
        "pub fn new<F: Into<std::os::fd::OwnedFd>>(fd: F) -> Self {\n        Self(File::from(fd.into()))",
    ),
    (
        "src/parcel/file_descriptor.rs",
        "impl From<ParcelFileDescriptor> for File {\n    fn from(file: ParcelFileDescriptor) -> File {\n        file.0",
        "impl From<ParcelFileDescriptor> for std::os::fd::OwnedFd {\n    fn from(file: ParcelFileDescriptor) -> Self {\n        file.0.into()",
    ),
];

/// The arguments with which AOSP binds libbinder's C interface.
const BINDGEN: [&str; 14] = [
    "BinderBindings.hpp",
    "--no-layout-tests",
    "--size_t-is-usize",
    "--default-enum-style=rust_non_exhaustive",
    "--constified-enum",
    "android::c_interface::consts::.*",
    "--allowlist-type",
    "android::c_interface::.*",
    "--allowlist-type",
    "AStatus|AParcel|binder_status_t",
    "--allowlist-type",
    "AIBinder.*",
    "--allowlist-function",
    ".*",
];

/// The definitions of the compiler for vendor code.
const VENDOR_DEFINES: [&str; 2] = ["-D__ANDROID_VENDOR__", "-D__ANDROID_VNDK__"];

/// A choice between two bindings, in place of AOSP's single one.
const BOTH_BINDINGS: &str = "\
#[cfg(not(android_vndk))]
include!(\"system.rs\");
#[cfg(android_vndk)]
include!(\"vendor.rs\");
";

/// The crates that std needs, in the sandbox.
const STD_CRATES: &str = "/usr/lib/rustlib/src/rust/library/vendor";

/// The kind of module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// As a module of the system.
    Plain,
    /// As a module of the vendor partition.
    Vendor,
}

impl Flavour {
    fn rustflags(self) -> &'static str {
        match self {
            Flavour::Plain => "--cfg aosp",
            Flavour::Vendor => "--cfg aosp --cfg android_vndk --cfg android_vendor",
        }
    }
}

/// Checks for this host.
pub fn host(flavour: Flavour) -> Result<()> {
    let key = tree::key([tree::root().to_string_lossy().as_ref()]);
    let _lock = cache::lock(&format!("aosp-types-{key}"))?;
    let dir = cache::subdir("aosp")?.join(format!("types-{key}"));
    lay_out(&dir)?;
    let mut command = cargo::command(&[]);
    command.current_dir(&dir);
    check(command, &format!("type-checking against libbinder_rs, {flavour:?}"), flavour, &[])
}

/// Checks for a phone, as a vendor module like the service.
pub fn android() -> Result<()> {
    let sandbox = Sandbox::with_rust()?;
    lay_out(&sandbox.work())?;
    // Cargo looks for the crates of std in the same place as for ours; they come with the source of
    // std.
    let mut copy = sandbox.command("sh");
    copy.args(["-c", &format!("cp -r --update=none {STD_CRATES}/* vendor/")]);
    Step::new("adding the crates of std").run(&mut copy)?;
    let flavour = Flavour::Vendor;
    let mut command = sandbox.command("env");
    // Debian has no std for Android, and a build of std is a nightly feature.
    command.args(["RUSTC_BOOTSTRAP=1", &format!("RUSTFLAGS={}", flavour.rustflags())]);
    // The C code of ring, which Soong builds itself, is not checked, and there is no compiler for it.
    command.args(["CC_aarch64_linux_android=true", "AR_aarch64_linux_android=true", "cargo"]);
    check(
        command,
        "type-checking for aarch64-linux-android",
        flavour,
        &["-Zbuild-std=std,panic_abort,test", "--target", "aarch64-linux-android"],
    )
}

fn check(mut command: Command, what: &str, flavour: Flavour, more: &[&str]) -> Result<()> {
    command.env("RUSTFLAGS", flavour.rustflags()).env_remove("CARGO_TARGET_DIR");
    // One folder for each flavour: cargo rebuilds everything after a change of flags.
    command.args(["check", "--offline", "--target-dir", &format!("target/{flavour:?}")]).args(more);
    command.args(["--workspace", "--lib", "--bins", "--tests"]);
    Step::new(what)
        .hint("only binder/src/libbinder.rs may differ between the binder stacks; see binder/src/lib.rs")
        .progress(|line| line.trim().strip_prefix("Checking ").map(str::to_owned))
        .run(&mut command)
}

/// Writes the workspace to check into `dir`, and keeps the results of cargo there.
fn lay_out(dir: &Path) -> Result<()> {
    // The AIDL compiler has a sandbox of its own, whose folder is not this one.
    let glue = dir.join("aidl");
    empty_dir(&glue)?;
    write_glue(&glue)?;

    let libbinder = libbinder()?;
    for name in ["libbinder", "libbinder_sys"] {
        empty_dir(&dir.join(name))?;
        copy_dir(&libbinder.join(name), &dir.join(name))?;
    }

    for folder in FOLDERS.iter().chain(&PACKAGES) {
        empty_dir(&dir.join(folder))?;
        copy_dir(&tree::path(folder), &dir.join(folder))?;
    }
    for manifest in manifests() {
        fs::write(dir.join(&manifest), android_manifest(&tree::read(&manifest)?)?)?;
    }
    vendor(dir)
}

/// The manifests of the packages, from the root.
fn manifests() -> impl Iterator<Item = String> {
    PACKAGES.iter().map(|folder| format!("{folder}/Cargo.toml")).chain(["Cargo.toml".to_owned()])
}

/// Puts a copy of every foreign crate beside the workspace, so that the check needs no network.
fn vendor(dir: &Path) -> Result<()> {
    let lock = tree::read("Cargo.lock")?;
    let mut parts = vec![lock.clone()];
    for manifest in manifests().chain(["aidl/Cargo.toml".to_owned()]) {
        parts.push(fs::read_to_string(dir.join(manifest))?);
    }
    let key = tree::key(parts.iter().map(String::as_str));
    let stamp = dir.join("vendored");
    if fs::read_to_string(&stamp).is_ok_and(|have| have == key) {
        return Ok(());
    }
    // Cargo keeps these versions if AOSP has no others, drops crates that Android does not need,
    // and adds crates that AOSP's crates need.
    fs::write(dir.join("Cargo.lock"), lock)?;
    // Cargo would use its own old answer as the source.
    let config = dir.join(".cargo/config.toml");
    let _ = fs::remove_file(&config);
    fs::create_dir_all(dir.join(".cargo"))?;
    let mut command = cargo::command(&["vendor", "--quiet"]);
    Step::new("collecting the crates that Android code uses")
        .hint("cargo must be able to reach its registry")
        .run(command.current_dir(dir))?;
    fs::write(
        &config,
        "[source.crates-io]\nreplace-with = \"vendored\"\n[source.vendored]\ndirectory = \"vendor\"\n",
    )?;
    fs::write(stamp, key).context("writing a stamp")
}

/// The crate `vendor_dmabufio` as Soong would make it.
fn write_glue(dir: &Path) -> Result<()> {
    let src = dir.join("src");
    aidl::generate_rust(&src.join("aidl"))?;
    let mut types = Vec::new();
    for entry in fs::read_dir(src.join("aidl").join(aidl::PACKAGE))? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        types.push(
            name.strip_suffix(".rs").context("generated a file that is not Rust")?.to_owned(),
        );
    }
    types.sort();
    let modules: String = types.iter().map(|name| format!("pub mod {name};\n")).collect();
    let nest = aidl::PACKAGE
        .rsplit('/')
        .fold(modules, |inner, name| format!("pub mod {name} {{\n{inner}}}\n"));
    let path = aidl::PACKAGE.replace('/', "::");
    let mangled: String = types
        .iter()
        .map(|name| format!("pub use crate::aidl::{path}::{name}::mangled::*;\n"))
        .collect();
    fs::write(
        src.join("lib.rs"),
        format!("#![allow(missing_docs, warnings)]\npub mod aidl {{\n{nest}}}\nmod mangled {{\n{mangled}}}\n"),
    )?;
    fs::write(
        dir.join("Cargo.toml"),
        "[package]\nname = \"vendor_dmabufio\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n\
         [dependencies]\nasync-trait = \"0.1\"\nbinder = { path = \"../libbinder\" }\nstatic_assertions = \"1\"\n",
    )
    .context("writing the manifest of the generated crate")
}

/// libbinder_rs as two crates that need no build script: the bindings are made here, once.
fn libbinder() -> Result<PathBuf> {
    let edits = format!("{LIBBINDER:?}{NEWER:?}{BINDGEN:?}{VENDOR_DEFINES:?}{BOTH_BINDINGS}");
    let dest = cache::subdir("aosp")?.join(format!("libbinder-{}", tree::key([edits.as_str()])));
    cache::publish(&dest, |stage| {
        packages::ensure()?;
        let scratch = stage.join("scratch");
        fs::create_dir_all(scratch.join("src"))?;
        fs::write(scratch.join("src/lib.rs"), "")?;
        let (name, version) = LIBBINDER;
        fs::write(
            scratch.join("Cargo.toml"),
            format!("[package]\nname = \"scratch\"\nedition = \"2021\"\n[workspace]\n[dependencies]\n{name} = \"{version}\"\n"),
        )?;
        let mut command = cargo::command(&["vendor", "--quiet"]);
        Step::new("getting libbinder_rs (once)")
            .hint("cargo must be able to reach its registry")
            .run(command.current_dir(&scratch))?;
        let vendored = scratch.join("vendor");

        let binder = stage.join("libbinder");
        copy_dir(&vendored.join(name).join("src"), &binder.join("src"))?;
        for (file, old, new) in NEWER {
            let path = binder.join(file);
            let text = fs::read_to_string(&path)?;
            let newer =
                replaced(&text, old, new).with_context(|| format!("{name} {version}, {file}"))?;
            fs::write(&path, newer)?;
        }
        fs::write(
            binder.join("Cargo.toml"),
            "[package]\nname = \"binder\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[lints.rust]\nwarnings = \"allow\"\n\n\
             [dependencies]\nbinder_ndk_sys = { path = \"../libbinder_sys\" }\ndowncast-rs = \"1.2\"\nlibc = \"0.2\"\n",
        )?;

        let sys = stage.join("libbinder_sys");
        copy_dir(&vendored.join("binder_ndk_sys/src"), &sys.join("src"))?;
        fs::write(
            sys.join("Cargo.toml"),
            "[package]\nname = \"binder_ndk_sys\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[lints.rust]\nwarnings = \"allow\"\n",
        )?;
        let lib = sys.join("src/lib.rs");
        let text = fs::read_to_string(&lib)?;
        let built = "include!(concat!(env!(\"OUT_DIR\"), \"/bindings.rs\"));\n";
        fs::write(
            &lib,
            replaced(&text, built, BOTH_BINDINGS).context("binder_ndk_sys/src/lib.rs")?,
        )?;
        bindings(&sys.join("src"))?;
        fs::remove_dir_all(scratch).context("removing a scratch folder")
    })
}

/// `text` with `new` in place of `old`, which it must contain.
fn replaced(text: &str, old: &str, new: &str) -> Result<String> {
    if !text.contains(old) {
        bail!("does not hold `{old}`");
    }
    Ok(text.replace(old, new))
}

/// Binds the C interface, once as the headers declare it for the system and once for the vendor.
/// Host and phone have the same C types, so the host's bindings fit the phone without the asserts
/// on layouts.
fn bindings(src: &Path) -> Result<()> {
    for (file, defines) in [("system.rs", &[] as &[&str]), ("vendor.rs", &VENDOR_DEFINES)] {
        let mut command = Command::new("bindgen");
        command.current_dir(src).args(BINDGEN).args(["--output", file, "--", "-std=c++17"]);
        command.args(["-Iinclude_cpp", "-Iinclude_ndk", "-Iinclude_platform"]).args(defines);
        Step::new("binding the C interface of libbinder (once)").run(&mut command)?;
    }
    Ok(())
}
