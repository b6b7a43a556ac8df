//! Pictures, as people and programs write and read them.

use dmabufio_client::snapshot::{ColorSpace, Picture, PixelFormat};
use serde::Serialize;
use std::io::{self, Write};

/// A format by its DRM fourcc or by the name that Android has for it.
const FORMATS: [(&str, PixelFormat); 6] = [
    ("RGBA_8888", PixelFormat::Abgr8888),
    ("RGBX_8888", PixelFormat::Xbgr8888),
    ("BGRA_8888", PixelFormat::Argb8888),
    ("RGB_565", PixelFormat::Rgb565),
    ("RGBA_1010102", PixelFormat::Abgr2101010),
    ("RGBA_FP16", PixelFormat::Abgr16161616F),
];

const SPACES: [(&str, ColorSpace); 4] = [
    ("unknown", ColorSpace::UNKNOWN),
    ("srgb", ColorSpace::SRGB),
    ("display-p3", ColorSpace::DISPLAY_P3),
    ("scrgb-linear", ColorSpace::SCRGB_LINEAR),
];

pub fn parse_format(text: &str) -> Result<PixelFormat, String> {
    let of_drm = PixelFormat::ALL.into_iter().find(|format| format.name() == text);
    let of_android = || FORMATS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    of_drm.or_else(|| Some(of_android()?.1)).ok_or_else(|| {
        let names = PixelFormat::ALL.map(PixelFormat::name).into_iter();
        let names: Vec<&str> = names.chain(FORMATS.iter().map(|(name, _)| *name)).collect();
        format!("not one of {}", names.join(", "))
    })
}

pub fn parse_space(text: &str) -> Result<ColorSpace, String> {
    let named = SPACES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    let number = || match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    named.map(|(_, space)| *space).or_else(|| number().map(ColorSpace)).ok_or_else(|| {
        let names = SPACES.map(|(name, _)| name).join(", ");
        format!("not one of {names}, and no number of ADataSpace")
    })
}

/// Reads `1440x3200`.
pub fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let sides = text.split_once('x');
    let size = sides.and_then(|(width, height)| width.parse().ok().zip(height.parse().ok()));
    size.ok_or_else(|| "not a width and a height; write them like 1440x3200".to_owned())
}

#[derive(Serialize)]
pub struct PictureReport {
    pub width: u32,
    pub height: u32,
    pub stride: u32,
    /// The DRM fourcc.
    pub format: &'static str,
    pub rotation: u32,
    pub density: u32,
    /// A value of `ADataSpace`.
    pub color_space: u32,
}

impl PictureReport {
    pub fn new(picture: &Picture) -> Self {
        let Picture { width, height, stride, format, rotation, density, color_space } = *picture;
        let (format, color_space) = (format.name(), color_space.0);
        Self { width, height, stride, format, rotation, density, color_space }
    }

    /// The size and the format in words.
    pub fn summary(&self) -> String {
        format!("{}x{} {}", self.width, self.height, self.format)
    }

    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let space = SPACES.iter().find(|(_, space)| space.0 == self.color_space);
        let space = space
            .map_or_else(|| format!("{:#x}", self.color_space), |(name, _)| (*name).to_owned());
        writeln!(out, "  stride     {:>10} bytes", self.stride)?;
        writeln!(out, "  rotation   {:>10} degrees", self.rotation)?;
        writeln!(out, "  density    {:>10} dpi", self.density)?;
        writeln!(out, "  colours    {space:>10}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_drm_and_of_android_are_read() {
        assert_eq!(parse_format("AB24"), Ok(PixelFormat::Abgr8888));
        assert_eq!(parse_format("rgba_8888"), Ok(PixelFormat::Abgr8888));
        assert_eq!(parse_format("RGB_565"), Ok(PixelFormat::Rgb565));
        let error = parse_format("YV12").expect_err("an error");
        assert!(error.starts_with("not one of AB24, "), "{error}");
    }

    #[test]
    fn colour_spaces_are_read_by_name_and_number() {
        assert_eq!(parse_space("sRGB"), Ok(ColorSpace::SRGB));
        assert_eq!(parse_space("0x8810000"), Ok(ColorSpace::SRGB));
        assert_eq!(parse_space("142671872"), Ok(ColorSpace::SRGB));
        assert!(parse_space("0xyz").is_err());
    }

    #[test]
    fn sizes_are_a_width_and_a_height() {
        assert_eq!(parse_size("1440x3200"), Ok((1440, 3200)));
        for text in ["1440", "1440x", "x1", "-1x2", "1x2x3", "1 x 2"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
