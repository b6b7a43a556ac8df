//! Which tensors a command takes.

use crate::name::shown;
use crate::size;
use anyhow::Result;
use dmabufio_client::model::{Layout, Model, Plan, Tensor};
use dmabufio_client::Client;
use std::path::{Path, PathBuf};

/// Which tensors, and how they are laid out in buffers.
#[derive(clap::Args)]
pub struct PlanArgs {
    /// The model
    pub file: PathBuf,

    /// Only tensors with such names: * is any text, ? is one character (may be repeated)
    #[arg(long, value_name = "PATTERN", default_value = "*")]
    tensors: Vec<String>,

    /// Begin each tensor in its buffer at a multiple of this, up to 64K; 1 keeps the file's alignment
    #[arg(long, value_name = "BYTES", default_value = "1", value_parser = size::parse)]
    align: u64,

    /// Size that a buffer with several tensors does not exceed (suffixes K, M, G)
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = size::parse)]
    buffer_size: u64,
}

impl PlanArgs {
    pub fn plan(&self, client: &Client) -> Result<(Model, Plan)> {
        let model = Model::open(&self.file)?;
        let layout = Layout { buffer_size: self.buffer_size, ..Layout::of(client)? };
        let patterns: Vec<&str> = self.tensors.iter().map(String::as_str).collect();
        let plan = Plan::new(&model, &patterns, &layout.aligned(self.align))?;
        Ok((model, plan))
    }
}

/// The name of a tensor, for people.
pub fn name_of(tensor: &Tensor) -> String {
    shown(Path::new(&tensor.name))
}
