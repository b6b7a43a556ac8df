//! Decides whether a request may come in: a pure function of the requests that are in already.

use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};

/// Requests at a time that a binder thread waits for. The service has more threads than that, so
/// that short calls always find a free one.
pub const MAX_WAITING: usize = 24;

/// Requests of one user, with abandoned ones.
const MAX_OF_USER: usize = 16;

/// Stalling requests that a binder thread waits for.
const MAX_STALLING_WAITING: usize = 4;

/// Stalling requests, with abandoned ones.
const MAX_STALLING: usize = 16;

/// The same, of one user.
const MAX_STALLING_OF_USER: usize = 2;

/// Abandoned ordinary requests of one user. Stalling requests do not count: another user often
/// serves their files.
const MAX_ABANDONED_OF_USER: usize = 2;

/// The same, of all users: four times the requests of one user.
const MAX_ABANDONED: usize = 4 * MAX_OF_USER;

/// Batches of one user, until their results are dropped.
const MAX_BATCHES_OF_USER: usize = 8;

/// The same, of all users. Each has a thread while it runs, and up to 64 descriptors.
const MAX_BATCHES: usize = 32;

/// Streams of one user.
const MAX_STREAMS_OF_USER: usize = 4;

/// The same, of all users. Each has a thread, and up to 35 descriptors.
const MAX_STREAMS: usize = 16;

/// The class of a request by its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The file lies on a block device or in memory, or there is no file.
    Ordinary,
    /// The file may stall.
    Stalling,
}

/// Work that no binder thread waits for. It has a place until its client drops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// Ends by itself.
    Batch,
    /// Ends when its client says so.
    Stream,
}

/// The requests of one user, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that a binder thread waits for.
    pub waiting: usize,
    /// Requests without progress, which no binder thread waits for any more.
    pub abandoned: usize,
    /// Those of class [`Class::Stalling`] among the waiting.
    pub stalling_waiting: usize,
    /// Those of class [`Class::Stalling`] among the abandoned.
    pub stalling_abandoned: usize,
    /// Work of kind [`Lasting::Batch`].
    pub batches: usize,
    /// Work of kind [`Lasting::Stream`].
    pub streams: usize,
    /// Batches and streams with a file of class [`Class::Stalling`].
    pub stalling_lasting: usize,
}

impl Counts {
    fn ordinary_abandoned(&self) -> usize {
        self.abandoned - self.stalling_abandoned
    }

    fn stalling(&self) -> usize {
        self.stalling_waiting + self.stalling_abandoned + self.stalling_lasting
    }

    fn lasting(&mut self, kind: Lasting) -> &mut usize {
        match kind {
            Lasting::Batch => &mut self.batches,
            Lasting::Stream => &mut self.streams,
        }
    }

    fn is_empty(&self) -> bool {
        self.waiting + self.abandoned + self.batches + self.streams == 0
    }
}

/// The limit that keeps a request out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    what: &'static str,
    used: usize,
    limit: usize,
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { what, used, limit } = self;
        write!(f, "{used} requests {what}, {limit} allowed; retry when one is done")
    }
}

/// The requests that are in.
#[derive(Debug, Default)]
pub struct Places {
    all: Counts,
    users: HashMap<u32, Counts>,
}

impl Places {
    /// The requests of all users.
    pub fn all(&self) -> Counts {
        self.all
    }

    /// Lets a request in, or returns the limit that stops it.
    pub fn enter(&mut self, uid: u32, class: Class) -> Result<(), Refusal> {
        let all = self.all;
        let user = self.users.get(&uid).copied().unwrap_or_default();
        let mut limits = vec![
            ("of this user run", user.waiting + user.ordinary_abandoned(), MAX_OF_USER),
            ("run", all.waiting, MAX_WAITING),
            ("of this user made no progress", user.ordinary_abandoned(), MAX_ABANDONED_OF_USER),
            ("made no progress", all.ordinary_abandoned(), MAX_ABANDONED),
        ];
        if class == Class::Stalling {
            limits.extend(stalling_limits(user, all));
            limits.push((
                "wait for file systems that may stall",
                all.stalling_waiting,
                MAX_STALLING_WAITING,
            ));
        }
        check(&limits)?;
        self.change(uid, |counts| {
            counts.waiting += 1;
            counts.stalling_waiting += usize::from(class == Class::Stalling);
        });
        Ok(())
    }

    /// Lets a batch or a stream in, or says which limit stops it.
    pub fn enter_lasting(&mut self, uid: u32, kind: Lasting, class: Class) -> Result<(), Refusal> {
        let all = self.all;
        let user = self.users.get(&uid).copied().unwrap_or_default();
        let [of_user, of_all] = match kind {
            Lasting::Batch => [
                ("of this user are batches", user.batches, MAX_BATCHES_OF_USER),
                ("are batches", all.batches, MAX_BATCHES),
            ],
            Lasting::Stream => [
                ("of this user are streams", user.streams, MAX_STREAMS_OF_USER),
                ("are streams", all.streams, MAX_STREAMS),
            ],
        };
        let mut limits = vec![
            of_user,
            of_all,
            ("of this user made no progress", user.ordinary_abandoned(), MAX_ABANDONED_OF_USER),
            ("made no progress", all.ordinary_abandoned(), MAX_ABANDONED),
        ];
        if class == Class::Stalling {
            limits.extend(stalling_limits(user, all));
        }
        check(&limits)?;
        self.change(uid, |counts| {
            *counts.lasting(kind) += 1;
            counts.stalling_lasting += usize::from(class == Class::Stalling);
        });
        Ok(())
    }

