//! Files that should be GGUF.

#![no_main]

use dmabufio_fuzz_parsers::{check_model, check_refusal, parse};
use libfuzzer_sys::fuzz_target;

// The magic number is added.
fuzz_target!(|rest: &[u8]| {
    let bytes = [b"GGUF", rest].concat();
    match parse(&bytes) {
        Ok(model) => check_model(&model, &bytes),
        Err(error) => check_refusal(&error),
    }
});
