//! Models that the tools of the formats' authors write, and the same tools as readers.

#![allow(missing_docs, reason = "test code")]

#[path = "model/python.rs"]
mod python;

use dmabufio_client::model::{repack, Layout, Model, Part, Plan, Tensors};
use dmabufio_client::Client;
use dmabufio_core::heap::Heap;
use dmabufio_core::method::Mode;
use dmabufio_core::sys::sysconf::page_size;
use serde_json::Value;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What [`Model::open`] takes: a file for each model.
const MODELS: [&str; 20] = [
    "llama-3.2.safetensors",
    "qwen2.5.safetensors",
    "mistral.safetensors.index.json",
    "mixtral.safetensors.index.json",
    "bert-base.safetensors",
    "gpt2.safetensors",
    "whisper-tiny.safetensors",
    "stable-diffusion-unet.safetensors",
    "deepseek-v3.safetensors",
    "scalars-and-nothing.safetensors",
    "llama-q4_k_m.gguf",
    "llama-q8_0.gguf",
    "qwen2-q5_0.gguf",
    "gemma-bf16.gguf",
    "bert-f16.gguf",
    "phi-iq4.gguf",
    "bitnet-tq.gguf",
    "mixtral-experts.gguf",
    "aligned.gguf",
    "split-00002-of-00003.gguf",
];

/// A tensor as the official reader sees it.
struct Official {
    dtype: String,
    shape: Vec<u64>,
    data: Vec<u8>,
}

fn scratch() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

fn client() -> Client {
    Client::local(Heap::Memfd).expect("a client")
}

/// The tensors of `files`, read by the official tools.
fn official(files: &[&Path]) -> HashMap<String, Official> {
    let dir = scratch();
    let printed = python::script("read.py", &[&[dir.path()], files].concat());
    let blob = fs::read(dir.path().join("blob")).expect("read");
    let list: Vec<Value> = serde_json::from_str(&printed).expect("JSON");
    let number = |value: &Value| value.as_u64().expect("a number");
    let tensor = |entry: &Value| {
        let (at, len) = (number(&entry[4]) as usize, number(&entry[5]) as usize);
        let official = Official {
            dtype: entry[2].as_str().expect("text").to_owned(),
            shape: entry[3].as_array().expect("a list").iter().map(number).collect(),
            data: blob[at..at + len].to_vec(),
        };
        (entry[1].as_str().expect("text").to_owned(), official)
    };
    list.iter().map(tensor).collect()
}

fn part_names(model: &Model) -> Vec<&Path> {
    model.parts().iter().map(Part::name).collect()
}

/// Loads all of a model, and compares each tensor with what the official reader has.
fn compare(model: &Model, expected: &HashMap<String, Official>, layout: &Layout) -> Tensors {
    let plan = Plan::new(model, &["*"], layout).expect("a plan");
    let tensors = Tensors::load(&client(), model, plan, Mode::Auto).expect("load");
    assert_eq!(model.tensors().len(), expected.len());
    for (name, official) in expected {
        let view = tensors.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(view.offset % layout.alignment, 0, "{name}: {layout:?}");
        assert_eq!((view.dtype.name(), view.shape), (&*official.dtype, &*official.shape), "{name}");
        let mut data = vec![0; view.len as usize];
        view.buffer.read(view.offset, &mut data).expect("read");
        assert!(data == official.data, "{name}: {layout:?}: other bytes");
    }
    tensors
}

/// The bytes of a plan that direct I/O cannot read: those in parts of pages.
fn indirect(plan: &Plan) -> u64 {
    let page = page_size();
    let extents = plan.buffers().iter().flat_map(|buffer| &buffer.extents);
    let edges = extents.map(|extent| {
        assert_eq!(extent.file_offset % page, extent.buffer_offset % page, "{extent}");
        let first = extent.file_offset.next_multiple_of(page);
        let last = extent.file_end() / page * page;
        extent.len - last.saturating_sub(first)
    });
    edges.sum()
}

#[test]
fn models_of_the_official_tools_are_equal_in_buffers_of_any_layout() {
    let dir = scratch();
    python::script("write.py", &[dir.path()]);
    for name in MODELS {
        let model = Model::open(&dir.path().join(name)).expect(name);
        let expected = official(&part_names(&model));
        for alignment in [1, 64, 4096, 65536] {
            for buffer_size in [128 << 10, 64 << 20] {
                let layout = Layout { alignment, buffer_size, page_size: page_size() };
                let tensors = compare(&model, &expected, &layout);
                let plan = tensors.plan();
                let (edges, read) = (indirect(plan), plan.bytes_read());
                assert!(edges * 20 <= read, "{name}: {layout:?}: {edges} of {read} bytes");
                for (i, buffer) in plan.buffers().iter().enumerate() {
                    let places = plan.places().iter().filter(|place| place.buffer == i).count();
                    assert!(buffer.size <= buffer_size || places == 1, "{name}: {buffer:?}");
                }
                if alignment == 1 {
                    assert_eq!(plan.bytes_moved(), 0);
                }
            }
        }
    }
}

