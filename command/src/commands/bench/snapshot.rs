//! The snapshot of a task, beside the files that codecs make of the same picture.

use super::ours::Clients;
use super::runner::{Case, Times};
use super::scratch::Scratch;
use anyhow::{ensure, Context, Result};
use dmabufio_client::snapshot::{
    ColorSpace, Picture, PixelFormat, Pixels, SnapshotStore, TaskId, Variant,
};
use dmabufio_client::{Buffer, Client};
use png::{BitDepth, ColorType, Compression, Decoder, Encoder};
use rustix::fs::{fadvise, Advice};
use std::fs::{read, File};
use std::hint::black_box;
use std::io::{Cursor, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The window of a large phone.
const PICTURE: Picture = Picture {
    width: 1440,
    height: 3200,
    stride: 1440 * 4,
    format: PixelFormat::Abgr8888,
    rotation: 0,
    density: 560,
    color_space: ColorSpace::SRGB,
};
const TASK: TaskId = TaskId { user: 0, task: 1 };
const TAG: &str = "bench";

/// What a codec does with pixels.
struct Codec {
    name: &'static str,
    file: &'static str,
    encode: fn(&[u8]) -> Result<Vec<u8>>,
    decode: fn(&[u8]) -> Result<Vec<u8>>,
    /// By how much the mean of all components may differ.
    loss: u64,
}

/// A picture in a buffer, and a folder for its files.
pub struct BenchSnapshot<'a> {
    folder: Scratch,
    store: SnapshotStore,
    client: &'a Client,
    buffer: Buffer,
    pixels: Vec<u8>,
}

impl<'a> BenchSnapshot<'a> {
    /// Its folder is that of `file`.
    pub fn new(file: &Path, clients: &'a Clients) -> Result<Self> {
        let folder = Scratch::beside(file)?;
        let store = SnapshotStore::open(folder.path(), u64::MAX)?;
        let client = &clients.service;
        let pixels = pixels();
        let buffer = client.allocate(PICTURE.payload_len(), TAG)?;
        buffer.write(0, &pixels)?;
        Ok(Self { folder, store, client, buffer, pixels })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A picture as of an application: a third of it flat, a third a slope of colour, and a third as
/// detailed as a photograph.
fn pixels() -> Vec<u8> {
    let mut pixels = Vec::with_capacity(PICTURE.payload_len() as usize);
    let mut random = 1_u32;
    for y in 0..PICTURE.height {
        for x in 0..PICTURE.width {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let detail = (random >> 28) as u8;
            pixels.extend(match (x / 96 + y / 160) % 3 {
                0 => [250, 250, 252, 255],
                1 => [(x / 6) as u8, (y / 13) as u8, 128, 255],
                _ => {
                    [60 + (x % 96) as u8 + detail, 40 + (y % 160) as u8 + detail, 90 + detail, 255]
                }
            });
        }
    }
    pixels
}

/// The rows: all saves, and then all restores, which need the files of the saves.
pub fn snapshot<'a>(bench: &'a BenchSnapshot<'a>) -> Vec<Case<'a>> {
    let row = |name: String, run: Box<dyn Fn(bool) -> Result<Times> + 'a>| {
        Case::new(name, PICTURE.payload_len(), run)
    };
    let mut rows = vec![row(
        "save: snapshot".to_owned(),
        Box::new(|_| {
            let start = Instant::now();
            let pixels = Pixels { picture: PICTURE, buffer: bench.buffer.as_fd(), offset: 0 };
            bench.store.save(bench.client, TASK, &pixels, false)?;
            Ok(since(start))
        }),
    )];
    rows.extend(codecs().map(|codec| {
        row(format!("save: {}", codec.name), Box::new(move |_| encode(bench, &codec)))
    }));
    rows.push(row("restore: snapshot".to_owned(), Box::new(|verify| restore(bench, verify))));
    rows.extend(codecs().map(|codec| {
        row(
            format!("restore: {}", codec.name),
            Box::new(move |verify| decode(bench, &codec, verify)),
        )
    }));
    rows
}

fn since(start: Instant) -> Times {
    Times { both: start.elapsed(), ..Times::default() }
}

fn forget(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("open {path:?}"))?;
    fadvise(&file, 0, 0, Advice::DontNeed).context("drop the file's page cache")
}

