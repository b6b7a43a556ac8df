//! Writes a snapshot as a picture to look at.

use anyhow::{bail, Result};
use dmabufio_client::snapshot::{ColorSpace, PixelFormat, Snapshot};
use png::{BitDepth, ColorType, Compression, Encoder, PixelDimensions, SrgbRenderingIntent, Unit};
use std::fs::File;
use std::io::{BufWriter, Write};

/// Appends the components of a pixel as a PNG has them.
type Convert = fn(&[u8], &mut Vec<u8>);

/// How a row becomes one of a PNG.
struct Conversion {
    color: ColorType,
    depth: BitDepth,
    /// Bytes of a pixel.
    from: usize,
    convert: Convert,
}

fn conversion(format: PixelFormat) -> Result<Conversion> {
    let (color, depth, convert): (_, _, Convert) = match format {
        PixelFormat::Abgr8888 => (ColorType::Rgba, BitDepth::Eight, |p, out| out.extend(p)),
        PixelFormat::Argb8888 => {
            (ColorType::Rgba, BitDepth::Eight, |p, out| out.extend([p[2], p[1], p[0], p[3]]))
        }
        PixelFormat::Xbgr8888 => (ColorType::Rgb, BitDepth::Eight, |p, out| out.extend(&p[..3])),
        PixelFormat::Xrgb8888 => {
            (ColorType::Rgb, BitDepth::Eight, |p, out| out.extend([p[2], p[1], p[0]]))
        }
        PixelFormat::Rgb565 => (ColorType::Rgb, BitDepth::Eight, |p, out| {
            let pixel = u32::from(p[1]) << 8 | u32::from(p[0]);
            let components = [(11, 31), (5, 63), (0, 31)];
            out.extend(components.map(|(shift, most)| spread(pixel, shift, most, 255) as u8));
        }),
        PixelFormat::Abgr2101010 => (ColorType::Rgba, BitDepth::Sixteen, |p, out| {
            let pixel = u32::from_le_bytes([p[0], p[1], p[2], p[3]]);
            for (shift, most) in [(0, 1023), (10, 1023), (20, 1023), (30, 3)] {
                out.extend((spread(pixel, shift, most, 65535) as u16).to_be_bytes());
            }
        }),
        PixelFormat::Abgr16161616F => bail!("a PNG has no floating-point components"),
    };
    Ok(Conversion { color, depth, from: format.bytes_per_pixel() as usize, convert })
}

/// A component of the range `0..=most` in the range `0..=wanted`.
fn spread(pixel: u32, shift: u32, most: u32, wanted: u32) -> u32 {
    ((pixel >> shift & most) * wanted + most / 2) / most
}

pub fn write(snapshot: &Snapshot, file: &File) -> Result<()> {
    let picture = &snapshot.picture;
    let Conversion { color, depth, from, convert } = conversion(picture.format)?;
    let mut out = BufWriter::new(file);
    let mut encoder = Encoder::new(&mut out, picture.width, picture.height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_compression(Compression::Fast);
    if picture.color_space == ColorSpace::SRGB {
        encoder.set_source_srgb(SrgbRenderingIntent::Perceptual);
    }
    if picture.density > 0 {
        // An inch is 0.0254 m.
        let per_meter = (u64::from(picture.density) * 10_000 + 127) / 254;
        let per_meter = u32::try_from(per_meter).unwrap_or(u32::MAX);
        let dimensions = PixelDimensions { xppu: per_meter, yppu: per_meter, unit: Unit::Meter };
        encoder.set_pixel_dims(Some(dimensions));
    }
    let mut writer = encoder.write_header()?;
    let mut rows = writer.stream_writer()?;
    let mut row = vec![0; picture.width as usize * from];
    let mut converted = Vec::new();
    for y in 0..u64::from(picture.height) {
        snapshot.buffer.read(y * u64::from(picture.stride), &mut row)?;
        converted.clear();
        row.chunks_exact(from).for_each(|pixel| convert(pixel, &mut converted));
        rows.write_all(&converted)?;
    }
    rows.finish()?;
    writer.finish()?;
    out.flush()?;
    Ok(())
}
