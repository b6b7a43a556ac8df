//! Checks the Android.bp files: their form, the files and modules they name, and that they build what Cargo builds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, ensure, Context, Result};
use serde_json::Value as Json;

use super::blueprint::{self, Module};
use super::package;
use super::platform::{carried, crate_of, satisfies, PLATFORM};
use crate::exec::Step;
use crate::{cargo, packages, tree};

/// The properties that name files, from the folder of the Android.bp.
const FILES: [&str; 9] = [
    "srcs",
    "crate_root",
    "src",
    "init_rc",
    "license_text",
    "test_config",
    "data",
    "manifest",
    "file_contexts",
];

/// The properties that name modules.
const MODULES: [&str; 8] = [
    "rustlibs",
    "rlibs",
    "proc_macros",
    "vintf_fragment_modules",
    "defaults",
    "overrides",
    "binaries",
    "prebuilts",
];

/// The libraries behind the crate `binder`, which Cargo's manifests do not name, and what may link them.
const BINDER: (&str, &str) = ("libbinder_rs", "binder_shim");

/// A module, and the folder of its file.
struct Located {
    module: Module,
    dir: PathBuf,
}

/// Checks all Android.bp files.
pub fn check() -> Result<()> {
    packages::ensure(&["blueprint-tools"])?;
    let files = blueprints(&tree::root())?;
    ensure!(!files.is_empty(), "there is no Android.bp");
    format(&files)?;
    let modules = modules(&files)?;
    let mut wrong = Vec::new();
    missing_files(&modules, &mut wrong);
    unknown_modules(&modules, &mut wrong);
    ambiguous(&modules, &mut wrong);
    packages_differ(&modules, &mut wrong)?;
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(())
}

/// The modules of all files, with their defaults.
fn modules(files: &[PathBuf]) -> Result<Vec<Located>> {
    let mut modules = Vec::new();
    for file in files {
        let text =
            fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let parsed = blueprint::parse(&text).with_context(|| file.display().to_string())?;
        let dir = file.parent().unwrap_or(Path::new("/"));
        modules.extend(parsed.into_iter().map(|module| Located { module, dir: dir.to_owned() }));
    }
    let written: Vec<Module> = modules.iter().map(|located| located.module.clone()).collect();
    for Located { module, .. } in &mut modules {
        *module = module.with_defaults(&written);
    }
    Ok(modules)
}

/// A test that Soong builds.
pub struct Test {
    pub name: String,
    /// The crate root, from the root of the tree.
    pub root: PathBuf,
    /// The crates that it links.
    pub crates: Vec<String>,
}

/// All tests that Soong builds.
pub fn tests() -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for Located { module, dir } in modules(&blueprints(&tree::root())?)? {
        let sources = module.list("srcs");
        if let ("rust_test", Some(root)) = (module.kind.as_str(), sources.first()) {
            tests.push(Test {
                name: module.name().to_owned(),
                root: dir.strip_prefix(tree::root())?.join(root),
                crates: module.list("rustlibs").into_iter().map(crate_of).collect(),
            });
        }
    }
    Ok(tests)
}

