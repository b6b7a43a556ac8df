//! The header of a GGUF file: metadata, and a list of tensors.

use super::dtype::Dtype;
use super::error::{Fault, FaultResult, Problem};
use super::part::Part;
use super::reader::Reader;
use super::tensor::Tensor;
use std::collections::HashSet;
use std::fmt::Display;
use std::ops::Range;

pub(super) const MAGIC: [u8; 4] = *b"GGUF";
pub(super) const ALIGNMENT: &str = "general.alignment";
pub(super) const UINT32: u32 = 4;
const DEFAULT_ALIGNMENT: u32 = 32;
const STRING: u32 = 8;
const ARRAY: u32 = 9;
/// The most bytes in the name of a key or of a tensor.
const LONGEST_NAME: u64 = (1 << 16) - 1;
/// The most dimensions of a tensor.
const MOST_DIMENSIONS: u32 = 4;
/// The fewest bytes of a key with its value: length, type and one byte of value.
const SMALLEST_KEY: u64 = 8 + 4 + 1;
/// The fewest bytes of a tensor's description: length of the name, number of dimensions, type and
/// offset.
const SMALLEST_TENSOR: u64 = 8 + 4 + 4 + 8;

#[derive(Debug, Default)]
pub(super) struct Header {
    pub version: u32,
    pub alignment: u32,
    /// In the order of the file.
    pub tensors: Vec<Tensor>,
    /// The numbers that stand for the tensors' types, in the same order.
    pub types: Vec<u32>,
    pub keys: u64,
    /// Where all keys and values are in the file.
    pub metadata: Range<u64>,
    /// Where the key of the alignment is, with its value.
    pub alignment_entry: Option<Range<u64>>,
    pub split: Split,
}

/// The place of a file among those of a split model.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Split {
    pub number: u64,
    pub count: u64,
    pub tensors: Option<u64>,
}

