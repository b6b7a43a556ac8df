//! Headers of models that contradict themselves or their files: each is a typed error that names the
//! field and its offset. And random changes of right ones, which never panic.

#![allow(missing_docs, reason = "test code")]

#[path = "../../fuzz/parsers/src/lib.rs"]
#[allow(dead_code, reason = "the fuzz targets use all of it")]
mod parsers;

use dmabufio_client::model::{Model, ModelError, Problem};
use parsers::{check_model, parse as open};
use safetensors::SafeTensors;
use std::fs;
use tempfile::tempdir;

/// Where the JSON of a safetensors file begins.
const JSON: u64 = 8;

/// A safetensors file of this JSON and of so many bytes of data.
fn safetensors(json: &str, data: usize) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes(), json.as_bytes(), &vec![7; data]].concat()
}

/// A GGUF file, piece by piece.
#[derive(Clone)]
struct Gguf(Vec<u8>);

impl Gguf {
    fn new(tensors: u64, keys: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(3).u64(tensors).u64(keys)
    }

    fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_le_bytes())
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, text: &str) -> Self {
        self.u64(text.len() as u64).bytes(text.as_bytes())
    }

    fn key(self, name: &str, kind: u32) -> Self {
        self.text(name).u32(kind)
    }

    fn tensor(self, name: &str, shape: &[u64], kind: u32, offset: u64) -> Self {
        let described = self.text(name).u32(shape.len() as u32);
        let described = shape.iter().fold(described, |described, &n| described.u64(n));
        described.u32(kind).u64(offset)
    }

    /// Pads the header, and adds so many bytes of data.
    fn data(mut self, len: usize) -> Vec<u8> {
        self.0.resize(self.0.len().next_multiple_of(32) + len, 7);
        self.0
    }
}

/// Field, offset and problem of the error.
fn refusal(model: Result<Model, ModelError>) -> (String, u64, Problem) {
    match model.expect_err("an error") {
        ModelError::Malformed { field, offset, problem, .. } => (field, offset, problem),
        other => panic!("{other}"),
    }
}

#[track_caller]
fn refused(bytes: &[u8], field: &str, offset: u64, problem: &Problem) {
    let found = refusal(open(bytes));
    assert_eq!(found, (field.to_owned(), offset, problem.clone()));
}

/// A header of one tensor, with these members.
fn one(members: &str) -> String {
    format!("{{\"a\":{{{members}}}}}")
}

fn json(problem: &str) -> Problem {
    Problem::Json(problem.to_owned())
}

