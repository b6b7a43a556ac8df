//! The stack of a Linux host: rsbinder, over the kernel's binder or over a Unix socket.

use crate::{BinderResult, Caller, Lifetime};
use rsbinder::lazy_service::LazyServiceRegistrar;
use rsbinder::rpc::{FileDescriptorTransportMode, RpcClientConfig, RpcServer, RpcSession};
use rsbinder::{
    get_calling_pid, get_calling_sid, get_calling_uid, hub, DeathRecipient, ProcessState, WIBinder,
    DEFAULT_BINDER_PATH, LEGACY_BINDER_PATH,
};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use rsbinder::{
    ExceptionCode, FromIBinder, Interface, ParcelFileDescriptor, SIBinder as SpIBinder, Status,
    StatusCode, Strong, Weak,
};

/// The exceptions that an AIDL method can throw, under their AIDL names.
#[allow(missing_docs, reason = "the names are AIDL's own")]
pub mod ex {
    use rsbinder::ExceptionCode;

    pub const ILLEGAL_ARGUMENT: ExceptionCode = ExceptionCode::IllegalArgument;
    pub const ILLEGAL_STATE: ExceptionCode = ExceptionCode::IllegalState;
    pub const NULL_POINTER: ExceptionCode = ExceptionCode::NullPointer;
    pub const SECURITY: ExceptionCode = ExceptionCode::Security;
    pub const SERVICE_SPECIFIC: ExceptionCode = ExceptionCode::ServiceSpecific;
    pub const TRANSACTION_FAILED: ExceptionCode = ExceptionCode::TransactionFailed;
    pub const UNSUPPORTED_OPERATION: ExceptionCode = ExceptionCode::UnsupportedOperation;
}

/// The transport errors that callers distinguish, under libbinder's names.
#[allow(missing_docs, reason = "the names are libbinder's own")]
pub mod st {
    use rsbinder::StatusCode;

    pub const BAD_VALUE: StatusCode = StatusCode::BadValue;
    pub const DEAD_OBJECT: StatusCode = StatusCode::DeadObject;
    pub const FAILED_TRANSACTION: StatusCode = StatusCode::FailedTransaction;
    pub const INVALID_OPERATION: StatusCode = StatusCode::InvalidOperation;
    pub const NAME_NOT_FOUND: StatusCode = StatusCode::NameNotFound;
    pub const PERMISSION_DENIED: StatusCode = StatusCode::PermissionDenied;
    pub const UNKNOWN_TRANSACTION: StatusCode = StatusCode::UnknownTransaction;
}

/// The wire format of Android 16, the first one that passes descriptors inside parcelables.
const RPC_WIRE_VERSION: u32 = 2;

/// The number of calls that one socket client can have in flight.
const RPC_CALLS: u32 = 4;

/// An error of the service's own: `code` is a value of its AIDL error enum.
pub fn service_error(code: i32, message: &str) -> Status {
    Status::new_service_specific_error(code, Some(message.to_owned()))
}

/// An AIDL exception, one of [`ex`].
pub fn exception(code: ExceptionCode, message: &str) -> Status {
    (code, message).into()
}

/// The status as text, with the message that the service sent.
pub fn describe(status: &Status) -> String {
    let code = status.exception_code();
    let kind = match code {
        ex::SERVICE_SPECIFIC => format!("{code} error {}", status.service_specific_error()),
        ex::TRANSACTION_FAILED => format!("{code} ({:?})", status.transaction_error()),
        _ => code.to_string(),
    };
    match status.message() {
        Some(message) if !message.is_empty() => format!("{message} [{kind}]"),
        _ => kind,
    }
}

/// The sender of the call that this thread handles.
pub fn caller() -> Caller {
    Caller {
        uid: get_calling_uid(),
        pid: get_calling_pid(),
        sid: get_calling_sid().map(|sid| sid.to_string_lossy().into_owned()),
    }
}

/// Opens kernel binder and starts the thread pool, which may grow by `max_threads`.
///
/// A client needs the pool only to receive callbacks and death notices. A second call does nothing.
pub fn start(max_threads: u32) -> Result<(), String> {
    // binderfs may be mounted without a link to it from the traditional path.
    let device = match Path::new(DEFAULT_BINDER_PATH).exists() {
        true => DEFAULT_BINDER_PATH,
        false => LEGACY_BINDER_PATH,
    };
    ProcessState::init(device, max_threads).map_err(|error| {
        format!("cannot use kernel binder at {device}: {}", error.to_string().trim())
    })?;
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
    let registered = match lifetime {
        Lifetime::Resident => hub::add_service(name, binder),
        Lifetime::Lazy => LazyServiceRegistrar::instance().register_service(name, binder),
    };
    registered.map_err(|status| format!("cannot register {name}: {}", describe(&status)))?;
    on_ready();
    ProcessState::join_thread_pool()
        .map_err(|error| format!("the binder thread pool ended: {error}"))
}

/// Suspends the shutdown by the registrar. libbinder has such a guard; rsbinder lacks it.
#[derive(Debug)]
pub(crate) struct LazyServiceGuard(());

/// The number of guards in the process, as in libbinder: they keep the process, not an object.
static GUARDS: Mutex<usize> = Mutex::new(0);

