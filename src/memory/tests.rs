use super::*;
use dmabufio_core::heap::Heap;
use std::cell::Cell;
use tempfile::{tempfile, TempDir};

const MIB: u64 = 1 << 20;

/// A machine of 1024 MiB, of which 64 MiB are kept free.
fn machine() -> Memory {
    Memory::with(1024 * MIB, None, Quota::default())
}

/// One buffer.
fn one(bytes: u64) -> Sum {
    Sum { buffers: 1, bytes }
}

fn reserve(memory: &Memory, bytes: u64, available: u64) -> Result<Reservation<'_>> {
    memory.reserve_of(7, one(bytes), || Some(available), || {})
}

/// Counts as a buffer here: a file with an inode.
fn buffer(size: u64) -> Allocation {
    let fd = tempfile().expect("a file").into();
    Allocation { fd, size, heap: Heap::System, memory: None }
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
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    assert_eq!(
        error.to_string(),
        "209715200 bytes: this user holds 0 buffers of 0 bytes and was promised 1 of 419430400, \
         4096 of 536870912 allowed; free some"
    );
    memory.reserve_of(8, one(400 * MIB), || Some(2048 * MIB), || {}).expect("another user");
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
    memory.reserve_of(7, one(MIB), available, || {}).expect("room");
}

#[test]
fn spent_memory_is_promised_no_more() {
    let memory = machine();
    let first = reserve(&memory, 20 * MIB, 100 * MIB).expect("room");
    first.spend(&buffer(16 * MIB));
    // The kernel counts those 16 MiB itself now.
    reserve(&memory, 16 * MIB, 84 * MIB).expect("only 4 MiB are promised");
    reserve(&memory, 17 * MIB, 84 * MIB).expect_err("4 MiB are promised");
}

#[test]
fn memory_is_shrunk_before_a_request_is_refused() {
    let memory = machine();
    let available = Cell::new(80 * MIB);
    let reservation =
        memory.reserve_of(7, one(20 * MIB), || Some(available.get()), || available.set(100 * MIB));
    reservation.expect("the pool made room");
}

#[test]
fn live_buffers_of_one_user_are_bounded_and_dead_ones_forgotten() {
    let statistics = TempDir::new().expect("a folder");
    let memory = Memory::with(1024 * MIB, Some(statistics.path().to_owned()), Quota::default());
    let entry = |buffer: &Allocation| {
        let inode = fstat(&buffer.fd).expect("fstat").st_ino;
        statistics.path().join(inode.to_string())
    };
    let buffers = [buffer(256 * MIB), buffer(256 * MIB)];
    for buffer in &buffers {
        fs::create_dir(entry(buffer)).expect("mkdir");
        let reservation = reserve(&memory, 256 * MIB, 2048 * MIB).expect("room");
        reservation.spend(buffer);
    }
    let error = reserve(&memory, 1, 2048 * MIB).expect_err("half of the memory is in use");
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    assert_eq!(
        error.to_string(),
        "1 bytes: this user holds 2 buffers of 536870912 bytes and was promised 0 of 0, 4096 of \
         536870912 allowed; free some"
    );
    memory.reserve_of(8, one(1), || Some(2048 * MIB), || {}).expect("another user");
    fs::remove_dir(entry(&buffers[0])).expect("rmdir");
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

#[test]
fn user_over_the_limit_does_not_cost_the_others_their_pool() {
    let memory = machine();
    let shrunk = Cell::new(false);
    let reservation =
        memory.reserve_of(7, one(600 * MIB), || Some(2048 * MIB), || shrunk.set(true));
    reservation.expect_err("more than half of the memory");
    assert!(!shrunk.get());
}

#[test]
fn users_have_the_bytes_and_buffers_of_their_quota() {
    let rules = ["all:bytes=10M,buffers=2", "8:bytes=20M,buffers=3"];
    let quota = Quota::new(rules.iter().map(|rule| rule.parse().expect("a rule")).collect());
    let memory = Memory::with(1024 * MIB, None, quota);
    let reserve = |uid, buffers, mib| {
        let wanted = Sum { buffers, bytes: mib * MIB };
        memory.reserve_of(uid, wanted, || Some(2048 * MIB), || {})
    };
    for (uid, buffers, mib) in [(7, 2, 10), (8, 3, 20)] {
        let most = reserve(uid, buffers, mib).expect("all of it");
        let error = reserve(uid, 0, 1).expect_err("a byte too much");
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
        let allowed = format!("{buffers} of {} allowed; free some", mib * MIB);
        assert!(error.to_string().ends_with(&allowed), "{error}");
        reserve(uid, 1, 0).expect_err("a buffer too much");
        drop(most);
        // A request that could never fit is refused as a whole.
        reserve(uid, buffers + 1, 1).expect_err("too many buffers at once");
        reserve(uid, buffers, mib).expect("free again");
    }
}

#[test]
fn charges_are_what_lives_and_what_is_promised() {
    let statistics = TempDir::new().expect("a folder");
    let folder = Some(statistics.path().to_owned());
    let memory = Memory::with(1024 * MIB, folder, Quota::default());
    let first = buffer(MIB);
    let inode = fstat(&first.fd).expect("fstat").st_ino.to_string();
    fs::create_dir(statistics.path().join(&inode)).expect("mkdir");
    let wanted = Sum { buffers: 3, bytes: 6 * MIB };
    let reservation = memory.reserve_of(7, wanted, || Some(100 * MIB), || {}).expect("room");
    reservation.spend(&first);
    let promised = Sum { buffers: 2, bytes: 5 * MIB };
    let expected = Charge { live: one(MIB), promised };
    assert_eq!(memory.charges(), BTreeMap::from([(7, expected)]));
    drop(reservation);
    fs::remove_dir(statistics.path().join(&inode)).expect("rmdir");
    assert_eq!(memory.charges(), BTreeMap::new());
}

#[test]
fn references_are_those_of_the_fdinfo_of_a_dma_buf() {
    let text = "pos:\t0\nflags:\t02000002\nmnt_id:\t12\nino:\t34\nsize:\t4096\ncount:\t2\n\
                exp_name:\tsystem\n";
    assert_eq!(count_of(text), Some(2));
    assert_eq!(count_of("pos:\t0\nflags:\t02\n"), None);
    assert_eq!(references(&tempfile().expect("a file").into()), None);
}
