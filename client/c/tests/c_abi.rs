//! The C interface on this host, without a service.

#![allow(missing_docs, reason = "test code")]

mod abi;

use abi::{compile, run, C, CXX};
use safetensors::tensor::{serialize_to_file, Dtype, TensorView};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

fn scratch() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

#[test]
fn correct_calls_work_and_wrong_ones_are_errors_with_text() {
    let dir = scratch();
    let program = compile(CXX, "tests/abi/local.cpp", dir.path());
    run(&program, &[dir.path().to_str().expect("text")]);
}

#[test]
fn header_compiles_as_c() {
    let dir = scratch();
    let program = compile(C, "tests/abi/header.c", dir.path());
    assert_eq!(run(&program, &[]), "heap=99: unknown value\n");
}

fn model(path: &Path) -> Vec<u8> {
    let data: Vec<u8> = (0..40_000_u32).map(|i| (i * 7 % 251) as u8).collect();
    let view = |data, shape: [usize; 2]| TensorView::new(Dtype::BF16, shape.to_vec(), data);
    let tensors = [
        ("before", view(&data[..6], [1, 3]).expect("a tensor")),
        ("layer.0.weight", view(&data[6..], [19997, 1]).expect("a tensor")),
    ];
    serialize_to_file(tensors, None, path).expect("write");
    data[6..].to_vec()
}

#[test]
fn example_loads_a_tensor_and_reads_it() {
    let dir = scratch();
    let path = dir.path().join("m.safetensors");
    let tensor = model(&path);
    let program = compile(CXX, "examples/load_tensor.cpp", dir.path());
    let said = run(&program, &["memfd", path.to_str().expect("text"), "layer.0.weight"]);
    let sum: u64 = tensor.iter().map(|&byte| u64::from(byte)).sum();
    let expected = format!(
        "layer.0.weight BF16 19997x1\noffset % 64 0\nbytes {}\nsum of bytes {sum}\n",
        tensor.len()
    );
    assert!(said.starts_with(&expected), "{said}");

    let output = Command::new(&program).args(["memfd", "/nowhere", "x"]).output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(said, "error 12: open \"/nowhere\": No such file or directory (os error 2)\n");
}