fn guards() -> MutexGuard<'static, usize> {
    // A count has no invariant that a panic could break.
    GUARDS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LazyServiceGuard {
    pub fn new() -> Self {
        let mut guards = guards();
        *guards += 1;
        if *guards == 1 {
            LazyServiceRegistrar::instance().force_persist(true);
        }
        Self(())
    }
}

impl Drop for LazyServiceGuard {
    fn drop(&mut self) {
        let mut guards = guards();
        *guards -= 1;
        if *guards == 0 {
            // Under the lock: otherwise this call could undo a guard of another thread.
            LazyServiceRegistrar::instance().force_persist(false);
        }
    }
}

/// Serves `binder` on a Unix socket at `path`, calling `on_ready` once clients can connect.
///
/// `max_threads` bounds the calls in flight for one client. Every process that can connect to the
/// socket can call, so the permissions of the directory of `path` are the access control. Returns
/// only an error, if it cannot serve.
pub fn serve_socket(
    path: &Path,
    binder: SpIBinder,
    max_threads: u32,
    on_ready: impl FnOnce(),
) -> Result<(), String> {
    let fail = |error| format!("cannot serve on {}: {error}", path.display());
    let server = RpcServer::setup_unix_server(path).map_err(fail)?;
    server.set_android13plus(RPC_WIRE_VERSION);
    server.set_max_threads(max_threads);
    server.set_supported_fd_modes(&[FileDescriptorTransportMode::Unix]);
    server.set_root(binder).map_err(fail)?;
    on_ready();
    server.run().map_err(fail)
}

/// Finds the service with the name `name`; fails at once if there is none.
pub fn lookup<T: FromIBinder + ?Sized>(name: &str) -> BinderResult<Strong<T>> {
    if !ProcessState::is_initialized() {
        start(1).map_err(|why| Status::from((ExceptionCode::TransactionFailed, why.as_str())))?;
    }
    Ok(hub::try_get_interface(name)?.ok_or(StatusCode::NameNotFound)?)
}

/// The instances of an interface that the service manager's configuration declares.
pub fn declared_instances(interface: &str) -> BinderResult<Vec<String>> {
    if !ProcessState::is_initialized() {
        start(1).map_err(|why| Status::from((ExceptionCode::TransactionFailed, why.as_str())))?;
    }
    hub::try_get_declared_instances(interface)
}

/// Connects to the service of [`serve_socket`] at `path`; fails at once if there is none.
///
/// The connection lives until this process ends.
pub fn connect_socket<T: FromIBinder + ?Sized>(path: &Path) -> BinderResult<Strong<T>> {
    // Without an incoming connection the service cannot call back, and the client cannot notice its
    // death.
    let config = RpcClientConfig::unix(path, RPC_WIRE_VERSION)
        .fd_mode(FileDescriptorTransportMode::Unix)
        .outgoing_connections(RPC_CALLS)
        .incoming_connections(1);
    let session = RpcSession::setup_client_android13plus_with_config(config)?;
    Ok(session.get_root()?.into_interface()?)
}

/// Checks that the process behind `binder` answers.
pub fn ping(binder: &mut SpIBinder) -> Result<(), StatusCode> {
    binder.ping_binder()
}

/// Makes the service behind `binder` write its state to `fd`. Not possible over a socket.
pub fn dump_remote(binder: &mut SpIBinder, fd: OwnedFd, args: &[&str]) -> Result<(), StatusCode> {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    binder.as_proxy().ok_or(StatusCode::InvalidOperation)?.dump(fd, &args)
}

/// Calls a closure when the process behind a binder dies, unless the link is dropped before.
pub struct DeathLink {
    binder: SpIBinder,
    recipient: Arc<Recipient>,
}

struct Recipient(Box<dyn Fn() + Send + Sync>);

impl DeathRecipient for Recipient {
    fn binder_died(&self, _who: &WIBinder) {
        (self.0)();
    }
}

impl DeathLink {
    /// Watches `binder`. Fails if it belongs to this process or is already dead.
    pub fn new(
        binder: SpIBinder,
        on_death: impl Fn() + Send + Sync + 'static,
    ) -> BinderResult<Self> {
        let recipient = Arc::new(Recipient(Box::new(on_death)));
        binder.link_to_death_arc(&recipient)?;
        Ok(Self { binder, recipient })
    }
}

impl Drop for DeathLink {
    fn drop(&mut self) {
        // A dead binder has nothing to unlink. This is not an error here.
        let _ = self.binder.unlink_to_death_arc(&self.recipient);
    }
}

#[doc(hidden)]
pub mod glue {
    use crate::Dump;
    use rsbinder::StatusCode;

    pub use std::io::Write;

    pub type DumpResult = Result<(), StatusCode>;

    pub fn dump<D: Dump>(object: &D, writer: &mut dyn Write, args: &[String]) -> DumpResult {
        object.dump_text(writer, args).map_err(|_| StatusCode::Unknown)
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! new_binder_of_stack {
    ($class:ty, $object:expr) => {
        <$class>::new_binder($object)
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
                args: &[String],
            ) -> $crate::glue::DumpResult {
                $crate::glue::dump(self, writer, args)
            }
        }
    };
}