#[test]
fn malformed_safetensors_are_refused_by_field_and_offset() {
    let right = r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#;
    assert_eq!(open(&safetensors(&one(right), 8)).expect("a model").tensors()[0].len, 8);
    let truncated = |needed, available| Problem::Truncated { needed, available };
    refused(b"", "magic", 0, &truncated(4, 0));
    refused(&[1; 7], "header length", 0, &truncated(8, 7));
    refused(&[8, 0, 0, 0, 0, 0, 0, 0, b'{'], "header", 8, &truncated(8, 1));
    let limit = 100_000_000;
    refused(&[0xff; 64], "header", 8, &Problem::TooLarge { value: u64::MAX, limit });
    let above = [&100_000_001_u64.to_le_bytes()[..], b"{}"].concat();
    refused(&above, "header", 8, &Problem::TooLarge { value: 100_000_001, limit });
    refused(&safetensors(" {}", 0), "header", 8, &json("does not begin with {"));
    refused(&safetensors("[]", 0), "header", 8, &json("does not begin with {"));
    refused(&safetensors("", 0), "header", 8, &json("does not begin with {"));
    refused(&safetensors("{", 0), "header", JSON, &json("EOF while parsing an object"));
    refused(&safetensors("{}x", 0), "header", JSON + 2, &json("trailing characters"));
    let end = |json: &str| JSON + json.len() as u64;
    let field = "tensors[\"a\"]";
    for (members, data, problem) in [
        (
            r#""dtype":"F31","shape":[2],"data_offsets":[0,8]"#,
            8,
            Problem::NotAllowed { found: "\"F31\"".to_owned(), allowed: "a dtype of safetensors" },
        ),
        (
            r#""dtype":"F32","shape":[3],"data_offsets":[0,8]"#,
            8,
            Problem::Mismatch { expected: 12, found: 8 },
        ),
        (
            r#""dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]"#,
            8,
            Problem::Overflow,
        ),
        (
            r#""dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,8]"#,
            8,
            Problem::Overflow,
        ),
        (
            r#""dtype":"F4","shape":[3],"data_offsets":[0,1]"#,
            1,
            Problem::PartOfBlock { elements: 3, block: 2 },
        ),
        (
            r#""dtype":"F32","shape":[2],"data_offsets":[8,0]"#,
            8,
            Problem::TooLarge { value: 8, limit: 0 },
        ),
        (
            r#""dtype":"F32","shape":[2],"data_offsets":[0,8]"#,
            7,
            Problem::TooLarge { value: 8, limit: 7 },
        ),
    ] {
        let (text, bytes) = (one(members), members.len() as u64);
        let offset = JSON + 7 + bytes;
        assert_eq!(
            refusal(open(&safetensors(&text, data))),
            (field.to_owned(), offset, problem),
            "{text}"
        );
    }
    for (members, problem) in [
        (r#""dtype":"F32","shape":[2]"#, "missing field `data_offsets`"),
        (
            r#""dtype":"F32","shape":[-2],"data_offsets":[0,8]"#,
            "invalid value: integer `-2`, expected u64",
        ),
        (r#""dtype":"F32","shape":[2],"shape":[2]"#, "duplicate field `shape`"),
        (
            r#""dtype":"F32","shape":[2],"offsets":[0,8]"#,
            "unknown field `offsets`, expected one of `dtype`, `shape`, `data_offsets`",
        ),
    ] {
        let (found, offset, what) = refusal(open(&safetensors(&one(members), 8)));
        assert_eq!((found.as_str(), what), (field, json(problem)), "{members}");
        assert!((JSON..=end(&one(members))).contains(&offset), "{offset}: {members}");
    }
    let twice = format!("{{\"a\":{{{right}}},\"a\":{{{right}}}}}");
    let (found, _, problem) = refusal(open(&safetensors(&twice, 8)));
    assert_eq!((found.as_str(), problem), (field, Problem::Duplicate));
    let metadata = format!("{{\"__metadata__\":{{\"k\":1}},\"a\":{{{right}}}}}");
    let (found, ..) = refusal(open(&safetensors(&metadata, 8)));
    assert_eq!(found, "__metadata__");
    let two = |begin: u64| {
        let second = format!(r#""dtype":"F32","shape":[2],"data_offsets":[{begin},{}]"#, begin + 8);
        format!("{{\"a\":{{{right}}},\"b\":{{{second}}}}}")
    };
    let overlap = Problem::Overlap { begin: 4, before: "a".to_owned(), end: 8 };
    refused(&safetensors(&two(4), 16), "tensors[\"b\"]", end(&two(4)) + 4, &overlap);
    let gap = two(12);
    refused(&safetensors(&gap, 20), "tensors[\"b\"]", end(&gap) + 12, &Problem::Gap(4));
    let behind = safetensors(&one(right), 11);
    refused(&behind, "the data", end(&one(right)) + 8, &Problem::Trailing(3));
}

#[test]
fn malformed_gguf_is_refused_by_field_and_offset() {
    let start = 24;
    let right = Gguf::new(1, 0).tensor("a", &[32, 2], 2, 0).data(36);
    assert_eq!(open(&right).expect("a model").tensors()[0].shape, [2, 32]);
    let truncated = |needed, available| Problem::Truncated { needed, available };
    let not_allowed =
        |found: &str, allowed| Problem::NotAllowed { found: found.to_owned(), allowed };
    let any_type = "a type of GGUF that is allowed here";
    refused(b"GGUF", "version", 4, &truncated(4, 0));
    let version = |bytes: [u8; 4]| [b"GGUF", &bytes[..], &[0; 16]].concat();
    let allowed = "2 or 3, in little-endian order";
    refused(&version([1, 0, 0, 0]), "version", 4, &not_allowed("1", allowed));
    refused(&version([0, 0, 0, 3]), "version", 4, &not_allowed("50331648", allowed));
    refused(&Gguf::new(u64::MAX, 0).0, "tensors", start, &truncated(u64::MAX, 0));
    refused(&Gguf::new(1 << 40, 0).data(64), "tensors", start, &truncated(24 << 40, 72));
    refused(&Gguf::new(0, u64::MAX).0, "keys", start, &truncated(u64::MAX, 0));
    refused(
        &Gguf::new(0, 1).u64(u64::MAX).data(32),
        "key",
        start + 8,
        &Problem::TooLarge { value: u64::MAX, limit: 65535 },
    );
    refused(&Gguf::new(0, 1).u64(65535).data(32), "key", start + 8, &truncated(65535, 32));
    refused(
        &Gguf::new(0, 1).u64(2).bytes(&[0xff, 0xfe]).data(9),
        "key",
        start + 8,
        &Problem::NotText,
    );
    let k = start + 8 + 1;
    let field = "keys[\"k\"]";
    refused(&Gguf::new(0, 1).key("k", 13).data(0), field, k, &not_allowed("13", any_type));
    refused(&Gguf::new(0, 1).key("k", 12).u32(1).0, field, k + 4, &truncated(8, 4));
    let string = Gguf::new(0, 1).key("k", 8).u64(1 << 60).data(0);
    refused(&string, field, k + 12, &truncated(1 << 60, 19));
    let array = |item: u32, count: u64| Gguf::new(0, 1).key("k", 9).u32(item).u64(count).data(0);
    refused(&array(10, 1 << 61), field, k + 16, &truncated(u64::MAX, 15));
    refused(&array(8, 1 << 40), field, k + 16, &truncated(8 << 40, 15));
    refused(&array(9, 1), field, k + 4, &not_allowed("9", any_type));
    refused(&array(77, 0), field, k + 4, &not_allowed("77", any_type));
    let twice = Gguf::new(0, 2).key("k", 0).bytes(&[1]).key("k", 0).bytes(&[1]).data(0);
    refused(&twice, field, k + 5, &Problem::Duplicate);
    let alignment =
        |kind: u32, value: u32| Gguf::new(0, 1).key("general.alignment", kind).u32(value).data(0);
    let (field, at) = ("keys[\"general.alignment\"]", start + 8 + 17);
    refused(&alignment(5, 32), field, at, &not_allowed("5", any_type));
    let allowed = "a power of two that is a multiple of 8";
    for value in [0, 4, 48] {
        refused(&alignment(4, value), field, at + 4, &not_allowed(&value.to_string(), allowed));
    }
    let split = Gguf::new(0, 1).key("split.count", 2).bytes(&[3, 0]).data(0);
    refused(&split, "keys[\"split.count\"]", 0, &Problem::Mismatch { expected: 1, found: 3 });

    let at = start + 8 + 1;
    let tensor = |shape: &[u64], kind| Gguf::new(1, 0).tensor("a", shape, kind, 0).data(64);
    let too_many = Problem::TooLarge { value: 5, limit: 4 };
    refused(&tensor(&[1; 5], 0), "tensors[\"a\"]", at, &too_many);
    let kind = "a type of tensors in GGUF";
    for unknown in [4, 9, 99] {
        let problem = not_allowed(&unknown.to_string(), kind);
        refused(&tensor(&[1], unknown), "tensors[\"a\"].type", at + 12, &problem);
    }
    let shape = "tensors[\"a\"].shape";
    refused(&tensor(&[1 << 32, 1 << 32], 0), shape, at, &Problem::Overflow);
    refused(&tensor(&[1 << 62], 0), shape, at, &Problem::Overflow);
    let part_of_block = Problem::PartOfBlock { elements: 16, block: 32 };
    refused(&tensor(&[16, 2], 2), shape, at, &part_of_block);
    refused(&tensor(&[1 << 20], 0), "tensors[\"a\"].offset", 64, &truncated(4 << 20, 64));
    let two = |first: u64, second: u64, name: &str| {
        let header = Gguf::new(2, 0).tensor("a", &[8], 0, first);
        header.tensor(name, &[8], 0, second).data(64)
    };
    assert_eq!(open(&two(0, 32, "b")).expect("a model").tensors().len(), 2);
    let overlap = Problem::Overlap { begin: 0, before: "a".to_owned(), end: 32 };
    let b = "tensors[\"b\"].offset";
    refused(&two(0, 0, "b"), b, 96, &overlap);
    refused(
        &two(32, 0, "b"),
        "tensors[\"a\"].offset",
        128,
        &Problem::Mismatch { expected: 0, found: 32 },
    );
    refused(&two(0, 33, "b"), b, 129, &Problem::Mismatch { expected: 32, found: 33 });
    refused(&two(0, 64, "b"), b, 160, &Problem::Mismatch { expected: 32, found: 64 });
    let found = u64::MAX - 31;
    refused(&two(0, found, "b"), b, u64::MAX, &Problem::Mismatch { expected: 32, found });
    refused(&two(0, 32, "a"), "tensors[\"a\"]", start + 33, &Problem::Duplicate);
    refused(&Gguf::new(1, 0).text("a").bytes(&[0; 24]).0[..40], "tensors", 24, &truncated(24, 16));
}

#[test]
fn index_that_does_not_fit_its_shards_is_refused() {
    let dir = tempdir().expect("a folder");
    let shard = |name: &str| {
        let text = format!(r#"{{"{name}":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}}}"#);
        safetensors(&text, 4)
    };
    fs::write(dir.path().join("1.safetensors"), shard("a")).expect("write");
    fs::write(dir.path().join("2.safetensors"), shard("b")).expect("write");
    fs::write(dir.path().join("3.safetensors"), shard("a")).expect("write");
    let index = dir.path().join("model.safetensors.index.json");
    let open = |weight_map: &str| {
        fs::write(&index, format!(r#"{{"metadata":{{}},"weight_map":{weight_map}}}"#))
            .expect("write");
        Model::open(&index)
    };
    let names = |weight_map: &str| {
        let (field, _, problem) = refusal(open(weight_map));
        (field, problem)
    };
    let model = open(r#"{"a":"1.safetensors","b":"2.safetensors"}"#).expect("a model");
    assert_eq!((model.tensors().len(), model.parts().len()), (2, 2));
    let missing = |field: &str| (field.to_owned(), Problem::Missing);
    let swapped = r#"{"a":"2.safetensors","b":"1.safetensors"}"#;
    assert_eq!(names(swapped), missing("tensors[\"a\"]"));
    let more = r#"{"a":"1.safetensors","c":"1.safetensors"}"#;
    assert_eq!(names(more), missing("tensors[\"c\"]"));
    assert_eq!(names("{}"), missing("weight_map"));
    for name in ["../1.safetensors", "/etc/passwd", "..", "", "a/b", "./1.safetensors"] {
        let allowed = "a file name without a folder";
        let problem = Problem::NotAllowed { found: format!("{name:?}"), allowed };
        assert_eq!(names(&format!(r#"{{"a":"{name}"}}"#)), ("weight_map".to_owned(), problem));
    }
    let twice = r#"{"a":"1.safetensors","a":"1.safetensors"}"#;
    assert_eq!(names(twice), ("index".to_owned(), json("\"a\" occurs more than once")));
    let both = r#"{"a":"1.safetensors","b":"2.safetensors","c":"3.safetensors"}"#;
    assert_eq!(names(both), ("tensors[\"a\"]".to_owned(), Problem::Duplicate));
}

/// A generator of the same numbers on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// Changes a few bytes: to any value, to one that numbers and texts are made of, or away.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        const LIKELY: &[u8] = b"\x00\x01\x02\x04\x08\x20\x7f\x80\xff0123456789[]{},:\"\\aF";
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes[at] = self.below(256) as u8,
                1 | 2 => bytes[at] = LIKELY[self.below(LIKELY.len())],
                3 => bytes[at] ^= 1 << self.below(8),
                4 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, LIKELY[self.below(LIKELY.len())]),
            }
        }
    }
}

#[test]
fn changed_headers_never_panic_and_are_accepted_only_if_they_are_consistent() {
    let json = r#"{"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
        "b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}, "c":{"dtype":"I64","shape":[],"data_offsets":[32,40]}}"#;
    let gguf = Gguf::new(3, 3)
        .key("general.alignment", 4)
        .u32(32)
        .key("tokens", 9)
        .u32(8)
        .u64(2)
        .text("x")
        .text("yz")
        .key("k", 7)
        .bytes(&[1])
        .tensor("a", &[32, 2], 2, 0)
        .tensor("b", &[8], 0, 64)
        .tensor("c", &[], 24, 96)
        .data(128);
    let seed = 0x12;
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let mut accepted = [0; 2];
    for round in 0..20_000 {
        let which = round % 2;
        let mut bytes = if which == 0 { safetensors(json, 40) } else { gguf.clone() };
        random.mutate(&mut bytes);
        let ours = open(&bytes);
        if let Ok(model) = &ours {
            accepted[which] += 1;
            check_model(model, &bytes);
        }
        if which == 0 && !bytes.starts_with(b"GGUF") {
            let theirs = SafeTensors::deserialize(&bytes);
            match (&ours, &theirs) {
                (Ok(ours), Ok(theirs)) => {
                    for tensor in ours.tensors() {
                        let view = theirs.tensor(&tensor.name).expect("the same tensor");
                        let range = tensor.offset as usize..tensor.end() as usize;
                        assert_eq!(view.data(), &bytes[range]);
                    }
                }
                (Ok(_), Err(error)) => panic!("round {round}: they refuse it: {error}: {bytes:?}"),
                // The stricter ones are ours: names and members that occur twice, or are unknown.
                (Err(error), Ok(_)) => {
                    let text = error.to_string();
                    let strict = ["more than once", "unknown field", "__metadata__"];
                    assert!(strict.iter().any(|word| text.contains(word)), "round {round}: {text}");
                }
                (Err(_), Err(_)) => {}
            }
        }
    }
    // Changes of names and of data are legal.
    assert!(accepted.iter().all(|&count| count > 100), "{accepted:?}");
}
