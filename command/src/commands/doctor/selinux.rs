//! SELinux: the domain of this process, and what was denied to or by the service.

use super::finding::{Finding, Group, Verdict};
use rustix::fs::{open, Mode, OFlags};
use rustix::io::{read, Errno};
use std::fs::read_to_string;
use std::path::Path;

/// In the context of the service, of its program and of its name in service manager.
const OURS: &str = "hal_vendor_dmabufio";

pub fn findings() -> Vec<Finding> {
    let Ok(enforce) = read_to_string("/sys/fs/selinux/enforce") else {
        let text = if Path::new("/sys/fs/selinux").exists() {
            "this process may not ask for its state"
        } else {
            "off"
        };
        return vec![Finding::new(Group::Informative, "SELinux", Verdict::Info, text)];
    };
    let domain = read_to_string("/proc/self/attr/current").unwrap_or_default();
    let state = if enforce.trim() == "1" { "enforcing" } else { "permissive" };
    let text = format!("{state}; this is {}", domain.trim_matches(['\0', '\n', ' ']));
    let mut findings = vec![Finding::new(Group::Informative, "SELinux", Verdict::Info, text)];
    let subject = "denials";
    findings.push(match log() {
        Ok(log) => match denied(&log) {
            (0, _) => {
                Finding::new(Group::Recommended, subject, Verdict::Ok, "none for the service")
            }
            (count, last) => {
                let text = format!("{count} for the service; the last one: {last}");
                Finding::new(Group::Recommended, subject, Verdict::Slow, text).fix(
                    "compare the device's policy with sepolicy/vendor; sepolicy/README.md says \
                     what may be granted",
                )
            }
        },
        Err(errno) => {
            let text = format!("cannot read the kernel's log: {errno}");
            Finding::new(Group::Informative, subject, Verdict::Info, text)
                .fix("run as root, or look at logcat -b all")
        }
    });
    findings
}

/// The kernel's log as far back as it goes.
fn log() -> Result<String, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let kmsg = open("/dev/kmsg", flags, Mode::empty())?;
    let mut log = String::new();
    let mut record = [0; 8192];
    loop {
        match read(&kmsg, &mut record) {
            Ok(len) => log.push_str(&String::from_utf8_lossy(&record[..len])),
            Err(Errno::AGAIN) => return Ok(log),
            // A record was overwritten before it was read.
            Err(Errno::PIPE | Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// How many denials name the service, and the last of them.
fn denied(log: &str) -> (usize, &str) {
    let mut lines = log.lines().filter(|line| line.contains("avc:  denied  {") && is_ours(line));
    let last = lines.next_back().unwrap_or_default();
    (lines.count() + usize::from(!last.is_empty()), last)
}

/// Whether the context of either side has a type of ours. Names of files and threads do not count: anybody may choose
/// them.
fn is_ours(denial: &str) -> bool {
    denial.split(' ').any(|field| {
        let context = field.strip_prefix("scontext=").or(field.strip_prefix("tcontext="));
        context.is_some_and(|context| {
            context.split(':').nth(2).is_some_and(|name| name.starts_with(OURS))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denials_of_others_do_not_count() {
        let other =
            "5,1,2,-;audit: avc:  denied  { read } scontext=u:r:shell:s0 tcontext=u:r:init:s0\n";
        let ours =
            "5,1,3,-;audit: avc:  denied  { use } scontext=u:r:hal_vendor_dmabufio_default:s0\n";
        assert_eq!(denied(other).0, 0);
        let named = "5,1,4,-;audit: avc:  denied  { read } comm=\"hal_vendor_dmabufio\" scontext=u:r:shell:s0\n";
        assert_eq!(denied(named).0, 0);
        assert_eq!(denied(&format!("{ours}{other}")), (1, ours.trim()));
        assert_eq!(denied(&format!("{ours}{other}{ours}")).0, 2);
    }
}
