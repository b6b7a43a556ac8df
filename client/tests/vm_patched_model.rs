//! Models through the service on the patched kernel: each tensor is equal to its file, the bytes go
//! direct, and the page cache grows by a partial last page at most.

#![allow(missing_docs, reason = "test code")]

use dmabufio_client::model::{repack, Layout, Model, Plan, Tensors};
use dmabufio_client::{Client, Load};
use dmabufio_core::extent::Extent;
use dmabufio_core::file::cached_pages;
use dmabufio_core::load::Item;
use dmabufio_core::method::Mode;
use dmabufio_core::sys::mmap::{Access, Mapping};
use dmabufio_core::transfer::receipt::Receipt;
use rustix::fs::{fadvise, Advice};
use safetensors::tensor::TensorView;
use safetensors::{serialize_to_file, Dtype};
use std::env;
use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PAGE: u64 = 4096;

fn scratch() -> TempDir {
    TempDir::new_in(env::var_os("DMABUFIO_TEST_DIR").expect("the VM")).expect("a folder")
}

/// Bytes that differ from tensor to tensor.
fn content(seed: usize, len: usize) -> Vec<u8> {
    let mut state = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Names and shapes as those of a small language model, in which all elements have two bytes.
fn tensors(words: usize, layers: usize, hidden: usize) -> Vec<(String, [usize; 2])> {
    let mut list = vec![("model.embed_tokens.weight".to_owned(), [words, hidden])];
    for i in 0..layers {
        for (name, shape) in [
            ("input_layernorm", [1, hidden]),
            ("self_attn.q_proj", [hidden, hidden]),
            ("self_attn.k_proj", [hidden / 4 + 1, hidden]),
            ("self_attn.v_proj", [hidden / 4, hidden]),
            ("mlp.up_proj", [3 * hidden, hidden]),
            ("mlp.down_proj", [hidden, 3 * hidden]),
        ] {
            list.push((format!("model.layers.{i}.{name}.weight"), shape));
        }
    }
    list
}

/// Writes a safetensors file with the library of the format's authors.
fn safetensors(path: &Path, list: &[(String, [usize; 2])]) {
    let len = |shape: &[usize; 2]| 2 * shape[0] * shape[1];
    let longest = list.iter().map(|(_, shape)| len(shape)).max().unwrap_or(0);
    // Each tensor has another part of the same bytes, which take long to make on an emulated CPU.
    let bytes = content(1, longest + 8 * list.len());
    let views = list.iter().enumerate().map(|(i, (name, shape))| {
        let data = &bytes[8 * i..][..len(shape)];
        let view = TensorView::new(Dtype::BF16, shape.to_vec(), data).expect("a tensor");
        (name.clone(), view)
    });
    serialize_to_file(views, None, path).expect("write");
}

/// Writes a GGUF file.
fn gguf(path: &Path, list: &[(String, [usize; 2])]) {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend([list.len() as u64, 0].iter().flat_map(|n| n.to_le_bytes()));
    let mut offset = 0;
    for (name, shape) in list {
        out.extend((name.len() as u64).to_le_bytes());
        out.extend(name.as_bytes());
        out.extend(2_u32.to_le_bytes());
        out.extend([shape[1], shape[0]].iter().flat_map(|n| (*n as u64).to_le_bytes()));
        out.extend(1_u32.to_le_bytes());
        out.extend((offset as u64).to_le_bytes());
        offset = (offset + 2 * shape[0] * shape[1]).next_multiple_of(32);
    }
    let mut file = File::create(path).expect("create");
    for (i, (_, shape)) in list.iter().enumerate() {
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend(content(i, 2 * shape[0] * shape[1]));
        let whole = out.len() / 32 * 32;
        file.write_all(&out[..whole]).expect("write");
        out.drain(..whole);
    }
    file.write_all(&out).expect("write");
}

fn make_cold(file: &File) {
    file.sync_all().expect("sync");
    fadvise(file, 0, 0, Advice::DontNeed).expect("drop its pages");
}

fn cold_model(path: &Path) -> Model {
    make_cold(&File::open(path).expect("open"));
    let model = Model::open(path).expect("a model");
    assert_eq!(cached(&model), 0, "parsing left pages of {path:?}");
    model
}

/// Pages of the model in the page cache.
fn cached(model: &Model) -> u64 {
    cached_pages(model.parts()[0].as_fd(), 0, 0).expect("cachestat")
}

fn repacked(path: &Path) -> PathBuf {
    let to = path.with_extension("repacked.safetensors");
    let model = Model::open(path).expect("a model");
    repack(&model.parts()[0], &File::create(&to).expect("create"), PAGE).expect("repack");
    to
}

/// Compares each tensor with its bytes in the file.
fn compare(model: &Model, tensors: &Tensors) {
    for place in tensors.plan().places() {
        let tensor = &model.tensors()[place.tensor];
        let view = tensors.get(&tensor.name).expect("a tensor");
        let (mut there, mut here) = (vec![0; tensor.len as usize], vec![1; tensor.len as usize]);
        model.parts()[0].file().read_exact_at(&mut there, tensor.offset).expect("read");
        view.buffer.read(view.offset, &mut here).expect("read");
        assert!(there == here, "{}", tensor.name);
    }
}

#[test]
fn model_goes_direct_and_only_a_partial_last_page_is_cached() {
    let (dir, client) = (scratch(), Client::service().expect("the service"));
    let (one, other) = (dir.path().join("m.safetensors"), dir.path().join("m.gguf"));
    // The bytes of the second one are a multiple of the page, as of most models.
    for (list, pages_only) in [(tensors(2003, 6, 384), false), (tensors(2048, 4, 512), true)] {
        safetensors(&one, &list);
        gguf(&other, &list);
        for stored in [&one, &other] {
            for (path, is_repacked) in [(stored.clone(), false), (repacked(stored), true)] {
                for alignment in [1, 64, 4096] {
                    let receipt = load_cold(&client, &path, alignment);
                    assert!(receipt.direct * 100 >= receipt.bytes() * 95, "{receipt:?}");
                    if is_repacked && (pages_only || stored == &other) {
                        assert_eq!(receipt.direct, receipt.bytes(), "{path:?}: {receipt:?}");
                    }
                }
            }
        }
    }
}

/// Loads a model that is not in the page cache, and compares it.
fn load_cold(client: &Client, path: &Path, alignment: u64) -> Receipt {
    let model = cold_model(path);
    let layout = Layout { buffer_size: 8 << 20, ..Layout::of(client).expect("known") };
    let plan = Plan::new(&model, &["*"], &layout.aligned(alignment)).expect("a plan");
    let tensors = Tensors::load(client, &model, plan, Mode::Auto).expect("load");
    let receipt = *tensors.receipt();
    println!("{path:?} aligned to {alignment}: {receipt:?}");
    assert!(receipt.checked, "{receipt:?}");
    // Only the part of a page at the end of the file is copied, and stays cached.
    let edge = path.metadata().expect("stat").len() % PAGE;
    assert_eq!(receipt.bytes() - receipt.direct, edge, "{path:?}: {receipt:?}");
    assert_eq!(cached(&model), u64::from(edge > 0), "{path:?}: {receipt:?}");
    compare(&model, &tensors);
    receipt
}

#[test]
fn every_tenth_tensor_reads_two_blocks_more_than_it_has() {
    let (dir, client) = (scratch(), Client::service().expect("the service"));
    let path = dir.path().join("m.gguf");
    gguf(&path, &tensors(2003, 6, 384));
    let model = cold_model(&path);
    let tenth: Vec<&str> = model.tensors().iter().step_by(10).map(|t| t.name.as_str()).collect();
    let needed: u64 = tenth.iter().filter_map(|name| Some(model.tensor(name)?.len)).sum();
    let plan = Plan::new(&model, &tenth, &Layout::of(&client).expect("known")).expect("a plan");
    let tensors = Tensors::load(&client, &model, plan, Mode::Auto).expect("load");
    let (read, runs) = (tensors.receipt().bytes(), tenth.len() as u64);
    assert!(read <= needed + 2 * PAGE * runs, "{read} bytes for {needed} in {runs} runs");
    assert_eq!(tensors.receipt().direct, read);
    compare(&model, &tensors);
}

fn median(mut run: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..5).map(|_| run()).collect();
    times.sort_unstable();
    times[2]
}

