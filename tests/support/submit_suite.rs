//! Batches, through the AIDL interface: on this host over a Unix socket with the embedded heap
//! (`submit.rs`), in the VM over kernel binder with the system heap (`vm_submit.rs`).

use crate::support::fixture::{duplicate, expect, list, request, Fixture};
use crate::support::read_buffer;
use binder_shim::{borrow, describe, ex, pfd, Strong};
use dmabufio_client::{Batch, Client, Load, Outcome, Transfer};
use dmabufio_core::error::ErrorKind;
use dmabufio_core::extent::{Direction as CoreDirection, Extent as Range};
use dmabufio_core::load::Item;
use rustix::event::{poll, PollFd, PollFlags};
use rustix::fs::fstat;
use rustix::pipe::pipe;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Direction::Direction, Error::Error as Code, IDmabufIo::MAX_EXTENTS, ITransfer::ITransfer,
    LoadItem::LoadItem, LoadRequest::LoadRequest, LoadedItem::LoadedItem,
    SubmitRequest::SubmitRequest, SubmitResult::SubmitResult, TransferRequest::TransferRequest,
};

const LEN: usize = 300_000;

/// Waits for the end of a batch as a client does, and says whether it came within `patience`.
pub fn wait(transfer: &Strong<dyn ITransfer>, patience: Duration) -> bool {
    let completion = transfer.getCompletion().unwrap_or_else(|s| panic!("{}", describe(&s)));
    let completion = borrow(&completion);
    let mut fds = [PollFd::new(&completion, PollFlags::IN)];
    poll(&mut fds, patience.as_millis() as i32).expect("poll");
    let events = fds[0].revents();
    assert!(events.is_empty() || events == PollFlags::HUP, "{events:?}");
    !events.is_empty()
}

pub fn result(transfer: &Strong<dyn ITransfer>) -> SubmitResult {
    assert!(wait(transfer, Duration::from_secs(30)), "the batch does not end");
    transfer.getResult().unwrap_or_else(|status| panic!("{}", describe(&status)))
}

pub fn submit(fixture: &Fixture, request: &SubmitRequest) -> Strong<dyn ITransfer> {
    fixture.service.submit(request).unwrap_or_else(|status| panic!("{}", describe(&status)))
}

pub fn transfers(transfers: Vec<TransferRequest>) -> SubmitRequest {
    SubmitRequest { transfers, ..Default::default() }
}

/// A load of two buffers of [`LEN`] bytes from a file of twice as many, and the content of the
/// file.
fn two_buffers(fixture: &Fixture, name: &str) -> (LoadRequest, Vec<u8>) {
    let (path, content) = fixture.file(name, 2 * LEN);
    let item = |i: usize| LoadItem {
        size: LEN as i64,
        extents: list(&[((i * LEN) as i64, 0, LEN as i64)]),
    };
    let load = LoadRequest {
        file: Some(pfd(File::open(path).expect("open").into())),
        items: vec![item(0), item(1)],
        ..Default::default()
    };
    (load, content)
}

fn content_of(fixture: &Fixture, item: &LoadedItem) -> Vec<u8> {
    assert_eq!((item.error, item.message.as_str()), (0, ""));
    assert_eq!(item.receipt.as_ref().expect("a receipt").bytes, LEN as i64);
    let fd = duplicate(&item.buffer.as_ref().expect("a buffer").fd);
    read_buffer(fd.as_fd(), fixture.heap, LEN)
}

