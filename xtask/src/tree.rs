//! The source tree this tool belongs to.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The root of the tree.
pub fn root() -> PathBuf {
    // Cargo says it at run time; what was compiled in is for those who start the binary by hand.
    let xtask = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    xtask.parent().map_or(xtask.clone(), Path::to_owned)
}

/// The text of a file of the tree, named from its root.
pub fn read(path: &str) -> Result<String> {
    let full = root().join(path);
    fs::read_to_string(&full).with_context(|| format!("reading {}", full.display()))
}

/// A short name for what a set of inputs determines. Each part is hashed with its length, so that moving text from
/// one to the next changes the key.
pub fn key<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_depends_on_every_part_and_on_the_borders() {
        assert_eq!(key(["a", "b"]), key(["a", "b"]));
        assert_ne!(key(["a", "b"]), key(["b", "a"]));
        assert_ne!(key(["ab", ""]), key(["a", "b"]));
        assert_eq!(key(["a"]).len(), 16);
    }
}
