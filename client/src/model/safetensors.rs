//! The header of a safetensors file: its length, and JSON that describes each tensor.

use super::dtype::Dtype;
use super::error::{Fault, FaultResult, Problem};
use super::reader::Reader;
use super::tensor::Tensor;
use serde::de::{DeserializeSeed, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Formatter};

/// The most bytes of JSON that the format allows.
pub(super) const LONGEST_HEADER: u64 = 100_000_000;
const METADATA: &str = "__metadata__";

pub(super) struct Header {
    /// In the order of the file.
    pub tensors: Vec<Tensor>,
    /// The JSON.
    pub text: Vec<u8>,
    /// Where the data begins in the file, in bytes.
    pub data: u64,
}

/// A tensor as the JSON describes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl Header {
    pub fn parse(mut reader: Reader<'_>) -> FaultResult<Self> {
        let len = reader.u64(&"header length")?;
        let start = reader.offset();
        let text = reader.bytes(&"header", len, LONGEST_HEADER)?;
        if text.first() != Some(&b'{') {
            let problem = Problem::Json("does not begin with {".to_owned());
            return Err(Fault::new(&"header", start, problem));
        }
        let data = reader.offset();
        let entries = Entries {
            data_len: reader.remaining(),
            current: RefCell::default(),
            problem: RefCell::default(),
        };
        let mut json = serde_json::Deserializer::from_slice(&text);
        let parsed = entries.deserialize(&mut json).and_then(|found| json.end().map(|()| found));
        let mut tensors = parsed.map_err(|error| entries.fault(&text, start, &error))?;
        tensors.sort_by_key(|tensor| (tensor.offset, tensor.len));
        let mut end = 0;
        for (i, tensor) in tensors.iter().enumerate() {
            let begin = tensor.offset;
            let problem = if begin < end {
                let before = i.checked_sub(1).map_or("", |i| tensors[i].name.as_str()).to_owned();
                Problem::Overlap { begin, before, end }
            } else if begin > end {
                Problem::Gap(begin - end)
            } else {
                end = tensor.end();
                continue;
            };
            return Err(Fault::tensor(&tensor.name, data + begin, problem));
        }
        if end != entries.data_len {
            let problem = Problem::Trailing(entries.data_len - end);
            return Err(Fault::new(&"the data", data + end, problem));
        }
        tensors.iter_mut().for_each(|tensor| tensor.offset += data);
        Ok(Self { tensors, text, data })
    }
}

/// Reads the entries of the JSON. Their offsets count from the start of the data.
struct Entries {
    data_len: u64,
    /// The field that is being read, for errors.
    current: RefCell<String>,
    /// What is wrong with it, where the JSON as such is right.
    problem: RefCell<Option<Problem>>,
}

impl Entries {
    /// The error of the JSON's parser, with what is known here.
    fn fault(&self, text: &[u8], start: u64, error: &serde_json::Error) -> Fault {
        let problem = self.problem.take().unwrap_or_else(|| json_problem(error));
        let field = self.current.take();
        let field = if field.is_empty() { "header".to_owned() } else { field };
        Fault::new(&field, start + json_offset(text, error), problem)
    }

    fn tensor(&self, name: String, entry: Entry) -> Result<Tensor, Problem> {
        let dtype = Dtype::of_safetensors(&entry.dtype).ok_or(Problem::NotAllowed {
            found: format!("{:?}", entry.dtype),
            allowed: "a dtype of safetensors",
        })?;
        let expected = dtype.bytes_of(&entry.shape, false)?;
        let (begin, end) = entry.data_offsets;
        if end > self.data_len {
            return Err(Problem::TooLarge { value: end, limit: self.data_len });
        }
        let found = end.checked_sub(begin).ok_or(Problem::TooLarge { value: begin, limit: end })?;
        if found != expected {
            return Err(Problem::Mismatch { expected, found });
        }
        Ok(Tensor { name, dtype, shape: entry.shape, part: 0, offset: begin, len: found })
    }
}

impl<'de> DeserializeSeed<'de> for &Entries {
    type Value = Vec<Tensor>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &Entries {
    type Value = Vec<Tensor>;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a member for each tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let refuse = |problem| {
            self.problem.replace(Some(problem));
            A::Error::custom("")
        };
        let mut names = HashSet::new();
        let mut tensors = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            self.current.replace(format!("tensors[{name:?}]"));
            if !names.insert(name.clone()) {
                return Err(refuse(Problem::Duplicate));
            }
            if name == METADATA {
                self.current.replace(METADATA.to_owned());
                map.next_value::<UniqueKeys>()?;
            } else {
                let entry = map.next_value()?;
                tensors.push(self.tensor(name, entry).map_err(refuse)?);
            }
        }
        self.current.take();
        Ok(tensors)
    }
}

/// The shards of the tensors, from the JSON of an index, which begins its file.
pub(super) fn parse_index(text: &[u8]) -> FaultResult<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: UniqueKeys,
    }
    let index: Result<Index, _> = serde_json::from_slice(text);
    let index = index
        .map_err(|error| Fault::new(&"index", json_offset(text, &error), json_problem(&error)))?;
    Ok(index.weight_map.0)
}

/// An object of texts in which no key occurs twice.
struct UniqueKeys(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = UniqueKeys;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("an object with texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueKeys, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if members.contains_key(&key) {
                        return Err(A::Error::custom(format!("{key:?} occurs more than once")));
                    }
                    members.insert(key, value);
                }
                Ok(UniqueKeys(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// What the parser says, without the place, which has its own field.
fn json_problem(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    Problem::Json(text[..end].to_owned())
}

/// Where in `text` the parser stopped.
fn json_offset(text: &[u8], error: &serde_json::Error) -> u64 {
    let lines = text.split_inclusive(|&byte| byte == b'\n').take(error.line().saturating_sub(1));
    let before: usize = lines.map(<[u8]>::len).sum();
    (before + error.column().saturating_sub(1)).min(text.len()) as u64
}
