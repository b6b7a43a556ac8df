//! One binder API over two binder stacks. Only this crate knows which stack is linked.
//!
//! On Android (`cfg(aosp)`, set by Soong) the stack is `libbinder_rs`; elsewhere it is `rsbinder`.
//! The service and its clients use this crate and `vendor_dmabufio`, and have no `cfg` of their
//! own. This crate re-exports the names that both stacks share. The functions, macros and types
//! below wrap the differences.
//!
//! A service wraps its object with [`new_binder!`] and passes it to [`serve`], or to
//! [`serve_socket`] if it does not use kernel binder. A client calls [`lookup`] or
//! [`connect_socket`].

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

/// The return type of an AIDL method.
pub type BinderResult<T> = Result<T, Status>;

/// The sender of the call that this thread handles. Outside a call: this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The effective user id. The kernel guarantees it.
    pub uid: u32,
    /// The process id; 0 in a oneway call. The process may have ended: never authorise by this id.
    pub pid: i32,
    /// The SELinux context. Always `None` in an Android vendor process, which cannot query it.
    pub sid: Option<String>,
}

/// The time when the process of a service ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Never.
    Resident,
    /// As soon as no client has a reference to the service and no [`Hold`] exists. The service
    /// manager starts it again for the next client. A service that never had a client stays.
    Lazy,
}

impl Lifetime {
    /// Keeps the process of a lazy service until the caller drops the [`Hold`]; costs nothing in a
    /// resident service. The service manager counts only references: work that must finish, and
    /// state that must survive without a client, need a hold.
    ///
    /// Only for a service that [`serve`] has registered: dropping the last hold may end the
    /// process, even if no service is registered in it.
    pub fn hold(self) -> Hold {
        Hold { _guard: (self == Self::Lazy).then(imp::LazyServiceGuard::new) }
    }
}

/// Keeps the process of a lazy service, see [`Lifetime::hold`].
#[must_use]
#[derive(Debug)]
pub struct Hold {
    _guard: Option<imp::LazyServiceGuard>,
}

/// The dump of a service (`dumpsys`).
///
/// [`impl_interface!`] connects it to the binder stack.
pub trait Dump {
    /// Writes the state of the service as text. `args` are the arguments of the dump command.
    fn dump_text(&self, writer: &mut dyn Write, args: &[String]) -> io::Result<()> {
        let _ = (writer, args);
        Ok(())
    }
}

/// Wraps a descriptor, to pass it to the other side.
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

/// Repeats [`lookup`] for up to `patience`, because the service or the service manager may be
/// starting. Fails at once for a permanent error: no kernel binder, or another interface.
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

/// Implements [`Interface`] for a type that implements [`Dump`]. Every type behind an AIDL
/// interface needs this.
#[macro_export]
macro_rules! impl_interface {
    ($object:ty) => {
        $crate::impl_interface_of_stack!($object);
    };
}

/// Names that the macros use at their call site. Not part of the API.
#[doc(hidden)]
pub mod glue {
    pub use crate::imp::glue::*;
}
