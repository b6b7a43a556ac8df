//! Moves file data into and out of dma-bufs with no CPU copy and no page cache.
//!
//! This is the core, a library that any process can link: it knows no binder.
//!
//! A transfer is [`transfer::transfer`], with a checked buffer ([`buffer::Buffer`]), a checked file
//! ([`file::RegularFile`]) and [`extent::Extent`]s. It goes by the first [`method::Method`] that
//! buffer and file allow, which [`probe`] predicts without I/O and the [`transfer::receipt`]
//! reports afterwards.
//!
//! What it does not do: open paths, change descriptors that it is given, or touch the memory of a
//! buffer.

pub mod buffer;
pub mod error;
pub mod extent;
pub mod file;
pub mod heap;
pub mod load;
pub mod method;
pub mod pool;
pub mod priority;
pub mod probe;
pub mod route;
mod support;
pub mod sys;
pub mod transfer;
