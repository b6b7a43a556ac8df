//! What has to hold of every model that [`Model::from_parts`] does not refuse. The targets check
//! it, and so does client/tests/model_malformed.rs.

use dmabufio_client::model::{repack, Layout, Model, ModelError, Part, Plan};
use rustix::fs::{memfd_create, MemfdFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Plans and copies of more tensors are slow, and no different.
const MOST_TENSORS: usize = 64;

/// A file in memory.
fn file(bytes: &[u8]) -> File {
    let file = File::from(memfd_create(c"model", MemfdFlags::CLOEXEC).expect("a memfd"));
    (&file).write_all(bytes).expect("write");
    file
}

/// Parses `bytes` as one file.
///
/// # Errors
/// As [`Model::from_parts`].
pub fn parse(bytes: &[u8]) -> Result<Model, ModelError> {
    let part = Part::new(Path::new("model"), file(bytes), 0..bytes.len() as u64)?;
    Model::from_parts(vec![part])
}

/// Checks that a refusal is about the content, and names a field.
///
/// # Panics
/// If it is about something else.
pub fn check_refusal(error: &ModelError) {
    let ModelError::Malformed { field, .. } = error else { panic!("{error}") };
    assert!(!field.is_empty());
}

/// Checks the tensors, their plans, and the repacked file.
///
/// # Panics
/// If the model contradicts itself or `bytes`.
pub fn check_model(model: &Model, bytes: &[u8]) {
    // A tensor of no bytes may begin behind the end, where the padding is missing.
    let tensors = model.tensors().iter().filter(|tensor| tensor.len > 0);
    let mut ranges: Vec<_> = tensors.map(|tensor| (tensor.offset, tensor.end())).collect();
    ranges.sort_unstable();
    assert!(ranges.iter().all(|range| range.1 <= bytes.len() as u64));
    assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{ranges:?}");
    if model.tensors().len() > MOST_TENSORS {
        return;
    }
    for alignment in [1, 64, 65536] {
        let layout = Layout { alignment, buffer_size: 1 << 20, page_size: 4096 };
        let plan = Plan::new(model, &["*"], &layout).expect("a plan");
        for place in plan.places() {
            let tensor = &model.tensors()[place.tensor];
            assert!(place.offset + tensor.len <= plan.buffers()[place.buffer].size);
            assert_eq!(place.offset % alignment, 0);
        }
    }
    let copy = file(&[]);
    repack(&model.parts()[0], &copy, 4096).expect("repack");
    let len = copy.metadata().expect("stat").len();
    let part = Part::new(Path::new("copy"), copy, 0..len).expect("a part");
    let copy = Model::from_parts(vec![part]).expect("the copy");
    assert_eq!(described(&copy), described(model));
}

/// Types and shapes by name.
fn described(model: &Model) -> BTreeMap<&str, (String, &[u64])> {
    let tensors = model.tensors().iter();
    tensors.map(|t| (t.name.as_str(), (t.dtype.to_string(), t.shape.as_slice()))).collect()
}
