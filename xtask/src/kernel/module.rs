//! The vendor module `kernel/module`, built for a kernel of the VM.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use xtask::exec::{self, Step};
use xtask::{cache, tree};

use super::{symbols, Base, Flavour, Kernel};

/// What it is built from.
const SOURCES: &[&str] = &["Kbuild", "compat.h", "heap.c", "node.c"];

/// The module for `kernel`, built unless it is there. Mainline does not export `dma_heap_add` before 6.19, so it
/// makes the heap's node itself. Checks that the tree lists the symbols that it needs.
pub fn ensure(base: Base, flavour: Flavour, kernel: &Kernel) -> Result<PathBuf> {
    let read = |name: &&str| tree::read(&format!("kernel/module/{name}"));
    let texts = SOURCES.iter().map(read).collect::<Result<Vec<_>>>()?;
    let of_kernel = kernel.dir.file_name().context("a kernel without a name")?.to_string_lossy();
    let name = format!("{of_kernel}-{}", tree::key(texts.iter().map(String::as_str)));
    let dest = cache::subdir("kernel/modules")?.join(name);
    let dir = cache::publish(&dest, |stage| {
        fs::create_dir_all(stage).with_context(|| format!("creating {}", stage.display()))?;
        for (name, text) in SOURCES.iter().zip(&texts) {
            let path = stage.join(name);
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
        let mut make = exec::contained("make");
        make.arg("-C").arg(kernel.dir.join("headers")).arg(format!("M={}", stage.display()));
        make.args(["DMABUFIO_HEAP_NODE=y", "KCFLAGS=-Werror", "modules"]);
        // Options of an outer make are not for this one.
        make.env_remove("MAKEFLAGS").env_remove("MFLAGS").env("LC_ALL", "C");
        Step::new("building kernel/module").run(&mut make)
    })?;
    // KASAN and lockdep need symbols of their own.
    if flavour != Flavour::Debug {
        symbols::check(base, &dir.join("heap.o"))?;
    }
    Ok(dir.join("dmabufio_heap.ko"))
}
