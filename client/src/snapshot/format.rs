//! The formats of pixels.

/// How a pixel is stored, as DRM names it: the first component is in the highest bits of a
/// little-endian number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PixelFormat {
    /// `DRM_FORMAT_ABGR8888`, Android's `RGBA_8888`.
    Abgr8888,
    /// `DRM_FORMAT_XBGR8888`, Android's `RGBX_8888`.
    Xbgr8888,
    /// `DRM_FORMAT_ARGB8888`, Android's `BGRA_8888`.
    Argb8888,
    /// `DRM_FORMAT_XRGB8888`.
    Xrgb8888,
    /// `DRM_FORMAT_RGB565`, Android's `RGB_565`.
    Rgb565,
    /// `DRM_FORMAT_ABGR2101010`, Android's `RGBA_1010102`.
    Abgr2101010,
    /// `DRM_FORMAT_ABGR16161616F`, Android's `RGBA_FP16`.
    Abgr16161616F,
}

impl PixelFormat {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Abgr8888,
        Self::Xbgr8888,
        Self::Argb8888,
        Self::Xrgb8888,
        Self::Rgb565,
        Self::Abgr2101010,
        Self::Abgr16161616F,
    ];

    /// The four characters of the DRM fourcc.
    pub fn name(self) -> &'static str {
        match self {
            Self::Abgr8888 => "AB24",
            Self::Xbgr8888 => "XB24",
            Self::Argb8888 => "AR24",
            Self::Xrgb8888 => "XR24",
            Self::Rgb565 => "RG16",
            Self::Abgr2101010 => "AB30",
            Self::Abgr16161616F => "AB4H",
        }
    }

    /// The DRM fourcc.
    pub fn fourcc(self) -> u32 {
        self.name().bytes().rev().fold(0, |code, byte| code << 8 | u32::from(byte))
    }

    /// The format with this DRM fourcc.
    pub fn of_fourcc(fourcc: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.fourcc() == fourcc)
    }

    /// The bytes of a pixel.
    pub fn bytes_per_pixel(self) -> u32 {
        match self {
            Self::Rgb565 => 2,
            Self::Abgr16161616F => 8,
            _ => 4,
        }
    }

    /// The shift and the bits of each component, in a format of four bytes.
    pub(super) fn components(self) -> Option<[(u32, u32); 4]> {
        match self {
            Self::Rgb565 | Self::Abgr16161616F => None,
            Self::Abgr2101010 => Some([(0, 10), (10, 10), (20, 10), (30, 2)]),
            _ => Some([(0, 8), (8, 8), (16, 8), (24, 8)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fourcc_is_that_of_drm_and_leads_back() {
        // From drm_fourcc.h.
        assert_eq!(PixelFormat::Abgr8888.fourcc(), 0x3432_4241);
        assert_eq!(PixelFormat::Rgb565.fourcc(), 0x3631_4752);
        assert_eq!(PixelFormat::Abgr16161616F.fourcc(), 0x4834_4241);
        for format in PixelFormat::ALL {
            assert_eq!(PixelFormat::of_fourcc(format.fourcc()), Some(format));
        }
        assert_eq!(PixelFormat::of_fourcc(0), None);
    }
}
