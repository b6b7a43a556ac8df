//! The connection to the service, which outlives the process of the service.
//!
//! If the service dies during a call, the call is made again, as
//! docs/integration.md#when-the-service-dies says; so only calls that may be made twice go through
//! here. The dead process cannot disturb its successor: the kernel closes the descriptors of a
//! process, and so reports its death, only after the last of its threads has ended, and no thread
//! ends before its I/O.

use crate::capabilities::Capabilities;
use crate::convert;
use crate::error::{not_found, of_call, Error};
use binder_shim::{connect_socket, lookup_within, ping, st, SpIBinder, Strong};
use dmabufio_wire::{aidl, INSTANCE};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use aidl::IDmabufIo::IDmabufIo;

/// The longest wait for a service that is starting.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest wait for a service that has died: init starts a service again after 5 s if it has run
/// for less than that.
const RESTART: Duration = Duration::from_secs(10);

/// The time between two attempts to connect again.
const PAUSE: Duration = Duration::from_millis(20);

/// How often a call is made if the service dies each time. The call itself may be the cause, and
/// other clients need the service.
const ATTEMPTS: usize = 3;

/// The way to the service.
enum Way {
    Binder,
    Socket(PathBuf),
}

/// One process of the service.
pub(crate) struct Process {
    pub proxy: Strong<dyn IDmabufIo>,
    /// Constant for as long as the process lives.
    capabilities: OnceLock<Capabilities>,
}

/// The service, whichever process it is.
pub(crate) struct Connection {
    way: Way,
    current: Mutex<Arc<Process>>,
    /// Held by the thread that connects again. It may have to wait, and `current` must not.
    connecting: Mutex<()>,
}

impl Connection {
    /// Finds the service on kernel binder.
    pub fn binder() -> Result<Self, Error> {
        Self::new(Way::Binder)
    }

    /// Connects to the service on a Unix socket.
    pub fn socket(path: &Path) -> Result<Self, Error> {
        Self::new(Way::Socket(path.to_owned()))
    }

    fn new(way: Way) -> Result<Self, Error> {
        let first = way.find(PATIENCE)?;
        Ok(Self { way, current: Mutex::new(Arc::new(first)), connecting: Mutex::new(()) })
    }

    /// Calls the service, and calls it again after it has died.
    ///
    /// # Errors
    /// Those of `call`; [`Error::Died`] if the service dies each time or does not come back.
    pub fn call<T>(&self, call: impl Fn(&Process) -> Result<T, Error>) -> Result<T, Error> {
        for _ in 0..ATTEMPTS {
            let process = Arc::clone(&self.lock());
            match call(&process) {
                Err(Error::Unreachable(_)) if process.has_died() => self.replace(&process)?,
                result => return result,
            }
        }
        Err(Error::Died(format!(
            "the service died {ATTEMPTS} times before it answered; what it has done is unknown"
        )))
    }

    /// Connects to the process that comes after `dead`.
    fn replace(&self, dead: &Arc<Process>) -> Result<(), Error> {
        let deadline = Instant::now() + RESTART;
        let mut last = None;
        loop {
            // One thread at a time, and the others keep their own deadlines.
            if let Ok(_connecting) = self.connecting.try_lock() {
                if !Arc::ptr_eq(&self.lock(), dead) {
                    return Ok(());
                }
                // For a moment, the service manager still names the dead process.
                match self.way.find(Duration::ZERO).and_then(Process::alive) {
                    Ok(next) => {
                        *self.lock() = Arc::new(next);
                        return Ok(());
                    }
                    Err(error) => last = Some(error),
                }
            }
            if Instant::now() >= deadline {
                let why = last.map_or(String::new(), |error| format!(": {error}"));
                return Err(Error::Died(format!(
                    "the service died and has not come back within {} s; what it has done is \
                     unknown{why}",
                    RESTART.as_secs()
                )));
            }
            sleep(PAUSE);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Process>> {
        // The one assignment under the lock cannot panic.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way {
    fn find(&self, patience: Duration) -> Result<Process, Error> {
        let (found, name) = match self {
            Self::Binder => {
                (lookup_within(INSTANCE, patience), format!("{INSTANCE} on kernel binder"))
            }
            Self::Socket(path) => (connect_socket(path), format!("socket {path:?}")),
        };
        let proxy = found.map_err(|status| not_found(&name, &status))?;
        Ok(Process { proxy, capabilities: OnceLock::new() })
    }
}

impl Process {
    pub fn capabilities(&self) -> Result<Capabilities, Error> {
        if let Some(known) = self.capabilities.get() {
            return Ok(known.clone());
        }
        let sent = self.proxy.getCapabilities().map_err(|status| of_call(&status, 0))?;
        let sent = convert::capabilities(&sent)?;
        Ok(self.capabilities.get_or_init(|| sent).clone())
    }

    fn alive(self) -> Result<Self, Error> {
        match self.has_died() {
            true => Err(Error::Unreachable("it has died".to_owned())),
            false => Ok(self),
        }
    }

    fn has_died(&self) -> bool {
        has_died(self.proxy.as_binder())
    }
}

/// Whether the process behind `binder` has died. A process that dies while it answers causes other
/// errors than `DEAD_OBJECT`, too.
pub(crate) fn has_died(mut binder: SpIBinder) -> bool {
    matches!(ping(&mut binder), Err(st::DEAD_OBJECT))
}
