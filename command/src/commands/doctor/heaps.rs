//! The heaps: their device nodes, and what the kernel says when it is asked.

use super::finding::{Finding, Group, Verdict};
use crate::connect::ConnectArgs;
use crate::size;
use dmabufio_core::heap::{half_of_memory, Allocator, Heap, UDMABUF_LIMIT};
use dmabufio_core::method::Support;
use dmabufio_core::probe;
use rustix::fs::{stat, Mode};

/// Looks at all heaps in this process. Only the one that buffers would come from has to work.
pub fn findings(connect: &ConnectArgs) -> Vec<Finding> {
    let wanted = connect.socket.is_none().then(|| connect.heap());
    Heap::ALL.into_iter().map(|heap| finding(heap, wanted == Some(heap))).collect()
}

fn finding(heap: Heap, wanted: bool) -> Finding {
    let (subject, node) = match heap {
        Heap::System => ("heap system", Some("/dev/dma_heap/system")),
        Heap::SystemDirect => ("heap system-direct", Some("/dev/dma_heap/system-direct")),
        Heap::Udmabuf => ("heap udmabuf", Some("/dev/udmabuf")),
        Heap::Memfd => ("heap memfd", None),
    };
    let node = node.map(describe).unwrap_or_default();
    let found = Allocator::open(heap).and_then(|heap| {
        Ok((probe::heap(&heap)?, heap.clears_late(), limit(heap.heap(), heap.max_bytes())))
    });
    let (support, clears_late, limit) = match found {
        Ok(found) => found,
        Err(error) => {
            let text = format!("{error}{node}");
            if !wanted {
                return Finding::new(Group::Informative, subject, Verdict::Info, text);
            }
            let fix = match heap {
                Heap::System => {
                    "enable CONFIG_DMABUF_HEAPS_SYSTEM and give this process access to \
                     /dev/dma_heap/system, or use another heap"
                }
                Heap::SystemDirect => {
                    "load the module of kernel/module and give this process access to \
                     /dev/dma_heap/system-direct, or use another heap"
                }
                Heap::Udmabuf => {
                    "enable CONFIG_UDMABUF, load its module and give this process access to \
                     /dev/udmabuf, or use another heap"
                }
                Heap::Memfd => "enable CONFIG_MEMFD_CREATE, or use another heap",
            };
            return Finding::new(Group::Necessary, subject, Verdict::Broken, text).fix(fix);
        }
    };
    let methods: Vec<String> = support.methods().map(|method| method.to_string()).collect();
    let methods = methods.join(", ");
    let text = match support.rw_file {
        Err(reason) if heap != Heap::Memfd => {
            format!("{methods} ({reason}), {limit}{node}")
        }
        _ => format!("{methods}, {limit}{node}"),
    };
    let text =
        if clears_late { format!("{text}; loads into memory that is not cleared") } else { text };
    judge(heap, wanted, &support, subject, text)
}

/// What the abilities of a heap mean. `text` describes them.
fn judge(
    heap: Heap,
    wanted: bool,
    support: &Support,
    subject: &'static str,
    text: String,
) -> Finding {
    match support.rw_file {
        Ok(()) if support.rw_extents => {
            let text = format!("{text}; many extents in a call, attached buffers too");
            Finding::new(Group::Necessary, subject, Verdict::Ok, text)
        }
        Ok(()) if wanted => {
            let text = format!("{text}; without DMA_BUF_IOCTL_RW_EXTENTS");
            Finding::new(Group::Recommended, subject, Verdict::Slow, text).fix(
                "apply all of kernel/patches: buffers that are attached to a device are copied, \
                 and each of many small extents is a call",
            )
        }
        Err(_) if wanted && heap == Heap::System => {
            Finding::new(Group::Recommended, subject, Verdict::Slow, text).fix(
                "load the module of kernel/module, which gives direct I/O to a stock kernel; or \
                 apply kernel/patches and enable CONFIG_DMABUF_RW_FILE",
            )
        }
        Err(_) if wanted && heap == Heap::SystemDirect => {
            let text = format!("{text}; direct I/O without the ioctl");
            Finding::new(Group::Necessary, subject, Verdict::Ok, text)
        }
        Ok(()) | Err(_) => Finding::new(Group::Informative, subject, Verdict::Info, text),
    }
}

/// The largest buffer of a heap, and how it becomes larger where that is a setting.
pub fn limit(heap: Heap, max_bytes: u64) -> String {
    let limit = format!("buffers up to {}", size::bytes(max_bytes));
    if heap == Heap::Udmabuf && max_bytes < half_of_memory() {
        return format!("{limit} (for more raise {UDMABUF_LIMIT}, then restart)");
    }
    limit
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_with_the_published_ioctl_alone_is_slow_where_its_heap_is_wanted() {
        let verdict = |wanted, rw_extents| {
            let support = Support { rw_file: Ok(()), rw_extents, page_backed: false };
            judge(Heap::System, wanted, &support, "heap system", String::new()).verdict
        };
        assert_eq!(verdict(true, false), Verdict::Slow);
        assert_eq!(verdict(false, false), Verdict::Info);
        assert_eq!(verdict(true, true), Verdict::Ok);
    }
}
