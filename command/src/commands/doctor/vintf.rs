//! The VINTF manifests of the device: whether they declare the service.

use super::finding::{Finding, Group, Verdict};
use super::xml::Element;
use std::fs::{read_dir, read_to_string};
use std::io;
use std::path::{Path, PathBuf};

/// The service as a manifest names it.
const PACKAGE: &str = "vendor.dmabufio";
const INTERFACE: &str = "IDmabufIo";
const INSTANCE: &str = "default";

/// Looks for the service in the manifests below `root`, as service manager does before it lets one register.
pub fn finding(root: &Path) -> Finding {
    let subject = "VINTF";
    let vendor = root.join("vendor/etc/vintf");
    if !vendor.is_dir() {
        let text = "this is no Android device";
        return Finding::new(Group::Informative, subject, Verdict::Info, text);
    }
    let mut unread = Vec::new();
    let mut list = |folder: PathBuf| match files(&folder) {
        Ok(files) => files,
        Err(error) => {
            unread.push(format!("{}: {error}", folder.display()));
            Vec::new()
        }
    };
    // In the order in which a manifest may override those before it.
    let mut manifests = list(vendor.clone());
    manifests.extend(list(vendor.join("manifest")));
    for apex in list(root.join("apex")) {
        manifests.extend(list(apex.join("etc/vintf")));
    }
    let odm = root.join("odm/etc/vintf");
    manifests.extend(list(odm.clone()));
    manifests.extend(list(odm.join("manifest")));
    manifests.retain(|path| path.extension().is_some_and(|end| end == "xml"));

    let mut declared = None;
    for path in manifests {
        match read_to_string(&path).map(|xml| says(&xml)) {
            Ok(Some(Says::Declared)) => declared = Some(path),
            Ok(Some(Says::Overridden)) => declared = None,
            Ok(Some(Says::Nothing)) => {}
            Ok(None) => unread.push(format!("{}: not well-formed", path.display())),
            Err(error) => unread.push(format!("{}: {error}", path.display())),
        }
    }
    match declared {
        Some(file) => {
            let text = format!("declared in {}", file.display());
            Finding::new(Group::Necessary, subject, Verdict::Ok, text)
        }
        None if !unread.is_empty() => {
            let text = format!("no declaration found; cannot read {}", unread.join(", "));
            Finding::new(Group::Informative, subject, Verdict::Info, text)
                .fix("run as root, or ask with lshal --types=v")
        }
        None => {
            let text = "no manifest of the device declares vendor.dmabufio.IDmabufIo/default";
            Finding::new(Group::Necessary, subject, Verdict::Broken, text)
                .fix("install vendor.dmabufio-service.xml; a release build drops it while V1 is not frozen")
        }
    }
}

/// The entries of a folder in the order of their names; none if there is no such folder.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match read_dir(folder) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new())
        }
        entries => entries?,
    };
    let mut files: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    files.sort();
    Ok(files)
}

/// What a file says of the service.
#[derive(Debug, PartialEq, Eq)]
enum Says {
    Nothing,
    Declared,
    /// Declarations in the manifests before this one do not count.
    Overridden,
}

/// Reads a manifest; `None` if it is not well-formed. Other documents, such as a compatibility matrix, say nothing.
fn says(xml: &str) -> Option<Says> {
    let root = Element::parse(xml)?;
    let mut says = Says::Nothing;
    for hal in root.children("hal").filter(|_| root.name == "manifest") {
        let ours = hal.attribute("format") == Some("aidl")
            && hal.children("name").any(|name| name.text.trim() == PACKAGE);
        if ours && declares_instance(hal) {
            says = Says::Declared;
        } else if ours && hal.attribute("override") == Some("true") {
            says = Says::Overridden;
        }
    }
    Some(says)
}

