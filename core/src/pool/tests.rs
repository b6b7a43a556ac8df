use super::*;
use crate::heap::Heap;
use std::sync::Arc;
use std::thread::{sleep, spawn};

const SIZE: u64 = 64 << 10;

fn heap() -> Allocator {
    Allocator::open(Heap::Memfd).expect("the embedded heap")
}

fn pool(list: &[(u64, usize)]) -> Result<Pool> {
    let classes: Vec<_> = list.iter().map(|&(size, count)| Class { size, count }).collect();
    Pool::new(&classes, &heap())
}

/// Does what [`Pool::keep`] would do at `now`, and returns how long it would then wait.
fn keep(pool: &Pool, now: Instant) -> Option<Duration> {
    loop {
        let step = pool.lock().next(now, IDLE);
        match step {
            Step::Fill(size) => pool.put(heap().allocate(size).expect("allocate")),
            Step::Free(buffers) => drop(buffers),
            Step::Wait(time) => return time,
        }
    }
}

fn ready(pool: &Pool) -> Vec<usize> {
    pool.stock().shelves.iter().map(|shelf| shelf.ready).collect()
}

#[test]
fn classes_are_read_with_their_suffixes() {
    assert_eq!("4096:1".parse(), Ok(Class { size: 4096, count: 1 }));
    assert_eq!("16K:2".parse(), Ok(Class { size: 16 << 10, count: 2 }));
    assert_eq!("32M:8".parse(), Ok(Class { size: 32 << 20, count: 8 }));
    assert_eq!("1G:3".parse(), Ok(Class { size: 1 << 30, count: 3 }));
    for text in [
        "",
        "32M",
        "32M:",
        ":8",
        "32MM:8",
        "M:8",
        "32m:8",
        "-1:8",
        "1:-8",
        "1:2:3",
        "99999999999G:1",
    ] {
        assert!(text.parse::<Class>().is_err(), "{text}");
    }
}

#[test]
fn impossible_pools_are_refused() {
    let limit = heap().max_bytes();
    for list in [
        &[(0, 1)][..],
        &[(SIZE, 0)],
        &[(SIZE, 1), (SIZE - 1, 1)],
        &[(limit, 1), (SIZE, 1)],
        &[(SIZE, usize::MAX)],
        &[(u64::MAX, 1)],
        &[(SIZE, MAX_BUFFERS), (4096, 1)],
    ] {
        let error = pool(list).map(drop).expect_err("impossible");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{list:?}: {error}");
    }
    pool(&[(limit - SIZE, 1), (SIZE, 1)]).expect("all of what is allowed");
}

#[test]
fn size_is_filled_once_it_has_been_asked_for() {
    let pool = pool(&[(SIZE, 2), (2 * SIZE, 1)]).expect("a pool");
    assert_eq!(keep(&pool, Instant::now()), None);
    assert_eq!(ready(&pool), [0, 0]);

    assert!(pool.take(SIZE).is_none(), "the first one is a miss");
    keep(&pool, Instant::now());
    assert_eq!(ready(&pool), [2, 0]);
    // Any size that is rounded up to the same number of pages.
    assert_eq!(pool.take(SIZE - 1).expect("a hit").size, SIZE);
    assert_eq!(ready(&pool), [1, 0]);
    keep(&pool, Instant::now());
    assert_eq!(ready(&pool), [2, 0]);
    assert!(pool.take(SIZE + 1).is_none() && pool.take(u64::MAX).is_none(), "other sizes");
    let [shelf, other] = pool.stock().shelves[..] else { panic!("two sizes") };
    assert_eq!((shelf.hits, shelf.misses), (1, 1));
    assert_eq!((other.hits, other.misses), (0, 0));
}

#[test]
fn idle_size_is_freed_and_filled_at_the_next_request() {
    let pool = pool(&[(SIZE, 2)]).expect("a pool");
    pool.take(SIZE);
    let now = Instant::now();
    let wait = keep(&pool, now).expect("until it is idle");
    assert!(wait <= IDLE, "{wait:?}");
    keep(&pool, now + IDLE / 2);
    assert_eq!(ready(&pool), [2], "not idle for long enough");
    assert_eq!(keep(&pool, now + IDLE), None);
    assert_eq!(ready(&pool), [0]);
    pool.take(SIZE);
    keep(&pool, Instant::now());
    assert_eq!(ready(&pool), [2]);
}

#[test]
fn pool_is_empty_while_memory_is_short_and_filled_by_a_request_after_that() {
    let pool = pool(&[(SIZE, 2)]).expect("a pool");
    pool.take(SIZE);
    keep(&pool, Instant::now());
    pool.trim();
    assert_eq!((ready(&pool), pool.stock().trims), (vec![0], 1));
    pool.take(SIZE);
    let now = Instant::now();
    keep(&pool, now);
    assert_eq!(ready(&pool), [0], "memory has just been short");

    keep(&pool, now + IDLE);
    assert_eq!(ready(&pool), [0], "nobody has asked since");
    pool.lock().short = Some(now - IDLE);
    pool.take(SIZE);
    keep(&pool, Instant::now());
    assert_eq!(ready(&pool), [2]);
}

#[test]
fn buffer_that_is_ready_too_late_is_freed() {
    let pool = pool(&[(SIZE, 2)]).expect("a pool");
    pool.take(SIZE);
    let buffer = heap().allocate(SIZE).expect("allocate");
    pool.trim();
    pool.put(buffer);
    assert_eq!(ready(&pool), [0]);
}

/// A pool of two buffers that a thread maintains, and its hold while it has buffers.
fn kept(idle: Duration) -> (Arc<Pool>, Arc<()>) {
    let (pool, held) = (Arc::new(pool(&[(SIZE, 2)]).expect("a pool")), Arc::new(()));
    let (keeper, hold) = (Arc::clone(&pool), Arc::clone(&held));
    spawn(move || keeper.keep(&heap(), idle, || false, || Arc::clone(&hold)));
    (pool, held)
}

/// Waits until the pool has `count` buffers and is held or not.
fn expect(pool: &Pool, count: usize, held: &Arc<()>, is_held: bool) {
    // One is the test's and one the thread's, to make more of.
    let start = Instant::now();
    while ready(pool) != [count] || (Arc::strong_count(held) > 2) != is_held {
        let time = start.elapsed();
        assert!(time < Duration::from_secs(10), "{:?}, {}", ready(pool), Arc::strong_count(held));
        sleep(Duration::from_millis(1));
    }
}

#[test]
fn hold_lasts_from_the_first_buffer_until_the_pool_is_idle() {
    let (pool, held) = kept(Duration::from_secs(2));
    sleep(Duration::from_millis(20));
    assert_eq!(Arc::strong_count(&held), 2, "nobody has asked for anything");
    // Repeat the request: on a busy machine the thread is late, and its buffers soon become idle.
    let start = Instant::now();
    while ready(&pool) != [2] || Arc::strong_count(&held) != 3 {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", ready(&pool));
        pool.take(SIZE);
        sleep(Duration::from_millis(50));
    }
    expect(&pool, 0, &held, false);
}

#[test]
fn hold_ends_when_memory_is_short() {
    let (pool, held) = kept(IDLE);
    pool.take(SIZE);
    expect(&pool, 2, &held, true);
    pool.trim();
    expect(&pool, 0, &held, false);
}
