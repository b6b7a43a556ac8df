//! Which request moves a piece next: a pure function of what has happened, with the time as an
//! argument.
//!
//! *Start-time fair queueing* in two levels. Each class, and in it each user, has a *virtual time*,
//! which grows with the bytes that it is given. The one that is behind goes next. A user that comes
//! or comes back starts where the others are, so nobody saves up for later, and nobody gains by
//! leaving.

use dmabufio_core::priority::Priority;
use dmabufio_core::transfer::turns::TURN_UNIT;
use std::collections::{HashMap, VecDeque};
use std::mem;
use std::time::Duration;

/// The shortest turn that a request is cut into, in bytes: what a disk of 25 MB/s moves in 40 ms.
const SHORTEST: u64 = TURN_UNIT;

/// The longest turn, in bytes: 10 ms at 3 GB/s.
const LONGEST: u64 = 32 << 20;

/// The longest turn of class BACKGROUND: somebody who waits comes between two of them.
const LONGEST_BACKGROUND: u64 = 8 << 20;

/// The first turn of a request, whose disk is not known yet: 160 ms at 100 MB/s.
const FIRST: u64 = 16 << 20;

/// A turn should take between these times: a shorter one loses too much in starting, and a longer
/// one keeps others waiting.
const SHORT_TIME: Duration = Duration::from_millis(16);
const LONG_TIME: Duration = Duration::from_millis(64);

/// Turns of at most so many bytes do not fill the disk by themselves.
const SMALL: u64 = 512 << 10;

/// The room for turns at a time: two that fill the disk, so that it does not stand still between
/// them, or sixteen small ones.
const ROOM: u32 = 2 * LARGE_TURN;
const LARGE_TURN: u32 = 8;
const SMALL_TURN: u32 = 1;

/// A turn that takes longer than this takes no room any more. Its file may hang, or the disk may be
/// slow; others go on in either case.
const OVERDUE: Duration = Duration::from_millis(200);

/// The share of class INTERACTIVE for each share of class NORMAL, if both want all of the disk.
const INTERACTIVE_SHARE: u64 = 4;

/// While the other classes use the disk, class BACKGROUND gets a turn after so much time, or after
/// so many times as long as its last turn took, whichever is longer.
const BACKGROUND_PERIOD: Duration = Duration::from_millis(100);
const BACKGROUND_TURNS: u32 = 4;

/// Names a turn that a request waits for or has. A later one has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// How long the turns of a request are: adapted to the disk that it works on.
#[derive(Debug, Clone, Copy)]
pub struct Pace(u64);

impl Default for Pace {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Pace {
    /// The next turn of a request of `class` that has `wanted` bytes to move.
    pub fn turn(self, class: Priority, wanted: u64) -> u64 {
        let longest = match class {
            Priority::Background => LONGEST_BACKGROUND,
            Priority::Interactive | Priority::Normal => LONGEST,
        };
        wanted.min(self.0.min(longest))
    }

    /// Takes notice of a turn in which `moved` bytes took `time`.
    fn notice(&mut self, moved: u64, time: Duration) {
        // A shorter one says nothing about longer ones, unless it took too long itself.
        if time > LONG_TIME && moved >= SHORTEST {
            self.0 = (self.0 / 2).max(SHORTEST);
        } else if time < SHORT_TIME && moved >= self.0 {
            self.0 = (self.0 * 2).min(LONGEST);
        }
    }
}

/// The requests that wait for turns, and the turns that are taken.
#[derive(Debug, Default)]
pub struct Schedule {
    /// In the order of [`CLASSES`].
    classes: [Class; CLASSES.len()],
    /// The virtual time of the class that was last given a turn.
    floor: u64,
    turns: HashMap<Ticket, Turn>,
    /// What the turns take of [`ROOM`], without those that are overdue.
    taken: u32,
    /// When class BACKGROUND last had a turn, or began to wait for one.
    background_since: Duration,
    /// How long its last turn took.
    background_turn: Duration,
    /// That of the request whose turn ended last.
    pace: Pace,
}

/// From the most to the least urgent.
const CLASSES: [Priority; 3] = [Priority::Interactive, Priority::Normal, Priority::Background];
const BACKGROUND: usize = 2;

/// The users of one class.
#[derive(Debug, Default)]
struct Class {
    virtual_time: u64,
    /// The virtual time of the user who was last given a turn.
    floor: u64,
    /// Those who wait, or who were given more than the others so far.
    users: HashMap<u32, User>,
    /// Requests that wait.
    waiting: usize,
    /// Turns that are not overdue.
    running: usize,
}

#[derive(Debug, Default)]
struct User {
    virtual_time: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    bytes: u64,
}

#[derive(Debug)]
struct Turn {
    class: usize,
    /// What it takes of [`ROOM`]; 0 once it is overdue.
    room: u32,
    start: Duration,
}

impl Schedule {
    /// Puts a request for a turn of `bytes` into the queue.
    pub fn wait(&mut self, ticket: Ticket, uid: u32, class: Priority, bytes: u64, now: Duration) {
        let i = index(class);
        if i == BACKGROUND && !self.classes[i].is_active() {
            self.background_since = now;
        }
        if self.classes[i].waiting == 0 {
            self.classes[i].virtual_time = self.classes[i].virtual_time.max(self.floor);
        }
        let class = &mut self.classes[i];
        let user = class.users.entry(uid).or_default();
        if user.waiting.is_empty() {
            user.virtual_time = user.virtual_time.max(class.floor);
        }
        user.waiting.push_back(Waiting { ticket, bytes });
        class.waiting += 1;
    }

