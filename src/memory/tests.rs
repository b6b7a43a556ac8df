use super::*;
use std::cell::Cell;
use std::fs::File;
use std::os::linux::fs::MetadataExt;
use tempfile::TempDir;

const MIB: u64 = 1 << 20;

/// A machine of 1024 MiB, of which 64 MiB are kept free.
fn machine() -> Memory {
    Memory::with(1024 * MIB, None)
}

fn reserve(memory: &Memory, bytes: u64, available: u64) -> Result<Reservation<'_>> {
    memory.reserve_of(7, bytes, || Some(available), || {})
}

#[test]
fn request_beyond_what_is_available_less_the_reserve_is_no_memory() {
    let memory = machine();
    drop(reserve(&memory, 36 * MIB, 100 * MIB).expect("room"));
    let error = reserve(&memory, 36 * MIB + 1, 100 * MIB).expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::NoMemory);
    assert_eq!(
        error.to_string(),
        "37748737 bytes: 104857600 bytes of memory are available, of which 67108864 are kept free \
         and 0 are promised to other requests; free memory, or load in parts"
    );
}

#[test]
fn parallel_requests_do_not_get_the_same_memory() {
    let memory = machine();
    let first = reserve(&memory, 20 * MIB, 100 * MIB).expect("room");
    reserve(&memory, 20 * MIB, 100 * MIB).expect_err("promised to the first");
    drop(first);
    reserve(&memory, 20 * MIB, 100 * MIB).expect("free again");
}

#[test]
fn parallel_requests_of_one_user_count_for_its_limit_before_they_have_allocated() {
    let memory = machine();
    let first = reserve(&memory, 400 * MIB, 2048 * MIB).expect("room");
    let error = reserve(&memory, 200 * MIB, 2048 * MIB).expect_err("more than half in all");
    assert_eq!(error.kind(), ErrorKind::NoMemory);
    assert_eq!(
        error.to_string(),
        "209715200 bytes: this user holds buffers of 0 bytes and was promised 419430400, 536870912 \
         allowed; free some"
    );
    memory.reserve_of(8, 400 * MIB, || Some(2048 * MIB), || {}).expect("another user");
    drop(first);
    reserve(&memory, 200 * MIB, 2048 * MIB).expect("the first is over");
    assert!(memory.lock().reserved.is_empty(), "users that left are remembered");
}

#[test]
fn available_memory_is_read_while_no_request_can_spend() {
    let memory = machine();
    let available = || {
        assert!(memory.ledger.try_lock().is_err(), "another request may spend meanwhile");
        Some(100 * MIB)
    };
    memory.reserve_of(7, MIB, available, || {}).expect("room");
}

#[test]
fn spent_memory_is_promised_no_more() {
    let memory = machine();
    let file = File::open("/dev/null").expect("open");
    let mut first = reserve(&memory, 20 * MIB, 100 * MIB).expect("room");
    first.spend(&file, 16 * MIB);
    // The kernel counts those 16 MiB itself now.
    reserve(&memory, 16 * MIB, 84 * MIB).expect("only 4 MiB are promised");
    reserve(&memory, 17 * MIB, 84 * MIB).expect_err("4 MiB are promised");
}

#[test]
fn memory_is_shrunk_before_a_request_is_refused() {
    let memory = machine();
    let available = Cell::new(80 * MIB);
    let reservation =
        memory.reserve_of(7, 20 * MIB, || Some(available.get()), || available.set(100 * MIB));
    reservation.expect("the pool made room");
}

#[test]
fn live_buffers_of_one_user_are_bounded_and_dead_ones_forgotten() {
    let statistics = TempDir::new().expect("a folder");
    let memory = Memory::with(1024 * MIB, Some(statistics.path().to_owned()));
    let buffers: Vec<File> = (0..2).map(|_| tempfile::tempfile().expect("a file")).collect();
    for buffer in &buffers {
        let inode = buffer.metadata().expect("metadata").st_ino();
        fs::create_dir(statistics.path().join(inode.to_string())).expect("mkdir");
        let mut reservation = reserve(&memory, 256 * MIB, 2048 * MIB).expect("room");
        reservation.spend(buffer, 256 * MIB);
    }
    let error = reserve(&memory, 1, 2048 * MIB).expect_err("half of the memory is in use");
    assert_eq!(error.kind(), ErrorKind::NoMemory);
    assert_eq!(
        error.to_string(),
        "1 bytes: this user holds buffers of 536870912 bytes and was promised 0, 536870912 allowed; \
         free some"
    );
    memory.reserve_of(8, 1, || Some(2048 * MIB), || {}).expect("another user");
    let inode = buffers[0].metadata().expect("metadata").st_ino();
    fs::remove_dir(statistics.path().join(inode.to_string())).expect("rmdir");
    reserve(&memory, 256 * MIB, 2048 * MIB).expect("one buffer is gone");
}

#[test]
fn fields_of_meminfo_are_read_in_bytes() {
    let text =
        "MemTotal:        4028984 kB\nMemAvailable:    3811112 kB\nHugePages_Total:       0\n";
    assert_eq!(parse(text, "MemAvailable"), Some(3811112 * 1024));
    assert_eq!(parse(text, "Mem"), None);
    assert_eq!(parse(text, "HugePages_Total"), None);
    assert!(field("MemTotal") > field("MemAvailable"));
}
