//! The file that a snapshot is made of: pixels only, or what Android's `screencap` writes.

use super::picture::{parse_format, parse_size, parse_space};
use crate::name::shown;
use anyhow::{bail, ensure, Context, Result};
use dmabufio_client::snapshot::{ColorSpace, Picture, PixelFormat};
use dmabufio_client::{open_regular, Buffer, Client};
use rustix::fs::OFlags;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Width, height, format and colour space, which `screencap` writes before the pixels.
const SCREENCAP: u64 = 16;
/// Bytes that are copied at a time.
const STEP: u64 = 1 << 20;

/// Options that describe the pixels.
#[derive(clap::Args)]
pub struct SourceArgs {
    /// The pixels, row by row; without --size, a file of Android's screencap
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,

    /// Width and height in pixels, like 1440x3200
    #[arg(long, value_parser = parse_size)]
    size: Option<(u32, u32)>,

    /// Bytes from row to row; rows without gaps unless given
    #[arg(long, value_name = "BYTES", requires = "size")]
    stride: Option<u32>,

    /// DRM fourcc, or Android's name of the format
    #[arg(long, default_value = "RGBA_8888", requires = "size", value_parser = parse_format)]
    format: PixelFormat,

    /// By how much the display was turned, in degrees clockwise
    #[arg(long, value_name = "DEGREES", default_value = "0")]
    rotation: u32,

    /// Dots per inch; 0 if unknown
    #[arg(long, value_name = "DPI", default_value = "0")]
    density: u32,

    /// srgb, display-p3, scrgb-linear, unknown or a number
    #[arg(long, value_name = "SPACE", default_value = "srgb", requires = "size", value_parser = parse_space)]
    color_space: ColorSpace,
}

impl SourceArgs {
    /// Puts the pixels into a new buffer.
    pub fn read(&self, client: &Client) -> Result<(Picture, Buffer)> {
        let name = shown(&self.from);
        let file = open_regular(&self.from, OFlags::empty())?;
        let file_len = file.metadata().with_context(|| name.clone())?.len();
        let (picture, start) = match self.size {
            Some((width, height)) => {
                let tight = width.checked_mul(self.format.bytes_per_pixel());
                let stride = self.stride.or(tight).context("--size: too wide")?;
                let (format, color_space) = (self.format, self.color_space);
                (self.picture(width, height, stride, format, color_space), 0)
            }
            None => (self.of_screencap(&file, file_len).with_context(|| name.clone())?, SCREENCAP),
        };
        let len = picture.payload_len();
        ensure!(
            start.checked_add(len) == Some(file_len),
            "{name}: has {file_len} bytes, and {} rows of {} bytes from offset {start} need {}",
            picture.height,
            picture.stride,
            u128::from(start) + u128::from(len)
        );
        let buffer = client.allocate(len.max(1), "window").context("allocate a buffer")?;
        let mut bytes = vec![0; STEP.min(len) as usize];
        for done in (0..len).step_by(STEP as usize) {
            let bytes = &mut bytes[..STEP.min(len - done) as usize];
            file.read_exact_at(bytes, start + done).with_context(|| format!("read {name}"))?;
            buffer.write(done, bytes)?;
        }
        Ok((picture, buffer))
    }

    fn picture(
        &self,
        width: u32,
        height: u32,
        stride: u32,
        format: PixelFormat,
        color_space: ColorSpace,
    ) -> Picture {
        let Self { rotation, density, .. } = *self;
        Picture { width, height, stride, format, rotation, density, color_space }
    }

    fn of_screencap(&self, file: &File, file_len: u64) -> Result<Picture> {
        let hint = "not from screencap; give --size WIDTHxHEIGHT if it has pixels only";
        ensure!(file_len > SCREENCAP, "{hint}");
        let mut fields = [0; SCREENCAP as usize];
        file.read_exact_at(&mut fields, 0).context("read the header of screencap")?;
        let number =
            |at: usize| fields[at..at + 4].iter().rev().fold(0, |n, b| n << 8 | u32::from(*b));
        let format = match number(8) {
            1 => PixelFormat::Abgr8888,
            2 => PixelFormat::Xbgr8888,
            4 => PixelFormat::Rgb565,
            5 => PixelFormat::Argb8888,
            0x16 => PixelFormat::Abgr16161616F,
            0x2b => PixelFormat::Abgr2101010,
            other => bail!("format {other}: {hint}"),
        };
        // screencap has numbers of its own: unknown, sRGB and Display P3.
        let color_space = match number(12) {
            1 => ColorSpace::SRGB,
            2 => ColorSpace::DISPLAY_P3,
            _ => ColorSpace::UNKNOWN,
        };
        let (width, height) = (number(0), number(4));
        let stride = width.checked_mul(format.bytes_per_pixel()).context(hint)?;
        Ok(self.picture(width, height, stride, format, color_space))
    }
}