fn restore(bench: &BenchSnapshot<'_>, verify: bool) -> Result<Times> {
    forget(&bench.path("0-1.snapshot"))?;
    let start = Instant::now();
    let snapshot = bench.store.restore(bench.client, TASK, Variant::Full)?;
    let times = since(start);
    if verify {
        ensure!(snapshot.picture == PICTURE, "{:?}", snapshot.picture);
        check(bench, &snapshot.buffer, 0)?;
    }
    Ok(times)
}

/// Reads the pixels from their buffer, encodes them and writes the file, durably as the store.
fn encode(bench: &BenchSnapshot<'_>, codec: &Codec) -> Result<Times> {
    let start = Instant::now();
    let mut pixels = vec![0; PICTURE.payload_len() as usize];
    bench.buffer.read(0, &mut pixels)?;
    let encoded = (codec.encode)(&pixels)?;
    let file = File::create(bench.path(codec.file))?;
    (&file).write_all(&encoded)?;
    file.sync_all()?;
    Ok(since(start))
}

/// Reads the file, decodes it and writes the pixels to a new buffer.
fn decode(bench: &BenchSnapshot<'_>, codec: &Codec, verify: bool) -> Result<Times> {
    let path = bench.path(codec.file);
    forget(&path)?;
    let start = Instant::now();
    let pixels = (codec.decode)(&read(&path)?)?;
    let buffer = bench.client.allocate(PICTURE.payload_len(), TAG)?;
    buffer.write(0, &pixels)?;
    let times = since(start);
    if verify {
        check(bench, &buffer, codec.loss)?;
    }
    black_box(&buffer);
    Ok(times)
}

/// Compares the pixels in `buffer` with the saved ones.
fn check(bench: &BenchSnapshot<'_>, buffer: &Buffer, loss: u64) -> Result<()> {
    let mut pixels = vec![0; PICTURE.payload_len() as usize];
    buffer.read(0, &mut pixels)?;
    if pixels == bench.pixels {
        return Ok(());
    }
    let differences = pixels.iter().zip(&bench.pixels).map(|(a, b)| u64::from(a.abs_diff(*b)));
    let mean = differences.sum::<u64>().div_ceil(PICTURE.payload_len());
    ensure!(mean <= loss, "the components differ by {mean} in the mean");
    Ok(())
}

/// The codecs that applications use for this. Android has its own for JPEG, which is none of Rust.
fn codecs() -> impl Iterator<Item = Codec> {
    let png = Codec {
        name: "PNG",
        file: "picture.png",
        encode: |pixels| {
            let mut out = Vec::new();
            let mut encoder = Encoder::new(&mut out, PICTURE.width, PICTURE.height);
            encoder.set_color(ColorType::Rgba);
            encoder.set_depth(BitDepth::Eight);
            encoder.set_compression(Compression::Fast);
            encoder.write_header()?.write_image_data(pixels)?;
            Ok(out)
        },
        decode: |file| {
            let mut reader = Decoder::new(Cursor::new(file)).read_info()?;
            let mut pixels = vec![0; reader.output_buffer_size()];
            reader.next_frame(&mut pixels)?;
            Ok(pixels)
        },
        loss: 0,
    };
    [png].into_iter().chain(jpeg())
}

#[cfg(target_os = "android")]
fn jpeg() -> Option<Codec> {
    None
}

#[cfg(not(target_os = "android"))]
fn jpeg() -> Option<Codec> {
    use anyhow::anyhow;
    use jpeg_encoder::{ColorType, Encoder};
    use zune_jpeg::zune_core::bytestream::ZCursor;
    use zune_jpeg::zune_core::colorspace::ColorSpace;
    use zune_jpeg::zune_core::options::DecoderOptions;
    use zune_jpeg::JpegDecoder;

    Some(Codec {
        name: "JPEG",
        file: "picture.jpg",
        encode: |pixels| {
            let mut out = Vec::new();
            // The quality of Android's own snapshots of tasks.
            let encoder = Encoder::new(&mut out, 95);
            let (width, height) = (PICTURE.width as u16, PICTURE.height as u16);
            encoder.encode(pixels, width, height, ColorType::Rgba)?;
            Ok(out)
        },
        decode: |file| {
            let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGBA);
            let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
            decoder.decode().map_err(|error| anyhow!("JPEG: {error:?}"))
        },
        loss: 4,
    })
}
