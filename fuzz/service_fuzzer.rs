//! Random transactions for the service, as AOSP's library makes them. The embedded heap needs no device node.

#![no_main]

use binder_random_parcel_rs::fuzz_service;
use binder_shim::Lifetime;
use dmabufio_core::heap::{Allocator, Heap};
use dmabufio_service::{DmabufIo, Quota};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let heap = Allocator::open(Heap::Memfd).expect("memory files");
    let service = DmabufIo::new(heap, None, Lifetime::Resident, Quota::default()).expect("a service");
    let service = service.into_binder();
    fuzz_service(&mut service.as_binder(), data);
});