#[test]
fn each_request_of_a_batch_fails_by_itself() {
    let fixture = Fixture::new();
    let (good_load, content) = two_buffers(&fixture, "loads");
    let (no_file, _) = two_buffers(&fixture, "loads");
    let (end, _other_end) = pipe().expect("pipe");
    let no_file = LoadRequest { file: Some(pfd(end)), ..no_file };
    let (path, other) = fixture.file("transfers", LEN);
    let buffer = fixture.allocate(LEN as i64);
    let open = || File::open(&path).expect("open");
    let whole = [(0, 0, LEN as i64)];
    let good = request(Some(pfd(duplicate(&buffer.fd))), open(), &whole);
    let saved = fixture.dir.path().join("saved");
    let save = TransferRequest {
        direction: Direction::SAVE,
        ..request(Some(pfd(duplicate(&buffer.fd))), File::create(&saved).expect("create"), &whole)
    };
    let (reader, _writer) = pipe().expect("pipe");
    let bad = [
        (request(Some(pfd(duplicate(&buffer.fd))), reader, &whole), "file: a pipe"),
        (request(Some(pfd(open().into())), open(), &whole), "buffer: "),
        (request(Some(pfd(duplicate(&buffer.fd))), open(), &[(0, -1, 1)]), "extent 0: "),
    ];
    let (bad, messages): (Vec<_>, Vec<_>) = bad.into_iter().unzip();
    let batch = SubmitRequest {
        loads: vec![no_file, good_load],
        transfers: bad.into_iter().chain([good, save]).collect(),
    };
    let transfer = submit(&fixture, &batch);
    let SubmitResult { loads, transfers } = result(&transfer);
    let illegal = ex::ILLEGAL_ARGUMENT as i32;
    assert_eq!(loads.len(), 2);
    assert_eq!(loads[0].items.len(), 2);
    for item in &loads[0].items {
        assert_eq!(item.error, illegal);
        assert!(item.message.starts_with("file: a pipe"), "{}", item.message);
        assert!(item.buffer.is_none() && item.receipt.is_none());
    }
    for (item, part) in loads[1].items.iter().zip(content.chunks(LEN)) {
        assert!(content_of(&fixture, item) == part, "the buffer differs");
    }
    assert_eq!(transfers.len(), messages.len() + 2);
    for (transfer, message) in transfers.iter().zip(&messages) {
        assert_eq!(transfer.error, illegal, "{}", transfer.message);
        assert!(transfer.message.starts_with(message), "{}", transfer.message);
        assert!(transfer.receipt.is_none());
    }
    for transfer in &transfers[messages.len()..] {
        assert_eq!((transfer.error, transfer.message.as_str()), (0, ""));
        assert_eq!(transfer.receipt.as_ref().expect("a receipt").bytes, LEN as i64);
    }
    let filled = read_buffer(duplicate(&buffer.fd).as_fd(), fixture.heap, LEN);
    assert!(filled == other, "the buffer differs");
    assert!(fs::read(&saved).expect("read") == other, "the file differs");
    let progress = transfer.getProgress().expect("progress");
    // Those of the malformed requests are in no total.
    assert!(progress.ended && progress.bytes == 4 * LEN as i64, "{progress:?}");
}

#[test]
fn result_can_be_had_again_and_names_the_same_buffers() {
    let fixture = Fixture::new();
    let (load, content) = two_buffers(&fixture, "twice");
    let batch = SubmitRequest { loads: vec![load], ..Default::default() };
    let transfer = submit(&fixture, &batch);
    let first = result(&transfer);
    let again = result(&transfer);
    // Cancelling comes too late to change anything.
    transfer.cancel().expect("cancel");
    let last = result(&transfer);
    drop(transfer);
    let inodes = |result: &SubmitResult| -> Vec<u64> {
        let buffers = result.loads[0].items.iter().map(|item| item.buffer.as_ref());
        let fds = buffers.map(|buffer| duplicate(&buffer.expect("a buffer").fd));
        fds.map(|fd| fstat(fd).expect("fstat").st_ino).collect()
    };
    assert_eq!(inodes(&first), inodes(&again));
    assert_eq!(inodes(&first), inodes(&last));
    for (item, part) in last.loads[0].items.iter().zip(content.chunks(LEN)) {
        assert!(content_of(&fixture, item) == part, "the buffer differs");
    }
}

#[test]
fn malformed_batches_are_refused_as_a_whole() {
    let fixture = Fixture::new();
    let load = || two_buffers(&fixture, "malformed").0;
    let empty = LoadRequest { items: Vec::new(), ..load() };
    let many = || (0..17).map(|_| load()).collect();
    let extents = list(&vec![(0, 0, 1); MAX_EXTENTS as usize + 1]);
    let overlong = TransferRequest { extents, ..fixture.valid() };
    for (batch, message) in [
        (SubmitRequest::default(), "batch: 0 buffers and transfers, 1 to 32 allowed"),
        (SubmitRequest { loads: vec![empty], ..Default::default() }, "load 0: no items"),
        (SubmitRequest { loads: many(), ..Default::default() }, "batch: 34 buffers and transfers"),
        (transfers(vec![overlong]), "batch: 2049 extents, at most 2048 allowed"),
    ] {
        let status = fixture.service.submit(&batch).map(drop).expect_err(message);
        expect(&status, ex::ILLEGAL_ARGUMENT, message);
    }
}

