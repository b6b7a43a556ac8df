//! Batches: nothing about them waits for I/O but the descriptor that tells their end.

use super::device::{adds_up, content, duplicate, expect, on_every_instance, specific, LEN};
use binder_shim::{borrow, ex, Strong};
use rustix::event::{poll, PollFd, PollFlags};
use vendor_dmabufio::aidl::vendor::dmabufio::{
    Error::Error, IDmabufIo::MAX_BATCH, ITransfer::ITransfer, SubmitRequest::SubmitRequest,
    TransferRequest::TransferRequest,
};

/// Waits for the end of a batch.
fn wait(transfer: &Strong<dyn ITransfer>) {
    let completion = transfer.getCompletion().expect("a descriptor");
    let completion = borrow(&completion);
    let mut fds = [PollFd::new(&completion, PollFlags::empty())];
    assert_eq!(poll(&mut fds, 30_000), Ok(1), "the batch does not end");
    assert!(fds[0].revents().contains(PollFlags::HUP), "{:?}", fds[0].revents());
}

fn batch(transfers: Vec<TransferRequest>) -> SubmitRequest {
    SubmitRequest { transfers, ..Default::default() }
}

#[test]
fn batch_moves_what_it_can_and_reports_each_request_by_itself() {
    on_every_instance(|device| {
        let (good, mut bad) = (device.load(), device.load());
        bad.extents[0].length = -1;
        let kept = duplicate(&good.buffer);
        let transfer = device.service.submit(&batch(vec![bad, good])).expect("submit");
        wait(&transfer);
        let results = transfer.getResult().expect("a result").transfers;
        assert_eq!(results.len(), 2);
        assert_eq!(results[0].error, ex::ILLEGAL_ARGUMENT as i32, "{}", results[0].message);
        assert_eq!(results[1].error, 0, "{}", results[1].message);
        adds_up(results[1].receipt.as_ref().expect("a receipt"), LEN);
        assert!(content(&kept, LEN).iter().any(|byte| *byte != 0), "nothing has moved");
        let progress = transfer.getProgress().expect("progress");
        assert!(progress.ended && progress.bytes == LEN as i64, "{progress:?}");
    });
}

#[test]
fn cancelled_batch_ends_and_says_so() {
    on_every_instance(|device| {
        let loads = (0..MAX_BATCH).map(|_| device.load()).collect();
        let transfer = device.service.submit(&batch(loads)).expect("submit");
        transfer.cancel().expect("cancel");
        match transfer.getResult() {
            Ok(result) => assert_eq!(result.transfers.len(), MAX_BATCH as usize),
            Err(status) => assert_eq!(specific(&status), Error::BUSY),
        }
        wait(&transfer);
        let results = transfer.getResult().expect("a result").transfers;
        assert_eq!(results.len(), MAX_BATCH as usize);
        for result in results {
            let cancelled = result.error == Error::CANCELLED.0 && result.receipt.is_none();
            assert!(cancelled || result.error == 0 && result.receipt.is_some(), "{result:?}");
        }
    });
}

#[test]
fn batch_that_is_empty_or_too_large_is_illegal() {
    on_every_instance(|device| {
        let loads = |count| batch((0..count).map(|_| device.load()).collect());
        for request in [batch(Vec::new()), loads(MAX_BATCH + 1)] {
            let status = device.service.submit(&request).map(drop).expect_err("no batch");
            expect(&status, ex::ILLEGAL_ARGUMENT);
        }
    });
}
