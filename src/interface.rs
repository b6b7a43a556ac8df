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
        call: &str,
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
    fn reply<T>(&self, call: &str, result: Result<T>) -> BinderResult<T> {
        result.map_err(|error| {
            self.state.count_failure(call, caller().uid, &error);
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
    fn dump_text(&self, writer: &mut dyn Write, _args: &[String]) -> io::Result<()> {
        // The text is complete before the first byte goes to the client, who may never read it.
        let text = dump::text(&self.state);
        self.state.dump_writer.write(caller().uid, writer, &text)
    }
}

binder_shim::impl_interface!(DmabufIo);

#[cfg(test)]
mod tests {
    use super::*;
    use binder_shim::{ex, pfd, Lifetime};
    use dmabufio_core::heap::{Allocator, Heap};
    use std::fs::File;

    #[test]
    fn missing_descriptors_are_counted_and_remembered_as_any_failure() {
        let heap = Allocator::open(Heap::Memfd).expect("a heap");
        let service = DmabufIo::new(heap, None, Lifetime::Resident).expect("a service");
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
        .map(|(call, name)| format!("{call} uid={uid}: {name}: no descriptor"));
        assert_eq!((totals.errors, Vec::from(totals.last_errors)), (4, expected.to_vec()));
    }
}
