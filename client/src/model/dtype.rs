//! The types of elements.

use super::error::Problem;
use std::fmt::{self, Display, Formatter};

/// The type of a tensor's elements, which are stored in blocks of equal size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dtype {
    name: &'static str,
    block_len: u32,
    block_bytes: u32,
}

impl Dtype {
    const fn new(name: &'static str, block_len: u32, block_bytes: u32) -> Self {
        Self { name, block_len, block_bytes }
    }

    /// The type that safetensors call `name`.
    pub(super) fn of_safetensors(name: &str) -> Option<Self> {
        SAFETENSORS.iter().find(|dtype| dtype.name == name).copied()
    }

    /// The type that GGUF numbers `id`.
    pub(super) fn of_gguf(id: u32) -> Option<Self> {
        GGUF.iter().find(|(known, _)| *known == id).map(|(_, dtype)| *dtype)
    }

    /// Its name in the format's own words: `BF16`, `Q4_K`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Elements in a block; 1 if elements are stored one by one.
    pub fn block_len(&self) -> u64 {
        self.block_len.into()
    }

    /// Bytes in a block.
    pub fn block_bytes(&self) -> u64 {
        self.block_bytes.into()
    }

    /// The bytes of a tensor of `shape`, the outermost dimension first. `row` if the innermost
    /// dimension by itself has to fill blocks.
    pub(super) fn bytes_of(&self, shape: &[u64], row: bool) -> Result<u64, Problem> {
        let elements = shape.iter().try_fold(1_u64, |product, &n| product.checked_mul(n));
        let elements = elements.ok_or(Problem::Overflow)?;
        let block = self.block_len();
        let whole = if row { shape.last().copied().unwrap_or(1) } else { elements };
        if whole % block != 0 {
            return Err(Problem::PartOfBlock { elements: whole, block });
        }
        (elements / block).checked_mul(self.block_bytes()).ok_or(Problem::Overflow)
    }
}

impl Display for Dtype {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const SAFETENSORS: &[Dtype] = &[
    Dtype::new("BOOL", 1, 1),
    Dtype::new("F4", 2, 1),
    Dtype::new("F6_E2M3", 4, 3),
    Dtype::new("F6_E3M2", 4, 3),
    Dtype::new("U8", 1, 1),
    Dtype::new("I8", 1, 1),
    Dtype::new("F8_E5M2", 1, 1),
    Dtype::new("F8_E4M3", 1, 1),
    Dtype::new("F8_E8M0", 1, 1),
    Dtype::new("F8_E4M3FNUZ", 1, 1),
    Dtype::new("F8_E5M2FNUZ", 1, 1),
    Dtype::new("I16", 1, 2),
    Dtype::new("U16", 1, 2),
    Dtype::new("F16", 1, 2),
    Dtype::new("BF16", 1, 2),
    Dtype::new("I32", 1, 4),
    Dtype::new("U32", 1, 4),
    Dtype::new("F32", 1, 4),
    Dtype::new("C64", 1, 8),
    Dtype::new("F64", 1, 8),
    Dtype::new("I64", 1, 8),
    Dtype::new("U64", 1, 8),
];

/// Without Q8_1 and Q8_K, which exist in memory only.
const GGUF: &[(u32, Dtype)] = &[
    (0, Dtype::new("F32", 1, 4)),
    (1, Dtype::new("F16", 1, 2)),
    (2, Dtype::new("Q4_0", 32, 18)),
    (3, Dtype::new("Q4_1", 32, 20)),
    (6, Dtype::new("Q5_0", 32, 22)),
    (7, Dtype::new("Q5_1", 32, 24)),
    (8, Dtype::new("Q8_0", 32, 34)),
    (10, Dtype::new("Q2_K", 256, 84)),
    (11, Dtype::new("Q3_K", 256, 110)),
    (12, Dtype::new("Q4_K", 256, 144)),
    (13, Dtype::new("Q5_K", 256, 176)),
    (14, Dtype::new("Q6_K", 256, 210)),
    (16, Dtype::new("IQ2_XXS", 256, 66)),
    (17, Dtype::new("IQ2_XS", 256, 74)),
    (18, Dtype::new("IQ3_XXS", 256, 98)),
    (19, Dtype::new("IQ1_S", 256, 50)),
    (20, Dtype::new("IQ4_NL", 32, 18)),
    (21, Dtype::new("IQ3_S", 256, 110)),
    (22, Dtype::new("IQ2_S", 256, 82)),
    (23, Dtype::new("IQ4_XS", 256, 136)),
    (24, Dtype::new("I8", 1, 1)),
    (25, Dtype::new("I16", 1, 2)),
    (26, Dtype::new("I32", 1, 4)),
    (27, Dtype::new("I64", 1, 8)),
    (28, Dtype::new("F64", 1, 8)),
    (29, Dtype::new("IQ1_M", 256, 56)),
    (30, Dtype::new("BF16", 1, 2)),
    (34, Dtype::new("TQ1_0", 256, 54)),
    (35, Dtype::new("TQ2_0", 256, 66)),
    (39, Dtype::new("MXFP4", 32, 17)),
];
