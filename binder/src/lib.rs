//! One binder API over two binder stacks: the only code that knows which stack is linked.
//!
//! On Android (`cfg(aosp)`, set by Soong) the stack is `libbinder_rs`; elsewhere it is `rsbinder`.
//! The service and its clients are written against this crate and against `vendor_dmabufio`, and
//! hold no `cfg` of their own. Both stacks share most names, which are re-exported; what differs
//! is wrapped in the functions, macros and types below.
//!
//! A service wraps its object with [`new_binder!`] and hands it to [`serve`] or, where no kernel
//! binder is wanted, to [`serve_socket`]. A client calls [`lookup`] or [`connect_socket`].

use std::fs::File;
use std::io;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

#[cfg(aosp)]
#[path = "libbinder.rs"]
mod imp;
#[cfg(not(aosp))]
#[path = "rsbinder.rs"]
mod imp;

pub use imp::{
    caller, connect_socket, declared_instances, describe, dump_remote, ex, exception, lookup, ping,
    serve, serve_socket, service_error, st, start, DeathLink, ExceptionCode, FromIBinder,
    Interface, ParcelFileDescriptor, SpIBinder, Status, StatusCode, Strong, Weak,
};

/// What an AIDL method returns.
pub type BinderResult<T> = Result<T, Status>;

/// Who made the call that this thread is handling. Outside a call: this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The effective user id, vouched for by the kernel.
    pub uid: u32,
    /// The process id; 0 in a oneway call. The process may be gone: never authorise by it.
    pub pid: i32,
    /// The SELinux context. Always `None` in an Android vendor process, which has no way to ask.
    pub sid: Option<String>,
}

/// When the process of a service ends, besides when it is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Never.
    Resident,
    /// When no client has a reference to the service and no [`Hold`] is left. The service manager
    /// starts it again for the next client. A service that nobody has ever asked for stays.
    Lazy,
}

impl Lifetime {
    /// Keeps a lazy service's process until the [`Hold`] is dropped; costs nothing in a resident
    /// one. The service manager counts references only: whatever has to be finished, or is worth
    /// keeping without a client, holds on to the process.
    ///
    /// Only for a service that [`serve`] has registered: dropping the last hold may end the
    /// process, also while there is no service in it.
    pub fn hold(self) -> Hold {
        Hold { _guard: (self == Self::Lazy).then(imp::LazyServiceGuard::new) }
    }
}

/// What keeps a lazy service's process, see [`Lifetime::hold`].
#[must_use]
#[derive(Debug)]
pub struct Hold {
    _guard: Option<imp::LazyServiceGuard>,
}

/// What a service prints when somebody dumps it.
///
/// [`impl_interface!`] connects it to the binder stack.
pub trait Dump {
    /// Writes the state of the service as text. `args` are the words of the person who asked.
    fn dump_text(&self, writer: &mut dyn Write, args: &[String]) -> io::Result<()> {
        let _ = (writer, args);
        Ok(())
    }
}

/// Wraps a descriptor, to be passed to the other side.
pub fn pfd(fd: OwnedFd) -> ParcelFileDescriptor {
    ParcelFileDescriptor::new(File::from(fd))
}

/// Borrows the descriptor of a parcel.
pub fn borrow(pfd: &ParcelFileDescriptor) -> BorrowedFd<'_> {
    pfd.as_ref().as_fd()
}

/// Takes the descriptor out of a parcel.
pub fn into_fd(pfd: ParcelFileDescriptor) -> OwnedFd {
    OwnedFd::from(pfd)
}

/// [`lookup`], tried again until `patience` is over while the service, or the service manager, may
/// be starting. What will not pass by itself fails at once: no kernel binder, another interface.
pub fn lookup_within<T: FromIBinder + ?Sized>(
    name: &str,
    patience: Duration,
) -> BinderResult<Strong<T>> {
    const PAUSE: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + patience;
    loop {
        match lookup(name) {
            Err(status)
                if matches!(status.transaction_error(), st::NAME_NOT_FOUND | st::DEAD_OBJECT)
                    && Instant::now() < deadline =>
            {
                thread::sleep(PAUSE);
            }
            answer => return answer,
        }
    }
}

/// Wraps an object in the binder class of its interface: `new_binder!(BnFoo, object)` is a
/// `Strong<dyn IFoo>`.
#[macro_export]
macro_rules! new_binder {
    ($class:ty, $object:expr) => {
        $crate::new_binder_of_stack!($class, $object)
    };
}

/// Makes a type that implements [`Dump`] an [`Interface`], as every type behind an AIDL
/// interface must be.
#[macro_export]
macro_rules! impl_interface {
    ($object:ty) => {
        $crate::impl_interface_of_stack!($object);
    };
}

/// What the macros need in scope at their call site. No part of the API.
#[doc(hidden)]
pub mod glue {
    pub use crate::imp::glue::*;
}
