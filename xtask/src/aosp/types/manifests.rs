//! The manifests of what is type-checked: those of the tree, as Soong would have them, and one for each test.

use std::fs;
use std::path::Path;

use anyhow::{bail, Context, Result};
use toml::{Table, Value};

use crate::aosp::platform::carried;
use crate::aosp::sandbox::empty_dir;
use crate::aosp::soong;

/// Where our crates and the generated one are.
const OURS: [(&str, &str); 4] = [
    ("binder_shim", "binder"),
    ("dmabufio", "."),
    ("dmabufio_client", "client"),
    ("vendor_dmabufio", "aidl"),
];

/// The folder of the tests' manifests, and what the names of the tests begin with.
pub const TESTS: &str = "soong_tests";
pub const TEST: &str = "soong_";

/// A package for each test, which links the libraries that Android.bp gives it and no others.
pub fn write_tests(dir: &Path) -> Result<()> {
    empty_dir(dir)?;
    for test in soong::tests()? {
        let mut dependencies = Table::new();
        for krate in &test.crates {
            let own = OURS.iter().find(|(name, _)| name == krate);
            let mut dependency = Table::new();
            match (own, carried(krate)) {
                (Some((_, folder)), _) => {
                    dependency.insert("path".into(), format!("../../{folder}").into());
                }
                (None, Some((version, features))) => {
                    dependency.insert("version".into(), format!("={version}").into());
                    dependency.insert("default-features".into(), features.is_none().into());
                    dependency
                        .insert("features".into(), features.unwrap_or_default().to_vec().into());
                }
                (None, None) => bail!("{}: what {krate} is, is not known here", test.name),
            }
            dependencies.insert(krate.clone(), dependency.into());
        }
        let name = package_of(&test);
        let manifest = format!(
            "[package]\nname = \"{name}\"\nedition = \"2021\"\n\n\
             [[test]]\nname = \"{name}\"\npath = \"../../{}\"\n\n\
             [lints]\nworkspace = true\n\n",
            test.root.display()
        );
        let mut table: Table = manifest.parse()?;
        table.insert("dependencies".into(), dependencies.into());
        let folder = dir.join(&name);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("Cargo.toml"), table.to_string())?;
    }
    Ok(())
}

pub fn package_of(test: &soong::Test) -> String {
    format!("{TEST}{}", test.name.to_lowercase())
}

/// A manifest of the tree without what Android does not build, with libbinder_rs, and with AOSP's versions of crates.
pub fn android_manifest(text: &str) -> Result<String> {
    let mut manifest: Table = text.parse()?;
    for key in ["dev-dependencies", "test", "bench", "example"] {
        manifest.remove(key);
    }
    if let Some(Value::Table(workspace)) = manifest.get_mut("workspace") {
        let tests = format!("{TESTS}/*");
        workspace.insert("members".into(), vec!["aidl", "binder", "client", &tests].into());
        workspace.remove("default-members");
        // Soong builds with warnings as errors.
        let lints = workspace.get_mut("lints").and_then(|lints| lints.get_mut("rust"));
        let lints = lints.and_then(Value::as_table_mut).context("the workspace has no lints")?;
        lints.insert("warnings".into(), "level = 'deny'\npriority = -1".parse::<Table>()?.into());
    }
    let mut shim = false;
    if let Some(Value::Table(targets)) = manifest.get_mut("target") {
        shim = targets.remove("cfg(not(aosp))").is_some();
        for (_, target) in targets.iter_mut() {
            as_aosp(target.get_mut("dependencies"))?;
        }
    }
    as_aosp(manifest.get_mut("dependencies"))?;
    if shim {
        let dependencies = manifest.entry("dependencies").or_insert_with(|| Table::new().into());
        let binder: Table = "path = '../libbinder'".parse()?;
        let table = dependencies.as_table_mut().context("dependencies are no table")?;
        table.insert("binder".into(), binder.into());
    }
    Ok(manifest.to_string())
}

/// Demands the versions of AOSP's crates.
fn as_aosp(dependencies: Option<&mut Value>) -> Result<()> {
    let dependencies = dependencies.and_then(Value::as_table_mut);
    for (name, dependency) in dependencies.into_iter().flatten() {
        let Some((version, _)) = carried(&name.replace('-', "_")) else { continue };
        let version = Value::from(format!("={version}"));
        match dependency {
            Value::String(_) => *dependency = version,
            Value::Table(table) => {
                table.insert("version".into(), version);
            }
            _ => bail!("the dependency {name} is neither a version nor a table"),
        }
    }
    Ok(())
}
