//! What the pixels of a snapshot are.

use super::error::Problem;
use super::format::PixelFormat;

/// The layout and the meaning of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row; not 0.
    pub width: u32,
    /// Rows; not 0.
    pub height: u32,
    /// From the start of a row to the start of the next one, in bytes.
    pub stride: u32,
    /// The format of a pixel.
    pub format: PixelFormat,
    /// By how much the display was turned, in degrees clockwise: 0, 90, 180 or 270. The pixels are
    /// not turned.
    pub rotation: u32,
    /// Dots per inch; 0 if unknown.
    pub density: u32,
    /// What the components mean.
    pub color_space: ColorSpace,
}

impl Picture {
    /// The bytes of all rows.
    pub fn payload_len(&self) -> u64 {
        u64::from(self.stride) * u64::from(self.height)
    }

    /// The field that cannot be, and why.
    pub(super) fn problem(&self) -> Option<(&'static str, Problem)> {
        let Self { width, height, stride, format, rotation, color_space, .. } = *self;
        let not_zero = |value: u32| {
            let allowed = "more than 0";
            (value == 0).then(|| Problem::NotAllowed { found: value.to_string(), allowed })
        };
        let shortest = u64::from(width) * u64::from(format.bytes_per_pixel());
        let stride = || {
            let value = u64::from(stride);
            (value < shortest).then_some(Problem::TooSmall { value, limit: shortest })
        };
        let rotation = || {
            let (found, allowed) = (rotation.to_string(), "0, 90, 180 or 270");
            (![0, 90, 180, 270].contains(&rotation))
                .then_some(Problem::NotAllowed { found, allowed })
        };
        let color_space = || {
            let (found, allowed) = (format!("{:#x}", color_space.0), "a data space of Android");
            (color_space.0 & !ColorSpace::BITS != 0)
                .then_some(Problem::NotAllowed { found, allowed })
        };
        let named = |name: &'static str| move |problem| (name, problem);
        not_zero(width)
            .map(named("width"))
            .or_else(|| not_zero(height).map(named("height")))
            .or_else(|| stride().map(named("stride")))
            .or_else(|| rotation().map(named("rotation")))
            .or_else(|| color_space().map(named("color space")))
    }
}

/// A value of Android's `ADataSpace`: standard, transfer and range. DRM has no single number for
/// it. The values of the time before, in the low 16 bits, are not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColorSpace(pub u32);

impl ColorSpace {
    /// `ADATASPACE_UNKNOWN`
    pub const UNKNOWN: Self = Self(0);
    /// `ADATASPACE_SRGB`
    pub const SRGB: Self = Self(1 << 16 | 2 << 22 | 1 << 27);
    /// `ADATASPACE_DISPLAY_P3`
    pub const DISPLAY_P3: Self = Self(10 << 16 | 2 << 22 | 1 << 27);
    /// `ADATASPACE_SCRGB_LINEAR`
    pub const SCRGB_LINEAR: Self = Self(1 << 16 | 1 << 22 | 3 << 27);

    /// `ADATASPACE_STANDARD_MASK`, `ADATASPACE_TRANSFER_MASK` and `ADATASPACE_RANGE_MASK`
    const BITS: u32 = 63 << 16 | 31 << 22 | 7 << 27;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_spaces_are_the_numbers_of_android() {
        // From android/data_space.h.
        assert_eq!(ColorSpace::SRGB.0, 142_671_872);
        assert_eq!(ColorSpace::DISPLAY_P3.0, 143_261_696);
        assert_eq!(ColorSpace::SCRGB_LINEAR.0, 406_913_024);
    }
}
