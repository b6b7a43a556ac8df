//! Decides whether a request may come in: a pure function of the requests that are in already.

use crate::quota::Quota;
use dmabufio_core::error::{Error, ErrorKind};
use std::borrow::Cow;
use std::collections::HashMap;

/// Requests at a time that a binder thread waits for. The service has more threads than that, so
/// that short calls always find a free one.
pub const MAX_WAITING: usize = 24;

/// Stalling requests that a binder thread waits for.
const MAX_STALLING_WAITING: usize = 4;

/// Stalling requests, with abandoned ones.
const MAX_STALLING: usize = 16;

/// The same, of one user.
const MAX_STALLING_OF_USER: usize = 2;

/// Abandoned ordinary requests of one user. Stalling requests do not count: another user often
/// serves their files.
const MAX_ABANDONED_OF_USER: usize = 2;

/// The same, of all users.
const MAX_ABANDONED: usize = 64;

/// Batches of all users, until their results are dropped. Each has a thread while it runs, and up
/// to 64 descriptors.
const MAX_BATCHES: usize = 32;

/// Streams of all users. Each has two threads, and up to 35 descriptors.
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

impl Lasting {
    /// Names it in the dump.
    pub fn name(self) -> &'static str {
        match self {
            Self::Batch => "submit",
            Self::Stream => "stream",
        }
    }
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

/// The requests that are in.
#[derive(Debug, Default)]
pub struct Places {
    quota: Quota,
    all: Counts,
    users: HashMap<u32, Counts>,
}

impl Places {
    /// No requests, and the limits of `quota` for each user.
    pub fn new(quota: Quota) -> Self {
        Self { quota, ..Self::default() }
    }