/// The Android.bp files of the tree.
fn blueprints(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() && !name.starts_with('.') && name != "target" {
            found.extend(blueprints(&entry.path())?);
        } else if name == "Android.bp" {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn format(files: &[PathBuf]) -> Result<()> {
    let mut command = Command::new("bpfmt");
    let listed = Step::new("formatting Android.bp").capture(command.arg("-l").args(files))?;
    ensure!(listed.trim().is_empty(), "not formatted:\n{listed}next: bpfmt -w on these files");
    Ok(())
}

fn missing_files(modules: &[Located], wrong: &mut Vec<String>) {
    for Located { module, dir } in modules {
        for property in FILES {
            let one = module.text(property).filter(|_| module.kind != "aidl_interface");
            for name in module.list(property).into_iter().chain(one) {
                // A name with a colon is a module.
                if !name.starts_with(':') && !exists(dir, name) {
                    wrong.push(format!(
                        "{} {}: {property}: there is no {name}",
                        module.kind,
                        module.name()
                    ));
                }
            }
        }
    }
}

/// Whether a file is there, or one that fits a pattern whose last part begins with a star.
fn exists(dir: &Path, name: &str) -> bool {
    let Some((folder, suffix)) = name.split_once('*') else {
        return dir.join(name).is_file();
    };
    let entries = fs::read_dir(dir.join(folder)).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().ends_with(suffix))
}

fn unknown_modules(modules: &[Located], wrong: &mut Vec<String>) {
    let mut known: BTreeSet<String> = PLATFORM.map(|(name, ..)| name.to_owned()).into();
    for Located { module, .. } in modules {
        let fresh = module.name().is_empty() || known.insert(module.name().to_owned());
        if !fresh {
            wrong.push(format!("two modules have the name {}", module.name()));
        }
        if module.kind == "aidl_interface" {
            let frozen = match module.get("versions_with_info") {
                Some(blueprint::Value::List(versions)) => versions.len(),
                _ => 0,
            };
            known.extend(
                (1..=frozen.max(1)).map(|version| format!("{}-V{version}-rust", module.name())),
            );
        }
    }
    for Located { module, .. } in modules {
        for property in MODULES {
            for name in module.list(property) {
                if !known.contains(name) {
                    wrong.push(format!(
                        "{} {}: {property}: neither this project nor AOSP's vendor crates have {name}",
                        module.kind,
                        module.name()
                    ));
                }
            }
        }
    }
}

/// What Soong decides otherwise than one expects, unless it is told.
fn ambiguous(modules: &[Located], wrong: &mut Vec<String>) {
    for Located { module, .. } in modules {
        if module.kind == "rust_test" && module.text("compile_multilib") != Some("first") {
            wrong.push(format!("rust_test {}: is built for 32 bit too", module.name()));
        }
        if module.kind == "aidl_interface" {
            // The defaults are not those that its documentation gives.
            for backend in ["cpp", "java", "ndk", "rust"] {
                if module.get(&format!("backend.{backend}")).is_none() {
                    wrong.push(format!(
                        "aidl_interface {}: says nothing on {backend}",
                        module.name()
                    ));
                }
            }
        }
    }
}

/// Compares the Rust modules with the Cargo packages of the same source files.
fn packages_differ(modules: &[Located], wrong: &mut Vec<String>) -> Result<()> {
    let metadata = Step::new("reading the Cargo manifests").capture(
        cargo::command(&["metadata", "--no-deps", "--offline", "--quiet", "--format-version", "1"])
            .stderr(std::process::Stdio::null()),
    )?;
    let json = metadata
        .lines()
        .find(|line| line.starts_with('{'))
        .context("cargo metadata said nothing")?;
    let metadata: Json = serde_json::from_str(json)?;
    let mut linked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut complete: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for Located { module, dir } in modules {
        if !matches!(module.kind.as_str(), "rust_library" | "rust_binary") {
            continue;
        }
        let label = format!("{} {}", module.kind, module.name());
        let sources = module.list("srcs");
        let Some(root) = module.text("crate_root").or(sources.first().copied()) else {
            wrong.push(format!("{label}: has no crate root"));
            continue;
        };
        if sources.len() > 1 {
            wrong.push(format!("{label}: a source file is listed once, by the crate root"));
        }
        let path = dir.join(root);
        let Some((package, target)) = target(&metadata, &path) else {
            wrong.push(format!("{label}: no Cargo target has the root {root}"));
            continue;
        };
        let name = target["name"].as_str().unwrap_or_default();
        if module.kind == "rust_library" && module.text("crate_name") != Some(name) {
            wrong.push(format!("{label}: crate_name is not {name}, as in Cargo.toml"));
        }
        let program = module.text("stem").unwrap_or(module.name());
        let program = program.strip_suffix(package::LAZY).unwrap_or(program);
        if module.kind == "rust_binary" && !program.ends_with(name) {
            wrong.push(format!("{label}: Cargo calls this program {name}"));
        }
        if module.text("edition") != target["edition"].as_str() {
            wrong.push(format!("{label}: edition is not the one of Cargo.toml"));
        }
        let package_name = package["name"].as_str().unwrap_or_default().to_owned();
        let libraries = module.list("rustlibs").into_iter().filter(|lib| {
            let (binder, owner) = BINDER;
            *lib != binder || package_name != owner
        });
        let own = format!("lib{package_name}");
        linked
            .entry(package_name.clone())
            .or_default()
            .extend(libraries.filter(|lib| **lib != own).map(crate_of));
        complete.entry(package_name).or_default().insert(path);
    }
    for package in array(&metadata["packages"]) {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(linked) = linked.get(name) else { continue };
        let wanted = dependencies(package)?;
        for extra in linked.difference(&wanted) {
            wrong.push(format!("Android.bp links {extra} into {name}, Cargo.toml does not"));
        }
        let targets = array(&package["targets"]);
        let built = targets
            .filter(|target| matches!(target["kind"][0].as_str(), Some("lib" | "bin")))
            .count();
        // A library may do with less than the program beside it.
        let whole = complete.get(name).map(BTreeSet::len) == Some(built);
        unlike_the_platform(package, &wanted, whole, wrong);
        if whole {
            for lacking in wanted.difference(linked) {
                wrong.push(format!("Cargo.toml links {lacking} into {name}, Android.bp does not"));
            }
        }
    }
    Ok(())
}

/// Compares what a package asks of crates with what AOSP's copies are. Which features it needs under Soong can be said of
/// a package only if Soong builds the whole of it.
fn unlike_the_platform(
    package: &Json,
    linked: &BTreeSet<String>,
    whole: bool,
    wrong: &mut Vec<String>,
) {
    let name = package["name"].as_str().unwrap_or_default();
    for dependency in array(&package["dependencies"]).filter(|one| one["kind"].is_null()) {
        let of = dependency["name"].as_str().unwrap_or_default();
        let krate = of.replace('-', "_");
        let Some((version, features)) = carried(&krate) else { continue };
        if !linked.contains(&krate) {
            continue;
        }
        let asked = dependency["req"].as_str().unwrap_or_default();
        if !satisfies(version, asked) {
            wrong.push(format!("Cargo.toml of {name} asks for {of} {asked}, AOSP has {version}"));
        }
        let Some(features) = features.filter(|_| whole) else { continue };
        if dependency["uses_default_features"] != false && !features.contains(&"default") {
            wrong.push(format!(
                "Cargo.toml of {name}: {of} with its default features, AOSP has fewer"
            ));
        }
        for feature in array(&dependency["features"]).filter_map(Json::as_str) {
            if !features.contains(&feature) {
                wrong.push(format!("Cargo.toml of {name}: AOSP's {of} has no feature {feature}"));
            }
        }
    }
}

/// The library or program with this root, and its package.
fn target<'a>(metadata: &'a Json, root: &Path) -> Option<(&'a Json, &'a Json)> {
    array(&metadata["packages"]).find_map(|package| {
        let target = array(&package["targets"]).find(|target| {
            matches!(target["kind"][0].as_str(), Some("lib" | "bin"))
                && target["src_path"].as_str().map(Path::new) == Some(root)
        })?;
        Some((package, target))
    })
}

/// What a package links on Android.
fn dependencies(package: &Json) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for dependency in
        array(&package["dependencies"]).filter(|dependency| dependency["kind"].is_null())
    {
        let name = dependency["name"].as_str().unwrap_or_default().replace('-', "_");
        match dependency["target"].as_str() {
            None | Some("cfg(target_os = \"android\")") => {
                names.insert(name);
            }
            Some("cfg(not(target_os = \"android\"))" | "cfg(not(aosp))") => {}
            Some(other) => {
                bail!("Cargo.toml: whether `{other}` holds on Android is not known here")
            }
        }
    }
    Ok(names)
}

fn array(json: &Json) -> impl Iterator<Item = &Json> {
    json.as_array().into_iter().flatten()
}
