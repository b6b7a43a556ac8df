//! `VtsHalDmabufIoTargetTest` in the VM.

#![allow(missing_docs, reason = "test code")]

#[path = "../vts/VtsHalDmabufIoTargetTest.rs"]
mod vts;
