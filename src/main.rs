//! The vendor service: opens the heap, registers on binder, and serves until a signal ends it.

use anyhow::{anyhow, ensure, Context, Result};
use binder_shim::Lifetime;
use dmabufio_core::heap::{Allocator, Heap};
use dmabufio_core::pool::{Class, Pool};
use dmabufio_core::probe;
use dmabufio_core::sys::signal::Termination;
use dmabufio_core::trace;
use dmabufio_service::{DmabufIo, Quota, Rule, MAX_WAITING};
use dmabufio_wire::INSTANCE;
use log::LevelFilter;
use std::env;
use std::fs;
use std::panic;
use std::path::PathBuf;
use std::process;
use std::thread;
use std::time::Duration;

/// Binder threads besides the main one. If all threads are busy, calls wait in the kernel.
/// Therefore the service has more threads than requests that wait: dumps and other short calls find
/// a free thread.
const MAX_THREADS: u32 = 31;

const _: () = assert!(MAX_WAITING + 4 < MAX_THREADS as usize);

/// The time that running requests have to finish after the signal. init kills a service that takes
/// longer than a few seconds.
const DRAIN: Duration = Duration::from_secs(3);

const USAGE: &str = "\
Moves file data into and out of dma-bufs, as vendor.dmabufio.IDmabufIo/default on binder.

Usage: dmabufio-service [--heap HEAP] [--pool SIZE:COUNT[,SIZE:COUNT...]] [--quota RULE]...
                        [--lazy | --socket PATH]

  --heap HEAP    where buffers come from: system; system-direct, the heap of kernel/module; udmabuf;
                 or memfd, the embedded heap whose buffers are no dma-bufs. Unless given: system
                 where the kernel has DMA_BUF_IOCTL_RW_FILE, else system-direct if it is there, else
                 system
  --pool SIZE:COUNT[,SIZE:COUNT...]
                 keep COUNT buffers of SIZE bytes (suffixes K, M, G) zeroed and ready for requests of
                 that size, once there has been one; they are freed after a minute without, and when
                 memory gets short
  --quota UIDS:LIMIT=NUMBER[,LIMIT=NUMBER...]
                 limits of each user among UIDS: all, a user id, or FIRST-LAST. LIMIT is bytes (of
                 live buffers, suffixes K, M, G; unless given, half of the memory), buffers (4096),
                 requests (16 blocking calls), batches (8) or streams (4). May be given several
                 times; a later one overrides an earlier one
  --lazy         end once there has been a client, none is left, no request runs and the pool is
                 empty; the service manager starts it again for the next client
  --socket PATH  serve binder RPC on a Unix socket instead of kernel binder
  --help         print this
  --version      print the version
";

/// The command line.
struct Options {
    heap: Option<Heap>,
    pool: Vec<Class>,
    quota: Vec<Rule>,
    lifetime: Lifetime,
    socket: Option<PathBuf>,
}

fn main() {
    start_log();
    panic::set_hook(Box::new(|info| log::error!("{info}")));
    if let Err(error) = parse(env::args().skip(1)).and_then(|options| options.map_or(Ok(()), run)) {
        log::error!("{error:#}");
        process::exit(1);
    }
}

/// Reads the command line; prints the help and returns `None` if it asks for help only.
fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>> {
    let mut options = Options {
        heap: None,
        pool: Vec::new(),
        quota: Vec::new(),
        lifetime: Lifetime::Resident,
        socket: None,
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| anyhow!("{arg}: needs a value; see --help"));
        match arg.as_str() {
            "--heap" => {
                let heap = value()?.parse().map_err(|error: String| anyhow!(error))?;
                options.heap = Some(heap);
            }
            "--pool" => {
                let classes = value()?.split(',').map(str::parse).collect::<Result<_, String>>();
                options.pool = classes.map_err(|error| anyhow!("--pool: {error}"))?;
            }
            "--quota" => {
                let rule = value()?.parse().map_err(|error: String| anyhow!("--quota: {error}"))?;
                options.quota.push(rule);
            }
            "--lazy" => options.lifetime = Lifetime::Lazy,
            "--socket" => options.socket = Some(value()?.into()),
            "--help" => {
                print!("{USAGE}");
                return Ok(None);
            }
            "--version" => {
                println!("dmabufio-service {}", env!("CARGO_PKG_VERSION"));
                return Ok(None);
            }
            _ => return Err(anyhow!("{arg}: unknown option; see --help")),
        }
    }
    ensure!(
        options.lifetime == Lifetime::Resident || options.socket.is_none(),
        "--lazy: not with --socket, where no service manager counts clients or starts the service"
    );
    Ok(Some(options))
}

fn run(options: Options) -> Result<()> {
    // Before any thread exists, so that all of them leave the signals to `Termination`.
    let termination = Termination::block().context("block SIGTERM")?;
    let kind = options.heap.unwrap_or_else(probe::best_heap);
    let heap = Allocator::open(kind)
        .with_context(|| format!("cannot use the heap '{kind}'; see --help for others"))?;
    let pool = (!options.pool.is_empty()).then(|| Pool::new(&options.pool, &heap));
    let pool = pool.transpose().context("cannot keep what --pool says")?;
    let quota = Quota::new(options.quota);
    let service = DmabufIo::new(heap, pool, options.lifetime, quota);
    let service = service.context("cannot probe the heap")?;
    let methods: Vec<String> = service.support().methods().map(|m| m.to_string()).collect();
    log::info!("heap {kind}: {}", methods.join(", "));
    if let Err(reason) = service.support().rw_file {
        log::warn!("no rw_file: {reason}");
    }

    if let Err(error) = trace::start() {
        log::info!("no events in the kernel's trace: {error}");
    }
    service.start_threads()?;
    let (draining, socket) = (service.clone(), options.socket.clone());
    thread::Builder::new()
        .name("termination".to_owned())
        .spawn(move || end_on_signal(&termination, &draining, socket))
        .context("start a thread")?;

    let binder = service.into_binder().as_binder();
    match &options.socket {
        Some(path) => binder_shim::serve_socket(path, binder, MAX_THREADS, || {
            log::info!("serving on {}", path.display());
        }),
        None => binder_shim::serve(INSTANCE, binder, MAX_THREADS, options.lifetime, || {
            log::info!("registered {INSTANCE}");
        }),
    }
    .map_err(|error| anyhow!(error))
}

/// Waits for a signal, lets running requests finish, and ends the process.
fn end_on_signal(termination: &Termination, service: &DmabufIo, socket: Option<PathBuf>) {
    match termination.wait() {
        Ok(signal) => log::info!("signal {signal}: stopping"),
        Err(errno) => log::error!("sigwait: {errno}; stopping"),
    }
    if !service.drain(DRAIN) {
        log::warn!("requests still run after {} s; leaving them", DRAIN.as_secs());
    }
    if let Some(path) = socket {
        // Somebody may have removed it already.
        let _ = fs::remove_file(path);
    }
    process::exit(0);
}

#[cfg(target_os = "android")]
fn start_log() {
    let config =
        android_logger::Config::default().with_tag("dmabufio").with_max_level(LevelFilter::Info);
    android_logger::init_once(config);
}

#[cfg(not(target_os = "android"))]
fn start_log() {
    env_logger::Builder::new()
        .filter_level(LevelFilter::Info)
        .parse_default_env()
        .format_timestamp_millis()
        .init();
}
