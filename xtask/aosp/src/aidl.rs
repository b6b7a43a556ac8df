//! Runs AOSP's own AIDL compiler over the interface.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use xtask::exec::Step;
use xtask::tree;

use crate::sandbox::{copy_dir, empty_dir, Sandbox};

/// Where the AIDL files are, and the folder of their package below it.
pub const SOURCES: &str = "aidl";
/// The package as a path.
pub const PACKAGE: &str = "vendor/dmabufio";
/// The dump of the interface as it stands, which Soong compares with the AIDL files.
pub const CURRENT: &str = "aidl/aidl_api/vendor.dmabufio/current";

/// The options that Soong passes for an interface of this stability. It turns all warnings on and
/// this one off, which asks for Java permission annotations.
const FLAGS: [&str; 5] = [
    "--structured",
    "--stability=vintf",
    "-Weverything",
    "-Wno-missing-permission-annotation",
    "-Werror",
];

/// The back ends that Android has. All must accept the interface, whichever are shipped.
const BACK_ENDS: [&str; 4] = ["rust", "ndk", "cpp", "java"];

/// A compiler with a copy of the AIDL files before it.
pub struct Compiler {
    pub sandbox: Sandbox,
    files: Vec<String>,
}

impl Compiler {
    /// With the AIDL files below `dir`.
    pub fn new(dir: &Path) -> Result<Self> {
        let sandbox = Sandbox::with_aidl()?;
        let work = sandbox.work();
        empty_dir(&work)?;
        copy_dir(&dir.join(PACKAGE), &work.join("in").join(PACKAGE))?;
        let names = texts(&work.join("in"))?.into_keys();
        let files = names.map(|name| format!("in/{name}")).collect();
        Ok(Compiler { sandbox, files })
    }

    /// Runs the compiler over all files; returns the folder with its output.
    pub fn run(&self, what: &str, mode: &[&str]) -> Result<PathBuf> {
        let out = self.sandbox.work().join("out");
        empty_dir(&out)?;
        let mut command = self.sandbox.command("aidl");
        command.args(mode).args(FLAGS).args(["-I", "in", "-o", "out"]).args(&self.files);
        Step::new(what).hint("AOSP's AIDL style guide explains its warnings").run(&mut command)?;
        Ok(out)
    }
}

/// Compiles for all back ends.
pub fn compile() -> Result<()> {
    let compiler = Compiler::new(&tree::path(SOURCES))?;
    for language in BACK_ENDS {
        let lang = format!("--lang={language}");
        let mut mode = vec![lang.as_str()];
        if matches!(language, "ndk" | "cpp") {
            mode.extend(["-h", "out"]);
        }
        compiler.run(&format!("compiling the AIDL files for {language}"), &mode)?;
    }
    Ok(())
}

/// Generates the Rust code into `dest`.
pub fn generate_rust(dest: &Path) -> Result<()> {
    let out = Compiler::new(&tree::path(SOURCES))?
        .run("generating Rust from the AIDL files", &["--lang=rust"])?;
    copy_dir(&out, dest)
}

/// Fails unless the committed dump matches the AIDL files.
pub fn compare_api() -> Result<()> {
    let compiler = Compiler::new(&tree::path(SOURCES))?;
    let dump = compiler.run("dumping the AIDL files", &["--dumpapi"])?;
    let work = compiler.sandbox.work();
    let committed = tree::path(CURRENT);
    if !committed.is_dir() {
        bail!("{CURRENT} is missing\nnext: cargo xtask aosp api --update, and commit it");
    }
    copy_dir(&committed, &work.join("current"))?;
    let mut check = compiler.sandbox.command("aidl");
    check.args(["--checkapi=equal", "--structured", "--stability=vintf", "current", "out"]);
    Step::new("comparing the AIDL files with their dump")
        .hint("cargo xtask aosp api --update, if the interface was meant to change")
        .run(&mut check)?;
    // AOSP's comparison ignores comments.
    if texts(&dump)? != texts(&committed)? {
        bail!("{CURRENT} says the same in other words\nnext: cargo xtask aosp api --update");
    }
    Ok(())
}

/// Writes the dump.
pub fn update_api() -> Result<()> {
    let dump =
        Compiler::new(&tree::path(SOURCES))?.run("dumping the AIDL files", &["--dumpapi"])?;
    let committed = tree::path(CURRENT);
    empty_dir(&committed)?;
    copy_dir(&dump, &committed)
}

/// The files below a folder by their names from there.
pub fn texts(dir: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in
            fs::read_dir(&folder).with_context(|| format!("listing {}", folder.display()))?
        {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("reading {}", path.display()))?;
                found.insert(path.strip_prefix(dir)?.to_string_lossy().into_owned(), text);
            }
        }
    }
    Ok(found)
}
