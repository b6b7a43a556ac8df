//! `dmabufio doctor`: what works here, what does not, and what to do about it.

use crate::connect::ConnectArgs;
use crate::output::Output;
use crate::size;
use anyhow::Result;
use dmabufio::file::RegularFile;
use dmabufio::heap::{Allocator, Heap};
use dmabufio::method::Method;
use dmabufio::probe;
use rustix::fs::{self, Mode, OFlags};
use serde::Serialize;
use std::fs::{read_dir, read_to_string};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Say what works here: heaps, methods, binder, file system, UFS device
#[derive(clap::Args)]
pub struct Args {
    /// The directory whose file system and disk are looked at
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
}

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// As it should be.
    Ok,
    /// For information.
    Info,
    /// It works, slowly.
    Slow,
    /// It does not work.
    Broken,
}

#[derive(Serialize)]
struct Finding {
    subject: &'static str,
    verdict: Verdict,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<&'static str>,
}

#[derive(Serialize)]
struct Report {
    verdict: Verdict,
    findings: Vec<Finding>,
}

impl Finding {
    fn new(subject: &'static str, verdict: Verdict, text: impl Into<String>) -> Self {
        Self { subject, verdict, text: text.into(), fix: None }
    }

    fn fix(mut self, fix: &'static str) -> Self {
        self.fix = Some(fix);
        self
    }
}

pub fn run(args: &Args, connect: &ConnectArgs, output: &Output) -> Result<ExitCode> {
    let mut findings = vec![kernel()];
    findings.extend(Heap::ALL.into_iter().map(|heap| heap_finding(heap, connect)));
    findings.push(service(connect));
    findings.push(file_system(&args.path));
    findings.push(ufs());
    let verdict = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
    let report = Report { verdict, findings };
    output.result(&report, |out| write(out, &report))?;
    Ok(match verdict {
        Verdict::Ok | Verdict::Info => ExitCode::SUCCESS,
        Verdict::Slow => ExitCode::from(1),
        Verdict::Broken => ExitCode::from(2),
    })
}

fn write(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    for Finding { subject, verdict, text, fix } in &report.findings {
        let mark = match verdict {
            Verdict::Ok => "ok",
            Verdict::Info => "-",
            Verdict::Slow => "SLOW",
            Verdict::Broken => "BROKEN",
        };
        writeln!(out, "{mark:<7}{subject:<13}{text}")?;
        if let Some(fix) = fix {
            writeln!(out, "{:<20}fix: {fix}", "")?;
        }
    }
    let verdict = match report.verdict {
        Verdict::Ok | Verdict::Info => "everything is as it should be",
        Verdict::Slow => "it works, but not at full speed",
        Verdict::Broken => "it does not work here",
    };
    writeln!(out, "{verdict}")
}

fn kernel() -> Finding {
    let release = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Finding::new("kernel", Verdict::Info, release.trim())
}

/// Looks at a heap in this process. Only the heap that buffers would come from has to work.
fn heap_finding(heap: Heap, connect: &ConnectArgs) -> Finding {
    let subject = match heap {
        Heap::System => "heap system",
        Heap::Udmabuf => "heap udmabuf",
        Heap::Memfd => "heap memfd",
    };
    let wanted = connect.socket.is_none() && heap == connect.heap;
    let found = Allocator::open(heap).and_then(|heap| probe::heap(&heap));
    let support = match found {
        Ok(support) => support,
        Err(error) if wanted => {
            return Finding::new(subject, Verdict::Broken, error.to_string()).fix(
                "enable CONFIG_DMABUF_HEAPS_SYSTEM and give this process access to \
                 /dev/dma_heap/system, or use another heap",
            )
        }
        Err(error) => return Finding::new(subject, Verdict::Info, error.to_string()),
    };
    let methods: Vec<String> = support.methods().map(|method| method.to_string()).collect();
    let text = match support.no_rw_file {
        Some(reason) if heap != Heap::Memfd => format!("{} ({reason})", methods.join(", ")),
        _ => methods.join(", "),
    };
    match support.no_rw_file {
        None => Finding::new(subject, Verdict::Ok, text),
        Some(_) if wanted && heap == Heap::System => Finding::new(subject, Verdict::Slow, text)
            .fix("apply kernel/patches and enable CONFIG_DMABUF_RW_FILE"),
        Some(_) => Finding::new(subject, Verdict::Info, text),
    }
}

