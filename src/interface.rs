//! The AIDL methods: shells around `requests`.

use crate::requests::stream::{self, OpenStream};
use crate::requests::submit::{self, Submitted};
use crate::requests::{allocate, capabilities, dump, load, probe, transfer};
use crate::state::DmabufIo;
use binder_shim::{caller, new_binder, BinderResult, Dump, ParcelFileDescriptor, Strong};
use dmabufio_core::error::{Error, ErrorKind, Result};
use dmabufio_wire::{aidl, status};
use std::io::{self, Write};

use aidl::Buffer::Buffer;
use aidl::BufferDesc::BufferDesc;
use aidl::Capabilities::Capabilities;
use aidl::Extent::Extent;
use aidl::IBufferStream::{BnBufferStream, IBufferStream};
use aidl::IDmabufIo::{BnDmabufIo, IDmabufIo};
use aidl::ITransfer::{BnTransfer, ITransfer};
use aidl::LoadRequest::LoadRequest;
use aidl::LoadResult::LoadResult;
use aidl::Plan::Plan;
use aidl::Receipt::Receipt;
use aidl::StreamFrame::StreamFrame;
use aidl::StreamProgress::StreamProgress;
use aidl::StreamRequest::StreamRequest;
use aidl::SubmitRequest::SubmitRequest;
use aidl::SubmitResult::SubmitResult;
use aidl::TransferProgress::TransferProgress;
use aidl::TransferRequest::TransferRequest;

impl DmabufIo {
    /// Wraps the service for binder.
    pub fn into_binder(self) -> Strong<dyn IDmabufIo> {
        new_binder!(BnDmabufIo, self)
    }

    /// Refuses a request that lacks a descriptor: the Rust types allow such a request.
    fn check_not_null(
        &self,
        call: &'static str,
        name: &str,
        fd: &Option<ParcelFileDescriptor>,
    ) -> BinderResult<()> {
        if fd.is_some() {
            return Ok(());
        }
        let error = Error::new(ErrorKind::InvalidRequest, format!("{name}: no descriptor"));
        self.state.count_failure(call, caller().uid, &error);
        Err(status::null_pointer(&error))
    }

    /// Logs and counts a failure, and turns it into a status.
    fn reply<T>(&self, call: &'static str, result: Result<T>) -> BinderResult<T> {
        result.map_err(|error| {
            // The end of work for a dead client is no failure.
            if error.kind() != ErrorKind::Cancelled {
                self.state.count_failure(call, caller().uid, &error);
            }
            status::to_status(&error)
        })
    }
}

impl IDmabufIo for DmabufIo {
    fn getCapabilities(&self) -> BinderResult<Capabilities> {
        Ok(capabilities::get(&self.state))
    }

    fn allocate(&self, desc: &BufferDesc) -> BinderResult<Buffer> {
        self.reply("allocate", allocate::run(&self.state, caller().uid, desc))
    }

    fn probe(&self, file: &ParcelFileDescriptor, extents: &[Extent]) -> BinderResult<Plan> {
        self.reply("probe", probe::run(&self.state, caller().uid, file, extents))
    }

    fn transfer(&self, request: &TransferRequest) -> BinderResult<Receipt> {
        self.check_not_null("transfer", "buffer", &request.buffer)?;
        self.check_not_null("transfer", "file", &request.file)?;
        self.reply("transfer", transfer::run(&self.state, caller().uid, request))
    }

    fn load(&self, request: &LoadRequest) -> BinderResult<LoadResult> {
        self.check_not_null("load", "file", &request.file)?;
        self.reply("load", load::run(&self.state, caller().uid, request))
    }

    fn submit(&self, request: &SubmitRequest) -> BinderResult<Strong<dyn ITransfer>> {
        let submitted = submit::run(&self.state, caller().uid, request);
        Ok(new_binder!(BnTransfer, self.reply("submit", submitted)?))
    }

    fn openStream(
        &self,
        request: &StreamRequest,
        buffers: &[ParcelFileDescriptor],
    ) -> BinderResult<Strong<dyn IBufferStream>> {
        self.check_not_null("openStream", "file", &request.file)?;
        let stream = stream::run(&self.state, caller().uid, request, buffers);
        Ok(new_binder!(BnBufferStream, self.reply("openStream", stream)?))
    }
}

impl ITransfer for Submitted {
    fn getProgress(&self) -> BinderResult<TransferProgress> {
        Ok(self.progress())
    }

    fn cancel(&self) -> BinderResult<()> {
        self.end();
        Ok(())
    }

    fn getResult(&self) -> BinderResult<SubmitResult> {
        self.result().map_err(|error| status::to_status(&error))
    }

    fn getCompletion(&self) -> BinderResult<ParcelFileDescriptor> {
        self.completion().map_err(|error| status::to_status(&error))
    }
}

impl Dump for Submitted {}

binder_shim::impl_interface!(Submitted);

impl IBufferStream for OpenStream {
    fn getBuffers(&self) -> BinderResult<Vec<Buffer>> {
        answer(self.buffers())
    }

    fn getReadiness(&self) -> BinderResult<ParcelFileDescriptor> {
        answer(self.readiness())
    }

