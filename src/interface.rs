//! The AIDL methods: shells around `requests`.

use crate::requests::{allocate, capabilities, dump, load, probe, transfer};
use crate::state::DmabufIo;
use binder_shim::{caller, new_binder, BinderResult, Dump, ParcelFileDescriptor, Strong};
use dmabufio_core::error::Result;
use dmabufio_wire::{aidl, status};
use std::io::{self, Write};

use aidl::Buffer::Buffer;
use aidl::BufferDesc::BufferDesc;
use aidl::Capabilities::Capabilities;
use aidl::Extent::Extent;
use aidl::IDmabufIo::{BnDmabufIo, IDmabufIo};
use aidl::LoadRequest::LoadRequest;
use aidl::LoadResult::LoadResult;
use aidl::Plan::Plan;
use aidl::Receipt::Receipt;
use aidl::TransferRequest::TransferRequest;

impl DmabufIo {
    /// Wraps the service for binder.
    pub fn into_binder(self) -> Strong<dyn IDmabufIo> {
        new_binder!(BnDmabufIo, self)
    }

    /// Turns a failure into a status, once it is logged and counted.
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
        // A missing descriptor has an exception of its own, like any null in AIDL.
        status::check_not_null("buffer", &request.buffer)?;
        status::check_not_null("file", &request.file)?;
        self.reply("transfer", transfer::run(&self.state, caller().uid, request))
    }

    fn load(&self, request: &LoadRequest) -> BinderResult<LoadResult> {
        status::check_not_null("file", &request.file)?;
        self.reply("load", load::run(&self.state, caller().uid, request))
    }
}

impl Dump for DmabufIo {
    fn dump_text(&self, writer: &mut dyn Write, _args: &[String]) -> io::Result<()> {
        // All of it is known before the first byte goes to the client, who may not read it.
        let text = dump::text(&self.state);
        self.state.dump_writer.write(caller().uid, writer, &text)
    }
}

binder_shim::impl_interface!(DmabufIo);
