//! A framework that computes with a model from dma-bufs: candle, with safetensors and with GGUF.
//!
//! ```sh
//! cd client/examples/candle && cargo run -- FOLDER     # --service to use the service
//! ```
//!
//! It writes a small model in both formats into the folder, loads each tensor by tensor into
//! buffers, makes candle's tensors from the buffers, and computes. Candle also reads the same file
//! by itself: weights and results have to be equal, bit by bit.

mod load;
mod network;
mod sample;

use candle_core::quantized::gguf_file::Content;
use candle_core::quantized::QMatMul;
use candle_core::{safetensors, Device};
use dmabufio_client::Client;
use dmabufio_core::heap::Heap;
use network::Weights;
use std::env::args_os;
use std::error::Error;
use std::fs::File;
use std::path::Path;

/// What the network reads.
const TOKENS: [u32; 8] = [1, 509, 77, 1023, 0, 300, 300, 12];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = args_os().skip(1).collect();
    let (client, folder) = match arguments.as_slice() {
        [folder] => (Client::local(Heap::Memfd)?, folder),
        [flag, folder] if flag == "--service" => (Client::service()?, folder),
        _ => return Err("usage: dmabufio_candle [--service] FOLDER".into()),
    };
    let folder = Path::new(folder);
    let (dense, quantized) = (folder.join("sample.safetensors"), folder.join("sample.gguf"));
    sample::write(&dense, &quantized)?;
    check(&client, &dense, &read_safetensors(&dense)?)?;
    check(&client, &quantized, &read_gguf(&quantized)?)
}

/// Loads the model at `path` into buffers, computes, and compares with what candle makes of the
/// weights that it has read itself.
fn check(client: &Client, path: &Path, expected: &Weights) -> Result<(), Box<dyn Error>> {
    sample::forget(path)?;
    let (weights, receipt) = load::load(client, path)?;
    println!("{}: {} bytes, {} direct", path.display(), receipt.bytes(), receipt.direct);
    if weights.len() != expected.len() {
        return Err("the number of tensors differs".into());
    }
    for (name, weight) in expected {
        let same = weights.get(name).map(|ours| network::equal(ours, weight)).transpose()?;
        if same != Some(true) {
            return Err(format!("{name}: differs from what candle reads").into());
        }
    }
    let (ours, theirs) = (network::run(&weights, &TOKENS)?, network::run(expected, &TOKENS)?);
    if !ours.iter().map(|x| x.to_bits()).eq(theirs.iter().map(|x| x.to_bits())) {
        return Err("the results differ".into());
    }
    let sum: f32 = ours.iter().sum();
    println!("  {} tensors and {} results are equal, sum {sum}", weights.len(), ours.len());
    Ok(())
}

/// As candle reads safetensors: the whole file through the page cache.
fn read_safetensors(path: &Path) -> candle_core::Result<Weights> {
    let tensors = safetensors::load(path, &Device::Cpu)?;
    Ok(tensors.into_iter().map(|(name, tensor)| (name, QMatMul::Tensor(tensor))).collect())
}

/// As candle reads GGUF: tensor by tensor through the page cache.
fn read_gguf(path: &Path) -> candle_core::Result<Weights> {
    let mut file = File::open(path)?;
    let content = Content::read(&mut file)?;
    let names = content.tensor_infos.keys();
    names
        .map(|name| {
            let tensor = content.tensor(&mut file, name, &Device::Cpu)?;
            Ok((name.clone(), QMatMul::from_qtensor(tensor)?))
        })
        .collect()
}
