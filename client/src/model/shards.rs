//! Models of several files.

use super::error::{Fault, FaultResult, ModelError, Problem};
use super::gguf;
use super::header::Header;
use super::part::Part;
use super::reader::Reader;
use super::safetensors::{parse_index, LONGEST_HEADER};
use super::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

/// The most files of a model.
const MOST_PARTS: u64 = 1000;

/// The index of a sharded model: the shard of each tensor.
pub(super) struct Index {
    file: Part,
    weight_map: BTreeMap<String, String>,
}

impl Index {
    /// Reads the index at `path`.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let file = Part::open(path)?;
        let weight_map = weight_map(&file).map_err(|fault| fault.within(file.name()))?;
        Ok(Self { file, weight_map })
    }

    /// The names of the shards, all in the folder of the index.
    pub fn shards(&self) -> impl Iterator<Item = &str> {
        let names: BTreeSet<&str> = self.weight_map.values().map(String::as_str).collect();
        names.into_iter()
    }

    /// Checks that each tensor is in the shard that the index names, and that the index has all of
    /// them.
    pub fn check(&self, parts: &[Part], tensors: &[Tensor]) -> Result<(), ModelError> {
        let missing = |field: String, part: &Part| {
            Err(Fault::new(&field, part.range().start, Problem::Missing).within(part.name()))
        };
        let names: Vec<Option<&OsStr>> = parts.iter().map(|part| part.name().file_name()).collect();
        let places: HashMap<&str, usize> =
            tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.part)).collect();
        for (name, shard) in &self.weight_map {
            let found = places.get(name.as_str()).and_then(|&i| names[i]);
            if found != Some(shard.as_ref()) {
                let named = names.iter().position(|name| *name == Some(shard.as_ref()));
                let part = named.map_or(&self.file, |i| &parts[i]);
                return missing(format!("tensors[{name:?}]"), part);
            }
        }
        for tensor in tensors {
            if !self.weight_map.contains_key(&tensor.name) {
                return missing(format!("weight_map[{:?}]", tensor.name), &self.file);
            }
        }
        Ok(())
    }
}

fn weight_map(file: &Part) -> FaultResult<BTreeMap<String, String>> {
    let mut reader = Reader::new(file);
    let text = reader.bytes(&"index", reader.remaining(), LONGEST_HEADER)?;
    let weight_map = parse_index(&text)?;
    let fault = |problem| Err(Fault::new(&"weight_map", 0, problem));
    let names: BTreeSet<&String> = weight_map.values().collect();
    if let Some(name) = names.iter().find(|name| !is_plain(name)) {
        let found = format!("{name:?}");
        return fault(Problem::NotAllowed { found, allowed: "a file name without a folder" });
    }
    match names.len() as u64 {
        0 => fault(Problem::Missing),
        value if value > MOST_PARTS => fault(Problem::TooLarge { value, limit: MOST_PARTS }),
        _ => Ok(weight_map),
    }
}

/// Whether `name` is that of a file in the same folder.
fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let one = matches!(components.next(), Some(Component::Normal(_)));
    one && components.next().is_none() && !name.contains(['/', '\0'])
}

/// The paths of all files of a split GGUF, of which `part` is one.
pub(super) fn split_paths(part: &Part, header: &gguf::Header) -> Result<Vec<PathBuf>, ModelError> {
    let gguf::Split { number, count, .. } = header.split;
    let fault = |problem| Fault::new(&"keys[\"split.count\"]", part.range().start, problem);
    if count > MOST_PARTS {
        let problem = Problem::TooLarge { value: count, limit: MOST_PARTS };
        return Err(fault(problem).within(part.name()));
    }
    let named = |number: u64| format!("-{:05}-of-{count:05}.gguf", number.saturating_add(1));
    let name = part.name().file_name().and_then(|name| name.to_str());
    match name.and_then(|name| name.strip_suffix(&named(number))) {
        Some(prefix) => Ok((0..count)
            .map(|i| part.name().with_file_name(format!("{prefix}{}", named(i))))
            .collect()),
        None => {
            let found = format!("{:?}", part.name().file_name().unwrap_or_default());
            let allowed = "NAME-00001-of-00002.gguf with its number and count";
            Err(fault(Problem::NotAllowed { found, allowed }).within(part.name()))
        }
    }
}

/// Checks that the parts belong together. On failure, also says which part is wrong.
pub(super) fn check(parts: &[Part], headers: &[Header]) -> Result<(), (usize, Fault)> {
    let start = |i: usize| parts.get(i).map_or(0, |part| part.range().start);
    let fault = |i: usize, field: &str, problem| Err((i, Fault::new(&field, start(i), problem)));
    let mismatch = |expected, found| Problem::Mismatch { expected, found };
    let mut tensors = 0;
    for (i, header) in headers.iter().enumerate() {
        if headers.first().map(Header::format) != Some(header.format()) {
            let problem = Problem::NotAllowed {
                found: header.format().to_string(),
                allowed: "the format of the first file",
            };
            return fault(i, "magic", problem);
        }
        let Header::Gguf(header) = header else { continue };
        tensors += header.tensors.len() as u64;
        let (count, number) = (headers.len() as u64, i as u64);
        if header.split.count.max(1) != count {
            return fault(i, "keys[\"split.count\"]", mismatch(count, header.split.count));
        }
        if header.split.number != number {
            return fault(i, "keys[\"split.no\"]", mismatch(number, header.split.number));
        }
    }
    match headers.first() {
        Some(Header::Gguf(gguf::Header {
            split: gguf::Split { tensors: Some(said), count, .. },
            ..
        })) if *count > 1 && *said != tensors => {
            fault(0, "keys[\"split.tensors.count\"]", mismatch(tensors, *said))
        }
        _ => Ok(()),
    }
}
