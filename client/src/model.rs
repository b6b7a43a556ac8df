//! Models of AI: finds the tensors of a file, plans their places in buffers, and loads them.
//!
//! [`Model::open`] reads the headers of safetensors files, of sharded safetensors
//! (`model.safetensors.index.json`) and of GGUF files, version 2 and 3, also split ones.
//! [`Model::from_parts`] does the same with descriptors, for a model inside another file.
//! [`Plan::new`] gives each tensor a place in a buffer, and [`Tensors::load`] fills the buffers.
//!
//! ```no_run
//! use dmabufio_client::model::{Layout, Model, Plan, Tensors};
//! use dmabufio_client::Client;
//! use dmabufio_core::method::Mode;
//! use std::path::Path;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::service()?;
//! let model = Model::open(Path::new("model.safetensors"))?;
//! let layout = Layout::of(&client)?.aligned(64);
//! let plan = Plan::new(&model, &["model.layers.0.*"], &layout)?;
//! let tensors = Tensors::load(&client, &model, plan, Mode::Auto)?;
//! let weight = tensors.get("model.layers.0.mlp.up_proj.weight").ok_or("no such tensor")?;
//! println!("{} {:?}: {} bytes at {}", weight.dtype, weight.shape, weight.len, weight.offset);
//! # Ok(())
//! # }
//! ```
//!
//! A header is hostile input. Whatever it says is checked against the size of the file before memory
//! is allocated for it, and an error names the field and its offset in the file.

mod dtype;
mod error;
mod gguf;
mod header;
mod load;
mod parsed;
mod part;
mod pattern;
mod plan;
mod reader;
mod repack;
mod safetensors;
mod shards;
mod tensor;

pub use dtype::Dtype;
pub use error::{ModelError, Problem};
pub use load::{Tensors, View};
pub use parsed::Model;
pub use part::Part;
pub use plan::{Layout, Move, Place, Plan, PlannedBuffer};
pub use repack::repack;
pub use tensor::{Format, Tensor};
