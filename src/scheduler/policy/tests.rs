//! The policy on a disk that is only computed: in virtual time, with fixed seeds.

mod world;

use super::*;
use std::cmp::Reverse;
use world::{Client, Seen, World};

const MB: u64 = 1_000_000;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Checks that `part` is within `percent` of `expected`.
fn near(part: u64, expected: u64, percent: u64, what: &str) {
    let margin = expected * percent / 100;
    assert!(part.abs_diff(expected) <= margin, "{what}: {part}, expected {expected}");
}

#[test]
fn user_that_floods_leaves_others_their_share() {
    for rate in [100 * MB, 3000 * MB] {
        // One that has no request for a moment waits for a turn at the next one.
        for (size, margin) in [(64 * MIB, 30), (4 * GIB, 10)] {
            let mut clients = vec![Client::greedy(1, Priority::Normal, size); 16];
            clients.push(Client::greedy(2, Priority::Normal, size));
            let mut world = World::new(rate, clients);
            world.run(seconds(60));
            let all = world.bytes_of(1) + world.bytes_of(2);
            near(all, 60 * rate, 2, "the disk never stands still");
            near(world.bytes_of(2), all / 2, margin, "the other user");
        }
    }
}

#[test]
fn users_share_by_bytes_whatever_the_size_of_their_requests() {
    let mut clients = Vec::new();
    for uid in 0..30 {
        let size = (256 << 10) << (uid % 8);
        let count = 16 + uid as usize % 5;
        clients.extend(vec![Client::greedy(uid, Priority::Normal, size); count]);
    }
    let mut world = World::new(3000 * MB, clients);
    world.run(seconds(20));
    for uid in 0..30 {
        near(world.bytes_of(uid), 2000 * MB, 5, &format!("user {uid}"));
    }
}

#[test]
fn thousands_of_clients_arrive_at_random_and_all_are_served() {
    let classes = [Priority::Interactive, Priority::Normal, Priority::Background];
    let clients: Vec<Client> = (0..3000)
        .map(|i| Client {
            uid: i / 20,
            class: classes[i as usize % 3],
            size: (1, 48 * MIB),
            pause: (Duration::ZERO, seconds(60)),
            requests: 5,
        })
        .collect();
    let mut world = World::new(3000 * MB, clients);
    world.run(seconds(3600));
    assert!(world.schedule.counts() == (0, 0) && world.jobs.is_empty());
    assert!(world.seen.iter().all(|seen| seen.requests == 5));
    assert!(world.schedule.classes.iter().all(|class| class.users.is_empty()));
    assert_eq!(world.schedule.taken, 0);
}

#[test]
fn thousands_of_users_share_alike_and_nobody_waits_for_longer_than_two_rounds() {
    const USERS: u32 = 2000;
    for rate in [100 * MB, 3000 * MB] {
        for (seed, largest) in [(1, 256 << 10), (2, 4 * MIB), (3, 64 * MIB)] {
            let user = |uid| Client {
                size: (largest / 4, largest),
                ..Client::greedy(uid, Priority::Normal, 0)
            };
            let mut world = World::new(rate, (0..USERS).map(user).collect());
            world.random ^= seed;
            // In a round, everybody moves at least as much as anybody in one turn.
            let turn = largest.min(LONGEST);
            let round = Duration::from_secs_f64((u64::from(USERS) * turn) as f64 / rate as f64);
            world.run(round * 8);
            let shares: Vec<u64> = world.seen.iter().map(|seen| seen.bytes).collect();
            let (least, most) = (shares.iter().min().expect("users"), shares.iter().max());
            // What is promised: nobody is ahead of anybody by more than two turns.
            let apart = most.expect("users") - least;
            assert!(apart <= 2 * turn, "{rate}, {largest}: {apart} apart, least {least}");
            let longest = world.seen.iter().map(|seen| seen.longest_gap).max().expect("users");
            assert!(longest <= round * 2, "{rate}, {largest}: {longest:?}, a round is {round:?}");
        }
    }
}

