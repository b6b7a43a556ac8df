//! Random transactions on the kernel's binder: everything of `support/transaction_suite.rs`.

#![allow(missing_docs, reason = "test code")]

#[path = "support/transaction_suite.rs"]
mod suite;
mod support;
