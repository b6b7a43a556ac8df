//! Measures the cost of a request before its first byte moves: checking, merging and planning its
//! extents.

#![allow(missing_docs, reason = "criterion's macros")]

use criterion::{criterion_group, criterion_main, BatchSize, BenchmarkId, Criterion, Throughput};
use dmabufio_core::extent::{check_placement, check_shape, Direction, Extent};
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::Heap;
use dmabufio_core::method::{Mode, Support};
use dmabufio_core::probe;
use std::fs::File;
use std::os::fd::AsFd;

const BLOCK: u64 = 64 << 10;
const COUNTS: [u64; 3] = [1, 64, 2048];
/// As on the patched kernel with the system heap.
const SUPPORT: Support = Support { rw_file: Ok(()), rw_extents: true, page_backed: false };

/// Blocks in reverse order: the worst case for sorting. `stride` 1 lets all of them merge, 2 none.
fn extents(count: u64, stride: u64) -> Vec<Extent> {
    let extent =
        |i| Extent { file_offset: i * stride * BLOCK, buffer_offset: i * BLOCK, len: BLOCK };
    (0..count).rev().map(extent).collect()
}

fn check(c: &mut Criterion) {
    let mut group = c.benchmark_group("check");
    for count in COUNTS {
        let extents = extents(count, 2);
        group.throughput(Throughput::Elements(count));
        group.bench_with_input(BenchmarkId::from_parameter(count), &extents, |b, extents| {
            b.iter(|| {
                check_shape(extents).expect("a good shape");
                check_placement(extents, count * BLOCK, Direction::Load).expect("a good place");
            });
        });
    }
}

fn plan(c: &mut Criterion) {
    // Beside the build: elsewhere may be a file system without direct I/O.
    let file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).expect("a file");
    file.set_len(2 * 2048 * BLOCK).expect("a sparse file");
    for (name, stride) in [("plan scattered", 2), ("plan merged", 1)] {
        let mut group = c.benchmark_group(name);
        for count in COUNTS {
            let extents = extents(count, stride);
            group.throughput(Throughput::Elements(count));
            group.bench_with_input(BenchmarkId::from_parameter(count), &extents, |b, extents| {
                b.iter_batched(
                    || regular(&file),
                    // DIRECT, which does not ask the page cache.
                    |file| {
                        probe::plan(&file, extents, Direction::Load, Mode::Direct, SUPPORT)
                            .expect("a plan")
                    },
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

fn regular(file: &File) -> RegularFile<'_> {
    RegularFile::new(file.as_fd(), Heap::System).expect("a regular file")
}

criterion_group!(benches, check, plan);
criterion_main!(benches);
