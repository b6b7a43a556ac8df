//! Random transactions on this host: everything of `support/transaction_suite.rs`, over a Unix
//! socket with the embedded heap.

#![allow(missing_docs, reason = "test code")]

#[path = "support/transaction_suite.rs"]
mod suite;
mod support;
