//! The functions that C code calls: the only `unsafe` code of this crate.
//!
//! They turn pointers into values (`arguments`), catch panics (`call`), and leave the work to the
//! client library. Handles need no trust; [`crate::handles`] checks them. The pointers to text,
//! structures and results do: C code promises that each leads to as many valid values as the
//! request says, which do not change during the call. Null and misaligned pointers are errors.

#![allow(unsafe_code)]

mod arguments;
mod batch;
mod call;
mod client;
mod error;
mod memory;
mod model;
mod snapshot;