#[test]
fn interactive_requests_of_hundreds_are_quick_beside_thousands_of_others() {
    let rate = 3000 * MB;
    let normal = |uid| Client::greedy(uid, Priority::Normal, GIB);
    let background = |uid| Client::greedy(uid, Priority::Background, GIB);
    // All of them together want a tenth of the disk.
    let interactive = |uid| Client {
        uid,
        class: Priority::Interactive,
        size: (4096, 2 * MIB),
        pause: (millis(100), seconds(1)),
        requests: u64::MAX,
    };
    let mut clients: Vec<Client> = (0..160).map(interactive).collect();
    clients.extend((1000..3000).map(normal));
    clients.extend((3000..4000).map(background));
    let mut world = World::new(rate, clients);
    world.run(seconds(20));
    let slowest = world.seen[..160].iter().map(|seen| seen.slowest).max().expect("clients");
    assert!(world.seen[..160].iter().all(|seen| seen.requests > 10));
    println!("the slowest of the interactive requests took {slowest:?}");
    assert!(slowest < millis(150), "{slowest:?}");
    let moved = |clients: &[Seen]| clients.iter().map(|seen| seen.bytes).sum::<u64>();
    let (others, behind) = (moved(&world.seen[160..2160]), moved(&world.seen[2160..]));
    assert!(others > 20 * rate * 3 / 4 && behind > 100 * LONGEST_BACKGROUND, "{others}, {behind}");
}

#[test]
fn classes_have_their_shares_and_background_goes_on() {
    let greedy = |uid, class| vec![Client::greedy(uid, class, GIB); 4];
    let clients = [
        greedy(1, Priority::Interactive),
        greedy(2, Priority::Normal),
        greedy(3, Priority::Background),
    ];
    let mut world = World::new(1000 * MB, clients.concat());
    world.run(seconds(60));
    let (interactive, normal) = (world.bytes_of(1), world.bytes_of(2));
    near(interactive, INTERACTIVE_SHARE * normal, 5, "interactive");
    // One turn in each period.
    let turns = 60_000 / BACKGROUND_PERIOD.as_millis() as u64;
    near(world.bytes_of(3), turns * LONGEST_BACKGROUND, 20, "background");
}

#[test]
fn background_is_never_starved_by_small_requests() {
    let mut clients = vec![Client::greedy(1, Priority::Interactive, 4096); 64];
    clients.push(Client::greedy(2, Priority::Background, GIB));
    let mut world = World::new(100 * MB, clients);
    world.run(seconds(20));
    let Seen { bytes, longest_gap, .. } = world.seen[64];
    // The first turn, of 8 MiB, has a seventeenth of the disk.
    assert!(longest_gap < millis(2500), "{longest_gap:?}");
    assert!(bytes > 20 * MIB, "{bytes}");
}

#[test]
fn interactive_load_during_a_background_one_takes_half_as_long_again_at_most() {
    let rates = [100 * MB, 200 * MB, 500 * MB, 1000 * MB, 3000 * MB];
    // A new request does not know its disk: many small ones are harder than a large one.
    let greedy = |size| Client::greedy(2, Priority::Background, size);
    let behind = [vec![greedy(4 * GIB)], vec![greedy(8 * MIB); 4]];
    for (rate, behind) in rates.iter().flat_map(|rate| behind.iter().map(|all| (*rate, all))) {
        let interactive = Client {
            uid: 1,
            class: Priority::Interactive,
            size: (64 * MIB, 64 * MIB),
            pause: (Duration::ZERO, millis(500)),
            requests: 50,
        };
        let mut idle = World::new(rate, vec![interactive.clone()]);
        idle.run(seconds(1000));
        let mut world = World::new(rate, [vec![interactive], behind.clone()].concat());
        world.run(seconds(120));
        let (alone, beside) = (idle.seen[0].slowest, world.seen[0].slowest);
        assert!(beside <= alone * 3 / 2, "{rate}: {beside:?}, alone {alone:?}");
        assert!(world.bytes_of(2) > 0 && world.seen[0].requests == 50);
    }
}

#[test]
fn small_interactive_request_waits_for_the_turns_in_flight_only() {
    let mut clients = vec![Client::greedy(1, Priority::Normal, GIB); 16];
    clients.extend(vec![Client::greedy(2, Priority::Interactive, GIB); 16]);
    let pause = (millis(1), millis(50));
    let size = (4096, 64 << 10);
    clients.push(Client { uid: 3, class: Priority::Interactive, size, pause, requests: 1000 });
    let mut world = World::new(3000 * MB, clients);
    world.run(seconds(100));
    let seen = &world.seen[32];
    assert_eq!(seen.requests, 1000);
    // Two turns of 32 MiB take 22 ms, and one may be one of class NORMAL that is just due.
    assert!(seen.longest_wait < millis(36), "{:?}", seen.longest_wait);
}