/// The bytes of a value of a plain type.
fn size_of(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

fn unknown(field: &dyn Display, offset: u64, kind: u32) -> Fault {
    let allowed = "a type of GGUF that is allowed here";
    Fault::new(field, offset, Problem::NotAllowed { found: kind.to_string(), allowed })
}

impl Header {
    pub fn parse(part: &Part, mut reader: Reader<'_>) -> FaultResult<Self> {
        reader.skip(&"magic", 1, MAGIC.len() as u64)?;
        let at = reader.offset();
        let version = reader.u32(&"version")?;
        if !(2..=3).contains(&version) {
            let allowed = "2 or 3, in little-endian order";
            let problem = Problem::NotAllowed { found: version.to_string(), allowed };
            return Err(Fault::new(&"version", at, problem));
        }
        let tensors = reader.u64(&"number of tensors")?;
        let keys = reader.u64(&"number of keys")?;
        reader.need(&"keys", keys, SMALLEST_KEY)?;
        reader.need(&"tensors", tensors, SMALLEST_TENSOR)?;
        let mut header = Self { version, alignment: DEFAULT_ALIGNMENT, keys, ..Self::default() };
        header.metadata.start = reader.offset();
        let mut seen = HashSet::new();
        for _ in 0..keys {
            header.key(&mut reader, &mut seen)?;
        }
        header.metadata.end = reader.offset();
        reader.need(&"tensors", tensors, SMALLEST_TENSOR)?;
        seen.clear();
        for _ in 0..tensors {
            header.tensor(&mut reader, &mut seen)?;
        }
        header.place(&reader, part)?;
        Ok(header)
    }

    /// Reads a key and its value.
    fn key(&mut self, reader: &mut Reader<'_>, seen: &mut HashSet<String>) -> FaultResult<()> {
        let start = reader.offset();
        let key = name(reader, &"key")?;
        let field = format!("keys[{key:?}]");
        let kind_at = reader.offset();
        let kind = reader.u32(&field)?;
        let at = reader.offset();
        match key.as_str() {
            ALIGNMENT => {
                let value = number(reader, &field, kind_at, kind, &[UINT32])? as u32;
                if !value.is_power_of_two() || value % 8 != 0 {
                    let allowed = "a power of two that is a multiple of 8";
                    let problem = Problem::NotAllowed { found: value.to_string(), allowed };
                    return Err(Fault::new(&field, at, problem));
                }
                self.alignment = value;
                self.alignment_entry = Some(start..reader.offset());
            }
            "split.no" => self.split.number = number(reader, &field, kind_at, kind, &COUNTS)?,
            "split.count" => self.split.count = number(reader, &field, kind_at, kind, &COUNTS)?,
            "split.tensors.count" => {
                self.split.tensors = Some(number(reader, &field, kind_at, kind, &COUNTS)?);
            }
            _ => skip_value(reader, &field, kind_at, kind)?,
        }
        if !seen.insert(key) {
            return Err(Fault::new(&field, start, Problem::Duplicate));
        }
        Ok(())
    }

    /// Reads the description of a tensor, whose offset counts from the start of the data.
    fn tensor(&mut self, reader: &mut Reader<'_>, seen: &mut HashSet<String>) -> FaultResult<()> {
        let start = reader.offset();
        let name = name(reader, &format_args!("name of tensor {}", self.tensors.len()))?;
        let field = format!("tensors[{name:?}]");
        let at = reader.offset();
        let dimensions = reader.u32(&format_args!("{field}.dimensions"))?;
        if dimensions > MOST_DIMENSIONS {
            let (value, limit) = (dimensions.into(), MOST_DIMENSIONS.into());
            return Err(Fault::new(&field, at, Problem::TooLarge { value, limit }));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.push(reader.u64(&format_args!("{field}.shape"))?);
        }
        shape.reverse();
        let type_at = reader.offset();
        let id = reader.u32(&format_args!("{field}.type"))?;
        let dtype = Dtype::of_gguf(id).ok_or_else(|| {
            let allowed = "a type of tensors in GGUF";
            let problem = Problem::NotAllowed { found: id.to_string(), allowed };
            Fault::new(&format_args!("{field}.type"), type_at, problem)
        })?;
        let len = dtype
            .bytes_of(&shape, true)
            .map_err(|problem| Fault::new(&format_args!("{field}.shape"), at, problem))?;
        let offset = reader.u64(&format_args!("{field}.offset"))?;
        if !seen.insert(name.clone()) {
            return Err(Fault::new(&field, start, Problem::Duplicate));
        }
        self.tensors.push(Tensor { name, dtype, shape, part: 0, offset, len });
        self.types.push(id);
        Ok(())
    }

    /// Checks that the data of each tensor follows that of the one before, aligned, and makes the
    /// offsets count from the start of the file.
    fn place(&mut self, reader: &Reader<'_>, part: &Part) -> FaultResult<()> {
        let alignment = u64::from(self.alignment);
        let base = part.range().start;
        let padded = |end: u64| end.checked_next_multiple_of(alignment);
        let end_of_header = reader.offset();
        let data = padded(end_of_header - base).and_then(|at| at.checked_add(base));
        let data = data.ok_or_else(|| Fault::new(&"data", end_of_header, Problem::Overflow))?;
        let available = part.range().end.saturating_sub(data);
        let mut end = 0_u64;
        let mut before = String::new();
        for tensor in &mut self.tensors {
            let field = format!("tensors[{:?}].offset", tensor.name);
            let begin = tensor.offset;
            let fault = |problem| Err(Fault::new(&field, data.saturating_add(begin), problem));
            let Some(expected) = padded(end) else { return fault(Problem::Overflow) };
            if begin < end {
                return fault(Problem::Overlap { begin, before, end });
            }
            if begin != expected {
                return fault(Problem::Mismatch { expected, found: begin });
            }
            let after = begin.checked_add(tensor.len);
            let Some(after) = after.filter(|after| *after <= available) else {
                let available = available.saturating_sub(begin);
                return fault(Problem::Truncated { needed: tensor.len, available });
            };
            before.clone_from(&tensor.name);
            end = after;
            tensor.offset = data + begin;
        }
        Ok(())
    }
}

/// The types of the numbers that describe a split.
const COUNTS: [u32; 4] = [2, UINT32, 5, 10];

/// Reads a number that cannot be negative, of one of the types `kinds`.
fn number(
    reader: &mut Reader<'_>,
    field: &dyn Display,
    kind_at: u64,
    kind: u32,
    kinds: &[u32],
) -> FaultResult<u64> {
    let size = size_of(kind).filter(|_| kinds.contains(&kind));
    let size = size.ok_or_else(|| unknown(field, kind_at, kind))?;
    let at = reader.offset();
    let mut bytes = [0; 8];
    reader.read(field, &mut bytes[..size as usize])?;
    let value = u64::from_le_bytes(bytes);
    match (kind, i32::try_from(value)) {
        (5, Err(_)) => {
            let found = (value as u32 as i32).to_string();
            Err(Fault::new(field, at, Problem::NotAllowed { found, allowed: "0 or more" }))
        }
        _ => Ok(value),
    }
}

fn skip_value(
    reader: &mut Reader<'_>,
    field: &dyn Display,
    kind_at: u64,
    kind: u32,
) -> FaultResult<()> {
    match kind {
        STRING => skip_string(reader, field),
        ARRAY => {
            let item_at = reader.offset();
            let item = reader.u32(field)?;
            let count = reader.u64(field)?;
            match (item, size_of(item)) {
                (STRING, _) => {
                    reader.need(field, count, 8)?;
                    (0..count).try_for_each(|_| skip_string(reader, field))
                }
                (_, Some(size)) => reader.skip(field, count, size),
                // Also of arrays, which no reader of the format's authors takes.
                (_, None) => Err(unknown(field, item_at, item)),
            }
        }
        _ => match size_of(kind) {
            Some(size) => reader.skip(field, 1, size),
            None => Err(unknown(field, kind_at, kind)),
        },
    }
}

fn skip_string(reader: &mut Reader<'_>, field: &dyn Display) -> FaultResult<()> {
    let len = reader.u64(field)?;
    reader.skip(field, len, 1)
}

fn name(reader: &mut Reader<'_>, field: &dyn Display) -> FaultResult<String> {
    let len = reader.u64(field)?;
    let at = reader.offset();
    let bytes = reader.bytes(field, len, LONGEST_NAME)?;
    String::from_utf8(bytes).map_err(|_| Fault::new(field, at, Problem::NotText))
}
