//! Compares a file with buffers. The CPU reads both: another path than that of the transfer.

use anyhow::{bail, ensure, Context, Result};
use dmabufio_client::Buffer;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

/// Bytes in one read.
const STEP: u64 = 4 << 20;

/// Fails with the place of the first difference unless `len` bytes of `file` from `offset` equal
/// those of `buffer` from `at`.
pub fn equal(file: &File, offset: u64, buffer: &Buffer, at: u64, len: u64) -> Result<()> {
    compare(file, offset, len, |done, out| Ok(buffer.read(at + done, out)?))
}

/// The same for any source: `read` reads from a place in it.
pub fn compare(
    file: &File,
    offset: u64,
    len: u64,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<()>,
) -> Result<()> {
    let longest = STEP.min(len) as usize;
    let (mut in_file, mut in_buffer) = (vec![0; longest], vec![0; longest]);
    let mut done = 0;
    while done < len {
        let step = STEP.min(len - done) as usize;
        let (in_file, in_buffer) = (&mut in_file[..step], &mut in_buffer[..step]);
        let start = offset + done;
        match file.read_exact_at(in_file, start) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => bail!(
                "the file ends before offset {}: it was made shorter, and cannot be compared",
                start + step as u64
            ),
            read => read.with_context(|| format!("read {step} bytes from offset {start}"))?,
        }
        read(done, in_buffer)?;
        let different = in_file.iter().zip(&*in_buffer).position(|(a, b)| a != b);
        ensure!(
            different.is_none(),
            "the buffer differs from the file at offset {}",
            start + different.unwrap_or_default() as u64
        );
        done += step as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Compares a file of `STEP + 10` zeroes from offset 5 with the same in memory, changed at `at`.
    fn compared(at: Option<u64>, len: u64) -> Result<()> {
        let mut file = tempfile::tempfile()?;
        file.write_all(&vec![0; STEP as usize + 10])?;
        let mut memory = vec![0; STEP as usize + 10];
        if let Some(at) = at {
            memory[at as usize] = 1;
        }
        compare(&file, 5, len, |done, out| {
            out.copy_from_slice(&memory[done as usize..][..out.len()]);
            Ok(())
        })
    }

    #[test]
    fn equal_content_passes() {
        for len in [0, 1, STEP, STEP + 5] {
            compared(None, len).expect("equal");
        }
    }

    #[test]
    fn difference_is_found_anywhere_and_its_offset_is_the_files() {
        for at in [0, STEP - 1, STEP, STEP + 4] {
            let error = compared(Some(at), STEP + 5).expect_err("a difference");
            let text = format!("the buffer differs from the file at offset {}", 5 + at);
            assert_eq!(error.to_string(), text);
        }
        compared(Some(STEP), STEP).expect("what lies behind does not count");
    }

    #[test]
    fn file_that_is_too_short_is_an_error() {
        let error = compared(None, STEP + 6).expect_err("six bytes after the first step");
        let text =
            "the file ends before offset 4194315: it was made shorter, and cannot be compared";
        assert_eq!(error.to_string(), text);
    }
}
