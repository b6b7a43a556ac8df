//! Checks that all files that describe the service to Android describe the same one.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{ensure, Context, Result};

use super::blueprint::Module;
use super::{aidl, blueprint, in_tree};
use crate::exec::Step;
use crate::{packages, tree};

const INTERFACE: &str = "IDmabufIo";
const INSTANCE: &str = "default";
const MANIFEST: &str = "vintf/vendor.dmabufio-service.xml";
const MATRIX: &str = "vintf/compatibility_matrix.vendor.dmabufio.xml";
const RC: &str = "init/vendor.dmabufio-service.rc";
const LAZY_RC: &str = "init/vendor.dmabufio-service-lazy.rc";
const DOMAIN: &str = "hal_vendor_dmabufio_default";

/// What the name of the lazy service's program adds to that of the other one.
pub const LAZY: &str = "-lazy";

/// Compares VINTF, init, SELinux and Soong files, the AIDL files and the source.
pub fn check() -> Result<()> {
    packages::ensure(&["libxml2-utils"])?;
    let package = aidl::PACKAGE.replace('/', ".");
    let source = tree::read(&format!("{}/{}/{INTERFACE}.aidl", aidl::SOURCES, aidl::PACKAGE))?;
    ensure!(
        source.contains(&format!("\npackage {package};"))
            && source.contains(&format!("interface {INTERFACE} ")),
        "{INTERFACE}.aidl does not declare {package}.{INTERFACE}"
    );
    let service = format!("{package}.{INTERFACE}/{INSTANCE}");
    ensure!(
        tree::read("wire/src/lib.rs")?.contains(&format!("\"{service}\"")),
        "wire/src/lib.rs does not name {service}"
    );

    manifest(&package)?;
    matrix(&package)?;
    let program = scripts(&service)?;
    labels(&service, &program)?;
    build(&program, RC)?;
    build(&format!("{program}{LAZY}"), LAZY_RC)?;
    one_of_both(&program)?;
    apex(&program)?;
    vts()
}

fn manifest(package: &str) -> Result<()> {
    let xml = Xml::vintf(MANIFEST)?;
    xml.expect("string(/manifest/hal/name)", package)?;
    xml.expect("string(/manifest/hal/version)", &version()?)?;
    xml.expect("string(/manifest/hal/fqname)", &format!("{INTERFACE}/{INSTANCE}"))
}

fn matrix(package: &str) -> Result<()> {
    let xml = Xml::vintf(MATRIX)?;
    xml.expect("string(/compatibility-matrix/hal/name)", package)?;
    xml.expect("string(/compatibility-matrix/hal/interface/name)", INTERFACE)?;
    xml.expect("string(/compatibility-matrix/hal/interface/instance)", INSTANCE)?;
    let range = xml.value("string(/compatibility-matrix/hal/version)")?;
    let newest = range.rsplit('-').next().unwrap_or_default();
    ensure!(
        newest == version()?,
        "{MATRIX}: goes up to version {newest}, the manifest says {}",
        version()?
    );
    Ok(())
}

/// The version of the interface: the last one that is frozen, or the first one to be.
fn version() -> Result<String> {
    let text = tree::read("aidl/Android.bp")?;
    let modules = blueprint::parse(&text).context("aidl/Android.bp")?;
    let interface = modules.iter().find(|module| module.kind == "aidl_interface");
    let interface = interface.context("aidl/Android.bp has no aidl_interface")?;
    let frozen = match interface.get("versions_with_info") {
        Some(blueprint::Value::List(versions)) => versions.len(),
        _ => 0,
    };
    Ok(frozen.max(1).to_string())
}

