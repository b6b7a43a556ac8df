//! The C interface with the service on kernel binder.

#![allow(missing_docs, reason = "test code")]

mod abi;

use abi::{compile, run, CXX};
use safetensors::tensor::{serialize_to_file, Dtype, TensorView};
use std::env;
use std::fs::File;
use tempfile::TempDir;

fn scratch() -> TempDir {
    TempDir::new_in(env::var_os("DMABUFIO_TEST_DIR").expect("the VM")).expect("a folder")
}

fn is_patched() -> bool {
    env::var("DMABUFIO_KERNEL").expect("the VM") == "patched"
}

#[test]
fn example_loads_a_tensor_through_the_service() {
    let dir = scratch();
    let path = dir.path().join("m.safetensors");
    let data: Vec<u8> = (0..1_u32 << 20).map(|i| (i * 7 % 251) as u8).collect();
    let view = TensorView::new(Dtype::U8, vec![1 << 20], &data).expect("a tensor");
    serialize_to_file([("weight", view)], None, &path).expect("write");
    File::open(&path).expect("open").sync_all().expect("sync");

    let program = compile(CXX, "examples/load_tensor.cpp", dir.path());
    let said = run(&program, &["service", path.to_str().expect("text"), "weight"]);
    let sum: u64 = data.iter().map(|&byte| u64::from(byte)).sum();
    let expected = format!("weight U8 1048576\noffset % 64 0\nbytes 1048576\nsum of bytes {sum}\n");
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn batch_of_c_ends_with_a_hang_up_and_its_outcomes() {
    let dir = scratch();
    let program = compile(CXX, "tests/abi/service.cpp", dir.path());
    let said = run(&program, &[dir.path().to_str().expect("text")]);
    let direct: u64 = said.trim().strip_prefix("direct ").expect("a count").parse().expect("text");
    assert_eq!(direct > 0, is_patched(), "{said}");
}
