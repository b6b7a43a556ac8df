//! `cargo xtask kernel`: builds the kernels that the VM boots, from Debian's source package and the patches of the tree.
//!
//! All flavours share one source tree, and those that differ in one option share one object tree: the stock kernel is
//! the patched one with the option off, so it costs seconds. A finished kernel is filed under a hash of
//! everything that went into it, outside the source tree.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{bail, Context, Result};
use clap::ValueEnum;

use xtask::exec::{self, Step};
use xtask::{cache, packages, tree};

mod config;
pub mod module;
mod source;
mod symbols;

/// Raised when the recipe below changes what comes out of the same inputs.
const RECIPE: &str = "3";
/// Installs what modules are built with, where the kernel has no script for that.
const HEADERS: &str = include_str!("kernel/headers.sh");

/// The series that a kernel is made from: Debian's package of its source, and our patches for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Base {
    /// The base of the kernel that Android 16 ships
    #[default]
    #[value(name = "6.12")]
    Linux6_12,
    /// The base of the oldest kernel of devices that are upgraded to Android 16
    #[value(name = "6.1")]
    Linux6_1,
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Base::Linux6_12 => "6.12",
            Base::Linux6_1 => "6.1",
        })
    }
}

impl Base {
    /// What this base has otherwise than vm.config says, which is written for 6.12.
    fn fragment(self) -> Option<&'static str> {
        match self {
            Base::Linux6_12 => None,
            Base::Linux6_1 => Some("kernel/configs/6.1.config"),
        }
    }
}

/// Which kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Flavour {
    /// With the ioctl
    Patched,
    /// The same tree and configuration with the ioctl's option off
    Stock,
    /// Patched, with lockdep, KASAN and the like
    Debug,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavour::Patched => "patched",
            Flavour::Stock => "stock",
            Flavour::Debug => "debug",
        })
    }
}

/// Arguments of `cargo xtask kernel`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which kernel; patched and stock unless told
    #[arg(long)]
    flavour: Option<Flavour>,
    /// The series that it is made from
    #[arg(long, default_value = "6.12")]
    base: Base,
}

/// A finished kernel.
#[derive(Debug)]
pub struct Kernel {
    /// The folder it is filed in: `bzImage`, `config`, `modules/`, and `headers/` to build further modules with.
    pub dir: PathBuf,
}

impl Kernel {
    /// What the VM boots.
    pub fn image(&self) -> PathBuf {
        self.dir.join("bzImage")
    }
}

/// Builds what is asked for and prints where it is.
pub fn run(args: &Args) -> Result<()> {
    let flavours = args.flavour.map_or(vec![Flavour::Patched, Flavour::Stock], |one| vec![one]);
    for flavour in flavours {
        println!("{flavour}: {}", ensure(args.base, flavour)?.image().display());
    }
    Ok(())
}

/// The package of the source, and its version, installed.
fn package(base: Base) -> Result<(String, String)> {
    let package = format!("linux-source-{base}");
    packages::ensure_with(&[&package]).context("getting the kernel's source")?;
    let version = packages::version(&package)?;
    Ok((package, version))
}

/// `tools/testing/selftests` of the source, with what the kernel's own tests are built from.
pub fn selftests() -> Result<PathBuf> {
    let (package, version) = package(Base::default())?;
    let base = cache::subdir("kernel/trees")?.join(&version);
    Ok(source::unpacked(&base, &package, &version)?.join("tools/testing/selftests"))
}

/// The kernel of that base and flavour, built unless it is there.
pub fn ensure(base: Base, flavour: Flavour) -> Result<Kernel> {
    let (package, version) = package(base)?;
    let patches = source::patches(&base.to_string())?;
    let flavoured = format!("kernel/configs/{flavour}.config");
    let fragments = ["kernel/configs/vm.config", &flavoured].into_iter().chain(base.fragment());
    let fragments = fragments.map(tree::read).collect::<Result<Vec<_>>>()?;

    let inputs = [RECIPE, &version, &patches.key];
    let key = tree::key(inputs.into_iter().chain(fragments.iter().map(String::as_str)));
    let dest = cache::subdir("kernel/images")?.join(format!("{flavour}-{key}"));
    let dir = cache::publish(&dest, |stage| {
        // One at a time: flavours share their trees.
        let _lock = cache::lock(&format!("kernel-{version}"))?;
        let base = cache::subdir("kernel/source")?.join(&version);
        let linux = source::ensure(&base, &package, &version, &patches)?;
        build(flavour, &version, &linux, &base, &fragments, stage)
    })?;
    Ok(Kernel { dir })
}