#[test]
fn repacked_models_are_equal_for_the_official_tools_and_read_in_whole_pages() {
    let dir = scratch();
    python::script("write.py", &[dir.path()]);
    for name in MODELS {
        let model = Model::open(&dir.path().join(name)).expect(name);
        let expected = official(&part_names(&model));
        let out = scratch();
        for part in model.parts() {
            let path = out.path().join(part.name().file_name().expect("a name"));
            let file = File::create(path).expect("create");
            repack(part, &file, page_size()).expect("repack");
        }
        if name.ends_with(".json") {
            fs::copy(dir.path().join(name), out.path().join(name)).expect("copy");
        }
        let repacked = Model::open(&out.path().join(name)).expect(name);
        let order = |model: &Model| -> Vec<String> {
            model.tensors().iter().map(|tensor| tensor.name.clone()).collect()
        };
        assert_eq!(order(&repacked), order(&model));
        let again = official(&part_names(&repacked));
        for (tensor, official) in &expected {
            assert!(again[tensor].data == official.data, "{name}: {tensor}");
            assert_eq!(again[tensor].shape, official.shape);
        }
        let layout = Layout { alignment: 1, buffer_size: 64 << 20, page_size: page_size() };
        let tensors = compare(&repacked, &expected, &layout);
        // A safetensors file ends with its last tensor, inside a page perhaps.
        let ends: u64 = repacked.parts().iter().map(|part| part.range().end % page_size()).sum();
        assert_eq!(indirect(tensors.plan()), ends, "{name}");
        if name.ends_with(".gguf") {
            assert!(repacked.tensors().iter().all(|tensor| tensor.offset % page_size() == 0));
            assert_eq!(ends, 0, "{name}");
        }
    }
}

#[test]
fn model_inside_another_file_is_loaded_from_its_range_only() {
    let dir = scratch();
    python::script("write.py", &[dir.path()]);
    for name in ["llama-3.2.safetensors", "llama-q8_0.gguf"] {
        let content = fs::read(dir.path().join(name)).expect("read");
        let path = dir.path().join("app.apk");
        let mut archive = File::create(&path).expect("create");
        let start = 12345 + 4 * name.len() as u64;
        for bytes in [&vec![0xaa; start as usize][..], &content, &[0xbb; 54321]] {
            archive.write_all(bytes).expect("write");
        }
        let range = start..start + content.len() as u64;
        let file = File::open(&path).expect("open");
        let part = Part::new(Path::new("app.apk!model"), file, range.clone()).expect("a part");
        let model = Model::from_parts(vec![part]).expect("a model");
        let layout = Layout { alignment: 64, buffer_size: 1 << 20, page_size: page_size() };
        let tensors = compare(&model, &official(&[&dir.path().join(name)]), &layout);
        for extent in tensors.plan().buffers().iter().flat_map(|buffer| &buffer.extents) {
            assert!(extent.file_offset >= range.start && extent.file_end() <= range.end);
        }
    }
}

#[test]
fn every_tenth_tensor_costs_two_pages_at_most() {
    let dir = scratch();
    python::script("write.py", &[dir.path()]);
    for name in MODELS {
        let model = Model::open(&dir.path().join(name)).expect(name);
        let tenth: Vec<&str> =
            model.tensors().iter().step_by(10).map(|tensor| tensor.name.as_str()).collect();
        let layout = Layout { alignment: 1, buffer_size: 64 << 20, page_size: page_size() };
        let plan = Plan::new(&model, &tenth, &layout).expect("a plan");
        assert_eq!(plan.places().len(), tenth.len());
        let needed: u64 = tenth.iter().filter_map(|name| Some(model.tensor(name)?.len)).sum();
        let limit = needed + 2 * page_size() * tenth.len() as u64;
        assert!(plan.bytes_read() <= limit, "{name}: {} of {needed}", plan.bytes_read());
    }
}

