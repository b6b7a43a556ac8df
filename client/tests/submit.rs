//! Batches of the client library, with the service on a socket.

#![allow(missing_docs, reason = "test code")]

use dmabufio_client::{Batch, Client, Load};
use dmabufio_core::error::ErrorKind;
use dmabufio_core::extent::Extent;
use dmabufio_core::heap::Heap;
use dmabufio_core::load::Item;
use std::fs::File;
use std::os::fd::AsFd;

#[test]
fn local_client_says_that_it_has_no_service() {
    let client = Client::local(Heap::Memfd).expect("a client");
    let file = File::open("/proc/self/exe").expect("open");
    let items =
        [Item { size: 4096, extents: vec![Extent { file_offset: 0, buffer_offset: 0, len: 1 }] }];
    let loads = [Load::new(file.as_fd(), &items)];
    let error =
        client.submit(&Batch { loads: &loads, transfers: &[] }).map(drop).expect_err("local");
    assert_eq!(error.kind(), Some(ErrorKind::Unsupported));
    assert!(error.to_string().starts_with("submit: there is no service"), "{error}");
}
