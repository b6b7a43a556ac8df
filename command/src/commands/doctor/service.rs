//! The service: whether it answers, and what it can do.

use super::finding::{Finding, Group, Verdict};
use super::heaps;
use crate::connect::ConnectArgs;
use dmabufio_core::heap::Heap;
use dmabufio_core::method::Method;

pub fn answer(connect: &ConnectArgs) -> Finding {
    let subject = "service";
    if connect.local {
        return Finding::new(Group::Informative, subject, Verdict::Info, "not used (--local)");
    }
    let capabilities = connect.connect().and_then(|client| Ok(client.capabilities()?));
    match capabilities {
        Ok(capabilities) => {
            let best = capabilities.methods.first();
            let text = format!(
                "{}: heap {}, {}, {}",
                connect.describe(),
                capabilities.heap,
                best.map_or_else(|| "no method".to_owned(), Method::to_string),
                heaps::limit(capabilities.heap, capabilities.max_buffer_bytes)
            );
            let text = match capabilities.heap {
                Heap::Memfd => format!("{text}; the embedded heap, whose buffers are no dma-bufs"),
                Heap::System | Heap::SystemDirect | Heap::Udmabuf => text,
            };
            match best {
                Some(Method::RwFileDirect | Method::MappedDirect) => {
                    Finding::new(Group::Necessary, subject, Verdict::Ok, text)
                }
                _ => Finding::new(Group::Recommended, subject, Verdict::Slow, text)
                    .fix("see the heap above; direct I/O needs DMA_BUF_IOCTL_RW_FILE or the heap system-direct"),
            }
        }
        Err(error) => {
            Finding::new(Group::Necessary, subject, Verdict::Broken, format!("{error:#}"))
                .fix("start dmabufio-service, or use --local")
        }
    }
}
