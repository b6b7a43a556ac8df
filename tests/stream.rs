//! Streams on this host: everything of `support/stream_suite.rs`, over a Unix socket with the
//! embedded heap.

#![allow(missing_docs, reason = "test code")]

#[path = "support/stream_suite.rs"]
mod suite;
mod support;
