//! Saves onto a disk that is full, or whose writes fail: the error, what is left of the save, and the
//! same call afterwards.

#![allow(missing_docs, reason = "test code")]

#[path = "../../tests/support/device.rs"]
mod device;
#[path = "faults/disk.rs"]
mod disk;
#[path = "../../tests/support/random.rs"]
mod random;
#[path = "faults/saves.rs"]
mod saves;

use device::FILE_SYSTEMS;
use disk::{files, Disk};
use dmabufio_client::{Client, Error};
use dmabufio_core::error::ErrorKind;
use random::Random;
use saves::{Save, Saver, LEN, SAVES};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn full_disk_is_no_space_and_leaves_the_old_file_alone() {
    for file_system in FILE_SYSTEMS {
        let disk = Disk::new(file_system);
        let saver = Saver::new(Client::service().expect("the service"), disk.path());
        for save in &SAVES {
            fails_once(&disk, &saver, save, ErrorKind::NoSpace, || {
                let _filler = disk.fill();
                (save.run)(&saver, save, &|| {})
            });
        }
    }
}

#[test]
fn failing_disk_is_an_io_error_and_leaves_the_old_file_alone() {
    for file_system in FILE_SYSTEMS {
        let disk = Disk::new(file_system);
        let saver = Saver::new(Client::service().expect("the service"), disk.path());
        for save in &SAVES {
            fails_once(&disk, &saver, save, ErrorKind::Io, || {
                let outcome = (save.run)(&saver, save, &|| disk.fail_writes());
                disk.heal();
                outcome
            });
        }
    }
}

/// Checks that `failing` makes `save` fail with an error of `kind`, that nothing of it is left but
/// bytes behind those of the old file, and that the same call succeeds then.
fn fails_once(
    disk: &Disk,
    saver: &Saver,
    save: &Save,
    kind: ErrorKind,
    failing: impl FnOnce() -> Result<(), Error>,
) {
    let name = format!("{} on {}", save.name, disk.file_system);
    let path = disk.path().join(save.file);
    let (before, available) = (files(disk.path()), disk.available());
    let error = failing().expect_err(&name);
    println!("{name}: {error}");
    assert_eq!(error.kind(), Some(kind), "{name}: {error}");

    let mut after = files(disk.path());
    if save.keeps > 0 {
        after.get_mut(&path).expect(&name).truncate(save.keeps as usize);
    }
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&after), names(&before), "{name}: something is left behind");
    assert!(after == before, "{name}: an old file has changed");
    // An appended file may keep a part of the new bytes.
    let least = if save.keeps > 0 { available - LEN } else { available } - (256 << 10);
    let start = Instant::now();
    while disk.available() < least {
        assert!(start.elapsed() < Duration::from_secs(5), "{name}: its space is not free again");
        sleep(Duration::from_millis(20));
    }

    (save.run)(saver, save, &|| {}).unwrap_or_else(|error| panic!("{name}, again: {error}"));
    let again = files(disk.path());
    assert_eq!(names(&again), names(&before), "{name}: something is left behind");
    assert!(saver.is_new(save, &before[&path], &again[&path]), "{name}: not the new file");
}
