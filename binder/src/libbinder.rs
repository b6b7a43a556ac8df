//! The stack of Android: AOSP's libbinder_rs, limited to the functions that vendor code may use.

use crate::{BinderResult, Caller, Lifetime};
use binder::{is_declared, wait_for_service, DeathRecipient, IBinder, ProcessState, ThreadState};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

pub(crate) use binder::LazyServiceGuard;
pub use binder::{
    ExceptionCode, FromIBinder, Interface, ParcelFileDescriptor, SpIBinder, Status, StatusCode,
    Strong, Weak,
};

/// The exceptions that an AIDL method can throw, under their AIDL names.
#[allow(missing_docs, reason = "the names are AIDL's own")]
pub mod ex {
    use binder::ExceptionCode;

    pub const ILLEGAL_ARGUMENT: ExceptionCode = ExceptionCode::ILLEGAL_ARGUMENT;
    pub const ILLEGAL_STATE: ExceptionCode = ExceptionCode::ILLEGAL_STATE;
    pub const NULL_POINTER: ExceptionCode = ExceptionCode::NULL_POINTER;
    pub const SECURITY: ExceptionCode = ExceptionCode::SECURITY;
    pub const SERVICE_SPECIFIC: ExceptionCode = ExceptionCode::SERVICE_SPECIFIC;
    pub const TRANSACTION_FAILED: ExceptionCode = ExceptionCode::TRANSACTION_FAILED;
    pub const UNSUPPORTED_OPERATION: ExceptionCode = ExceptionCode::UNSUPPORTED_OPERATION;
}

/// The transport errors that callers distinguish, under libbinder's names.
#[allow(missing_docs, reason = "the names are libbinder's own")]
pub mod st {
    use binder::StatusCode;

    pub const BAD_VALUE: StatusCode = StatusCode::BAD_VALUE;
    pub const DEAD_OBJECT: StatusCode = StatusCode::DEAD_OBJECT;
    pub const FAILED_TRANSACTION: StatusCode = StatusCode::FAILED_TRANSACTION;
    pub const INVALID_OPERATION: StatusCode = StatusCode::INVALID_OPERATION;
    pub const NAME_NOT_FOUND: StatusCode = StatusCode::NAME_NOT_FOUND;
    pub const PERMISSION_DENIED: StatusCode = StatusCode::PERMISSION_DENIED;
    pub const UNKNOWN_TRANSACTION: StatusCode = StatusCode::UNKNOWN_TRANSACTION;
}

/// The longest wait of a look-up for a declared service to start.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(5);

const NO_SOCKET: &str = "binder over a Unix socket is not supported on Android: use kernel binder";

/// An error of the service's own: `code` is a value of its AIDL error enum.
pub fn service_error(code: i32, message: &str) -> Status {
    Status::new_service_specific_error_str(code, Some(message))
}

/// An AIDL exception, one of [`ex`].
pub fn exception(code: ExceptionCode, message: &str) -> Status {
    Status::new_exception_str(code, Some(message))
}

/// The status as text, with the message that the service sent.
pub fn describe(status: &Status) -> String {
    status.get_description()
}

/// The sender of the call that this thread handles.
pub fn caller() -> Caller {
    Caller {
        uid: ThreadState::get_calling_uid(),
        pid: ThreadState::get_calling_pid(),
        sid: calling_sid(),
    }
}

/// Vendor code cannot link the symbols for the SELinux context of a caller.
#[cfg(android_vndk)]
fn calling_sid() -> Option<String> {
    None
}

#[cfg(not(android_vndk))]
fn calling_sid() -> Option<String> {
    ThreadState::with_calling_sid(|sid| sid.map(|sid| sid.to_string_lossy().into_owned()))
}

/// Starts the thread pool, which may grow by `max_threads`.
///
/// A client needs the pool only to receive callbacks and death notices. A second call does nothing.
pub fn start(max_threads: u32) -> Result<(), String> {
    ProcessState::set_thread_pool_max_thread_count(max_threads);
    ProcessState::start_thread_pool();
    Ok(())
}

/// Registers `binder` under `name`, calls `on_ready`, and serves until the process ends.
///
/// Up to `max_threads` + 2 calls run at a time. Returns only an error, if it cannot serve.
pub fn serve(
    name: &str,
    binder: SpIBinder,
    max_threads: u32,
    lifetime: Lifetime,
    on_ready: impl FnOnce(),
) -> Result<(), String> {
    start(max_threads)?;
    let register = match lifetime {
        Lifetime::Resident => binder::add_service,
        Lifetime::Lazy => binder::register_lazy_service,
    };
    register(name, binder).map_err(|error| format!("cannot register {name}: {error:?}"))?;
    on_ready();
    ProcessState::join_thread_pool();
    Err("the binder thread pool ended".to_owned())
}

/// Always fails: Android has kernel binder.
pub fn serve_socket(
    _path: &Path,
    _binder: SpIBinder,
    _max_threads: u32,
    _on_ready: impl FnOnce(),
) -> Result<(), String> {
    Err(NO_SOCKET.to_owned())
}

