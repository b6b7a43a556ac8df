//! Task snapshots: a picture of each task's windows, saved from a dma-buf and restored into one.
//!
//! A [`SnapshotStore`] is a folder with one name per task and user. [`SnapshotStore::save`] takes
//! [`Pixels`], which lie in any buffer, and [`SnapshotStore::restore`] returns a [`Snapshot`] in a
//! new one. The pixels begin at a multiple of the page, so they go direct both ways.
//! docs/snapshots.md has the format of the files.
//!
//! ```no_run
//! use dmabufio_client::snapshot::{
//!     ColorSpace, Picture, PixelFormat, Pixels, SnapshotStore, TaskId, Variant,
//! };
//! use dmabufio_client::Client;
//! use std::os::fd::AsFd;
//! use std::path::Path;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::service()?;
//! let store = SnapshotStore::open(Path::new("snapshots"), 512 << 20)?;
//! let picture = Picture {
//!     width: 1440,
//!     height: 3200,
//!     stride: 1440 * 4,
//!     format: PixelFormat::Abgr8888,
//!     rotation: 0,
//!     density: 560,
//!     color_space: ColorSpace::SRGB,
//! };
//! let buffer = client.allocate(picture.payload_len(), "window")?;
//! let task = TaskId { user: 0, task: 42 };
//! let pixels = Pixels { picture, buffer: buffer.as_fd(), offset: 0 };
//! store.save(&client, task, &pixels, true)?;
//! let snapshot = store.restore(&client, task, Variant::Full)?;
//! assert_eq!(snapshot.picture, picture);
//! # Ok(())
//! # }
//! ```
//!
//! A file of a store is hostile input. A header is checked against itself and the size of its file
//! before memory is allocated for it; an error names the field and its offset. A snapshot whose
//! checksum is wrong is an error and is never returned.

mod container;
mod error;
mod folder;
mod format;
mod header;
mod picture;
mod reduce;
mod store;
mod task;

pub use container::{Pixels, Snapshot};
pub use error::{Problem, SnapshotError};
pub use format::PixelFormat;
pub use header::PAYLOAD_OFFSET;
pub use picture::{ColorSpace, Picture};
pub use store::{Entry, Info, Saved, SnapshotStore};
pub use task::{TaskId, Variant};
