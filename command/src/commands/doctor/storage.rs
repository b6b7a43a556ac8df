//! The file system: direct I/O, and whether encrypted files can do it too.

use super::finding::{Finding, Group, Verdict};
use dmabufio_core::file::RegularFile;
use dmabufio_core::heap::Heap;
use rustix::fs::{self, major, minor, Mode, OFlags};
use std::fs::{canonicalize, read_to_string};
use std::os::fd::AsFd;
use std::path::Path;

pub fn findings(path: &Path) -> Vec<Finding> {
    let subject = "file system";
    let magic = match fs::statfs(path) {
        Ok(stat) => stat.f_type as u64,
        Err(errno) => {
            let text = format!("{}: {errno}", path.display());
            let finding = Finding::new(Group::Necessary, subject, Verdict::Broken, text);
            return vec![finding.fix("name a directory that exists with --path")];
        }
    };
    let mut findings = vec![direct(path, &name(magic))];
    findings.extend(encryption(path));
    findings
}

fn name(magic: u64) -> String {
    match magic {
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
    }
}

/// Asks the file system of `path`, with a file of our own, whether it does direct I/O.
fn direct(path: &Path, name: &str) -> Finding {
    let subject = "file system";
    let place = path.display();
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = match fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => file,
        Err(errno) => {
            let text = format!("{name} at {place}; cannot make a file to look at: {errno}");
            return Finding::new(Group::Informative, subject, Verdict::Info, text);
        }
    };
    match RegularFile::new(file.as_fd(), Heap::System).map(|file| file.direct_align()) {
        Ok(Some(align)) => {
            let text = format!("{name} at {place}: direct I/O aligned to {align} bytes");
            Finding::new(Group::Recommended, subject, Verdict::Ok, text)
        }
        Ok(None) => {
            let text = format!("{name} at {place}: no direct I/O");
            Finding::new(Group::Recommended, subject, Verdict::Slow, text)
                .fix("keep the files on f2fs or ext4, or look elsewhere with --path")
        }
        Err(error) => {
            let text = format!("{name} at {place}: {error}");
            Finding::new(Group::Informative, subject, Verdict::Info, text)
        }
    }
}

/// Encrypted files do direct I/O only where the file system leaves encryption to the block layer. Nothing to say of a
/// file system that encrypts no files.
fn encryption(path: &Path) -> Option<Finding> {
    let device = fs::stat(path).ok()?.st_dev;
    let (major, minor) = (major(device), minor(device));
    let table = read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mount(&table, major, minor)?;
    let disk = canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let name = disk.file_name()?.to_string_lossy();
    let features = read_to_string(format!("/sys/fs/{}/{name}/features", mount.kind));
    let encrypts = match mount.kind {
        "f2fs" => features.is_ok_and(|list| has_feature(&list, "encryption")),
        // ext4 keeps no list of what one file system has switched on.
        _ => false,
    };
    let subject = "encryption";
    if mount.options.split(',').any(|option| option == "inlinecrypt") {
        let by = if disk_encrypts(&disk) { "the disk" } else { "the kernel's software fallback" };
        let text = format!("inline, by {by}: encrypted files go direct too");
        return Some(Finding::new(Group::Recommended, subject, Verdict::Ok, text));
    }
    encrypts.then(|| {
        let text = format!("{} encrypts without inlinecrypt: such files cannot go direct", mount.source);
        Finding::new(Group::Recommended, subject, Verdict::Slow, text).fix(
            "mount it with the option inlinecrypt (fstab) on a kernel with CONFIG_BLK_INLINE_ENCRYPTION",
        )
    })
}

/// Whether a list of f2fs has a feature by this very name.
fn has_feature(list: &str, name: &str) -> bool {
    list.split(',').any(|feature| feature.trim() == name)
}

/// Whether a disk encrypts inline, given its folder in sysfs or that of one of its partitions.
fn disk_encrypts(folder: &Path) -> bool {
    let is_partition = folder.join("partition").exists();
    let disk = if is_partition { folder.parent() } else { Some(folder) };
    disk.is_some_and(|disk| disk.join("queue/crypto").exists())
}

/// What is mounted.
struct Mount<'a> {
    kind: &'a str,
    source: &'a str,
    /// Of the file system, not of the mount.
    options: &'a str,
}

/// The mount of a device in the form of /proc/self/mountinfo (proc(5)).
fn mount(table: &str, major: u32, minor: u32) -> Option<Mount<'_>> {
    let device = format!("{major}:{minor}");
    table.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mut words = back.split(' ');
        let (kind, source, options) = (words.next()?, words.next()?, words.next()?);
        (front.split(' ').nth(2)? == device).then_some(Mount { kind, source, options })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};

    #[test]
    fn options_of_the_file_system_are_found_by_its_device() {
        let table = "\
21 1 0:19 / / rw - 9p root rw
36 35 8:0 / /data rw,noatime shared:2 - f2fs /dev/sda rw,inlinecrypt,mode=adaptive
";
        let found = mount(table, 8, 0).expect("a mount");
        assert_eq!((found.kind, found.source), ("f2fs", "/dev/sda"));
        assert!(found.options.contains("inlinecrypt"));
        assert!(mount(table, 8, 1).is_none());
    }

    #[test]
    fn partition_has_the_encryption_of_its_disk() {
        let root = tempfile::tempdir().expect("a folder");
        let (disk, partition) = (root.path().join("sda"), root.path().join("sda/sda1"));
        create_dir_all(&partition).expect("mkdir");
        write(partition.join("partition"), "1\n").expect("write");
        assert!(!disk_encrypts(&disk) && !disk_encrypts(&partition));
        create_dir_all(disk.join("queue/crypto")).expect("mkdir");
        assert!(disk_encrypts(&disk) && disk_encrypts(&partition));
    }

    #[test]
    fn feature_is_found_by_its_whole_name() {
        assert!(has_feature("encryption, blkzoned\n", "encryption"));
        assert!(has_feature("blkzoned, encryption\n", "encryption"));
        assert!(!has_feature("test_dummy_encryption_v2, encryption_more\n", "encryption"));
    }
}
