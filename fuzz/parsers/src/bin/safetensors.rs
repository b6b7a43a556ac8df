//! Files that should be safetensors. The well-kept library has to accept each file that ours accepts, and find the same in
//! it.

#![no_main]

use dmabufio_client::model::Format;
use dmabufio_fuzz_parsers::{check_model, check_refusal, parse};
use libfuzzer_sys::fuzz_target;
use safetensors::SafeTensors;

// The input is the header. Its length, and 64 bytes of data, are added: otherwise nearly every input ends at its length.
fuzz_target!(|header: &[u8]| {
    let bytes = [&(header.len() as u64).to_le_bytes(), header, &[7; 64][..]].concat();
    let model = match parse(&bytes) {
        Ok(model) => model,
        Err(error) => return check_refusal(&error),
    };
    if model.format() != Format::Safetensors {
        return;
    }
    check_model(&model, &bytes);
    let other = SafeTensors::deserialize(&bytes).expect("the well-kept library accepts it");
    assert_eq!(other.len(), model.tensors().len());
    for tensor in model.tensors() {
        let found = other.tensor(&tensor.name).expect("the tensor");
        let shape: Vec<u64> = found.shape().iter().map(|&n| n as u64).collect();
        assert_eq!(shape, tensor.shape);
        assert_eq!(found.data(), &bytes[tensor.offset as usize..tensor.end() as usize]);
    }
});