    /// A batch or a stream has ended, and nobody holds its result.
    pub fn leave_lasting(&mut self, uid: u32, kind: Lasting, class: Class) {
        self.change(uid, |counts| {
            *counts.lasting(kind) -= 1;
            counts.stalling_lasting -= usize::from(class == Class::Stalling);
        });
    }

    /// Makes a waiting request an ordinary one.
    pub fn settle(&mut self, uid: u32) {
        self.change(uid, |counts| counts.stalling_waiting -= 1);
    }

    /// Makes a waiting request an abandoned one.
    pub fn abandon(&mut self, uid: u32, class: Class) {
        self.change(uid, |counts| {
            counts.waiting -= 1;
            counts.abandoned += 1;
            if class == Class::Stalling {
                counts.stalling_waiting -= 1;
                counts.stalling_abandoned += 1;
            }
        });
    }

    /// Removes a request that has ended.
    pub fn leave(&mut self, uid: u32, class: Class, abandoned: bool) {
        let stalling = usize::from(class == Class::Stalling);
        self.change(uid, |counts| {
            if abandoned {
                counts.abandoned -= 1;
                counts.stalling_abandoned -= stalling;
            } else {
                counts.waiting -= 1;
                counts.stalling_waiting -= stalling;
            }
        });
    }

    fn change(&mut self, uid: u32, change: impl Fn(&mut Counts)) {
        change(&mut self.all);
        let user = self.users.entry(uid).or_default();
        change(user);
        if user.is_empty() {
            self.users.remove(&uid);
        }
    }
}