/// Finds the service with the name `name`; fails at once if the device does not declare one.
///
/// Waits a few seconds for a declared service, because the look-up starts a lazy service.
pub fn lookup<T: FromIBinder + ?Sized>(name: &str) -> BinderResult<Strong<T>> {
    if !is_declared(name)? {
        return Err(StatusCode::NAME_NOT_FOUND.into());
    }
    Ok(wait_for(name).ok_or(StatusCode::NAME_NOT_FOUND)?.into_interface()?)
}

/// What a thread that waits for a service has found, once it has ended.
#[derive(Default)]
struct Waiter {
    found: Mutex<Option<Option<SpIBinder>>>,
    ended: Condvar,
}

/// Those that have not ended, by the name of the service.
static WAITERS: Mutex<BTreeMap<String, Arc<Waiter>>> = Mutex::new(BTreeMap::new());

/// Waits for a service, but no longer than [`LOOKUP_PATIENCE`].
///
/// libbinder itself would wait for ever. A thread that outlives its look-up serves the next one, and
/// ends as soon as the service appears.
fn wait_for(name: &str) -> Option<SpIBinder> {
    let start = || {
        let waiter = Arc::new(Waiter::default());
        let (ended, name) = (Arc::clone(&waiter), name.to_owned());
        thread::spawn(move || {
            let found = wait_for_service(&name);
            lock(&WAITERS).remove(&name);
            *lock(&ended.found) = Some(found);
            ended.ended.notify_all();
        });
        waiter
    };
    let waiter = Arc::clone(lock(&WAITERS).entry(name.to_owned()).or_insert_with(start));
    let found = lock(&waiter.found);
    let waited = waiter.ended.wait_timeout_while(found, LOOKUP_PATIENCE, |found| found.is_none());
    let (found, _) = waited.unwrap_or_else(PoisonError::into_inner);
    found.clone().flatten()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The instances of an interface that the device's manifests declare.
pub fn declared_instances(interface: &str) -> BinderResult<Vec<String>> {
    Ok(binder::get_declared_instances(interface)?)
}

/// Always fails: Android has kernel binder.
pub fn connect_socket<T: FromIBinder + ?Sized>(_path: &Path) -> BinderResult<Strong<T>> {
    Err(exception(ex::UNSUPPORTED_OPERATION, NO_SOCKET))
}

/// Checks that the process behind `binder` answers.
pub fn ping(binder: &mut SpIBinder) -> Result<(), StatusCode> {
    binder.ping_binder()
}

/// Makes the service behind `binder` write its state to `fd`.
#[cfg(not(android_vndk))]
pub fn dump_remote(binder: &mut SpIBinder, fd: OwnedFd, args: &[&str]) -> Result<(), StatusCode> {
    use binder::binder_impl::IBinderInternal;
    binder.dump(&fd, args)
}

/// Always fails: vendor code cannot link the symbol for it.
#[cfg(android_vndk)]
pub fn dump_remote(
    _binder: &mut SpIBinder,
    _fd: OwnedFd,
    _args: &[&str],
) -> Result<(), StatusCode> {
    Err(StatusCode::INVALID_OPERATION)
}

/// Calls a closure when the process behind a binder dies, unless the link is dropped before.
pub struct DeathLink {
    // libbinder holds neither of them: dropping one ends the watch.
    _binder: SpIBinder,
    _recipient: DeathRecipient,
}

impl DeathLink {
    /// Watches `binder`. Fails if it belongs to this process or is already dead.
    pub fn new(
        mut binder: SpIBinder,
        on_death: impl Fn() + Send + Sync + 'static,
    ) -> BinderResult<Self> {
        let mut recipient = DeathRecipient::new(on_death);
        binder.link_to_death(&mut recipient)?;
        Ok(Self { _binder: binder, _recipient: recipient })
    }
}

#[doc(hidden)]
pub mod glue {
    use crate::Dump;
    use binder::StatusCode;

    pub use binder::BinderFeatures;
    pub use std::ffi::CStr;
    pub use std::io::Write;

    pub type DumpResult = Result<(), StatusCode>;

    pub fn dump<D: Dump>(object: &D, writer: &mut dyn Write, args: &[&CStr]) -> DumpResult {
        let args: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        object.dump_text(writer, &args).map_err(|_| StatusCode::UNKNOWN_ERROR)
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! new_binder_of_stack {
    ($class:ty, $object:expr) => {
        <$class>::new_binder($object, $crate::glue::BinderFeatures::default())
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! impl_interface_of_stack {
    ($object:ty) => {
        impl $crate::Interface for $object {
            fn dump(
                &self,
                writer: &mut dyn $crate::glue::Write,
                args: &[&$crate::glue::CStr],
            ) -> $crate::glue::DumpResult {
                $crate::glue::dump(self, writer, args)
            }
        }
    };
}
