//! The heaps: their device nodes, and what the kernel says when it is asked.

use super::{Finding, Group, Verdict};
use crate::connect::ConnectArgs;
use dmabufio_core::heap::{Allocator, Heap};
use dmabufio_core::probe;
use rustix::fs::{stat, Mode};

/// Looks at all heaps in this process. Only the one that buffers would come from has to work.
pub fn findings(connect: &ConnectArgs) -> Vec<Finding> {
    Heap::ALL.into_iter().map(|heap| finding(heap, connect)).collect()
}

fn finding(heap: Heap, connect: &ConnectArgs) -> Finding {
    let (subject, node) = match heap {
        Heap::System => ("heap system", Some("/dev/dma_heap/system")),
        Heap::Udmabuf => ("heap udmabuf", Some("/dev/udmabuf")),
        Heap::Memfd => ("heap memfd", None),
    };
    let node = node.map(describe).unwrap_or_default();
    let wanted = connect.socket.is_none() && heap == connect.heap;
    let found = Allocator::open(heap).and_then(|heap| probe::heap(&heap));
    let support = match found {
        Ok(support) => support,
        Err(error) => {
            let text = format!("{error}{node}");
            if !wanted {
                return Finding::new(Group::Informative, subject, Verdict::Info, text);
            }
            return Finding::new(Group::Necessary, subject, Verdict::Broken, text).fix(
                "enable CONFIG_DMABUF_HEAPS_SYSTEM and give this process access to \
                 /dev/dma_heap/system, or use another heap",
            );
        }
    };
    let methods: Vec<String> = support.methods().map(|method| method.to_string()).collect();
    let text = match support.rw_file {
        Err(reason) if heap != Heap::Memfd => format!("{} ({reason}){node}", methods.join(", ")),
        _ => format!("{}{node}", methods.join(", ")),
    };
    match support.rw_file {
        Ok(()) => Finding::new(Group::Necessary, subject, Verdict::Ok, text),
        Err(_) if wanted && heap == Heap::System => {
            Finding::new(Group::Recommended, subject, Verdict::Slow, text)
                .fix("apply kernel/patches and enable CONFIG_DMABUF_RW_FILE")
        }
        Err(_) => Finding::new(Group::Informative, subject, Verdict::Info, text),
    }
}

/// Who may open a device node. Opening it says what else there is to say.
fn describe(node: &str) -> String {
    stat(node).map_or_else(
        |_| String::new(),
        |stat| {
            let mode = Mode::from_raw_mode(stat.st_mode);
            format!("; {node} is {:04o} {}:{}", mode.bits(), stat.st_uid, stat.st_gid)
        },
    )
}
