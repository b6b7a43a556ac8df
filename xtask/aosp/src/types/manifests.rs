//! The manifests for the type check: those of the tree, as Soong would use them.

use anyhow::{bail, Context, Result};
use toml::{Table, Value};

use crate::platform::carried;

/// The folders of the Cargo packages that Soong builds, without the root.
pub const PACKAGES: [&str; 7] = ["binder", "client", "client/c", "command", "core", "vts", "wire"];

/// A manifest of the tree without the parts that Android does not build, with libbinder_rs, and
/// with AOSP's versions of crates.
pub fn android_manifest(text: &str) -> Result<String> {
    let mut manifest: Table = text.parse()?;
    manifest.remove("bench");
    let named =
        |entry: &str| manifest["package"].get("name").and_then(Value::as_str) == Some(entry);
    // Of the separate test programs, Soong builds only this one.
    if !named("dmabufio_vts") {
        manifest.remove("test");
        if let Some(Value::Table(package)) = manifest.get_mut("package") {
            package.insert("autotests".into(), false.into());
            package.insert("autobenches".into(), false.into());
        }
    }
    if let Some(Value::Table(workspace)) = manifest.get_mut("workspace") {
        workspace.insert("members".into(), [&PACKAGES[..], &["aidl"]].concat().into());
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
    if let Some(Value::Table(development)) = manifest.get_mut("dev-dependencies") {
        development.retain(|name, spec| {
            spec.get("path").is_some() || carried(&name.replace('-', "_")).is_some()
        });
    }
    as_aosp(manifest.get_mut("dev-dependencies"))?;
    as_aosp(manifest.get_mut("dependencies"))?;
    if shim {
        let dependencies = manifest.entry("dependencies").or_insert_with(|| Table::new().into());
        let binder: Table = "path = '../libbinder'".parse()?;
        let table = dependencies.as_table_mut().context("dependencies are no table")?;
        table.insert("binder".into(), binder.into());
    }
    Ok(manifest.to_string())
}

/// Demands the versions and features of AOSP's crates.
fn as_aosp(dependencies: Option<&mut Value>) -> Result<()> {
    let dependencies = dependencies.and_then(Value::as_table_mut);
    for (name, dependency) in dependencies.into_iter().flatten() {
        let Some(platform) = carried(&name.replace('-', "_")) else { continue };
        if let Value::String(_) = dependency {
            *dependency = Table::new().into();
        }
        let Value::Table(table) = dependency else {
            bail!("the dependency {name} is neither a version nor a table")
        };
        table.insert("version".into(), format!("={}", platform.version).into());
        if let Some(features) = platform.features {
            table.insert("default-features".into(), false.into());
            table.insert("features".into(), features.to_vec().into());
        }
    }
    Ok(())
}
