//! Makes all files that describe the service to Android from one set of facts: Android.bp, init,
//! VINTF, SELinux and APEX files, and the configuration of its tests.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{ensure, Context, Result};
use xtask::{packages, tree};

use crate::blueprint::{self, VTS};
use crate::{aidl, freeze};

/// The facts, by their names in the templates.
const FACTS: [(&str, &str); 9] = [
    ("package", "vendor.dmabufio"),
    ("interface", "IDmabufIo"),
    ("instance", "default"),
    ("service", "vendor.dmabufio.IDmabufIo/default"),
    ("program", "vendor.dmabufio-service"),
    ("apex", "com.vendor.dmabufio"),
    ("label", "u:object_r:hal_vendor_dmabufio_default_exec:s0"),
    ("service_label", "u:object_r:hal_vendor_dmabufio_service:s0"),
    ("vts", VTS),
];

const MANIFEST: &str = "vintf/vendor.dmabufio-service.xml";
const MATRIX: &str = "vintf/compatibility_matrix.vendor.dmabufio.xml";

/// The resident service: a comment on its start, and the lines of its script for it.
const RESIDENT: [&str; 2] = ["Starts with the other HALs, before system_server.", "class hal"];
/// The same for the lazy one.
const LAZY: [&str; 2] = [
    "In place of @program@.rc: servicemanager has it started for a client, and it ends by\n# itself when there is none.",
    "disabled\n    # Or init would start it again as soon as it ends.\n    oneshot",
];

/// Compares the files with their expected text or, with `update`, writes them.
pub fn check(update: bool) -> Result<()> {
    packages::ensure()?;
    let mut differ = Vec::new();
    for (path, text) in files()? {
        ensure!(!text.contains('@'), "{path} would hold a name without a fact:\n{text}");
        if fs::read_to_string(tree::path(&path)).is_ok_and(|have| have == text) {
            continue;
        }
        if update {
            fs::write(tree::path(&path), text).with_context(|| format!("writing {path}"))?;
            println!("wrote {path}");
        } else {
            differ.push(path);
        }
    }
    ensure!(
        differ.is_empty(),
        "not as the templates and Cargo's manifests have them: {}\nnext: cargo xtask aosp package --update",
        differ.join(", ")
    );
    blueprint::formatted()?;
    let schema = tree::path("xtask/aosp/src/vintf.rng");
    let lint = |args: &[&str], files: &[&str]| -> Result<()> {
        let mut xmllint = Command::new("xmllint");
        xmllint.arg("--noout").args(args).args(files.iter().map(|file| tree::path(file)));
        let output = xmllint.output().context("starting xmllint")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    };
    lint(&["--relaxng", &schema.to_string_lossy()], &[MANIFEST, MATRIX])?;
    lint(&[], &["vts/AndroidTest.xml"])?;
    named_alike()
}

/// Checks that the AIDL files and the source agree with the facts.
fn named_alike() -> Result<()> {
    let facts = BTreeMap::from(FACTS);
    let (package, interface, service) = (facts["package"], facts["interface"], facts["service"]);
    ensure!(service == format!("{package}.{interface}/{}", facts["instance"]));
    ensure!(package == aidl::PACKAGE.replace('/', "."));
    let aidl = tree::read(&format!("{}/{}/{interface}.aidl", aidl::SOURCES, aidl::PACKAGE))?;
    ensure!(
        aidl.contains(&format!("\npackage {package};"))
            && aidl.contains(&format!("interface {interface} ")),
        "{interface}.aidl does not declare {service}"
    );
    ensure!(
        tree::read("wire/src/lib.rs")?.contains(&format!("INSTANCE: &str = \"{service}\"")),
        "wire/src/lib.rs does not name {service}"
    );
    Ok(())
}

/// All files, by their paths from the root of the tree.
fn files() -> Result<Vec<(String, String)>> {
    let version = freeze::frozen()?.max(1);
    let versions = if version == 1 { "1".to_owned() } else { format!("1-{version}") };
    let owned = |(name, value): (&'static str, &str)| (name, value.to_owned());
    let mut facts = BTreeMap::from(FACTS.map(owned));
    let escaped = facts["program"].replace('.', "\\.");
    facts.extend([("escaped", escaped), ("version", version.to_string()), ("versions", versions)]);
    facts.insert("cargo_version", env!("CARGO_PKG_VERSION").to_owned());
    let plain = |text: &str| fill(text, &facts);
    let script = |command: &'static str, [when, start]: [&'static str; 2]| {
        let mut facts = facts.clone();
        facts.extend([("when", when), ("command", command), ("start", start)].map(owned));
        fill(include_str!("../templates/service.rc"), &facts)
    };
    let files = [
        ("init/@program@.rc", script("/vendor/bin/hw/@program@", RESIDENT)),
        ("init/@program@-lazy.rc", script("/vendor/bin/hw/@program@-lazy --lazy", LAZY)),
        ("apex/@program@.rc", script("/apex/@apex@/bin/hw/@program@", RESIDENT)),
        ("apex/@program@-lazy.rc", script("/apex/@apex@/bin/hw/@program@ --lazy", LAZY)),
        ("apex/apex_manifest.json", plain("{\n  \"name\": \"@apex@\",\n  \"version\": 1\n}\n")),
        (
            "apex/file_contexts",
            plain(
                "(/.*)?    u:object_r:vendor_file:s0\n/etc(/.*)?    u:object_r:vendor_configs_file:s0\n\
                 /bin/hw/@escaped@    @label@\n",
            ),
        ),
        (
            "sepolicy/vendor/file_contexts",
            plain("/(vendor|system/vendor)/bin/hw/@escaped@(-lazy)?    @label@\n"),
        ),
        ("sepolicy/vendor/service_contexts", plain("@service@    @service_label@\n")),
        (MANIFEST, plain(include_str!("../templates/manifest.xml"))),
        (MATRIX, plain(include_str!("../templates/matrix.xml"))),
        ("vts/AndroidTest.xml", plain(include_str!("../templates/AndroidTest.xml"))),
    ];
    let mut files: Vec<_> = files.into_iter().map(|(path, text)| (plain(path), text)).collect();
    files.push(("TEST_MAPPING".to_owned(), blueprint::test_mapping()?));
    files.extend(blueprint::files(&plain(include_str!("../templates/Android.bp")))?);
    Ok(files)
}

/// Replaces names by facts in a template, and then in the facts themselves.
fn fill(template: &str, facts: &BTreeMap<&str, String>) -> String {
    let mut text = template.to_owned();
    for _ in 0..2 {
        for (name, value) in facts {
            text = text.replace(&format!("@{name}@"), value);
        }
    }
    text
}
