//! Removes temporary names.

use crate::error::{errno, Error};
use dmabufio_core::error::During;
use dmabufio_core::sys::signal::{die_by, Termination};
use rustix::fs::{unlinkat, AtFlags};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A temporary name.
#[derive(Debug)]
pub(super) struct Link {
    pub folder: OwnedFd,
    pub name: OsString,
}

impl Drop for Link {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = unlinkat(&self.folder, &self.name, AtFlags::empty());
    }
}

/// The temporary name of one [`Replacement`](super::Replacement) that must not stay, if there is one.
///
/// With [`Cleanup::default`], only the end of the `Replacement` removes it: that is for a process
/// that handles signals in its own way.
#[derive(Debug, Clone, Default)]
pub struct Cleanup(Arc<Mutex<Option<Link>>>);

impl Cleanup {
    /// For a command: signals that end the process wait for the lock, and then remove the name. Call
    /// it before any other thread exists, which would get the signals otherwise.
    pub fn on_signals() -> Result<Self, Error> {
        let signals = Termination::block_for_command().during(|| "block signals")?;
        let cleanup = Self::default();
        let link = cleanup.0.clone();
        let watch = move || {
            let Ok(signal) = signals.wait() else { return };
            let mut link = link.lock().unwrap_or_else(PoisonError::into_inner);
            drop(link.take());
            // With the lock: nothing gets a temporary name any more.
            die_by(signal)
        };
        let thread = thread::Builder::new().name("signals".to_owned());
        thread.spawn(watch).map_err(errno).during(|| "start a thread")?;
        Ok(cleanup)
    }

    /// Calls `action` with the temporary name, while no signal ends the process.
    pub(super) fn hold<T>(&self, action: impl FnOnce(&mut Option<Link>) -> T) -> T {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