    /// The requests of all users.
    pub fn all(&self) -> Counts {
        self.all
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// `QuotaExceeded` if the user has as many as it may have, else `Busy`.
    pub fn enter(&mut self, uid: u32, class: Class) -> Result<(), Error> {
        let all = self.all;
        let user = self.users.get(&uid).copied().unwrap_or_default();
        let of_user = user.waiting + user.ordinary_abandoned();
        let mut limits = vec![
            Limit::quota("of this user run", of_user, self.quota.of(uid).requests),
            Limit::busy("run", all.waiting, MAX_WAITING),
        ];
        limits.extend(abandoned_limits(user, all));
        if class == Class::Stalling {
            limits.extend(stalling_limits(user, all));
            limits.push(Limit::busy(
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

    /// Lets a batch or a stream in. A user may have as many as there are places left: the more a
    /// user has, the earlier it has to stop, and a few users cannot take all places.
    ///
    /// # Errors
    /// As [`Places::enter`].
    pub fn enter_lasting(&mut self, uid: u32, kind: Lasting, class: Class) -> Result<(), Error> {
        let all = self.all;
        let user = self.users.get(&uid).copied().unwrap_or_default();
        let quota = self.quota.of(uid);
        let (noun, of_user, of_all, quota, max) = match kind {
            Lasting::Batch => ("batches", user.batches, all.batches, quota.batches, MAX_BATCHES),
            Lasting::Stream => ("streams", user.streams, all.streams, quota.streams, MAX_STREAMS),
        };
        let few = format!("of this user are {noun} while few places are left");
        let mut limits = vec![
            Limit::busy(few, of_user, max - of_all),
            Limit::quota(format!("of this user are {noun}"), of_user, quota),
            Limit::busy(format!("are {noun}"), of_all, max),
        ];
        limits.extend(abandoned_limits(user, all));
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

    /// Makes an ordinary batch or stream one whose file may stall.
    ///
    /// # Errors
    /// `Busy` if there are too many of these.
    pub fn stall_lasting(&mut self, uid: u32) -> Result<(), Error> {
        check(&stalling_limits(self.users.get(&uid).copied().unwrap_or_default(), self.all))?;
        self.change(uid, |counts| counts.stalling_lasting += 1);
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

/// A number of requests, and how many may be reached.
struct Limit {
    /// Of a refusal.
    kind: ErrorKind,
    what: Cow<'static, str>,
    used: usize,
    limit: usize,
}

impl Limit {
    fn busy(what: impl Into<Cow<'static, str>>, used: usize, limit: usize) -> Self {
        Self { kind: ErrorKind::Busy, what: what.into(), used, limit }
    }

    fn quota(what: impl Into<Cow<'static, str>>, used: usize, limit: usize) -> Self {
        Self { kind: ErrorKind::QuotaExceeded, what: what.into(), used, limit }
    }
}

fn abandoned_limits(user: Counts, all: Counts) -> [Limit; 2] {
    let (of_user, of_all) = (user.ordinary_abandoned(), all.ordinary_abandoned());
    [
        Limit::busy("of this user made no progress", of_user, MAX_ABANDONED_OF_USER),
        Limit::busy("made no progress", of_all, MAX_ABANDONED),
    ]
}

fn stalling_limits(user: Counts, all: Counts) -> [Limit; 2] {
    let (of_user, of_all) = (user.stalling(), all.stalling());
    let what = "of this user are on file systems that may stall";
    [
        Limit::busy(what, of_user, MAX_STALLING_OF_USER),
        Limit::busy("are on file systems that may stall", of_all, MAX_STALLING),
    ]
}

fn check(limits: &[Limit]) -> Result<(), Error> {
    // The narrowest limit comes last, and is the one to name.
    let reached = limits.iter().rev().find(|limit| limit.used >= limit.limit);
    reached.map_or(Ok(()), |Limit { kind, what, used, limit }| {
        let what = format!("{used} requests {what}, {limit} allowed; retry when one is done");
        Err(Error::new(*kind, what))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::Limits;

    const MAX_OF_USER: usize = 16;
    const MAX_BATCHES_OF_USER: usize = 8;
    const MAX_STREAMS_OF_USER: usize = 4;

    /// Fills the places: the number of requests that came in, and the refusal of the next.
    fn fill(places: &mut Places, uid: u32, class: Class) -> (usize, Error) {
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
        assert_eq!(refusal.kind(), ErrorKind::QuotaExceeded);
        let (entered, refusal) = fill(&mut places, 2, Class::Ordinary);
        assert_eq!(entered, MAX_WAITING - MAX_OF_USER);
        assert_eq!(refusal.to_string(), "24 requests run, 24 allowed; retry when one is done");
        assert_eq!(refusal.kind(), ErrorKind::Busy);
    }

    #[test]
    fn users_have_the_requests_and_batches_of_their_quota() {
        let rules = ["all:requests=2,batches=1", "5:requests=3,batches=2"];
        let quota = Quota::new(rules.iter().map(|rule| rule.parse().expect("a rule")).collect());
        let mut places = Places::new(quota);
        for (uid, requests, batches) in [(4, 2, 1), (5, 3, 2)] {
            let (entered, refusal) = fill(&mut places, uid, Class::Ordinary);
            assert_eq!((entered, refusal.kind()), (requests, ErrorKind::QuotaExceeded));
            for _ in 0..batches {
                places.enter_lasting(uid, Lasting::Batch, Class::Ordinary).expect("room");
            }
            let refusal =
                places.enter_lasting(uid, Lasting::Batch, Class::Ordinary).expect_err("the quota");
            assert_eq!(refusal.kind(), ErrorKind::QuotaExceeded);
            assert!(refusal.to_string().ends_with("retry when one is done"), "{refusal}");
        }
    }

    #[test]
    fn defaults_are_those_of_the_documents() {
        let Limits { bytes, buffers, requests, batches, streams } = Limits::default();
        assert_eq!((bytes, buffers), (None, 4096));
        assert_eq!((requests, batches), (MAX_OF_USER, MAX_BATCHES_OF_USER));
        assert_eq!(streams, MAX_STREAMS_OF_USER);
    }

    #[test]
    fn few_users_with_hung_batches_leave_places_to_others() {
        let mut places = Places::default();
        let fill = |places: &mut Places, uid| {
            (0..)
                .find(|_| places.enter_lasting(uid, Lasting::Batch, Class::Ordinary).is_err())
                .expect("an end")
        };
        let held: Vec<usize> = (1..=7).map(|uid| fill(&mut places, uid)).collect();
        assert_eq!(held, [8, 8, 8, 4, 2, 1, 1]);
        let refusal =
            places.enter_lasting(8, Lasting::Batch, Class::Ordinary).expect_err("32 of all");
        assert!(refusal.to_string().starts_with("32 requests are batches"), "{refusal}");
        places.leave_lasting(1, Lasting::Batch, Class::Ordinary);
        let refusal =
            places.enter_lasting(1, Lasting::Batch, Class::Ordinary).expect_err("7 already");
        assert_eq!(
            refusal.to_string(),
            "7 requests of this user are batches while few places are left, 1 allowed; retry when \
             one is done"
        );
        assert_eq!(refusal.kind(), ErrorKind::Busy);
        places.enter_lasting(8, Lasting::Batch, Class::Ordinary).expect("a user who has none");
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
    fn batches_of_one_user_are_limited_and_take_no_waiting_place() {
        let mut places = Places::default();
        for _ in 0..MAX_BATCHES_OF_USER {
            places.enter_lasting(0, Lasting::Batch, Class::Ordinary).expect("room");
        }
        let refusal =
            places.enter_lasting(0, Lasting::Batch, Class::Ordinary).expect_err("8 of this user");
        assert!(refusal.to_string().starts_with("8 requests of this user are batches, 8 allowed"));
        assert_eq!(refusal.kind(), ErrorKind::QuotaExceeded);
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
        places.enter_lasting(1, Lasting::Stream, Class::Ordinary).expect("an ordinary one");
        places.stall_lasting(1).expect_err("two already");
        places.leave_lasting(1, Lasting::Stream, Class::Ordinary);
        places.leave_lasting(1, Lasting::Batch, Class::Stalling);
        places.enter_lasting(1, Lasting::Batch, Class::Stalling).expect("room again");
    }

    #[test]
    fn streams_have_limits_of_their_own_beside_batches() {
        let rules = vec!["5:streams=1".parse().expect("a rule")];
        let mut places = Places::new(Quota::new(rules));
        let enter = |places: &mut Places, uid, kind| {
            places.enter_lasting(uid, kind, Class::Ordinary).map_err(|error| error.to_string())
        };
        enter(&mut places, 5, Lasting::Stream).expect("room");
        let refusal = places.enter_lasting(5, Lasting::Stream, Class::Ordinary).expect_err("1");
        assert_eq!(
            (refusal.kind(), refusal.to_string().as_str()),
            (
                ErrorKind::QuotaExceeded,
                "1 requests of this user are streams, 1 allowed; retry when one is done"
            )
        );
        places.leave_lasting(5, Lasting::Stream, Class::Ordinary);
        // Few users cannot take all places.
        let fill = |places: &mut Places, uid| {
            (0..).find(|_| enter(places, uid, Lasting::Stream).is_err()).expect("an end")
        };
        let held: Vec<usize> = (10..16).map(|uid| fill(&mut places, uid)).collect();
        assert_eq!(held, [MAX_STREAMS_OF_USER, 4, 4, 2, 1, 1]);
        let refusal = places.enter_lasting(9, Lasting::Stream, Class::Ordinary).expect_err("16");
        assert_eq!(
            (refusal.kind(), refusal.to_string().as_str()),
            (ErrorKind::Busy, "16 requests are streams, 16 allowed; retry when one is done")
        );
        enter(&mut places, 10, Lasting::Batch).expect("a batch");
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
