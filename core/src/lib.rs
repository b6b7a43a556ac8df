//! Moves file data into and out of dma-bufs with no CPU copy and no page cache.
//!
//! This is the core, a library that any process can link, because it has no binder.
//!
//! [`transfer::transfer`] moves data between a checked buffer ([`buffer::Buffer`]) and a checked
//! file ([`file::RegularFile`]) in [`extent::Extent`]s. It uses the first [`method::Method`] that
//! buffer and file allow. [`probe`] predicts this method without I/O, and the [`transfer::receipt`]
//! reports it.
//!
//! The core never opens paths, never changes the descriptors of the caller, and never touches the
//! memory of a buffer in a transfer.

pub mod buffer;
pub mod error;
pub mod extent;
pub mod file;
pub mod heap;
pub mod load;
pub mod method;
// The libc crate has no seccomp for Android.
#[cfg(all(test, not(target_os = "android")))]
mod older_kernels;
pub mod pool;
pub mod priority;
pub mod probe;
pub mod process;
pub mod route;
mod support;
pub mod sys;
pub mod trace;
pub mod transfer;