fn service(connect: &ConnectArgs) -> Finding {
    let subject = "service";
    if connect.local {
        return Finding::new(subject, Verdict::Info, "not used (--local)");
    }
    let capabilities = connect.connect().and_then(|client| Ok(client.capabilities()?));
    match capabilities {
        Ok(capabilities) => {
            let best = capabilities.methods.first();
            let text = format!(
                "{}: heap {}, {}, buffers up to {}",
                connect.describe(),
                capabilities.heap,
                best.map_or_else(|| "no method".to_owned(), Method::to_string),
                size::bytes(capabilities.max_buffer_bytes)
            );
            let text = match capabilities.heap {
                Heap::Memfd => format!("{text}; the embedded heap, whose buffers are no dma-bufs"),
                Heap::System | Heap::Udmabuf => text,
            };
            match best {
                Some(Method::RwFileDirect | Method::MappedDirect) => {
                    Finding::new(subject, Verdict::Ok, text)
                }
                _ => Finding::new(subject, Verdict::Slow, text)
                    .fix("see the heap above; direct I/O needs DMA_BUF_IOCTL_RW_FILE"),
            }
        }
        Err(error) => Finding::new(subject, Verdict::Broken, format!("{error:#}"))
            .fix("start dmabufio-service, or use --local"),
    }
}

/// Asks the file system of `path`, with a file of our own, whether it does direct I/O.
fn file_system(path: &Path) -> Finding {
    let subject = "file system";
    let magic = match fs::statfs(path) {
        Ok(stat) => stat.f_type as u64,
        Err(errno) => {
            let text = format!("{}: {errno}", path.display());
            return Finding::new(subject, Verdict::Broken, text)
                .fix("name a directory that exists with --path");
        }
    };
    let name = match magic {
        0xf2f5_2010 => "f2fs".to_owned(),
        0xef53 => "ext4".to_owned(),
        0x5846_5342 => "xfs".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0xe0f5_e1e2 => "erofs".to_owned(),
        0x794c_7630 => "overlayfs".to_owned(),
        0x0102_1994 => "tmpfs".to_owned(),
        0x6573_5546 => "FUSE".to_owned(),
        0x0102_1997 => "9p".to_owned(),
        other => format!("type {other:#x}"),
    };
    let place = path.display();
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = match fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => file,
        Err(errno) => {
            let text = format!("{name} at {place}; cannot make a file to look at: {errno}");
            return Finding::new(subject, Verdict::Info, text);
        }
    };
    match RegularFile::new(file.as_fd(), Heap::System).map(|file| file.direct_align()) {
        Ok(Some(align)) => {
            let text = format!("{name} at {place}: direct I/O aligned to {align} bytes");
            Finding::new(subject, Verdict::Ok, text)
        }
        Ok(None) => {
            let text = format!("{name} at {place}: no direct I/O");
            Finding::new(subject, Verdict::Slow, text)
                .fix("keep the files on f2fs or ext4, or look elsewhere with --path")
        }
        Err(error) => Finding::new(subject, Verdict::Info, format!("{name} at {place}: {error}")),
    }
}

/// The first UFS device that the kernel knows, from the descriptors in sysfs
/// (`Documentation/ABI/testing/sysfs-driver-ufs`).
fn ufs() -> Finding {
    let subject = "UFS device";
    let devices = ["/sys/bus/pci/drivers/ufshcd", "/sys/bus/platform/devices"];
    let device = devices
        .iter()
        .filter_map(|directory| read_dir(directory).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .find(|path| path.join("device_descriptor/specification_version").exists());
    let Some(device) = device else {
        return Finding::new(subject, Verdict::Info, "none");
    };
    let read = |name: &str| {
        let text = read_to_string(device.join(name)).unwrap_or_default();
        text.trim().to_owned()
    };
    // 0x0400 is 4.0, in binary-coded decimal.
    let version = read("device_descriptor/specification_version");
    let digits = version.trim_start_matches("0x");
    let number = match (digits.get(..2), digits.get(2..3)) {
        (Some(major), Some(minor)) => format!("{}.{minor}", major.trim_start_matches('0')),
        _ => format!("of unknown version ({version})"),
    };
    let product = read("string_descriptors/product_name");
    let queue = read("device_descriptor/queue_depth");
    let text = format!("UFS {number} {product}, queue depth {queue}");
    Finding::new(subject, Verdict::Ok, text)
}
