//! Clients before a disk that is only computed, in virtual time.

use super::super::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// A client that makes one request after another.
#[derive(Clone)]
pub struct Client {
    pub uid: u32,
    pub class: Priority,
    /// Bytes of each request, drawn from this range.
    pub size: (u64, u64),
    /// Time between two requests, drawn from this range.
    pub pause: (Duration, Duration),
    pub requests: u64,
}

impl Client {
    /// One that always has a request.
    pub fn greedy(uid: u32, class: Priority, size: u64) -> Self {
        let (size, pause) = ((size, size), (Duration::ZERO, Duration::ZERO));
        Self { uid, class, size, pause, requests: u64::MAX }
    }
}

/// What a client has seen so far.
#[derive(Clone, Default)]
pub struct Seen {
    pub bytes: u64,
    pub requests: u64,
    /// The longest time of a request.
    pub slowest: Duration,
    /// The longest wait for the first turn of a request.
    pub longest_wait: Duration,
    /// When its last turn ended, and the longest time between two ends.
    pub last_end: Duration,
    pub longest_gap: Duration,
}

pub struct Job {
    client: usize,
    left: u64,
    pace: Pace,
    arrival: Duration,
    started: bool,
}

/// A turn that the disk works on.
pub struct Running {
    ticket: Ticket,
    pub bytes: u64,
    left: f64,
}

/// Clients before a disk that serves all turns alike, `rate` bytes a second.
pub struct World {
    pub schedule: Schedule,
    rate: u64,
    pub now: Duration,
    pub clients: Vec<Client>,
    pub seen: Vec<Seen>,
    pub jobs: BTreeMap<Ticket, Job>,
    wanted: BTreeMap<Ticket, u64>,
    running: Vec<Running>,
    pub arrivals: BinaryHeap<Reverse<(Duration, usize)>>,
    tickets: u64,
    pub random: u64,
}

impl World {
    pub fn new(rate: u64, clients: Vec<Client>) -> Self {
        let arrivals = (0..clients.len()).map(|i| Reverse((Duration::ZERO, i))).collect();
        Self {
            schedule: Schedule::default(),
            rate,
            now: Duration::ZERO,
            seen: vec![Seen::default(); clients.len()],
            clients,
            jobs: BTreeMap::new(),
            wanted: BTreeMap::new(),
            running: Vec::new(),
            arrivals,
            tickets: 0,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    fn random(&mut self, from: u64, to: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        from + self.random % (to - from + 1)
    }

    /// Goes on until `end`, or until nobody wants anything any more.
    pub fn run(&mut self, end: Duration) {
        while self.now < end {
            let each = self.rate as f64 / self.running.len().max(1) as f64;
            let done = self.running.iter().map(|turn| turn.left / each).reduce(f64::min);
            let done = done.map(|time| self.now + Duration::from_secs_f64(time));
            let arrival = self.arrivals.peek().map(|Reverse((time, _))| *time);
            let event = self.schedule.next_event(self.now);
            let waiting = self.schedule.counts().0 > 0;
            let Some(next) = done.into_iter().chain(arrival).chain(event.filter(|_| waiting)).min()
            else {
                return;
            };
            let moved = each * next.saturating_sub(self.now).as_secs_f64();
            self.running.iter_mut().for_each(|turn| turn.left -= moved);
            self.now = next;
            while self.arrivals.peek().is_some_and(|Reverse((time, _))| *time <= next) {
                if let Some(Reverse((_, client))) = self.arrivals.pop() {
                    self.arrive(client);
                }
            }
            let (ended, running) =
                mem::take(&mut self.running).into_iter().partition(|turn| turn.left < 8.0);
            self.running = running;
            ended.into_iter().for_each(|turn: Running| self.end(&turn));
            self.advance();
        }
    }

    fn arrive(&mut self, client: usize) {
        let (from, to) = self.clients[client].size;
        let left = self.random(from, to);
        let pace = self.schedule.pace();
        let job = Job { client, left, pace, arrival: self.now, started: false };
        self.wait(job);
    }

    fn wait(&mut self, job: Job) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let Client { uid, class, .. } = self.clients[job.client];
        let bytes = job.pace.turn(class, job.left);
        self.schedule.wait(ticket, uid, class, bytes, self.now);
        self.wanted.insert(ticket, bytes);
        self.jobs.insert(ticket, job);
    }

    fn end(&mut self, turn: &Running) {
        let mut job = self.jobs.remove(&turn.ticket).expect("its request");
        self.schedule.end(turn.ticket, turn.bytes, &mut job.pace, self.now);
        job.left -= turn.bytes;
        let (now, i) = (self.now, job.client);
        let seen = &mut self.seen[i];
        seen.bytes += turn.bytes;
        seen.longest_gap = seen.longest_gap.max(now - seen.last_end);
        seen.last_end = now;
        if job.left > 0 {
            return self.wait(job);
        }
        seen.requests += 1;
        seen.slowest = seen.slowest.max(now - job.arrival);
        if seen.requests < self.clients[i].requests {
            let (from, to) = self.clients[i].pause;
            let pause = self.random(from.as_nanos() as u64, to.as_nanos() as u64);
            self.arrivals.push(Reverse((now + Duration::from_nanos(pause), i)));
        }
    }

    fn advance(&mut self) {
        for ticket in self.schedule.advance(self.now) {
            let bytes = self.wanted.remove(&ticket).expect("it waited");
            self.running.push(Running { ticket, bytes, left: bytes as f64 });
            let job = self.jobs.get_mut(&ticket).expect("its request");
            let seen = &mut self.seen[job.client];
            if !mem::replace(&mut job.started, true) {
                seen.longest_wait = seen.longest_wait.max(self.now - job.arrival);
            }
        }
    }

    pub fn bytes_of(&self, uid: u32) -> u64 {
        let own = self.clients.iter().zip(&self.seen).filter(|(client, _)| client.uid == uid);
        own.map(|(_, seen)| seen.bytes).sum()
    }
}