/// Checks both init scripts and returns the program that the one for the resident service starts.
fn scripts(service: &str) -> Result<String> {
    let (resident, lazy) = (Script::open(RC)?, Script::open(LAZY_RC)?);
    let program = resident.command.as_str();
    ensure!(
        lazy.command == format!("{program}{LAZY} --lazy"),
        "{LAZY_RC}: does not start {program}{LAZY} with --lazy"
    );
    ensure!(
        resident.name == lazy.name && lazy.name.starts_with("vendor."),
        "{RC}, {LAZY_RC}: not one name, with the prefix of vendor services"
    );
    let options = &resident.options;
    ensure!(
        options.get("interface") == Some(&format!("aidl {service}")),
        "{RC}: lacks `interface aidl {service}`"
    );
    ensure!(options.get("class").is_some_and(|class| class == "hal"), "{RC}: lacks `class hal`");
    // init refuses a service of newer vendor images without one.
    ensure!(options.contains_key("user"), "{RC}: lacks `user`");
    // init gives the pressure of memory to it, which --pool watches.
    ensure!(
        options.get("group").is_some_and(|groups| groups.split(' ').any(|one| one == "system")),
        "{RC}: is not in the group `system`"
    );
    ensure!(options.contains_key("rlimit"), "{RC}: lacks a limit on open files");
    // Started with its class or again after its end, it would never be away.
    let mut wanted = options.clone();
    wanted.remove("class");
    for option in ["disabled", "oneshot"] {
        let twice = wanted.insert(option.to_owned(), String::new());
        ensure!(twice.is_none(), "{RC}: has `{option}`, which is for a lazy service");
    }
    ensure!(
        lazy.options == wanted,
        "{LAZY_RC}: the options are {:?}; with those of {RC} they should be {wanted:?}",
        lazy.options
    );
    Ok(program.to_owned())
}

/// An init script with one service.
struct Script {
    name: String,
    /// The program and its arguments.
    command: String,
    options: BTreeMap<String, String>,
}

impl Script {
    fn open(path: &str) -> Result<Self> {
        let text = tree::read(path)?;
        let mut lines =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let first = lines.next().and_then(|line| line.strip_prefix("service "));
        let (name, command) = first
            .and_then(|line| line.split_once(' '))
            .with_context(|| format!("{path}: does not begin with `service NAME PROGRAM`"))?;
        let mut options = BTreeMap::new();
        for line in lines {
            let (option, value) = line.split_once(' ').unwrap_or((line, ""));
            let twice = options.insert(option.to_owned(), value.to_owned());
            ensure!(twice.is_none(), "{path}: {option} is there twice");
        }
        Ok(Self { name: name.to_owned(), command: command.to_owned(), options })
    }
}

fn labels(service: &str, program: &str) -> Result<()> {
    let line = |file: &str, key: &str, label: &str| -> Result<()> {
        let path = format!("sepolicy/vendor/{file}");
        let found = tree::read(&path)?
            .lines()
            .any(|line| line.split_whitespace().eq([key, &format!("u:object_r:{label}:s0")]));
        ensure!(found, "{path}: does not label {key} as {label}");
        Ok(())
    };
    line("service_contexts", service, "hal_vendor_dmabufio_service")?;
    let inside =
        program.strip_prefix("/vendor").context("the program is not on the vendor partition")?;
    let inside = inside.replace('.', "\\.");
    let pattern = format!("/(vendor|system/vendor){inside}({LAZY})?");
    line("file_contexts", &pattern, &format!("{DOMAIN}_exec"))
}