#[test]
fn large_model_takes_less_time_than_through_the_page_cache() {
    let (dir, client) = (scratch(), Client::service().expect("the service"));
    let path = dir.path().join("m.safetensors");
    safetensors(&path, &tensors(2003, 6, 1792));
    let len = path.metadata().expect("stat").len();
    let file = File::open(&path).expect("open");
    let load = |patterns: &[&str], buffer_size: u64, alignment: u64| {
        let model = cold_model(&path);
        let start = Instant::now();
        let layout = Layout { buffer_size, ..Layout::of(&client).expect("known") };
        let plan = Plan::new(&model, patterns, &layout.aligned(alignment)).expect("a plan");
        let tensors = Tensors::load(&client, &model, plan, Mode::Auto).expect("load");
        let took = start.elapsed();
        drop(tensors);
        took
    };
    let model = median(|| load(&["*"], 64 << 20, 1));
    let aligned = median(|| load(&["*"], 64 << 20, 64));
    let plain = median(|| {
        make_cold(&file);
        let start = Instant::now();
        let items: Vec<_> = (0..len)
            .step_by(64 << 20)
            .map(|at| {
                let len = (64 << 20).min(len - at);
                let extent = Extent { file_offset: at, buffer_offset: 0, len };
                Item { size: len, extents: vec![extent] }
            })
            .collect();
        let request = Load::new(file.as_fd(), &items);
        client.load(&request).expect("load").into_iter().for_each(|one| drop(one.expect("filled")));
        start.elapsed()
    });
    let touched = median(|| {
        make_cold(&file);
        let start = Instant::now();
        let mapping = Mapping::new(file.as_fd(), 0, len as usize, Access::Read).expect("mmap");
        // Populates all pages for reading, as touching each of them would.
        assert!(mapping.is_page_backed(len as usize));
        start.elapsed()
    });
    let read = median(|| {
        make_cold(&file);
        let start = Instant::now();
        let mut bytes = vec![0; len as usize];
        (&File::open(&path).expect("open")).read_exact(&mut bytes).expect("read");
        black_box(&bytes);
        start.elapsed()
    });
    println!("{len} bytes: model {model:?}, aligned to 64 {aligned:?}, plain load {plain:?}");
    println!("mmap and touch {touched:?}, read(2) {read:?}");
    assert!(model < touched && model < read, "{model:?} {touched:?} {read:?}");
}