#[test]
fn subset_fills_its_places_and_changes_no_other_tensor() {
    let dir = scratch();
    python::script("write.py", &[dir.path()]);
    let name = "mixtral.safetensors.index.json";
    for alignment in [1, 4096] {
        let model = Model::open(&dir.path().join(name)).expect(name);
        let expected = official(&part_names(&model));
        let layout = Layout { alignment, buffer_size: 1 << 20, page_size: page_size() };
        let plan = Plan::new(&model, &["*"], &layout).expect("a plan");
        let tensors = Tensors::allocate(&client(), &model, plan).expect("allocate");
        let experts = ["*.experts.3.*", "*.gate.weight"];
        let receipt = tensors.fill(&client(), &model, &experts, Mode::Auto).expect("fill");
        let chosen = model.select(&experts).expect("tensors");
        let needed: u64 = chosen.iter().map(|&i| model.tensors()[i].len).sum();
        assert_eq!(receipt.bytes(), needed);
        for (i, tensor) in model.tensors().iter().enumerate() {
            let view = tensors.get(&tensor.name).expect("a tensor");
            let mut data = vec![1; view.len as usize];
            view.buffer.read(view.offset, &mut data).expect("read");
            if chosen.contains(&i) {
                assert!(data == expected[&tensor.name].data, "{}", tensor.name);
            } else {
                assert!(data.iter().all(|&byte| byte == 0), "{} changed", tensor.name);
            }
        }
        let error = tensors.fill(&client(), &model, &["experts"], Mode::Auto);
        assert_eq!(error.expect_err("no such tensor").to_string(), "no tensor matches \"experts\"");
    }
}

#[test]
fn buffers_of_another_model_are_not_filled() {
    let dir = scratch();
    python::script("write.py", &[dir.path()]);
    let open = |name: &str| Model::open(&dir.path().join(name)).expect(name);
    // One of several files, and one file with the tensors of the first of them.
    let sharded = open("mixtral.safetensors.index.json");
    let name = sharded.parts()[0].name().to_owned();
    let first = Model::open(&name).expect("a shard");
    let layout = Layout { alignment: 1, buffer_size: 1 << 20, page_size: page_size() };
    let plan = Plan::new(&sharded, &["*"], &layout).expect("a plan");
    let tensors = Tensors::allocate(&client(), &sharded, plan).expect("allocate");
    tensors.fill(&client(), &first, &["*"], Mode::Auto).expect("the same file");

    let other = dir.path().join("repacked.safetensors");
    repack(&first.parts()[0], &File::create(&other).expect("create"), 1 << 16).expect("repack");
    let other = Model::open(&other).expect("a model");
    let error = tensors.fill(&client(), &other, &["*"], Mode::Auto).expect_err("another model");
    let tensor = &other.tensors()[0].name;
    assert_eq!(error.to_string(), format!("tensor {tensor:?}: not the one that was planned"));
}

#[test]
fn file_that_became_shorter_is_an_error_that_names_it() {
    let dir = scratch();
    python::script("write.py", &[dir.path()]);
    let path: PathBuf = dir.path().join("gpt2.safetensors");
    let model = Model::open(&path).expect("a model");
    OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(1 << 20)).expect("cut");
    let layout = Layout { alignment: 1, buffer_size: 64 << 20, page_size: page_size() };
    let plan = Plan::new(&model, &["*"], &layout).expect("a plan");
    let planned = plan.bytes_read();
    let error = Tensors::load(&client(), &model, plan, Mode::Auto).expect_err("an error");
    let moved = (1 << 20) - plan_start(&model);
    let text = format!(
        "{path:?}: {moved} bytes were loaded instead of {planned}: the file has become shorter"
    );
    assert_eq!(error.to_string(), text);
}

/// Where reading a model of one file begins.
fn plan_start(model: &Model) -> u64 {
    model.tensors()[0].offset / page_size() * page_size()
}

#[test]
fn layout_that_is_not_possible_is_refused() {
    let dir = scratch();
    python::script("write.py", &[dir.path()]);
    let model = Model::open(&dir.path().join(MODELS[0])).expect("a model");
    let layout = Layout { alignment: 1, buffer_size: 1 << 20, page_size: 4096 };
    for (layout, text) in [
        (Layout { alignment: 0, ..layout }, "alignment 0: not a power of two up to 65536"),
        (Layout { alignment: 96, ..layout }, "alignment 96: not a power of two up to 65536"),
        (
            Layout { alignment: 1 << 17, ..layout },
            "alignment 131072: not a power of two up to 65536",
        ),
        (Layout { buffer_size: 1, ..layout }, "buffer size 1: less than a page, 4096 bytes"),
    ] {
        let error = Plan::new(&model, &["*"], &layout).expect_err("an error");
        assert_eq!(error.to_string(), text);
    }
}
