//! The service: whether it answers, and whether the device declares it.

use super::{Finding, Group, Verdict};
use crate::connect::ConnectArgs;
use crate::size;
use dmabufio_core::heap::Heap;
use dmabufio_core::method::Method;
use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

/// The name of the package in a manifest.
const PACKAGE: &str = "<name>vendor.dmabufio</name>";

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
                    Finding::new(Group::Necessary, subject, Verdict::Ok, text)
                }
                _ => Finding::new(Group::Recommended, subject, Verdict::Slow, text)
                    .fix("see the heap above; direct I/O needs DMA_BUF_IOCTL_RW_FILE"),
            }
        }
        Err(error) => {
            Finding::new(Group::Necessary, subject, Verdict::Broken, format!("{error:#}"))
                .fix("start dmabufio-service, or use --local")
        }
    }
}

/// Looks for the service in the manifests below `root`, as service manager does before it lets one register.
pub fn declaration(root: &Path) -> Finding {
    let subject = "VINTF";
    let vendor = root.join("vendor/etc/vintf");
    if !vendor.is_dir() {
        let text = "this is no Android device";
        return Finding::new(Group::Informative, subject, Verdict::Info, text);
    }
    let mut folders = vec![vendor.clone(), vendor.join("manifest"), root.join("odm/etc/vintf")];
    folders.extend(files(&root.join("apex")).into_iter().map(|apex| apex.join("etc/vintf")));
    let declared = folders
        .iter()
        .flat_map(|folder| files(folder))
        .find(|file| read_to_string(file).is_ok_and(|xml| xml.contains(PACKAGE)));
    match declared {
        Some(file) => {
            let text = format!("declared in {}", file.display());
            Finding::new(Group::Necessary, subject, Verdict::Ok, text)
        }
        None => {
            let text = "no manifest of the device declares vendor.dmabufio";
            Finding::new(Group::Necessary, subject, Verdict::Broken, text)
                .fix("install vendor.dmabufio-service.xml; a release build drops it while V1 is not frozen")
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const MANIFEST: &str = include_str!("../../../../vintf/vendor.dmabufio-service.xml");

    #[test]
    fn manifest_is_found_on_the_vendor_partition_and_in_an_apex() {
        for place in ["vendor/etc/vintf/manifest", "apex/com.vendor.dmabufio/etc/vintf"] {
            let root = tempfile::tempdir().expect("a folder");
            fs::create_dir_all(root.path().join("vendor/etc/vintf")).expect("mkdir");
            assert!(declaration(root.path()).verdict == Verdict::Broken, "{place}");
            fs::create_dir_all(root.path().join(place)).expect("mkdir");
            fs::write(root.path().join(place).join("x.xml"), MANIFEST).expect("write");
            assert!(declaration(root.path()).verdict == Verdict::Ok, "{place}");
        }
    }

    #[test]
    fn other_systems_need_no_manifest() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(declaration(root.path()).verdict == Verdict::Info);
    }
}
