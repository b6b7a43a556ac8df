//! A picture of half the width and half the height.

use super::container::{Pixels, TAG};
use super::error::{Problem, SnapshotError};
use super::picture::Picture;
use crate::buffer::Buffer;
use crate::client::Client;
use crate::error::Error;
use crate::mapped;
use dmabufio_core::extent::Direction;

/// The bytes of a pixel.
const PIXEL: usize = 4;

/// The picture that [`reduce`] makes.
///
/// # Errors
/// [`SnapshotError::Picture`] if the pixels do not have four bytes.
pub(super) fn reduced(picture: &Picture) -> Result<Picture, SnapshotError> {
    if picture.format.components().is_none() {
        let (found, allowed) = (picture.format.name().to_owned(), "a format of four bytes");
        let problem = Problem::NotAllowed { found, allowed };
        return Err(SnapshotError::Picture { field: "format", problem });
    }
    let width = picture.width.div_ceil(2);
    let stride = width.checked_mul(PIXEL as u32).unwrap_or(picture.stride);
    let (height, density) = (picture.height.div_ceil(2), picture.density.div_ceil(2));
    Ok(Picture { width, height, stride, density, ..*picture })
}

/// Writes the reduced picture to a new buffer. Each pixel is the mean of the up to four that it stands
/// for, component by component.
pub(super) fn reduce(
    client: &Client,
    pixels: &Pixels<'_>,
) -> Result<(Picture, Buffer), SnapshotError> {
    let from = pixels.picture;
    let to = reduced(&from)?;
    let heap = client.capabilities()?.heap;
    pixels.file_len(heap)?;
    let lanes = from.format.components().unwrap_or_default().map(Lane::new);
    let buffer = client.allocate(to.payload_len(), TAG)?;
    let mut rows = Vec::with_capacity(to.payload_len() as usize);
    let len = from.payload_len();
    mapped::access(pixels.buffer, heap, pixels.offset, len, Direction::Save, |mapping, at| {
        let row_len = from.width as usize * PIXEL;
        let mut pair = vec![0; 2 * row_len];
        for y in (0..from.height).step_by(2) {
            // The last one of an odd number of rows has no second one.
            let count = (from.height - y).min(2) as usize;
            for (i, row) in pair.chunks_exact_mut(row_len).take(count).enumerate() {
                mapping.read(at + (y as usize + i) * from.stride as usize, row)?;
            }
            reduce_rows(&pair[..count * row_len], row_len, &lanes, &mut rows);
        }
        Ok(())
    })?;
    buffer.write(0, &rows).map_err(Error::from)?;
    Ok((to, buffer))
}

/// A component of a pixel.
#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    /// Its bits.
    mask: u64,
    /// Its lowest bit.
    one: u64,
}

impl Lane {
    fn new((shift, bits): (u32, u32)) -> Self {
        Self { mask: ((1 << bits) - 1) << shift, one: 1 << shift }
    }

    fn with(self, other: Self) -> Self {
        Self { mask: self.mask | other.mask, one: self.one | other.one }
    }
}

/// Appends the row that stands for one or two rows.
fn reduce_rows(rows: &[u8], row_len: usize, lanes: &[Lane; 4], out: &mut Vec<u8>) {
    // Between two components that are not neighbours there is room for the sum of four.
    let halves = [lanes[0].with(lanes[2]), lanes[1].with(lanes[3])];
    let (upper, lower) = rows.split_at(row_len);
    for x in (0..row_len).step_by(2 * PIXEL) {
        let end = row_len.min(x + 2 * PIXEL);
        let (mut sums, mut count) = ([0_u64; 2], 0_u64);
        for row in [upper, lower].into_iter().filter_map(|row| row.get(x..end)) {
            for pixel in row.chunks_exact(PIXEL) {
                let pixel = pixel.try_into().map_or(0, u32::from_le_bytes);
                let pixel = u64::from(pixel);
                sums[0] += pixel & halves[0].mask;
                sums[1] += pixel & halves[1].mask;
                count += 1;
            }
        }
        // One, two or four pixels.
        let mean = |half: usize| {
            let rounded = sums[half] + halves[half].one * (count / 2);
            rounded >> count.trailing_zeros() & halves[half].mask
        };
        out.extend_from_slice(&((mean(0) | mean(1)) as u32).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::format::PixelFormat;

    fn reduced_rows(format: PixelFormat, rows: &[&[u32]]) -> Vec<u32> {
        let bytes: Vec<u8> =
            rows.iter().flat_map(|row| row.iter().flat_map(|p| p.to_le_bytes())).collect();
        let mut out = Vec::new();
        let lanes = format.components().expect("four bytes").map(Lane::new);
        reduce_rows(&bytes, rows[0].len() * PIXEL, &lanes, &mut out);
        let number = |p: &[u8]| u32::from_le_bytes([p[0], p[1], p[2], p[3]]);
        out.chunks_exact(PIXEL).map(number).collect()
    }

    #[test]
    fn pixel_is_the_rounded_mean_of_each_component() {
        let rows: [&[u32]; 2] = [&[0xff00_0000, 0xff04_0001], &[0xff00_0002, 0xff00_ff00]];
        assert_eq!(reduced_rows(PixelFormat::Abgr8888, &rows), [0xff01_4001]);
        let ten: [&[u32]; 1] = [&[3 << 30 | 1023 << 20 | 1023 << 10 | 1, 3 << 30 | 1023 << 20]];
        let mean = 3 << 30 | 1023 << 20 | 512 << 10 | 1;
        assert_eq!(reduced_rows(PixelFormat::Abgr2101010, &ten), [mean]);
    }

    #[test]
    fn last_pixel_of_an_odd_row_stands_for_itself() {
        let row: [&[u32]; 1] = [&[0x10, 0x20, 0x7f]];
        assert_eq!(reduced_rows(PixelFormat::Xrgb8888, &row), [0x18, 0x7f]);
    }
}