    /// Takes a request out of the queue.
    pub fn leave(&mut self, ticket: Ticket) {
        for class in &mut self.classes {
            for user in class.users.values_mut() {
                let before = user.waiting.len();
                user.waiting.retain(|waiting| waiting.ticket != ticket);
                class.waiting -= before - user.waiting.len();
            }
            class.forget();
        }
    }

    /// The pace of a new request: as the last one, which was most likely on the same disk, but no
    /// faster than [`FIRST`].
    pub fn pace(&self) -> Pace {
        Pace(self.pace.0.min(FIRST))
    }

    /// Ends the turn of a request, if it has one, in which `moved` bytes have moved, and adapts its
    /// pace.
    pub fn end(&mut self, ticket: Ticket, moved: u64, pace: &mut Pace, now: Duration) {
        let Some(turn) = self.turns.remove(&ticket) else { return };
        self.free(&turn, now);
        pace.notice(moved, now.saturating_sub(turn.start));
        self.pace = *pace;
    }

    /// Gives turns to the requests that are next, as long as there is room, and returns them.
    pub fn advance(&mut self, now: Duration) -> Vec<Ticket> {
        let overdue = |turn: &&mut Turn| turn.room > 0 && turn.start + OVERDUE <= now;
        let late: Vec<Turn> = self
            .turns
            .values_mut()
            .filter(overdue)
            .map(|turn| mem::replace(turn, Turn { room: 0, ..*turn }))
            .collect();
        late.iter().for_each(|turn| self.free(turn, now));
        let mut given = Vec::new();
        while let Some(ticket) = self.give(now) {
            given.push(ticket);
        }
        given
    }

    /// When, after `now`, [`Schedule::advance`] may have something to do although nothing else
    /// happens.
    pub fn next_event(&self, now: Duration) -> Option<Duration> {
        let running = self.turns.values().filter(|turn| turn.room > 0);
        let overdue = running.map(|turn| turn.start + OVERDUE);
        overdue.chain([self.background_due()]).filter(|event| *event > now).min()
    }

    /// Requests that wait for a turn, and turns that are taken.
    pub fn counts(&self) -> (usize, usize) {
        (self.classes.iter().map(|class| class.waiting).sum(), self.turns.len())
    }

    /// Gives the room of a turn to others, unless they have it already.
    fn free(&mut self, turn: &Turn, now: Duration) {
        if turn.room > 0 {
            self.taken -= turn.room;
            self.classes[turn.class].running -= 1;
            self.classes[turn.class].forget();
            if turn.class == BACKGROUND {
                self.background_turn = now.saturating_sub(turn.start).min(OVERDUE);
            }
        }
    }

    /// When class BACKGROUND gets a turn although the other classes use the disk.
    fn background_due(&self) -> Duration {
        self.background_since + BACKGROUND_PERIOD.max(self.background_turn * BACKGROUND_TURNS)
    }

    /// Gives one turn, if somebody may have it.
    fn give(&mut self, now: Duration) -> Option<Ticket> {
        let i = self.next_class(now)?;
        let class = &mut self.classes[i];
        let uid = class.next_user()?;
        let user = class.users.get_mut(&uid)?;
        let room = room_of(user.waiting.front()?.bytes);
        if self.taken + room > ROOM {
            return None;
        }
        let Waiting { ticket, bytes } = user.waiting.pop_front()?;
        class.floor = user.virtual_time;
        user.virtual_time += bytes;
        class.waiting -= 1;
        class.running += 1;
        class.forget();
        if i == BACKGROUND {
            self.background_since = now;
        } else {
            self.floor = class.virtual_time;
            class.virtual_time += bytes / share(i);
        }
        self.taken += room;
        self.turns.insert(ticket, Turn { class: i, room, start: now });
        Some(ticket)
    }

    /// The class whose turn it is. BACKGROUND has no virtual time: it gets what the others leave,
    /// and then one turn at a time, each when it is due.
    fn next_class(&self, now: Duration) -> Option<usize> {
        let others = 0..BACKGROUND;
        let background = &self.classes[BACKGROUND];
        if background.waiting > 0 {
            let left_alone = others.clone().all(|i| !self.classes[i].is_active());
            if left_alone || (background.running == 0 && now >= self.background_due()) {
                return Some(BACKGROUND);
            }
        }
        let waiting = others.filter(|i| self.classes[*i].waiting > 0);
        waiting.min_by_key(|i| (self.classes[*i].virtual_time, *i))
    }
}

impl Class {
    /// The user whose turn it is: the one that is behind; of several the one that waits longest.
    fn next_user(&self) -> Option<u32> {
        let key = |(uid, user): (&u32, &User)| {
            Some((user.virtual_time, user.waiting.front()?.ticket, *uid))
        };
        self.users.iter().filter_map(key).min().map(|(_, _, uid)| uid)
    }

    /// Whether it waits for the disk or uses it.
    fn is_active(&self) -> bool {
        self.waiting + self.running > 0
    }

    /// Forgets users who do not wait and have no more than the others.
    fn forget(&mut self) {
        let (floor, active) = (self.floor, self.is_active());
        let ahead = |user: &User| active && user.virtual_time > floor;
        self.users.retain(|_, user| !user.waiting.is_empty() || ahead(user));
    }
}

fn index(class: Priority) -> usize {
    match class {
        Priority::Interactive => 0,
        Priority::Normal => 1,
        Priority::Background => BACKGROUND,
    }
}

fn share(class: usize) -> u64 {
    if class == 0 {
        INTERACTIVE_SHARE
    } else {
        1
    }
}

fn room_of(bytes: u64) -> u32 {
    if bytes > SMALL {
        LARGE_TURN
    } else {
        SMALL_TURN
    }
}

#[cfg(test)]
mod tests;
