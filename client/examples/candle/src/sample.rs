//! A small model, in both formats.

use crate::network::LAYERS;
use candle_core::quantized::{gguf_file, GgmlDType, QTensor};
use candle_core::{safetensors, DType, Device, Tensor};
use rustix::fs::{fadvise, Advice};
use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::path::Path;

const VOCABULARY: usize = 1024;
const WIDTH: usize = 256;
const INNER: usize = 512;

/// Writes the same weights twice: as 32 and 16 bits, and quantized.
pub fn write(dense: &Path, quantized: &Path) -> Result<(), Box<dyn Error>> {
    let (mut tensors, mut blocks) = (HashMap::new(), Vec::new());
    for (name, shape) in shapes() {
        let tensor = random(tensors.len(), &shape)?;
        let (wide, narrow) = match name.as_str() {
            "embedding" => (DType::BF16, GgmlDType::F16),
            name if name.ends_with("norm") => (DType::F32, GgmlDType::F32),
            name if name.ends_with("up") => (DType::F16, GgmlDType::Q8_0),
            _ => (DType::F32, GgmlDType::Q4K),
        };
        blocks.push((name.clone(), QTensor::quantize(&tensor, narrow)?));
        tensors.insert(name, tensor.to_dtype(wide)?);
    }
    safetensors::save(&tensors, dense)?;
    let blocks: Vec<_> = blocks.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    gguf_file::write(&mut File::create(quantized)?, &[], &blocks)?;
    Ok(())
}

/// Puts a new file into the state of one that was installed long ago: on the disk, and not in the
/// page cache.
pub fn forget(path: &Path) -> Result<(), Box<dyn Error>> {
    let file = File::open(path)?;
    file.sync_all()?;
    fadvise(&file, 0, 0, Advice::DontNeed)?;
    Ok(())
}

fn shapes() -> Vec<(String, Vec<usize>)> {
    let layer = |layer| {
        [
            (format!("{layer}.norm"), vec![WIDTH]),
            (format!("{layer}.up"), vec![INNER, WIDTH]),
            (format!("{layer}.down"), vec![WIDTH, INNER]),
        ]
    };
    let ends = [
        ("embedding".to_owned(), vec![VOCABULARY, WIDTH]),
        ("norm".to_owned(), vec![WIDTH]),
        ("output".to_owned(), vec![VOCABULARY, WIDTH]),
    ];
    (0..LAYERS).flat_map(layer).chain(ends).collect()
}

/// Numbers between -1 and 1, the same on every run.
fn random(seed: usize, shape: &[usize]) -> candle_core::Result<Tensor> {
    let mut state = seed as u32 + 1;
    let next = |_| {
        // The generator of Numerical Recipes.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let numbers: Vec<f32> = (0..shape.iter().product()).map(next).collect();
    Tensor::from_vec(numbers, shape, &Device::Cpu)
}
