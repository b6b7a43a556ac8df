//! The Rust modules of the Android.bp files, made from Cargo's manifests, as AOSP's cargo_embargo does.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{bail, ensure, Context, Result};
use semver::{Version, VersionReq};
use serde_json::{json, Value};
use xtask::{cargo, tree};

use crate::freeze;
use crate::platform::carried;

/// A module for a crate.
struct Module {
    kind: &'static str,
    name: &'static str,
    /// The folder of the Android.bp and, if there is one, of the Cargo package whose dependencies the module links.
    dir: &'static str,
    /// The crate root, from there.
    root: &'static str,
    /// Crates that it links beyond those of the package.
    links: &'static [&'static str],
    /// Its other properties.
    more: &'static str,
}

/// The test that every implementation must pass.
pub const VTS: &str = "VtsHalDmabufIoTargetTest";

const LIB: &str = "src/lib.rs";
const TEST: &str = "
    // Nothing here depends on the width of a pointer, and phones run the 64-bit build.
    compile_multilib: \"first\",
    test_suites: [\"general-tests\"],
    auto_gen_config: true,";

const MODULES: &[Module] = &[
    Module {
        kind: "rust_library",
        name: "libbinder_shim",
        dir: "binder",
        root: LIB,
        links: &["binder"],
        more: "
    // Selects libbinder_rs. Soong adds android_vndk by itself where it builds for the vendor.
    cfgs: [\"aosp\"],
    vendor_available: true,",
    },
    library("libdmabufio_core", "core"),
    test("libdmabufio_core_test", "core", LIB),
    library("libdmabufio_wire", "wire"),
    test("libdmabufio_wire_test", "wire", LIB),
    library("libdmabufio_service", ""),
    test("libdmabufio_service_test", "", LIB),
    Module {
        kind: "rust_defaults",
        name: "vendor.dmabufio-service_defaults",
        dir: "",
        root: "src/main.rs",
        links: &["dmabufio_service"],
        more: "
    vendor: true,
    relative_install_path: \"hw\",
    // One file with the standard library in it, also in an APEX.
    prefer_rlib: true,",
    },
    library("libdmabufio_client", "client"),
    Module {
        kind: "rust_ffi_shared",
        name: "libdmabufio_c",
        dir: "client/c",
        root: LIB,
        links: &[],
        more: "
    vendor_available: true,
    // A cc module that links the library has the header.
    export_include_dirs: [\"include\"],",
    },
    test("libdmabufio_c_test", "client/c", LIB),
    Module {
        kind: "rust_binary",
        name: "dmabufio",
        dir: "command",
        root: "src/main.rs",
        links: &[],
        more: "
    // Not a vendor module: a shell runs it, and the platform's policy lets one run what is on the
    // system's partitions.
    system_ext_specific: true,
    // One file, which can be pushed to a phone as well.
    prefer_rlib: true,",
    },
    test("dmabufio_command_test", "command", "src/main.rs"),
    Module {
        kind: "rust_test",
        name: VTS,
        dir: "vts",
        root: "VtsHalDmabufIoTargetTest.rs",
        links: &[],
        more: "
    // Not a vendor module: those are installed where their files may not be passed to a HAL.
    compile_multilib: \"first\",
    require_root: true,
    test_config: \"AndroidTest.xml\",
    test_suites: [
        \"general-tests\",
        \"vts\",
    ],",
    },
    Module {
        kind: "rust_fuzz",
        name: "dmabufio_service_fuzzer",
        dir: "fuzz",
        root: "service_fuzzer.rs",
        links: &["binder", "binder_random_parcel_rs", "binder_shim", "dmabufio_core", "dmabufio_service"],
        more: "
    // The library behind it is not for vendor modules, so this is none: it links the core variant of
    // the service's library.
    fuzz_config: {
        fuzzed_code_usage: \"shipped\",
        service_privilege: \"constrained\",
        users: \"multi_user\",
        vector: \"local_privileges_required\",
    },",
    },
];

const fn library(name: &'static str, dir: &'static str) -> Module {
    Module {
        kind: "rust_library",
        name,
        dir,
        root: LIB,
        links: &[],
        more: "vendor_available: true,",
    }
}

const fn test(name: &'static str, dir: &'static str, root: &'static str) -> Module {
    Module { kind: "rust_test", name, dir, root, links: &[], more: TEST }
}

/// The Android.bp files with Rust modules, by their paths. That of the root begins with `root`.
pub fn files(root: &str) -> Result<Vec<(String, String)>> {
    let metadata = cargo::metadata(&["--no-deps", "--offline"])?;
    let packages: BTreeMap<String, &Value> =
        array(&metadata["packages"]).map(|package| (folder(package), package)).collect();
    complete(&packages)?;
    let head = "// Made by `cargo xtask aosp` from Cargo.toml.\n\
                package {\n    default_applicable_licenses: [\"vendor_dmabufio_license\"],\n}\n";
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    for module in MODULES {
        let start = if module.dir.is_empty() { root } else { head };
        let text = texts.entry(module.dir).or_insert_with(|| start.to_owned());
        *text += "\n";
        *text += &write(module, packages.get(module.dir).copied())
            .with_context(|| module.name.to_owned())?;
    }
    let named = |(dir, text): (&str, String)| {
        Ok((format!("{dir}/Android.bp").trim_start_matches('/').to_owned(), format(&text)?))
    };
    texts.into_iter().map(named).collect()
}

/// TEST_MAPPING: the tests on a phone before and after the acceptance of a change.
pub fn test_mapping() -> Result<String> {
    let tests = |vts: bool| {
        let tests = MODULES
            .iter()
            .filter(|module| module.kind == "rust_test" && (module.name == VTS) == vts);
        tests.map(|module| json!({ "name": module.name })).collect::<Vec<_>>()
    };
    let mapping = json!({ "presubmit": tests(false), "postsubmit": tests(true) });
    Ok(serde_json::to_string_pretty(&mapping)? + "\n")
}

/// Checks that every library and program of Cargo that Android builds has a module.
fn complete(packages: &BTreeMap<String, &Value>) -> Result<()> {
    for (dir, package) in packages {
        if dir == "aidl" || dir.starts_with("xtask") {
            continue;
        }
        ensure!(package["edition"] == "2021", "{dir}: dmabufio_defaults have another edition");
        for target in array(&package["targets"]) {
            let built = matches!(target["kind"][0].as_str(), Some("lib" | "cdylib" | "bin"));
            let root = Path::new(target["src_path"].as_str().unwrap_or_default());
            let has = MODULES.iter().any(|module| tree::path(module.dir).join(module.root) == root);
            ensure!(has || !built, "no module builds {}", root.display());
        }
    }
    Ok(())
}

fn write(module: &Module, package: Option<&Value>) -> Result<String> {
    let Module { kind, name, root, links, more, .. } = module;
    ensure!(tree::path(module.dir).join(root).is_file(), "there is no {root}");
    let mut libraries = links.iter().map(|krate| library_of(krate)).collect::<Result<Vec<_>>>()?;
    libraries.extend(
        package
            .map(|package| linked(package, *kind == "rust_test"))
            .transpose()?
            .into_iter()
            .flatten(),
    );
    libraries.sort();
    libraries.dedup();
    let libraries: String =
        libraries.iter().map(|library| format!("        \"{library}\",\n")).collect();
    let lib = package.and_then(|package| {
        array(&package["targets"])
            .find(|target| target["kind"][0] == "lib" || target["kind"][0] == "cdylib")
    });
    let krate = lib.filter(|_| *root == LIB).and_then(|lib| lib["name"].as_str());
    let krate = krate.map_or(String::new(), |name| format!("    crate_name: \"{name}\",\n"));
    Ok(format!(
        "{kind} {{\n    name: \"{name}\",\n    defaults: [\"dmabufio_defaults\"],\n{krate}    srcs: [\"{root}\"],\n\
         {}\n    rustlibs: [\n{libraries}    ],\n}}\n",
        more.trim_start_matches('\n')
    ))
}

/// The libraries that a package links on Android; for its tests too, as far as AOSP carries those.
fn linked(package: &Value, tests: bool) -> Result<Vec<String>> {
    let mut libraries = Vec::new();
    for dependency in array(&package["dependencies"]) {
        let name = dependency["name"].as_str().unwrap_or_default();
        match dependency["target"].as_str() {
            None | Some("cfg(target_os = \"android\")") => {}
            Some("cfg(not(target_os = \"android\"))" | "cfg(not(aosp))") => continue,
            Some(other) => bail!("whether `{other}` holds on Android is not known here"),
        }
        let development = dependency["kind"] == "dev";
        if development && (!tests || library_of(&name.replace('-', "_")).is_err()) {
            continue;
        }
        let krate = name.replace('-', "_");
        libraries.push(library_of(&krate)?);
        let Some(platform) = carried(&krate) else { continue };
        let asked = VersionReq::parse(dependency["req"].as_str().unwrap_or_default())?;
        let version = platform.version;
        ensure!(
            asked.matches(&Version::parse(version)?),
            "Cargo.toml asks for {name} {asked}, AOSP has {version}"
        );
    }
    Ok(libraries)
}

/// The name of the module with a crate: one of ours, or one that AOSP carries.
fn library_of(krate: &str) -> Result<String> {
    if krate == "vendor_dmabufio" {
        return Ok(format!("vendor.dmabufio-V{}-rust", freeze::frozen()?.max(1)));
    }
    let own = MODULES
        .iter()
        .find(|module| module.kind == "rust_library" && module.name == format!("lib{krate}"));
    let name = own.map(|module| module.name).or_else(|| Some(carried(krate)?.library));
    name.map(str::to_owned)
        .with_context(|| format!("neither this project nor AOSP's vendor crates have {krate}"))
}

/// Fails unless the Android.bp files that are written by hand are formatted.
pub fn formatted() -> Result<()> {
    let text = tree::read("aidl/Android.bp")?;
    ensure!(
        format(&text)? == text,
        "aidl/Android.bp is not formatted\nnext: bpfmt -w aidl/Android.bp"
    );
    Ok(())
}

/// The output of bpfmt for a file; bpfmt reads it like Soong.
fn format(text: &str) -> Result<String> {
    let mut bpfmt = Command::new("bpfmt");
    bpfmt.arg("-o");
    bpfmt.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = bpfmt.spawn().context("starting bpfmt")?;
    // It reads everything before it writes.
    child.stdin.take().context("the input of bpfmt")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// The folder of a package, from the root of the tree.
pub fn folder(package: &Value) -> String {
    let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
    let dir = manifest.parent().and_then(|dir| dir.strip_prefix(tree::root()).ok());
    dir.map_or(String::new(), |dir| dir.to_string_lossy().into_owned())
}

/// The elements of a JSON array.
pub fn array(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_array().into_iter().flatten()
}
