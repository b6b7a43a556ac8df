//! The header of a snapshot's file. docs/snapshots.md has the table of its fields.

use super::error::{Fault, Problem};
use super::format::PixelFormat;
use super::picture::{ColorSpace, Picture};
use crate::crc32c::Crc32c;

/// Where the pixels begin in the file, in bytes, and the length of the header: the largest page of
/// phones. The padding behind the pixels ends at a multiple of it, too, so that reading is direct
/// on every kernel.
pub const PAYLOAD_OFFSET: u64 = 16 << 10;

const LEN: usize = PAYLOAD_OFFSET as usize;
const MAGIC: [u8; 8] = *b"dmasnap\0";
const VERSION: u32 = 1;
const VERSION_AT: usize = 8;
const WIDTH_AT: usize = 12;
const HEIGHT_AT: usize = 16;
const STRIDE_AT: usize = 20;
const FORMAT_AT: usize = 24;
const ROTATION_AT: usize = 28;
const DENSITY_AT: usize = 32;
const COLOR_SPACE_AT: usize = 36;
const PAYLOAD_LEN_AT: usize = 40;
const PAYLOAD_CRC_AT: usize = 48;
const UNUSED_AT: usize = 52;
const HEADER_CRC_AT: usize = LEN - 4;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub picture: Picture,
    /// Of the pixels and the padding.
    pub payload_crc: u32,
}

/// The length of the pixels with their padding.
pub(super) fn padded(payload_len: u64) -> Option<u64> {
    payload_len.checked_next_multiple_of(PAYLOAD_OFFSET)
}

