//! Chooses the back end of the command.

use crate::name::shown;
use anyhow::{Context, Result};
use clap::Args;
use dmabufio_client::{Client, Error};
use dmabufio_core::heap::Heap;
use dmabufio_core::probe;
use std::path::PathBuf;

/// Options that choose the back end.
#[derive(Args)]
pub struct ConnectArgs {
    /// Do the I/O in this process, without the service
    #[arg(long, global = true, conflicts_with = "socket")]
    pub local: bool,

    /// With --local: the heap (system, system-direct, udmabuf or memfd)
    ///
    /// Unless given: system with the ioctl, else system-direct if it is there, else system.
    #[arg(long, global = true, value_name = "HEAP")]
    pub heap: Option<Heap>,

    /// Reach the service on a Unix socket instead of kernel binder
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

impl ConnectArgs {
    /// The heap of buffers that this process allocates.
    pub fn heap(&self) -> Heap {
        self.heap.unwrap_or_else(probe::best_heap)
    }

    /// Connects to the chosen back end.
    pub fn connect(&self) -> Result<Client> {
        if self.local {
            let heap = self.heap();
            return Client::local(heap).with_context(|| {
                format!("cannot use the heap '{heap}'; try --heap, or `dmabufio doctor`")
            });
        }
        let (client, hint) = match &self.socket {
            Some(path) => {
                (Client::socket(path), "is `dmabufio-service --socket PATH` running there?")
            }
            None => (
                Client::service(),
                "is dmabufio-service running? Use --local to do without it, or see \
                 `dmabufio doctor`",
            ),
        };
        match client {
            Err(error @ Error::Unreachable(_)) => Err(error).context(hint),
            client => Ok(client?),
        }
    }

    /// The back end in words.
    pub fn describe(&self) -> String {
        match &self.socket {
            _ if self.local => format!("this process, heap {}", self.heap()),
            Some(path) => format!("the service at {}", shown(path)),
            None => "the service on kernel binder".to_owned(),
        }
    }
}