#[test]
fn user_that_was_away_has_saved_nothing_up() {
    let greedy = |uid| vec![Client::greedy(uid, Priority::Normal, GIB); 4];
    let mut world = World::new(1000 * MB, [greedy(1), greedy(2)].concat());
    world.arrivals.retain(|Reverse((_, client))| *client < 4);
    world.run(seconds(30));
    let (now, before) = (world.now, world.bytes_of(1));
    world.arrivals.extend((4..8).map(|client| Reverse((now, client))));
    world.run(seconds(40));
    near(world.bytes_of(1) - before, world.bytes_of(2), 10, "since the other one came");
}

#[test]
fn leaving_after_each_turn_gains_nothing() {
    let mut clients = vec![Client::greedy(1, Priority::Normal, GIB); 4];
    clients.extend(vec![Client::greedy(2, Priority::Normal, FIRST); 16]);
    let mut world = World::new(1000 * MB, clients);
    world.run(seconds(60));
    near(world.bytes_of(2), world.bytes_of(1), 10, "the one that comes and goes");
}

#[test]
fn turns_that_never_end_hold_up_nobody_for_long() {
    let mut world = World::new(1000 * MB, vec![Client::greedy(2, Priority::Normal, GIB)]);
    for i in 0..8 {
        let ticket = Ticket(1_000_000 + i);
        world.schedule.wait(ticket, 1, Priority::Interactive, LONGEST, Duration::ZERO);
    }
    let hung: Vec<Ticket> = (1_000_000..1_000_008).map(Ticket).collect();
    let mut given = Vec::new();
    let mut now = Duration::ZERO;
    while given.len() < hung.len() {
        given.extend(world.schedule.advance(now));
        now += OVERDUE / 10;
    }
    assert!(now <= OVERDUE * 4, "{now:?}");
    world.now = now;
    world.arrivals = [Reverse((now, 0))].into();
    world.run(now + seconds(10));
    near(world.bytes_of(2), 10_000 * MB, 5, "the other user");
}

#[test]
fn pieces_are_short_on_a_slow_disk_and_long_on_a_fast_one() {
    let after = |rate: u64, class| {
        let mut pace = Pace::default();
        for _ in 0..10 {
            let bytes = pace.turn(class, GIB);
            pace.notice(bytes, Duration::from_secs_f64(bytes as f64 / rate as f64));
        }
        pace.turn(class, GIB)
    };
    assert_eq!(after(3000 * MB, Priority::Normal), LONGEST);
    assert_eq!(after(3000 * MB, Priority::Background), LONGEST_BACKGROUND);
    assert_eq!(after(100 * MB, Priority::Normal), 4 * MIB);
    assert_eq!(after(25 * MB, Priority::Normal), SHORTEST);
    // What is left is not cut for the sake of it.
    assert_eq!(Pace::default().turn(Priority::Normal, 100), 100);
}

#[test]
fn request_that_leaves_the_queue_gets_no_turn() {
    let mut schedule = Schedule::default();
    let tickets: Vec<Ticket> = (0..4).map(Ticket).collect();
    for ticket in &tickets {
        schedule.wait(*ticket, 1, Priority::Normal, LONGEST, Duration::ZERO);
    }
    assert_eq!(schedule.advance(Duration::ZERO), tickets[..2]);
    schedule.leave(tickets[2]);
    let end = |schedule: &mut Schedule, i: usize| {
        schedule.end(tickets[i], 0, &mut Pace::default(), millis(3));
    };
    end(&mut schedule, 2);
    assert_eq!(schedule.advance(millis(3)), [], "it had no turn to end");
    end(&mut schedule, 0);
    assert_eq!(schedule.advance(millis(3)), tickets[3..]);
    end(&mut schedule, 1);
    end(&mut schedule, 3);
    assert!(schedule.counts() == (0, 0) && schedule.classes[1].users.is_empty());
}
