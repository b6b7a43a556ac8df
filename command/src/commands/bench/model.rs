//! A model, tensor by tensor, beside the ways in which frameworks read one today.

use super::ours::Clients;
use super::runner::{Case, Source, Times};
use super::scratch::Scratch;
use anyhow::{ensure, Context, Result};
use dmabufio_client::model::{Layout, Model, Plan, Tensors};
use dmabufio_client::{Client, Load};
use dmabufio_core::extent::Extent;
use dmabufio_core::load::{Item, MAX_BATCH};
use dmabufio_core::method::Mode;
use dmabufio_core::sys::mmap::{Access, Mapping};
use dmabufio_core::sys::sysconf::page_size;
use serde_json::{json, to_string, Map};
use std::fs::File;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::Instant;

/// The tensors of a layer, with their bytes, as in a language model with a billion parameters. The
/// vector ends at no multiple of the page.
const TENSORS: [(&str, u64); 5] = [
    ("attention", 8 << 20),
    ("up", 22 << 20),
    ("down", 22 << 20),
    ("norm", 4100),
    ("output", 8 << 20),
];
/// Bytes that are copied at a time.
const STEP: usize = 1 << 20;

/// A model beside the file of the benchmark, with its content.
pub struct BenchModel {
    // Closed before its folder is removed.
    pub source: Source,
    _folder: Scratch,
}

impl BenchModel {
    /// Writes whole layers of at most as many bytes as `from` has, but at least one tensor.
    pub fn new(from: &Source) -> Result<Self> {
        let folder = Scratch::beside(&from.path)?;
        let path = folder.path().join("bench.safetensors");
        write(from, &File::create(&path)?).with_context(|| format!("write {path:?}"))?;
        // All of the file, not only whole pages.
        let mut source = Source::open(&path, None)?;
        source.len = source.buffered.metadata()?.len();
        Ok(Self { source, _folder: folder })
    }
}

/// The names and lengths of the tensors in a model of about `len` bytes.
fn tensors(len: u64) -> Vec<(String, u64)> {
    let mut list = Vec::new();
    let mut left = len;
    for layer in 0.. {
        for (name, size) in TENSORS {
            // A small file has one small tensor of each kind.
            let size = size.min(len / 8 + 4);
            if size > left {
                return list;
            }
            left -= size;
            list.push((format!("model.layers.{layer}.{name}.weight"), size));
        }
    }
    list
}

fn write(from: &Source, to: &File) -> Result<()> {
    let (mut header, mut end) = (Map::new(), 0);
    for (name, len) in tensors(from.len) {
        let offsets = [end, end + len];
        let value = json!({ "dtype": "U8", "shape": [len], "data_offsets": offsets });
        header.insert(name, value);
        end += len;
    }
    let header = to_string(&header)?;
    let mut out = BufWriter::new(to);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    let mut part = vec![0; STEP];
    for offset in (0..end).step_by(STEP) {
        let part = &mut part[..STEP.min((end - offset) as usize)];
        from.buffered.read_exact_at(part, offset)?;
        out.write_all(part)?;
    }
    out.flush()?;
    to.sync_all()?;
    Ok(())
}

/// The rows. `chunk` is the size of a buffer, for the rows that have buffers.
pub fn model<'a>(model: &'a BenchModel, clients: &'a Clients, chunk: u64) -> Vec<Case<'a>> {
    let source = &model.source;
    let ours = |name: &str, client: &'a Client, alignment: u64| {
        Case::new(name, source.len, move |verify| {
            load_model(source, client, chunk, alignment, verify)
        })
    };
    let way = |name: &str, run: fn(&Source, bool) -> Result<()>| {
        Case::new(name, source.len, move |verify| {
            let start = Instant::now();
            run(source, verify)?;
            Ok(Times { both: start.elapsed(), ..Times::default() })
        })
    };
    vec![
        ours("model through the service", &clients.service, 1),
        ours("model through the service, 64 B", &clients.service, 64),
        ours("model in this process", &clients.local, 1),
        Case::new("load through the service", source.len, move |_| {
            plain_load(source, &clients.service, chunk)
        }),
        way("mmap, touch each tensor", touch),
        way("read(2) each tensor into the heap", read),
    ]
}

fn load_model(
    source: &Source,
    client: &Client,
    buffer_size: u64,
    alignment: u64,
    verify: bool,
) -> Result<Times> {
    let start = Instant::now();
    let model = Model::open(&source.path)?;
    let layout = Layout { buffer_size, ..Layout::of(client)? }.aligned(alignment);
    let plan = Plan::new(&model, &["*"], &layout)?;
    let tensors = Tensors::load(client, &model, plan, Mode::Auto)?;
    let times = Times { both: start.elapsed(), ..Times::default() };
    if verify {
        for tensor in model.tensors() {
            let view = tensors.get(&tensor.name).context("a tensor is missing")?;
            ensure!(view.offset % alignment == 0, "{:?} is not aligned", tensor.name);
            source.verify(tensor.offset, tensor.len, |at, out| {
                Ok(view.buffer.read(view.offset + at, out)?)
            })?;
        }
    }
    Ok(times)
}

/// The same bytes without the knowledge that they are a model.
fn plain_load(source: &Source, client: &Client, chunk: u64) -> Result<Times> {
    let item = |offset: u64| {
        let len = chunk.min(source.len - offset);
        let extents = vec![Extent { file_offset: offset, buffer_offset: 0, len }];
        Item { size: len, extents }
    };
    let items: Vec<Item> = (0..source.len).step_by(chunk as usize).map(item).collect();
    let start = Instant::now();
    let mut buffers = Vec::new();
    for items in items.chunks(MAX_BATCH) {
        for filled in client.load(&Load::new(source.buffered.as_fd(), items))? {
            buffers.push(filled?);
        }
    }
    Ok(Times { both: start.elapsed(), ..Times::default() })
}

/// As the safetensors library does it: the file is mapped, and the first use of a tensor reads it.
fn touch(source: &Source, verify: bool) -> Result<()> {
    let model = Model::open(&source.path)?;
    let len = usize::try_from(source.len)?;
    let mapping = Mapping::new(source.buffered.as_fd(), 0, len, Access::Read)?;
    let (page, mut byte) = (page_size() as usize, [0]);
    for tensor in model.tensors() {
        for at in (tensor.offset..tensor.end()).step_by(page).chain([tensor.end() - 1]) {
            mapping.read(at as usize, &mut byte)?;
            black_box(byte);
        }
        if verify {
            source.verify(tensor.offset, tensor.len, |at, out| {
                Ok(mapping.read((tensor.offset + at) as usize, out)?)
            })?;
        }
    }
    Ok(())
}

fn read(source: &Source, verify: bool) -> Result<()> {
    let model = Model::open(&source.path)?;
    let mut heap = Vec::new();
    for tensor in model.tensors() {
        let mut bytes = vec![0; usize::try_from(tensor.len)?];
        source.buffered.read_exact_at(&mut bytes, tensor.offset)?;
        if verify {
            source.verify(tensor.offset, tensor.len, |at, out| {
                out.copy_from_slice(&bytes[at as usize..][..out.len()]);
                Ok(())
            })?;
        }
        heap.push(bytes);
    }
    black_box(&heap);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_has_as_many_bytes_as_the_file_or_a_tensor_less() {
        for len in [1 << 20, 100 << 20, 1 << 30] {
            let list = tensors(len);
            let sum: u64 = list.iter().map(|(_, len)| len).sum();
            assert!(sum <= len && sum > len / 2, "{sum} of {len}");
            assert!(list.len() >= 5, "{list:?}");
        }
    }
}