impl Header {
    pub fn to_bytes(self) -> Vec<u8> {
        let Self { picture, payload_crc } = self;
        let mut bytes = vec![0; LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        for (at, value) in [
            (VERSION_AT, VERSION),
            (WIDTH_AT, picture.width),
            (HEIGHT_AT, picture.height),
            (STRIDE_AT, picture.stride),
            (FORMAT_AT, picture.format.fourcc()),
            (ROTATION_AT, picture.rotation),
            (DENSITY_AT, picture.density),
            (COLOR_SPACE_AT, picture.color_space.0),
            (PAYLOAD_CRC_AT, payload_crc),
        ] {
            put(at, &value.to_le_bytes());
        }
        put(PAYLOAD_LEN_AT, &picture.payload_len().to_le_bytes());
        let crc = Crc32c::of(&bytes[..HEADER_CRC_AT]);
        bytes[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The bytes of a file with this header, which has been parsed.
    pub fn file_len(&self) -> u64 {
        let payload_len = self.picture.payload_len();
        PAYLOAD_OFFSET + padded(payload_len).unwrap_or(payload_len)
    }

    /// Reads the header of a file of `file_len` bytes, which `bytes` begin.
    pub fn parse(bytes: &[u8; LEN], file_len: u64) -> Result<Self, Fault> {
        let fault = |field, at: usize, problem| Fault { field, offset: at as u64, problem };
        let number = |at: usize| {
            let mut field = [0; 4];
            field.copy_from_slice(&bytes[at..at + 4]);
            u32::from_le_bytes(field)
        };
        if !bytes.starts_with(&MAGIC) {
            let (found, allowed) = (bytes[..8].escape_ascii().to_string(), "dmasnap\\x00");
            return Err(fault("magic", 0, Problem::NotAllowed { found, allowed }));
        }
        let version = number(VERSION_AT);
        if version != VERSION {
            let (found, allowed) = (version.to_string(), "1");
            return Err(fault("version", VERSION_AT, Problem::NotAllowed { found, allowed }));
        }
        let (expected, found) = (number(HEADER_CRC_AT), Crc32c::of(&bytes[..HEADER_CRC_AT]));
        if found != expected {
            return Err(fault("header", 0, Problem::Checksum { expected, found }));
        }
        let fourcc = number(FORMAT_AT);
        let format = PixelFormat::of_fourcc(fourcc).ok_or_else(|| {
            let (found, allowed) = (format!("{fourcc:#010x}"), "the DRM fourcc of a known format");
            fault("format", FORMAT_AT, Problem::NotAllowed { found, allowed })
        })?;
        let picture = Picture {
            width: number(WIDTH_AT),
            height: number(HEIGHT_AT),
            stride: number(STRIDE_AT),
            format,
            rotation: number(ROTATION_AT),
            density: number(DENSITY_AT),
            color_space: ColorSpace(number(COLOR_SPACE_AT)),
        };
        if let Some((field, problem)) = picture.problem() {
            let at = match field {
                "width" => WIDTH_AT,
                "height" => HEIGHT_AT,
                "stride" => STRIDE_AT,
                "rotation" => ROTATION_AT,
                _ => COLOR_SPACE_AT,
            };
            return Err(fault(field, at, problem));
        }
        let high = u64::from(number(PAYLOAD_LEN_AT + 4)) << 32;
        let (expected, found) = (picture.payload_len(), high | u64::from(number(PAYLOAD_LEN_AT)));
        if found != expected {
            let problem = Problem::Mismatch { expected, found };
            return Err(fault("payload length", PAYLOAD_LEN_AT, problem));
        }
        let unused = &bytes[UNUSED_AT..HEADER_CRC_AT];
        if let Some(at) = unused.iter().position(|&byte| byte != 0) {
            let (found, allowed) = (unused[at].to_string(), "0");
            return Err(fault("unused", UNUSED_AT + at, Problem::NotAllowed { found, allowed }));
        }
        let (needed, available) =
            (padded(expected).unwrap_or(u64::MAX), file_len.saturating_sub(PAYLOAD_OFFSET));
        match available.checked_sub(needed) {
            Some(0) => Ok(Self { picture, payload_crc: number(PAYLOAD_CRC_AT) }),
            Some(more) => Err(fault("payload", LEN, Problem::Trailing(more))),
            None => Err(fault("payload", LEN, Problem::Truncated { needed, available })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let picture = Picture {
            width: 100,
            height: 50,
            stride: 416,
            format: PixelFormat::Abgr8888,
            rotation: 90,
            density: 420,
            color_space: ColorSpace::DISPLAY_P3,
        };
        Header { picture, payload_crc: 0x1234_5678 }
    }

    fn page(header: &Header) -> [u8; LEN] {
        header.to_bytes().try_into().expect("a page")
    }

    fn sign(page: &mut [u8; LEN]) {
        let crc = Crc32c::of(&page[..HEADER_CRC_AT]);
        page[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    }

    #[test]
    fn header_leads_back_to_its_picture() {
        let header = header();
        assert_eq!(Header::parse(&page(&header), header.file_len()), Ok(header));
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let (right, len) = (page(&header()), header().file_len());
        // The zeros are alike.
        let zeros = (UNUSED_AT + 16..HEADER_CRC_AT - 16).step_by(7);
        for at in (0..UNUSED_AT + 16).chain(zeros).chain(HEADER_CRC_AT - 16..LEN) {
            let mut page = right;
            page[at] ^= 1 << (at % 8);
            let fault = Header::parse(&page, len).expect_err("an error");
            let field = match at {
                0..8 => "magic",
                8..12 => "version",
                _ => "header",
            };
            assert_eq!(fault.field, field, "byte {at}");
        }
    }

    #[test]
    fn every_changed_byte_under_a_right_checksum_is_refused_unless_it_is_another_picture() {
        let (right, len) = (page(&header()), header().file_len());
        for at in (0..UNUSED_AT).chain((UNUSED_AT..HEADER_CRC_AT).step_by(101)) {
            let values = [right[at] ^ 1, 0, 1, 0x7f, 0x80, 0xff, right[at].wrapping_add(1)];
            for &value in &values[..if at < UNUSED_AT { values.len() } else { 1 }] {
                let mut page = right;
                page[at] = value;
                sign(&mut page);
                match Header::parse(&page, len) {
                    // Nothing that has to do with sizes may change without an error.
                    Ok(parsed) => {
                        let Picture { height, stride, .. } = parsed.picture;
                        assert_eq!((height, stride), (50, 416), "byte {at} = {value}");
                        assert!(parsed.picture.width <= 104, "byte {at} = {value}");
                        assert!(value == right[at] || at < UNUSED_AT, "byte {at} = {value}");
                    }
                    Err(fault) => {
                        let within = fault.offset <= at as u64 || fault.field == "payload length";
                        assert!(within || fault.field == "stride", "byte {at}: {fault:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn impossible_fields_are_refused_by_name_and_offset() {
        let (right, len) = (page(&header()), header().file_len());
        let not_allowed =
            |found: &str, allowed| Problem::NotAllowed { found: found.to_owned(), allowed };
        let mismatch = |expected, found| Problem::Mismatch { expected, found };
        let format = "the DRM fourcc of a known format";
        let space = "a data space of Android";
        for (at, value, field, offset, problem) in [
            (WIDTH_AT, 0, "width", WIDTH_AT, not_allowed("0", "more than 0")),
            (HEIGHT_AT, 0, "height", HEIGHT_AT, not_allowed("0", "more than 0")),
            (WIDTH_AT, 105, "stride", STRIDE_AT, Problem::TooSmall { value: 416, limit: 420 }),
            (
                WIDTH_AT,
                u32::MAX,
                "stride",
                STRIDE_AT,
                Problem::TooSmall { value: 416, limit: 0x3_ffff_fffc },
            ),
            (STRIDE_AT, 0, "stride", STRIDE_AT, Problem::TooSmall { value: 0, limit: 400 }),
            (STRIDE_AT, u32::MAX, "payload length", 40, mismatch(214_748_364_750, 20800)),
            (HEIGHT_AT, u32::MAX, "payload length", 40, mismatch(1_786_706_394_720, 20800)),
            (PAYLOAD_LEN_AT, 0, "payload length", 40, mismatch(20800, 0)),
            (PAYLOAD_LEN_AT + 4, 1, "payload length", 40, mismatch(20800, (1 << 32) + 20800)),
            (FORMAT_AT, 0, "format", FORMAT_AT, not_allowed("0x00000000", format)),
            (ROTATION_AT, 45, "rotation", ROTATION_AT, not_allowed("45", "0, 90, 180 or 270")),
            (COLOR_SPACE_AT, 513, "color space", COLOR_SPACE_AT, not_allowed("0x201", space)),
            (UNUSED_AT, 1, "unused", UNUSED_AT, not_allowed("1", "0")),
            (HEADER_CRC_AT - 4, 7 << 24, "unused", HEADER_CRC_AT - 1, not_allowed("7", "0")),
            (VERSION_AT, 2, "version", VERSION_AT, not_allowed("2", "1")),
        ] {
            let mut page = right;
            page[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
            sign(&mut page);
            let fault = Fault { field, offset: offset as u64, problem };
            assert_eq!(Header::parse(&page, len), Err(fault), "{at}");
        }
    }

    #[test]
    fn largest_picture_needs_more_than_any_file_has_and_does_not_overflow() {
        let picture = Picture { height: u32::MAX, stride: u32::MAX, ..header().picture };
        let page = page(&Header { picture, ..header() });
        let needed = 0xffff_fffe_0000_4000;
        for file_len in [0, PAYLOAD_OFFSET, u64::MAX] {
            let available = file_len.saturating_sub(PAYLOAD_OFFSET);
            let problem = match available.checked_sub(needed) {
                Some(more) => Problem::Trailing(more),
                None => Problem::Truncated { needed, available },
            };
            let fault = Fault { field: "payload", offset: PAYLOAD_OFFSET, problem };
            assert_eq!(Header::parse(&page, file_len), Err(fault));
        }
    }

    #[test]
    fn file_of_any_other_length_is_refused() {
        let (header, page) = (header(), page(&header()));
        let right = header.file_len();
        for len in (0..right).step_by(511).chain([right - 1]) {
            let available = len.saturating_sub(PAYLOAD_OFFSET);
            let problem = Problem::Truncated { needed: right - PAYLOAD_OFFSET, available };
            let fault = Fault { field: "payload", offset: PAYLOAD_OFFSET, problem };
            assert_eq!(Header::parse(&page, len), Err(fault));
        }
        for more in [1, PAYLOAD_OFFSET, u64::MAX - right] {
            let fault = Fault {
                field: "payload",
                offset: PAYLOAD_OFFSET,
                problem: Problem::Trailing(more),
            };
            assert_eq!(Header::parse(&page, right + more), Err(fault));
        }
    }
}