/// The module that makes the program installs it, its script and its manifest where they are expected.
fn build(program: &str, rc: &str) -> Result<()> {
    let modules = blueprint::parse(&tree::read("Android.bp")?).context("Android.bp")?;
    let named = |name: &str| modules.iter().find(|module| module.name() == name);
    let base = program.rsplit('/').next().unwrap_or_default();
    let binary = named(base).with_context(|| format!("Android.bp: no module makes {base}"))?;
    let binary = binary.with_defaults(&modules);
    ensure!(
        binary.kind == "rust_binary" && binary.flag("vendor"),
        "Android.bp: {base} is no vendor program"
    );
    let folder =
        binary.text("relative_install_path").map_or(String::new(), |path| format!("/{path}"));
    let installed = format!("/vendor/bin{folder}/{base}");
    ensure!(installed == program, "Android.bp installs {installed}, {rc} starts {program}");
    ensure!(binary.list("init_rc") == [rc], "Android.bp: {base} does not install {rc}");
    let fragments = binary.list("vintf_fragment_modules");
    let fragment = fragments.first().and_then(|name| named(name));
    let fragment =
        fragment.with_context(|| format!("Android.bp: {base} has no vintf_fragment_modules"))?;
    ensure!(
        fragment.kind == "vintf_fragment"
            && fragment.text("src") == Some(MANIFEST)
            && fragment.flag("vendor"),
        "Android.bp: {} does not install {MANIFEST} for the vendor",
        fragment.name()
    );
    Ok(())
}

/// A device that lists both gets one: init would refuse the second script with the same interface.
fn one_of_both(program: &str) -> Result<()> {
    let modules = blueprint::parse(&tree::read("Android.bp")?).context("Android.bp")?;
    let base = program.rsplit('/').next().unwrap_or_default();
    let lazy = modules.iter().find(|module| module.name() == format!("{base}{LAZY}"));
    ensure!(
        lazy.is_some_and(|module| module.list("overrides") == [base]),
        "Android.bp: {base}{LAZY} does not override {base}"
    );
    Ok(())
}

/// The APEX holds the same service: its script, or the lazy one in its place, differs in the program's path, and its
/// program has the same label.
fn apex(program: &str) -> Result<()> {
    let modules = blueprint::parse(&tree::read("Android.bp")?).context("Android.bp")?;
    let apex = modules.iter().find(|module| module.kind == "apex");
    let apex = apex.context("Android.bp has no apex")?;
    let name = apex.name();
    ensure!(
        apex.flag("vendor") && apex.get("updatable") == Some(&blueprint::Value::Flag(false)),
        "Android.bp: {name} must be the vendor's and not updatable, or it may hold no VINTF fragment"
    );
    let manifest = tree::read(apex.text("manifest").unwrap_or_default())?;
    let manifest: serde_json::Value =
        serde_json::from_str(&manifest).context("the manifest of the APEX")?;
    ensure!(manifest["name"] == name, "the manifest of {name} has another name");

    let binary = apex.list("binaries").first().and_then(|binary| {
        let module = modules.iter().find(|module| module.name() == *binary)?;
        Some(module.with_defaults(&modules))
    });
    let binary = binary.with_context(|| format!("Android.bp: {name} has no program"))?;
    let file = binary.text("stem").unwrap_or(binary.name());
    let folder = binary.text("relative_install_path").unwrap_or_default();
    let inside = format!("/bin/{folder}/{file}");
    let path = format!("/apex/{name}{inside}");
    let base = program.rsplit('/').next().unwrap_or_default();
    let resident = format!("{base}.apex.rc");
    ensure!(
        apex.list("prebuilts") == [resident.as_str()],
        "Android.bp: {name} does not hold {resident}"
    );
    apex_script(&modules, &resident, RC, program, &path)?;
    let lazy = format!("{base}{LAZY}.apex.rc");
    apex_script(&modules, &lazy, LAZY_RC, &format!("{program}{LAZY}"), &path)?;
    let contexts = tree::read(apex.text("file_contexts").unwrap_or_default())?;
    let label = format!("u:object_r:{DOMAIN}_exec:s0");
    ensure!(
        contexts.lines().any(|line| line
            .split_whitespace()
            .eq([inside.replace('.', "\\.").as_str(), label.as_str()])),
        "the file_contexts of {name} do not label {inside} as {label}"
    );
    let fragments = apex.list("vintf_fragment_modules");
    ensure!(
        modules.iter().any(
            |module| fragments.contains(&module.name()) && module.text("src") == Some(MANIFEST)
        ),
        "Android.bp: {name} does not hold {MANIFEST}"
    );
    Ok(())
}

