//! A network of the parts that a language model has: an embedding, norms, and layers of matrices.

use candle_core::quantized::QMatMul;
use candle_core::{DType, Device, Module, Result, Tensor, D};
use std::collections::HashMap;

/// The tensors by name: those of GGUF may be quantized.
pub type Weights = HashMap<String, QMatMul>;

pub const LAYERS: usize = 2;

/// The results for each of `tokens`, one after the other.
pub fn run(weights: &Weights, tokens: &[u32]) -> Result<Vec<f32>> {
    let dense = |name: &str| dense(&weights[name]);
    let multiply = |name: &str, x: &Tensor| match &weights[name] {
        QMatMul::Tensor(_) => QMatMul::Tensor(dense(name)?).forward(x),
        quantized => quantized.forward(x),
    };
    let tokens = Tensor::new(tokens, &Device::Cpu)?;
    let mut x = dense("embedding")?.index_select(&tokens, 0)?;
    for layer in 0..LAYERS {
        let inner = norm(&x, &dense(&format!("{layer}.norm"))?)?;
        let inner = multiply(&format!("{layer}.up"), &inner)?.silu()?;
        x = (x + multiply(&format!("{layer}.down"), &inner)?)?;
    }
    let x = norm(&x, &dense("norm")?)?;
    multiply("output", &x)?.flatten_all()?.to_vec1()
}

/// Scales each row to the mean square 1, and its elements by `weight`.
fn norm(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(mean + 1e-6)?.sqrt()?)?.broadcast_mul(weight)
}

/// A weight as numbers to compute with.
fn dense(weight: &QMatMul) -> Result<Tensor> {
    match weight {
        QMatMul::QTensor(tensor) => tensor.dequantize(&Device::Cpu),
        QMatMul::Tensor(tensor) | QMatMul::TensorF16(tensor) => tensor.to_dtype(DType::F32),
    }
}

/// Whether two weights have the same shape, and the same bits. For this, 16 bits may be widened.
pub fn equal(a: &QMatMul, b: &QMatMul) -> Result<bool> {
    if let (QMatMul::QTensor(a), QMatMul::QTensor(b)) = (a, b) {
        return Ok(a.shape() == b.shape() && a.dtype() == b.dtype() && a.data()? == b.data()?);
    }
    let (a, b) = (dense(a)?, dense(b)?);
    let bits = |tensor: &Tensor| -> Result<Vec<u32>> {
        Ok(tensor.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
    };
    Ok(a.shape() == b.shape() && bits(&a)? == bits(&b)?)
}
