//! Loads into memory that the kernel has not cleared (`DMA_HEAP_FLAG_FILL`): the service uses it,
//! and what a load does not fill is zero, whatever was in the memory before.

#![allow(missing_docs, reason = "test code")]

mod support;

use dmabufio_client::stream::{Next, Ring, Stream, StreamRequest};
use dmabufio_client::{Client, Load};
use dmabufio_core::extent::{Direction, Extent};
use dmabufio_core::heap::Heap;
use dmabufio_core::load::Item;
use std::fs::File;
use std::os::fd::AsFd;
use support::fixture::Fixture;
use support::{allocate, file, make_cold, scratch, write_buffer, Random, PAGE};

const STALE: u8 = 0xe7;
const SIZE: usize = 80 * PAGE as usize;

/// The allocator returns first what was freed last.
fn make_memory_stale() {
    let buffers: Vec<_> = (0..8).map(|_| allocate(Heap::System, SIZE as u64)).collect();
    for buffer in &buffers {
        write_buffer(buffer.as_fd(), Heap::System, &[STALE; SIZE]);
    }
}

#[test]
fn service_says_that_it_loads_into_memory_that_is_not_cleared() {
    assert_eq!(Fixture::new().dumped("cleared for a load: "), "what is not loaded");
}

#[test]
fn rest_of_a_loaded_buffer_is_zero_whatever_the_memory_held() {
    let dir = scratch();
    let content = Random::new(5).bytes(30 * PAGE as usize + 100);
    let path = file(dir.path(), "source", &content);
    let source = File::open(&path).expect("open");
    let client = Client::service().expect("the service");
    for round in 0..200_u64 {
        make_memory_stale();
        if round % 2 == 0 {
            make_cold(&path);
        }
        // Two extents with a hole between them, which both end within a page, and the second one
        // with the file.
        let at = [round % 3 * 1000, (40 + round % 5) * PAGE];
        let extents = vec![
            Extent { file_offset: at[0], buffer_offset: at[0], len: 7 * PAGE + 10 * round },
            Extent { file_offset: 0, buffer_offset: at[1], len: 34 * PAGE },
        ];
        let mut expected = vec![0; SIZE];
        for Extent { file_offset, buffer_offset, len } in &extents {
            let end = content.len().min((file_offset + len) as usize);
            let part = &content[*file_offset as usize..end];
            expected[*buffer_offset as usize..][..part.len()].copy_from_slice(part);
        }
        let items = [Item { size: SIZE as u64, extents }];
        let loaded = client.load(&Load::new(source.as_fd(), &items)).expect("load");
        let filled = loaded.into_iter().next().expect("a result").expect("a buffer");
        let mut got = vec![1; SIZE];
        filled.buffer.read(0, &mut got).expect("read");
        let wrong = got.iter().zip(&expected).position(|(got, expected)| got != expected);
        assert_eq!(wrong, None, "round {round}: {:#x}", wrong.map_or(0, |at| got[at]));
    }
}

#[test]
fn rest_of_a_streamed_buffer_is_zero_whatever_the_memory_held() {
    const FRAME: usize = 64 * PAGE as usize;
    let dir = scratch();
    // Three frames, of which the last one ends within a page, for a ring of six buffers.
    let content = Random::new(6).bytes(2 * FRAME + 5 * PAGE as usize + 100);
    let path = file(dir.path(), "source", &content);
    let source = File::open(&path).expect("open");
    let client = Client::service().expect("the service");
    for round in 0..40_u64 {
        make_memory_stale();
        make_cold(&path);
        let ring = Ring::Allocate(6);
        let request = StreamRequest::new(source.as_fd(), Direction::Load, FRAME as u64, ring);
        // Some frames begin within a page.
        let offset = round % 4 * 1000;
        let mut stream = client.open_stream(&StreamRequest { offset, ..request }).expect("open");
        let sizes: Vec<_> = stream.buffers().iter().map(|buffer| buffer.size() as usize).collect();
        let mut expected: Vec<_> = sizes.iter().map(|size| vec![0; *size]).collect();
        let mut got = expected.clone();
        let mut look = |stream: &Stream, index: usize| {
            stream.buffers()[index].read(0, &mut got[index]).expect("read");
        };
        // In every second round, somebody looks at all buffers while the service fills them.
        if round % 2 == 0 {
            (0..sizes.len()).for_each(|index| look(&stream, index));
        }
        while let Next::Frame(frame) = stream.next(None).expect("a frame") {
            let part = &content[frame.file_offset as usize..][..frame.len as usize];
            expected[frame.index][frame.buffer_offset as usize..][..part.len()]
                .copy_from_slice(part);
        }
        (0..sizes.len()).for_each(|index| look(&stream, index));
        for (index, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let wrong = got.iter().zip(expected).position(|(got, expected)| got != expected);
            let found = wrong.map_or(0, |at| got[at]);
            assert_eq!(wrong, None, "round {round}, buffer {index}: {found:#x}");
        }
    }
}