#[test]
fn ninth_batch_of_a_user_waits_for_a_result_to_be_dropped() {
    let fixture = Fixture::new();
    let batch = || transfers(vec![fixture.valid()]);
    let mut held: Vec<_> = (0..8).map(|_| submit(&fixture, &batch())).collect();
    assert!(held.iter().all(|transfer| result(transfer).transfers[0].error == 0));
    let status = fixture.service.submit(&batch()).map(drop).expect_err("eight are there");
    expect(&status, ex::SERVICE_SPECIFIC, "8 requests of this user are batches, 8 allowed");
    assert_eq!(status.service_specific_error(), Code::QUOTA_EXCEEDED.0);
    held.pop();
    let start = Instant::now();
    while fixture.service.submit(&batch()).is_err() {
        assert!(start.elapsed() < Duration::from_secs(5), "the place is not free");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn batches_leave_no_descriptor_behind() {
    let fixture = Fixture::new();
    let run = || {
        let (load, _) = two_buffers(&fixture, "leaks");
        let (reader, _writer) = pipe().expect("pipe");
        let bad = TransferRequest { file: Some(pfd(reader)), ..fixture.valid() };
        let batch = SubmitRequest { loads: vec![load], transfers: vec![fixture.valid(), bad] };
        result(&submit(&fixture, &batch))
    };
    drop(run());
    let before = fixture.descriptors().len();
    (0..20).for_each(|_| drop(run()));
    let start = Instant::now();
    while fixture.descriptors().len() > before {
        let now = fixture.descriptors();
        assert!(start.elapsed() < Duration::from_secs(5), "{before} before: {now:?}");
        sleep(Duration::from_millis(10));
    }
}

/// A client of the service of `fixture`.
fn client(fixture: &Fixture) -> Client {
    let client = match fixture.child {
        Some(_) => Client::socket(&fixture.dir.path().join("socket")),
        None => Client::service(),
    };
    client.expect("a client")
}

#[test]
fn client_library_submits_polls_and_waits() {
    let fixture = Fixture::new();
    let client = client(&fixture);
    let (path, content) = fixture.file("client", LEN);
    let file = File::open(&path).expect("open");
    let (size, len) = (LEN as u64, LEN as u64);
    let extents = [Range { file_offset: 0, buffer_offset: 0, len }];
    let items = [Item { size, extents: extents.to_vec() }];
    let buffer = client.allocate(size, "client").expect("allocate");
    let (end, _other_end) = pipe().expect("pipe");
    let transfer = |file| Transfer::new(buffer.as_fd(), file, &extents, CoreDirection::Load);
    let transfers = [transfer(end.as_fd()), transfer(file.as_fd())];
    let loads = [Load::new(file.as_fd(), &items)];
    let submitted = client.submit(&Batch { loads: &loads, transfers: &transfers }).expect("submit");
    let mut fds = [PollFd::new(&submitted, PollFlags::IN)];
    assert_eq!(poll(&mut fds, 30_000), Ok(1));
    let early = submitted.try_wait().expect("a result").expect("the end");
    assert_eq!(early.transfers.len(), 2);
    submitted.cancel().expect("too late to matter");
    let progress = submitted.progress().expect("progress");
    assert_eq!((progress.bytes, progress.total, progress.ended), (2 * len, 3 * len, true));
    let Outcome { mut loads, transfers } = submitted.wait().expect("a result");
    let filled = loads.remove(0).remove(0).expect("a buffer");
    assert_eq!(filled.receipt.bytes(), len);
    for fd in [filled.buffer.as_fd(), buffer.as_fd()] {
        assert!(read_buffer(fd, fixture.heap, LEN) == content, "the buffer differs");
    }
    let error = transfers[0].as_ref().expect_err("a pipe");
    assert_eq!(error.kind(), Some(ErrorKind::InvalidRequest));
    assert!(error.to_string().starts_with("file: a pipe"), "{error}");
    assert_eq!(transfers[1].as_ref().expect("a receipt").bytes(), len);
}
