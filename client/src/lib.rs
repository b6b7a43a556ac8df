//! Client library of dmabufio: one API over the service and over the core in this process.
//!
//! Three functions create a [`Client`]: [`Client::service`] (kernel binder), [`Client::socket`]
//! (binder RPC on a Unix socket) and [`Client::local`] (without the service, for processes that may
//! do the I/O themselves). A client allocates [`Buffer`]s and moves data between buffers and files.
//! All offsets and lengths are in bytes.
//!
//! ```no_run
//! use dmabufio_core::extent::{Direction, Extent};
//! use dmabufio_client::{Client, Transfer};
//! use std::os::fd::AsFd;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::service()?;
//! let file = std::fs::File::open("model.gguf")?;
//! let len = file.metadata()?.len();
//! let buffer = client.allocate(len, "model")?;
//! let extents = [Extent { file_offset: 0, buffer_offset: 0, len }];
//! let transfer = Transfer::new(buffer.as_fd(), file.as_fd(), &extents, Direction::Load);
//! let receipt = client.transfer(&transfer)?;
//! assert_eq!(receipt.bytes(), len);
//! # Ok(())
//! # }
//! ```

mod buffer;
mod capabilities;
mod chunks;
mod client;
mod connection;
mod convert;
mod crc32c;
pub mod digest;
mod error;
mod local;
mod mapped;
pub mod model;
mod open;
mod page_cache;
pub mod replace;
mod request;
mod service;
pub mod snapshot;
pub mod stream;
mod submit;

pub use buffer::{Buffer, Filled};
pub use capabilities::Capabilities;
pub use client::Client;
pub use error::Error;
pub use open::open_regular;
pub use request::{Load, Transfer};
pub use submit::{Batch, Outcome, Progress, Submitted};
