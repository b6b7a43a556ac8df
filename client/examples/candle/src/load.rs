//! From a file into dma-bufs, and from there into candle's tensors.
//!
//! A tensor of candle's CPU backend owns its elements in a `Vec`, so candle cannot borrow the
//! memory of a buffer: one copy by the CPU is left. Dense tensors need no other one, because
//! [`dense`] reads the mapping of the buffer into the `Vec` that the tensor will own. Quantized
//! tensors are copied twice: candle takes bytes, and copies them into blocks.
//! docs/models.md#in-a-framework compares this with candle's own readers.

use crate::network::Weights;
use bytemuck::{cast_slice_mut, Pod};
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{Device, Tensor, WithDType};
use dmabufio_client::model::{Layout, Model, Plan, Tensors, View};
use dmabufio_client::Client;
use dmabufio_core::method::Mode;
use dmabufio_core::transfer::receipt::Receipt;
use half::{bf16, f16};
use std::borrow::Cow;
use std::error::Error;
use std::mem::size_of;
use std::path::Path;

/// Loads all tensors of the model at `path`.
pub fn load(client: &Client, path: &Path) -> Result<(Weights, Receipt), Box<dyn Error>> {
    let model = Model::open(path)?;
    let plan = Plan::new(&model, &["*"], &Layout::of(client)?)?;
    let tensors = Tensors::load(client, &model, plan, Mode::Auto)?;
    let mut weights = Weights::new();
    for tensor in model.tensors() {
        let view = tensors.get(&tensor.name).ok_or("a tensor without a place")?;
        weights.insert(tensor.name.clone(), weight(&view)?);
    }
    Ok((weights, *tensors.receipt()))
}

/// The tensor in a buffer as one of candle.
fn weight(view: &View<'_>) -> Result<QMatMul, Box<dyn Error>> {
    let dtype = match view.dtype.name() {
        "F64" => return dense::<f64>(view),
        "F32" => return dense::<f32>(view),
        "F16" => return dense::<f16>(view),
        "BF16" => return dense::<bf16>(view),
        "Q4_0" => GgmlDType::Q4_0,
        "Q4_1" => GgmlDType::Q4_1,
        "Q5_0" => GgmlDType::Q5_0,
        "Q5_1" => GgmlDType::Q5_1,
        "Q8_0" => GgmlDType::Q8_0,
        "Q2_K" => GgmlDType::Q2K,
        "Q3_K" => GgmlDType::Q3K,
        "Q4_K" => GgmlDType::Q4K,
        "Q5_K" => GgmlDType::Q5K,
        "Q6_K" => GgmlDType::Q6K,
        other => return Err(format!("{other}: not a type that this example knows").into()),
    };
    let mut bytes = vec![0; view.len as usize];
    view.buffer.read(view.offset, &mut bytes)?;
    let storage = QStorage::from_data(Cow::Borrowed(&bytes), &Device::Cpu, dtype)?;
    Ok(QMatMul::from_qtensor(QTensor::new(storage, shape(view))?)?)
}

/// A tensor whose elements are stored one by one.
fn dense<T: WithDType + Pod>(view: &View<'_>) -> Result<QMatMul, Box<dyn Error>> {
    let mut elements = vec![T::zeroed(); view.len as usize / size_of::<T>()];
    view.buffer.read(view.offset, cast_slice_mut(&mut elements))?;
    Ok(QMatMul::Tensor(Tensor::from_vec(elements, shape(view), &Device::Cpu)?))
}

fn shape(view: &View<'_>) -> Vec<usize> {
    view.shape.iter().map(|&n| n as usize).collect()
}