/// The module `prebuilt` is the script `rc` with `path` for `program`: does what Soong does for it.
fn apex_script(
    modules: &[Module],
    prebuilt: &str,
    rc: &str,
    program: &str,
    path: &str,
) -> Result<()> {
    let named = |name: &str| modules.iter().find(|module| module.name() == name);
    let made = named(prebuilt).filter(|module| module.kind == "prebuilt_etc");
    let made = made.with_context(|| format!("Android.bp: {prebuilt} is no prebuilt_etc"))?;
    let rule = made.text("src").and_then(|src| src.strip_prefix(':')).and_then(named);
    let rule = rule.with_context(|| format!("Android.bp: nothing makes {prebuilt}"))?;
    let rule = rule.with_defaults(modules);
    ensure!(rule.list("srcs") == [rc], "Android.bp: {} is not made of {rc}", rule.name());
    let command = rule.text("cmd").context("Android.bp: a genrule without cmd")?;
    let command = command.replace("$(in)", rc).replace("$(out)", "/dev/stdout");
    let text = Step::new(format!("making {prebuilt}"))
        .capture(Command::new("sh").args(["-c", &command]).current_dir(tree::root()))?;
    ensure!(
        text == tree::read(rc)?.replace(&format!(" {program}"), &format!(" {path}")),
        "{prebuilt}: is not {rc} but for the path of the program, {path}:\n{text}"
    );
    Ok(())
}

/// The test's configuration runs the test that Soong builds, from where files may be passed to a HAL.
fn vts() -> Result<()> {
    let modules = blueprint::parse(&tree::read("vts/Android.bp")?).context("vts/Android.bp")?;
    let test = modules.iter().find(|module| module.kind == "rust_test");
    let test = test.context("vts/Android.bp has no rust_test")?;
    let name = test.name();
    ensure!(
        test.list("test_suites").contains(&"vts"),
        "vts/Android.bp: {name} is not in the suite vts"
    );
    ensure!(
        !test.flag("vendor"),
        "vts/Android.bp: as a vendor module {name} could pass no file to a HAL"
    );
    let xml = Xml::open("vts/AndroidTest.xml")?;
    xml.expect("string(//test/option[@name='module-name']/@value)", name)?;
    xml.expect("string(//option[@name='push-file']/@key)", name)?;
    xml.expect("string(//option[@name='push-file']/@value)", &format!("/data/local/tmp/{name}"))?;
    xml.expect("string(//test/option[@name='test-device-path']/@value)", "/data/local/tmp")
}

/// An XML file to ask.
struct Xml(&'static str);

impl Xml {
    fn open(path: &'static str) -> Result<Self> {
        let xml = Xml(path);
        xml.lint(&["--noout"])?;
        Ok(xml)
    }

    /// One that has the elements and attributes of VINTF, and no others.
    fn vintf(path: &'static str) -> Result<Self> {
        let xml = Xml(path);
        let schema = in_tree("xtask/src/aosp/vintf.rng");
        xml.lint(&["--noout", "--relaxng", &schema.to_string_lossy()])?;
        Ok(xml)
    }

    fn value(&self, path: &str) -> Result<String> {
        self.lint(&["--xpath", path])
    }

    fn expect(&self, path: &str, wanted: &str) -> Result<()> {
        let found = self.value(path)?;
        ensure!(found == wanted, "{}: {path} is `{found}`, expected `{wanted}`", self.0);
        Ok(())
    }

    fn lint(&self, args: &[&str]) -> Result<String> {
        let output = Command::new("xmllint")
            .args(args)
            .arg(in_tree(self.0))
            .output()
            .context("starting xmllint")?;
        ensure!(
            output.status.success(),
            "{}: {}",
            self.0,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}
