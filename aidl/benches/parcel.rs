//! Measures writing and reading the parcel of a request with many extents.

#![allow(missing_docs, reason = "criterion's macros")]

use criterion::{criterion_group, criterion_main, BenchmarkId, Criterion, Throughput};
use rsbinder::{from_bytes, to_bytes};
use vendor_dmabufio::aidl::vendor::dmabufio::Extent::Extent;
use vendor_dmabufio::aidl::vendor::dmabufio::LoadItem::LoadItem;

fn parcel(c: &mut Criterion) {
    let mut group = c.benchmark_group("parcel");
    for count in [1, 64, 2048] {
        let extent = |i| Extent { fileOffset: i << 17, bufferOffset: i << 16, length: 1 << 16 };
        let item = LoadItem { size: count << 16, extents: (0..count).map(extent).collect() };
        let bytes = to_bytes(&item).expect("a parcel");
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_with_input(BenchmarkId::new("write", count), &item, |b, item| {
            b.iter(|| to_bytes(item));
        });
        group.bench_with_input(BenchmarkId::new("read", count), &bytes, |b, bytes| {
            b.iter(|| from_bytes::<LoadItem>(bytes));
        });
    }
}

criterion_group!(benches, parcel);
criterion_main!(benches);