fn build(
    flavour: Flavour,
    version: &str,
    linux: &Path,
    base: &Path,
    fragments: &[String],
    stage: &Path,
) -> Result<()> {
    // KASAN and lockdep touch every file, so sharing objects with that flavour would gain nothing.
    let objects = base.join(if flavour == Flavour::Debug { "objects-debug" } else { "objects" });
    fs::create_dir_all(&objects).with_context(|| format!("creating {}", objects.display()))?;
    let name = format!("the {flavour} kernel {version}");
    let hint = format!(
        "if the patches or kernel/configs changed, look there first; otherwise remove {} and try again",
        base.display()
    );
    let make = |targets: &[&str]| {
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        // A make that outlived us would write to the trees of the next build.
        let mut command = exec::contained("nice");
        command.arg("make").arg("-C").arg(linux).arg(format!("O={}", objects.display()));
        command.arg(format!("-j{jobs}")).args(targets);
        // Options of an outer make are not for this one.
        command.env_remove("MAKEFLAGS").env_remove("MFLAGS").env("LC_ALL", "C");
        command
    };

    let config = objects.join(".config");
    Step::new(format!("configuring {name}")).hint(&hint).run(&mut make(&["tinyconfig"]))?;
    let mut text = read(&config)?;
    for fragment in fragments {
        // Where an option is set twice, the last one counts.
        text.push('\n');
        text.push_str(fragment);
    }
    fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
    Step::new(format!("completing the configuration of {name}"))
        .hint(&hint)
        .run(&mut make(&["olddefconfig"]))?;
    let text = read(&config)?;
    let lost = config::lost(fragments, &text);
    if !lost.is_empty() {
        bail!(
            "configuring {name}: these options of kernel/configs did not survive:\n{}\nnext: find what they depend on \
             with `make -C {} O={} menuconfig`, search key /, and ask for that too",
            lost.join("\n"),
            linux.display(),
            objects.display()
        );
    }

    let mut compiled = 0_usize;
    let modular = text.lines().any(|line| line == "CONFIG_MODULES=y");
    Step::new(format!("building {name}"))
        .hint(&hint)
        .progress(move |line| {
            let tool = line.split_whitespace().next()?;
            compiled += usize::from(matches!(tool, "CC" | "AS" | "LD" | "AR" | "HOSTCC"));
            Some(format!("{compiled} files"))
        })
        .run(&mut make(if modular { &["bzImage", "modules"] } else { &["bzImage"] }))?;

    fs::create_dir_all(stage.join("modules"))
        .with_context(|| format!("creating {}", stage.display()))?;
    copy(&objects.join("arch/x86/boot/bzImage"), &stage.join("bzImage"))?;
    copy(&config, &stage.join("config"))?;
    if modular {
        for object in read(&objects.join("modules.order"))?.lines() {
            let module = objects.join(object).with_extension("ko");
            let name = module.file_name().context("a module without a name in modules.order")?;
            copy(&module, &stage.join("modules").join(name))?;
        }
    }
    let step = Step::new(format!("installing the headers of {name}")).hint(&hint);
    let headers = stage.join("headers");
    // The script behind the packages linux-headers-* of distributions. 6.1 has none.
    let script = linux.join("scripts/package/install-extmod-build");
    if script.exists() {
        let install = format!("KBUILD_RUN_COMMAND={} {}", script.display(), headers.display());
        return step.run(&mut make(&["run-command", &install]));
    }
    fs::create_dir_all(&headers).with_context(|| format!("creating {}", headers.display()))?;
    let mut command = exec::command("sh");
    command.args(["-c", HEADERS, "headers.sh"]).args([linux, &objects, &headers]);
    step.run(&mut command)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .with_context(|| format!("copying {} to {}", from.display(), to.display()))
        .map(drop)
}
