//! `dmabufio save` over files of other users, which takes root to make.

#![allow(missing_docs, reason = "test code")]

use rustix::fs::{getxattr, setxattr, XattrFlags};
use rustix::io::Errno;
use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::{chown, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const OLD: &[u8] = b"old content";
const NEW: &[u8] = b"new content, and more of it";
const USER: u32 = 1000;
const GROUP: u32 = 1001;

/// `user::rw- user:1234:r-- group::r-- mask::r-- other::---` as the kernel takes it.
const ACL: [u8; 44] = [
    2, 0, 0, 0, //
    1, 0, 6, 0, 255, 255, 255, 255, //
    2, 0, 4, 0, 210, 4, 0, 0, //
    4, 0, 4, 0, 255, 255, 255, 255, //
    16, 0, 4, 0, 255, 255, 255, 255, //
    32, 0, 0, 0, 255, 255, 255, 255, //
];
/// `cap_net_raw=ep`, revision 2.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

struct Fixture {
    dir: TempDir,
}

impl Fixture {
    /// A folder on the test disk that everybody may write, with `source` and `target` in it.
    fn new() -> Self {
        let disk = env::var_os("DMABUFIO_TEST_DIR").expect("the VM");
        let dir = TempDir::new_in(disk).expect("a folder");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).expect("chmod");
        let fixture = Self { dir };
        fs::write(fixture.at("source"), NEW).expect("write");
        fs::write(fixture.at("target"), OLD).expect("write");
        fs::set_permissions(fixture.at("source"), Permissions::from_mode(0o644)).expect("chmod");
        fixture
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What `save` says as `uid`, or `None` on success.
    fn save(&self, uid: u32) -> Option<String> {
        let output = Command::new(env!("CARGO_BIN_EXE_dmabufio"))
            .args(["save", "--local", "--heap", "memfd", "--from"])
            .args([self.at("source"), self.at("target")])
            .uid(uid)
            .gid(uid)
            .output()
            .expect("run dmabufio");
        assert_eq!(fs::read_dir(self.dir.path()).expect("list").count(), 2, "something is left");
        match output.status.code() {
            Some(0) => None,
            Some(1) => Some(String::from_utf8(output.stderr).expect("text")),
            _ => panic!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)),
        }
    }

    fn refusal(&self, uid: u32, why: &str) {
        let error = self.save(uid).expect("an error");
        assert!(error.contains(why), "{error}");
        assert_eq!(fs::read(self.at("target")).expect("read"), OLD);
    }
}

fn xattr(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 100];
    let len = getxattr(path, name, &mut value)?;
    value.truncate(len);
    Ok(value)
}

#[test]
fn set_user_id_file_of_another_user_keeps_owner_and_loses_set_user_id() {
    let fixture = Fixture::new();
    let target = fixture.at("target");
    chown(&target, Some(USER), Some(GROUP)).expect("chown");
    fs::set_permissions(&target, Permissions::from_mode(0o6640)).expect("chmod");
    let set = |name: &str, value: &[u8]| {
        setxattr(&target, name, value, XattrFlags::empty()).expect(name);
    };
    set("user.note", b"kept");
    set("system.posix_acl_access", &ACL);
    set("security.capability", &CAPABILITY);
    assert_eq!(fixture.save(0), None);
    assert_eq!(fs::read(&target).expect("read"), NEW);
    let found = fs::metadata(&target).expect("stat");
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (USER, GROUP, 0o640));
    assert_eq!(xattr(&target, "user.note").as_deref(), Ok(&b"kept"[..]));
    assert_eq!(xattr(&target, "system.posix_acl_access").as_deref(), Ok(&ACL[..]));
    assert_eq!(xattr(&target, "security.capability"), Err(Errno::NODATA));
}

#[test]
fn user_cannot_replace_what_the_user_may_not_write() {
    let fixture = Fixture::new();
    fs::set_permissions(fixture.at("target"), Permissions::from_mode(0o644)).expect("chmod");
    fixture.refusal(USER, "target: may not be written: Permission denied (os error 13)");
}

#[test]
fn user_cannot_make_a_file_of_another_user_the_own_one() {
    let fixture = Fixture::new();
    fs::set_permissions(fixture.at("target"), Permissions::from_mode(0o666)).expect("chmod");
    let why = "target: give the file that is to replace it to user 0 and group 0: Operation not permitted";
    fixture.refusal(USER, why);
    // Its owner can replace it.
    chown(fixture.at("target"), Some(USER), Some(USER)).expect("chown");
    assert_eq!(fixture.save(USER), None);
}

#[test]
fn file_of_another_user_in_a_sticky_folder_stays() {
    let fixture = Fixture::new();
    // In a group of its owner, so that only the folder forbids it.
    chown(fixture.at("target"), Some(0), Some(USER)).expect("chown");
    fs::set_permissions(fixture.at("target"), Permissions::from_mode(0o666)).expect("chmod");
    fs::set_permissions(fixture.dir.path(), Permissions::from_mode(0o1777)).expect("chmod");
    fixture.refusal(USER, "Operation not permitted (os error 1)");
}

#[test]
fn immutable_file_stays() {
    let fixture = Fixture::new();
    let chattr = |flag: &str| {
        let status = Command::new("chattr").arg(flag).arg(fixture.at("target")).status();
        assert!(status.expect("chattr").success());
    };
    chattr("+i");
    let error = fixture.save(0);
    chattr("-i");
    let error = error.expect("an error");
    assert!(error.contains("target: may not be written: Operation not permitted"), "{error}");
    assert_eq!(fs::read(fixture.at("target")).expect("read"), OLD);
}
