//! Checks that all files that describe the service to Android describe the same one.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{bail, ensure, Context, Result};

use super::{aidl, blueprint, in_tree};
use crate::{packages, tree};

const INTERFACE: &str = "IDmabufIo";
const INSTANCE: &str = "default";
const MANIFEST: &str = "vintf/vendor.dmabufio-service.xml";
const MATRIX: &str = "vintf/compatibility_matrix.vendor.dmabufio.xml";
const RC: &str = "init/vendor.dmabufio-service.rc";
const APEX_RC: &str = "apex/vendor.dmabufio-service.rc";
const DOMAIN: &str = "hal_vendor_dmabufio_default";

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
        tree::read("src/service.rs")?.contains(&format!("\"{service}\"")),
        "src/service.rs does not register {service}"
    );

    manifest(&package)?;
    matrix(&package)?;
    let program = rc(&service)?;
    labels(&service, &program)?;
    build(&program)?;
    apex(&program)?;
    vts()
}

fn manifest(package: &str) -> Result<()> {
    let xml = Xml::open(MANIFEST)?;
    xml.expect("string(/manifest/@version)", "1.0")?;
    xml.expect("string(/manifest/@type)", "device")?;
    xml.expect("count(/manifest/hal)", "1")?;
    xml.expect("string(/manifest/hal/@format)", "aidl")?;
    xml.expect("string(/manifest/hal/name)", package)?;
    xml.expect("string(/manifest/hal/version)", &version()?)?;
    // An fqname of AIDL has neither package nor version.
    xml.expect("string(/manifest/hal/fqname)", &format!("{INTERFACE}/{INSTANCE}"))
}

fn matrix(package: &str) -> Result<()> {
    let xml = Xml::open(MATRIX)?;
    xml.expect("string(/compatibility-matrix/@version)", "1.0")?;
    xml.expect("string(/compatibility-matrix/@type)", "framework")?;
    xml.expect("count(/compatibility-matrix/@level)", "0")?;
    xml.expect("string(/compatibility-matrix/hal/@format)", "aidl")?;
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

/// Checks the init script and returns the program that it starts.
fn rc(service: &str) -> Result<String> {
    let text = tree::read(RC)?;
    let mut lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let ["service", name, program] = first.as_slice() else {
        bail!("{RC}: does not begin with `service NAME PROGRAM`");
    };
    ensure!(
        name.starts_with("vendor."),
        "{RC}: the service {name} does not have the prefix of vendor services"
    );
    let mut options: BTreeMap<&str, &str> = BTreeMap::new();
    for line in lines {
        let (option, value) = line.split_once(' ').unwrap_or((line, ""));
        ensure!(options.insert(option, value).is_none(), "{RC}: {option} is there twice");
    }
    ensure!(
        options.get("interface") == Some(&format!("aidl {service}").as_str()),
        "{RC}: lacks `interface aidl {service}`"
    );
    ensure!(options.get("class") == Some(&"hal"), "{RC}: lacks `class hal`");
    // init refuses a service of newer vendor images without one.
    ensure!(options.contains_key("user"), "{RC}: lacks `user`");
    ensure!(options.contains_key("rlimit"), "{RC}: lacks a limit on open files");
    Ok((*program).to_owned())
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
    let pattern = format!("/(vendor|system/vendor){}", inside.replace('.', "\\."));
    line("file_contexts", &pattern, &format!("{DOMAIN}_exec"))
}

/// The module that makes the program installs it, its script and its manifest where they are expected.
fn build(program: &str) -> Result<()> {
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
    ensure!(installed == program, "Android.bp installs {installed}, {RC} starts {program}");
    ensure!(binary.list("init_rc") == [RC], "Android.bp: {base} does not install {RC}");
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

/// The APEX holds the same service: its script differs in the path, and its program has the same label.
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
    ensure!(
        tree::read(APEX_RC)? == tree::read(RC)?.replace(program, &format!("/apex/{name}{inside}")),
        "{APEX_RC}: is not {RC} but for the path of the program, /apex/{name}{inside}"
    );
    let contexts = tree::read(apex.text("file_contexts").unwrap_or_default())?;
    let label = format!("u:object_r:{DOMAIN}_exec:s0");
    ensure!(
        contexts.lines().any(|line| line
            .split_whitespace()
            .eq([inside.replace('.', "\\.").as_str(), label.as_str()])),
        "the file_contexts of {name} do not label {inside} as {label}"
    );
    let prebuilts = apex.list("prebuilts");
    ensure!(
        modules.iter().any(|module| prebuilts.contains(&module.name())
            && module.text("src") == Some(APEX_RC)
            && module.kind == "prebuilt_etc"),
        "Android.bp: {name} does not hold {APEX_RC}"
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