/// Whether a `hal` names our instance, in either of the two forms of a manifest.
fn declares_instance(hal: &Element<'_>) -> bool {
    let fqname = format!("{INTERFACE}/{INSTANCE}");
    let has = |parent: &Element<'_>, name, text: &str| {
        parent.children(name).any(|child| child.text.trim() == text)
    };
    has(hal, "fqname", &fqname)
        || hal.children("interface").any(|interface| {
            has(interface, "name", INTERFACE) && has(interface, "instance", INSTANCE)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};

    const MANIFEST: &str = include_str!("../../../../vintf/vendor.dmabufio-service.xml");
    const MATRIX: &str = include_str!("../../../../vintf/compatibility_matrix.vendor.dmabufio.xml");

    #[test]
    fn manifest_is_found_wherever_a_device_has_one() {
        for place in [
            "vendor/etc/vintf",
            "vendor/etc/vintf/manifest",
            "apex/com.vendor.dmabufio/etc/vintf",
            "odm/etc/vintf",
            "odm/etc/vintf/manifest",
        ] {
            let root = tempfile::tempdir().expect("a folder");
            create_dir_all(root.path().join("vendor/etc/vintf")).expect("mkdir");
            assert!(finding(root.path()).verdict == Verdict::Broken, "{place}");
            create_dir_all(root.path().join(place)).expect("mkdir");
            write(root.path().join(place).join("x.xml"), MANIFEST).expect("write");
            assert!(finding(root.path()).verdict == Verdict::Ok, "{place}");
        }
    }

    #[test]
    fn other_systems_need_no_manifest() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(finding(root.path()).verdict == Verdict::Info);
    }

    #[test]
    fn later_manifest_overrides_an_earlier_one() {
        let root = tempfile::tempdir().expect("a folder");
        let (vendor, odm) = ("vendor/etc/vintf/manifest", "odm/etc/vintf/manifest");
        for (place, xml) in [
            (vendor, MANIFEST.to_owned()),
            (odm, hal(r#"format="aidl" override="true""#, "<name>vendor.dmabufio</name>")),
        ] {
            create_dir_all(root.path().join(place)).expect("mkdir");
            write(root.path().join(place).join("x.xml"), xml).expect("write");
        }
        assert!(finding(root.path()).verdict == Verdict::Broken);
    }

    #[test]
    fn manifest_that_cannot_be_read_leaves_it_open() {
        let root = tempfile::tempdir().expect("a folder");
        create_dir_all(root.path().join("vendor/etc/vintf/manifest")).expect("mkdir");
        write(root.path().join("vendor/etc/vintf/manifest.xml"), "<manifest>").expect("write");
        let found = finding(root.path());
        assert!(found.verdict == Verdict::Info);
        assert!(found.text.ends_with("vendor/etc/vintf/manifest.xml: not well-formed"));
        // Another file settles it.
        write(root.path().join("vendor/etc/vintf/manifest/x.xml"), MANIFEST).expect("write");
        assert!(finding(root.path()).verdict == Verdict::Ok);
    }

    /// A manifest with one `hal`.
    fn hal(attributes: &str, content: &str) -> String {
        format!("<?xml version='1.0'?><manifest type=\"device\"><hal {attributes}>{content}</hal></manifest>\n")
    }

    #[test]
    fn only_an_entry_for_the_instance_is_a_declaration() {
        let name = "<name>vendor.dmabufio</name>";
        let fqname = "<fqname>IDmabufIo/default</fqname>";
        let aidl = r#"format="aidl""#;
        for xml in [
            MANIFEST.to_owned(),
            hal(aidl, &format!("\n {name}\n {fqname}\n")),
            hal("format = 'aidl'", "<name>\nvendor.dmabufio </name><fqname >IDmabufIo/default</fqname >"),
            hal(aidl, &format!("{name}<interface><name>IDmabufIo</name><instance>a</instance><instance>default</instance></interface>")),
            hal(r#"note="a > b" format="aidl""#, &format!("<!-- > --><x/>{name}{fqname}")),
            hal(aidl, &format!("<![CDATA[<x>]]>{name}{fqname}")),
        ] {
            assert_eq!(says(&xml), Some(Says::Declared), "{xml}");
        }
        for xml in [
            MATRIX.to_owned(),
            format!("<!-- {} -->\n<manifest/>", hal(aidl, &format!("{name}{fqname}"))),
            hal(aidl, &format!("<!--{name}-->{fqname}")),
            hal(aidl, &format!("<![CDATA[{name}]]>{fqname}")),
            hal(aidl, name),
            hal(aidl, &format!("{name}<fqname>IDmabufIo/other</fqname>")),
            hal(aidl, &format!("<name>vendor.dmabufio.more</name>{fqname}")),
            hal(
                aidl,
                &format!(
                    "{name}<interface><name>IOther</name><instance>default</instance></interface>"
                ),
            ),
            hal(r#"format="hidl""#, &format!("{name}{fqname}")),
            hal("", &format!("{name}{fqname}")),
            format!("<x>{MANIFEST}</x>"),
        ] {
            assert_eq!(says(&xml), Some(Says::Nothing), "{xml}");
        }
        let removed = hal(r#"format="aidl" override="true""#, name);
        assert_eq!(says(&removed), Some(Says::Overridden));
    }

    #[test]
    fn malformed_documents_are_refused() {
        for xml in [
            "",
            "text",
            "<manifest>",
            "<manifest></hal>",
            "<manifest/><manifest/>",
            "<manifest",
            "<manifest a=\"></manifest>",
            "<!-- <manifest/>",
            "<manifest><![CDATA[</manifest>",
            "<?xml <manifest/>",
            "</manifest>",
            "<>",
            "<manifest/>text",
        ] {
            assert_eq!(says(xml), None, "{xml}");
        }
    }
}
