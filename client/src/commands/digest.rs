//! SHA-256 of a file and of a buffer, each read by the CPU: not the path that moved the data.

use anyhow::{ensure, Context, Result};
use dmabufio_client::Buffer;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes that are read at a time.
const STEP: u64 = 4 << 20;

/// The digest of `len` bytes of a file from `offset`, by plain reads.
pub fn file(path: &Path, offset: u64, len: u64) -> Result<String> {
    let what = || format!("read {} to verify", path.display());
    let mut file = File::open(path).with_context(what)?;
    file.seek(SeekFrom::Start(offset)).with_context(what)?;
    let mut sha = Sha256::new();
    let copied = std::io::copy(&mut file.take(len), &mut sha).with_context(what)?;
    ensure!(copied == len, "{}: {copied} of {len} bytes are left to verify", path.display());
    Ok(hex(sha))
}

/// A range of a buffer.
pub struct Part<'a> {
    pub buffer: &'a Buffer,
    pub offset: u64,
    pub len: u64,
}

/// The digest of parts of buffers, one after the other, through their mappings.
pub fn buffers<'a>(parts: impl IntoIterator<Item = Part<'a>>) -> Result<String> {
    let mut sha = Sha256::new();
    let mut bytes = vec![0; STEP as usize];
    for Part { buffer, offset, len } in parts {
        let mut done = 0;
        while done < len {
            let step = &mut bytes[..STEP.min(len - done) as usize];
            buffer.read(offset + done, step)?;
            sha.update(&step);
            done += step.len() as u64;
        }
    }
    Ok(hex(sha))
}

fn hex(sha: Sha256) -> String {
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
