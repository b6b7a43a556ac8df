//! The C interface of the client library, for frameworks that are written in C or C++.
//!
//! `include/dmabufio.h` is made from this crate, and docs/c-api.md explains it. Every function
//! checks its arguments, and no panic leaves it: a failure is an error object with a kind and a
//! text.

mod error;
mod handles;
mod numbers;
mod objects;
mod sys;
mod types;