    fn next(&self) -> BinderResult<StreamFrame> {
        answer(self.next_frame())
    }

    fn acquire(&self) -> BinderResult<i32> {
        answer(OpenStream::acquire(self))
    }

    fn submit(
        &self,
        index: i32,
        buffer_offset: i64,
        length: i64,
        timestamp: i64,
    ) -> BinderResult<()> {
        answer(OpenStream::submit(self, index, buffer_offset, length, timestamp))
    }

    fn release(&self, index: i32) -> BinderResult<()> {
        answer(OpenStream::release(self, index))
    }

    fn seek(&self, offset: i64) -> BinderResult<()> {
        answer(OpenStream::seek(self, offset))
    }

    fn finish(&self) -> BinderResult<()> {
        OpenStream::finish(self);
        Ok(())
    }

    fn getProgress(&self) -> BinderResult<StreamProgress> {
        Ok(self.progress())
    }

    fn getResult(&self) -> BinderResult<Receipt> {
        answer(self.result())
    }
}

impl Dump for OpenStream {}

binder_shim::impl_interface!(OpenStream);

/// The answer of an object that is not the service itself: the client knows what it did.
fn answer<T>(result: Result<T>) -> BinderResult<T> {
    result.map_err(|error| status::to_status(&error))
}

impl Dump for DmabufIo {
    fn dump_text(&self, writer: &mut dyn Write, args: &[String]) -> io::Result<()> {
        // The text is complete before the first byte goes to the client, who may never read it.
        let uid = caller().uid;
        let text = dump::run(&self.state, uid, args);
        self.state.dump_writer.write(uid, writer, &text)
    }
}

binder_shim::impl_interface!(DmabufIo);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::Quota;
    use binder_shim::{ex, pfd, Lifetime};
    use dmabufio_core::heap::{Allocator, Heap};
    use std::fs::File;

    #[test]
    fn missing_descriptors_are_counted_and_remembered_as_any_failure() {
        let heap = Allocator::open(Heap::Memfd).expect("a heap");
        let service =
            DmabufIo::new(heap, None, Lifetime::Resident, Quota::default()).expect("a service");
        let here = || Some(pfd(File::open("/proc/self/exe").expect("open").into()));
        let statuses = [
            service.transfer(&TransferRequest::default()).map(drop),
            service.transfer(&TransferRequest { buffer: here(), ..Default::default() }).map(drop),
            service.load(&LoadRequest::default()).map(drop),
            service.openStream(&StreamRequest::default(), &[]).map(drop),
        ];
        for status in statuses {
            assert_eq!(status.expect_err("no descriptor").exception_code(), ex::NULL_POINTER);
        }
        let totals = service.state.statistics.totals();
        let uid = caller().uid;
        let expected = [
            ("transfer", "buffer"),
            ("transfer", "file"),
            ("load", "file"),
            ("openStream", "file"),
        ]
        .map(|(call, name)| (call, uid, format!("{name}: no descriptor")));
        let failures = totals.last_errors.into_iter();
        let failures: Vec<_> = failures.map(|f| (f.call, f.uid, f.message)).collect();
        assert_eq!((totals.errors, failures), (4, expected.to_vec()));
        let dump = dump::run(&service.state, uid, &[]);
        assert!(dump.contains(&format!(" ago: load uid={uid}: file: no descriptor")), "{dump}");
    }

    fn dumped(service: &DmabufIo, uid: u32, args: &[&str]) -> String {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        dump::run(&service.state, uid, &args)
    }

    #[test]
    fn dump_shows_one_user_or_all_and_starts_again_after_a_reset_by_root() {
        let heap = Allocator::open(Heap::Memfd).expect("a heap");
        let quota = Quota::default();
        let service = DmabufIo::new(heap, None, Lifetime::Resident, quota).expect("a service");
        let fail = |uid, what: &str| {
            service.state.count_failure("load", uid, &Error::new(ErrorKind::Busy, what));
        };
        fail(7, "the first");
        fail(8, "the \"second\"");
        let reservation = service.state.reserve(9, 2, 8192).expect("room");
        let all = dumped(&service, 7, &["--json"]);
        for part in [
            r#""uid":7,"message":"the first"}"#,
            r#""uid":8,"message":"the \"second\""}"#,
            r#"{"uid":9,"buffers":0,"bytes":0,"promised_buffers":2,"promised_bytes":8192,"max_buffers":4096,"#,
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
        let one = dumped(&service, 7, &["--client", "8"]);
        assert!(one.contains("load uid=8: the \"second\"") && !one.contains("the first"), "{one}");
        assert!(!one.contains("user 9: "), "{one}");
        drop(reservation);
        let refused = dumped(&service, 10_001, &["--reset"]);
        assert_eq!(refused, "--reset: only root, system and shell may do that\n");
        assert!(dumped(&service, 0, &["--reset"]).contains("errors: 2\n"), "the last look");
        let after = dumped(&service, 10_001, &[]);
        assert!(after.ends_with("errors: 0\n"), "{after}");
        assert!(dumped(&service, 1, &["--help"]).starts_with("Shows the state of the service"));
    }
}
