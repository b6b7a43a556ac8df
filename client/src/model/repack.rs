//! Writes models again with their data at multiples of the page.

use super::error::{Fault, ModelError, Problem};
use super::gguf::{self, ALIGNMENT, UINT32};
use super::header::Header;
use super::part::Part;
use super::safetensors::{self, LONGEST_HEADER};
use super::tensor::Tensor;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes that are copied at a time.
const STEP: u64 = 1 << 20;

/// Writes the model in `part` to `output`, from its current position, which is to be that of an
/// empty file. Names, types, shapes, metadata, order and data stay the same.
///
/// In a GGUF file each tensor begins at a multiple of `alignment`, which `general.alignment` says,
/// and the file ends at one. A safetensors file has no room between tensors: its header is padded
/// so that the data begins at a multiple.
///
/// # Errors
/// [`ModelError::Malformed`] as for [`super::Model::open`]; [`ModelError::Layout`] if `alignment` is no power
/// of two from 8 to 1 GiB; [`ModelError::Read`] if a read or a write fails.
pub fn repack(part: &Part, output: &File, alignment: u64) -> Result<(), ModelError> {
    if !alignment.is_power_of_two() || !(8..=1 << 30).contains(&alignment) {
        let what = format!("alignment {alignment}: not a power of two from 8 to 1 GiB");
        return Err(ModelError::Layout(what));
    }
    let header = Header::parse(part)?;
    if let Header::Safetensors(header) = &header {
        let (value, limit) = (data_start(header, alignment) - 8, LONGEST_HEADER);
        if value > limit {
            let problem = Problem::TooLarge { value, limit };
            return Err(
                Fault::new(&"padded header", part.range().start, problem).within(part.name())
            );
        }
    }
    let mut copy = Copy { part, output: BufWriter::new(output), written: 0 };
    let start = part.range().start;
    let written = match &header {
        Header::Safetensors(header) => copy.safetensors(header, alignment),
        Header::Gguf(header) => copy.gguf(header, alignment),
    };
    let flushed = written.and_then(|()| copy.output.flush());
    flushed
        .map_err(|error| Fault::read(&"the model, to copy it", start, error).within(part.name()))?;
    Ok(())
}

/// Where the data of a safetensors file begins behind the padded header.
fn data_start(header: &safetensors::Header, alignment: u64) -> u64 {
    (8 + header.text.len() as u64).next_multiple_of(alignment)
}

struct Copy<'a> {
    part: &'a Part,
    output: BufWriter<&'a File>,
    written: u64,
}

impl Copy<'_> {
    fn safetensors(&mut self, header: &safetensors::Header, alignment: u64) -> io::Result<()> {
        let data = data_start(header, alignment);
        self.put(&(data - 8).to_le_bytes())?;
        self.put(&header.text)?;
        self.pad(data, b' ')?;
        self.range(header.data..self.part.range().end)
    }

    fn gguf(&mut self, header: &gguf::Header, alignment: u64) -> io::Result<()> {
        let added = u64::from(header.alignment_entry.is_none());
        self.put(&gguf::MAGIC)?;
        self.put(&header.version.to_le_bytes())?;
        self.put(&(header.tensors.len() as u64).to_le_bytes())?;
        self.put(&(header.keys + added).to_le_bytes())?;
        let metadata = header.metadata.clone();
        let entry = header.alignment_entry.clone().unwrap_or(metadata.end..metadata.end);
        self.range(metadata.start..entry.start)?;
        self.text(ALIGNMENT)?;
        self.put(&UINT32.to_le_bytes())?;
        self.put(&(alignment as u32).to_le_bytes())?;
        self.range(entry.end..metadata.end)?;
        let mut offset = 0;
        for (tensor, id) in header.tensors.iter().zip(&header.types) {
            self.tensor(tensor, *id, offset)?;
            offset = (offset + tensor.len).next_multiple_of(alignment);
        }
        for tensor in &header.tensors {
            self.pad(self.written.next_multiple_of(alignment), 0)?;
            self.range(tensor.offset..tensor.end())?;
        }
        self.pad(self.written.next_multiple_of(alignment), 0)
    }

    fn tensor(&mut self, tensor: &Tensor, id: u32, offset: u64) -> io::Result<()> {
        self.text(&tensor.name)?;
        self.put(&(tensor.shape.len() as u32).to_le_bytes())?;
        for n in tensor.shape.iter().rev() {
            self.put(&n.to_le_bytes())?;
        }
        self.put(&id.to_le_bytes())?;
        self.put(&offset.to_le_bytes())
    }

    /// A string as GGUF stores it.
    fn text(&mut self, text: &str) -> io::Result<()> {
        self.put(&(text.len() as u64).to_le_bytes())?;
        self.put(text.as_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.output.write_all(bytes)
    }

    /// Writes `fill` up to the offset `end`.
    fn pad(&mut self, end: u64, fill: u8) -> io::Result<()> {
        let bytes = vec![fill; STEP.min(end - self.written) as usize];
        while self.written < end {
            let len = bytes.len().min((end - self.written) as usize);
            self.put(&bytes[..len])?;
        }
        Ok(())
    }

    /// Copies a range of the part's file.
    fn range(&mut self, range: Range<u64>) -> io::Result<()> {
        let mut bytes = vec![0; STEP.min(range.end - range.start) as usize];
        let mut at = range.start;
        while at < range.end {
            let bytes = &mut bytes[..STEP.min(range.end - at) as usize];
            self.part.file().read_exact_at(bytes, at)?;
            self.put(bytes)?;
            at += bytes.len() as u64;
        }
        Ok(())
    }
}