/// What is limited, how much of it there is, and the limit.
type Limit = (&'static str, usize, usize);

fn stalling_limits(user: Counts, all: Counts) -> [Limit; 2] {
    [
        ("of this user are on file systems that may stall", user.stalling(), MAX_STALLING_OF_USER),
        ("are on file systems that may stall", all.stalling(), MAX_STALLING),
    ]
}

fn check(limits: &[Limit]) -> Result<(), Refusal> {
    // The narrowest limit comes last, and is the one to name.
    let reached = limits.iter().rev().find(|(_, used, limit)| used >= limit);
    reached.map_or(Ok(()), |&(what, used, limit)| Err(Refusal { what, used, limit }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills the places: the number of requests that came in, and the refusal of the next.
    fn fill(places: &mut Places, uid: u32, class: Class) -> (usize, Refusal) {
        let mut entered = 0;
        loop {
            match places.enter(uid, class) {
                Ok(()) => entered += 1,
                Err(refusal) => return (entered, refusal),
            }
        }
    }

    #[test]
    fn one_user_leaves_places_to_others_and_all_users_leave_threads_to_control_calls() {
        let mut places = Places::default();
        let (entered, refusal) = fill(&mut places, 1, Class::Ordinary);
        assert_eq!(entered, MAX_OF_USER);
        assert_eq!(
            refusal.to_string(),
            "16 requests of this user run, 16 allowed; retry when one is done"
        );
        let (entered, refusal) = fill(&mut places, 2, Class::Ordinary);
        assert_eq!(entered, MAX_WAITING - MAX_OF_USER);
        assert_eq!(refusal.to_string(), "24 requests run, 24 allowed; retry when one is done");
    }

    #[test]
    fn stalling_requests_have_narrower_limits() {
        let mut places = Places::default();
        let (entered, refusal) = fill(&mut places, 1, Class::Stalling);
        assert_eq!(entered, 2);
        assert!(refusal.to_string().starts_with("2 requests of this user are on file systems"));
        assert_eq!(fill(&mut places, 2, Class::Stalling).0, 2);
        let (entered, refusal) = fill(&mut places, 3, Class::Stalling);
        assert_eq!(entered, 0);
        assert!(refusal.to_string().starts_with("4 requests wait for file systems"));
        places.enter(1, Class::Ordinary).expect("an ordinary request of the same user");
    }

    #[test]
    fn abandoned_requests_free_the_waiting_thread_and_bound_their_user() {
        let mut places = Places::default();
        for _ in 0..2 {
            places.enter(1, Class::Ordinary).expect("room");
            places.abandon(1, Class::Ordinary);
        }
        assert_eq!(places.all().waiting, 0);
        let refusal = places.enter(1, Class::Ordinary).expect_err("two are stuck");
        assert!(refusal.to_string().starts_with("2 requests of this user made no progress"));
        places.enter(2, Class::Ordinary).expect("another user");
        places.leave(1, Class::Ordinary, true);
        places.enter(1, Class::Ordinary).expect("one is done");
    }

    #[test]
    fn abandoned_stalling_requests_of_many_users_stop_such_requests_only() {
        let mut places = Places::default();
        for uid in 0..8 {
            for _ in 0..2 {
                places.enter(uid, Class::Stalling).expect("room");
                places.abandon(uid, Class::Stalling);
            }
        }
        let refusal = places.enter(99, Class::Stalling).expect_err("16 are stuck");
        assert!(refusal.to_string().starts_with("16 requests are on file systems"));
        places.enter(99, Class::Ordinary).expect("an ordinary request");
        places.enter(0, Class::Ordinary).expect("an ordinary request of a user with stuck ones");
    }

    #[test]
    fn requests_that_hang_together_count_for_their_user_until_they_end() {
        let mut places = Places::default();
        assert_eq!(fill(&mut places, 1, Class::Ordinary).0, MAX_OF_USER);
        for _ in 0..MAX_OF_USER {
            places.abandon(1, Class::Ordinary);
        }
        places.enter(1, Class::Ordinary).expect_err("all of them hang");
        assert_eq!(places.all().waiting, 0);
        assert_eq!(fill(&mut places, 2, Class::Ordinary).0, MAX_OF_USER);
    }

    #[test]
    fn settled_request_counts_as_ordinary() {
        let mut places = Places::default();
        for _ in 0..5 {
            places.enter(1, Class::Stalling).expect("room");
            places.settle(1);
        }
        assert_eq!(places.all(), Counts { waiting: 5, ..Counts::default() });
    }

    #[test]
    fn batches_of_one_user_and_of_all_are_limited_and_take_no_waiting_place() {
        let mut places = Places::default();
        for uid in 0..4 {
            for _ in 0..MAX_BATCHES_OF_USER {
                places.enter_lasting(uid, Lasting::Batch, Class::Ordinary).expect("room");
            }
        }
        let refusal =
            places.enter_lasting(0, Lasting::Batch, Class::Ordinary).expect_err("32 of all");
        assert_eq!(
            refusal.to_string(),
            "32 requests are batches, 32 allowed; retry when one is done"
        );
        places.leave_lasting(1, Lasting::Batch, Class::Ordinary);
        let refusal =
            places.enter_lasting(0, Lasting::Batch, Class::Ordinary).expect_err("8 of this user");
        assert!(refusal.to_string().starts_with("8 requests of this user are batches, 8 allowed"));
        places.enter_lasting(9, Lasting::Batch, Class::Ordinary).expect("another user");
        assert_eq!(fill(&mut places, 0, Class::Ordinary).0, MAX_OF_USER);
    }

    #[test]
    fn batches_on_file_systems_that_may_stall_share_the_limits_of_such_requests() {
        let mut places = Places::default();
        places.enter_lasting(1, Lasting::Batch, Class::Stalling).expect("room");
        places.enter(1, Class::Stalling).expect("room");
        places.enter_lasting(1, Lasting::Batch, Class::Stalling).expect_err("two already");
        places.enter(1, Class::Stalling).expect_err("two already");
        places.leave_lasting(1, Lasting::Batch, Class::Stalling);
        places.enter_lasting(1, Lasting::Batch, Class::Stalling).expect("room again");
    }

    #[test]
    fn streams_have_limits_of_their_own_beside_batches() {
        let mut places = Places::default();
        for uid in 0..4 {
            for _ in 0..MAX_STREAMS_OF_USER {
                places.enter_lasting(uid, Lasting::Stream, Class::Ordinary).expect("room");
            }
        }
        let mut enter = |uid, kind| places.enter_lasting(uid, kind, Class::Ordinary);
        let refusal = enter(9, Lasting::Stream).expect_err("16 of all");
        assert_eq!(
            refusal.to_string(),
            "16 requests are streams, 16 allowed; retry when one is done"
        );
        enter(0, Lasting::Batch).expect("a batch");
        places.leave_lasting(1, Lasting::Stream, Class::Ordinary);
        let refusal = places.enter_lasting(0, Lasting::Stream, Class::Ordinary);
        let refusal = refusal.expect_err("4 of this user").to_string();
        assert!(refusal.starts_with("4 requests of this user are streams, 4 allowed"), "{refusal}");
        places.enter_lasting(9, Lasting::Stream, Class::Ordinary).expect("another user");
    }

    #[test]
    fn nothing_is_remembered_of_users_that_left() {
        let mut places = Places::default();
        for class in [Class::Ordinary, Class::Stalling] {
            places.enter(7, class).expect("room");
            places.leave(7, class, false);
            places.enter(7, class).expect("room");
            places.abandon(7, class);
            places.leave(7, class, true);
            places.enter_lasting(7, Lasting::Batch, class).expect("room");
            places.leave_lasting(7, Lasting::Batch, class);
            places.enter_lasting(7, Lasting::Stream, class).expect("room");
            places.leave_lasting(7, Lasting::Stream, class);
        }
        assert!(places.users.is_empty());
        assert_eq!(places.all(), Counts::default());
    }
}
