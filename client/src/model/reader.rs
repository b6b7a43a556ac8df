//! Reads a header from front to back. Nothing is allocated for what the file does not have.

use super::error::{Fault, FaultResult, Problem};
use super::part::Part;
use crate::chunks::Chunks;
use std::fmt::Display;

pub(super) struct Reader<'a> {
    part: &'a Part,
    /// The next byte, as an offset in the file.
    at: u64,
    chunks: Chunks<'a>,
}

impl<'a> Reader<'a> {
    pub fn new(part: &'a Part) -> Self {
        Self { part, at: part.range().start, chunks: part.chunks() }
    }

    /// Goes back to the front.
    pub fn rewind(&mut self) {
        self.at = self.part.range().start;
    }

    /// The offset of the next byte in the file.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// How many bytes the file has from there.
    pub fn remaining(&self) -> u64 {
        self.part.range().end.saturating_sub(self.at)
    }

    /// Fails unless the file has `count` more items of at least `size` bytes.
    pub fn need(&self, field: &dyn Display, count: u64, size: u64) -> FaultResult<()> {
        let available = self.remaining();
        match count.checked_mul(size) {
            Some(needed) if needed <= available => Ok(()),
            needed => {
                let needed = needed.unwrap_or(u64::MAX);
                Err(Fault::new(field, self.at, Problem::Truncated { needed, available }))
            }
        }
    }

    pub fn skip(&mut self, field: &dyn Display, count: u64, size: u64) -> FaultResult<()> {
        self.need(field, count, size)?;
        self.at += count * size;
        Ok(())
    }

    pub fn read(&mut self, field: &dyn Display, out: &mut [u8]) -> FaultResult<()> {
        self.need(field, out.len() as u64, 1)?;
        let read = self.chunks.read_exact_at(out, self.at);
        read.map_err(|error| Fault::read(field, self.at, error))?;
        self.at += out.len() as u64;
        Ok(())
    }

    /// `len` bytes, at most `limit`.
    pub fn bytes(&mut self, field: &dyn Display, len: u64, limit: u64) -> FaultResult<Vec<u8>> {
        if len > limit {
            return Err(Fault::new(field, self.at, Problem::TooLarge { value: len, limit }));
        }
        self.need(field, len, 1)?;
        let mut bytes = vec![0; len as usize];
        self.read(field, &mut bytes)?;
        Ok(bytes)
    }

    pub fn u32(&mut self, field: &dyn Display) -> FaultResult<u32> {
        let mut bytes = [0; 4];
        self.read(field, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    pub fn u64(&mut self, field: &dyn Display) -> FaultResult<u64> {
        let mut bytes = [0; 8];
        self.read(field, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}
