//! What each user may have: a pure function of the configuration (`--quota`).

use dmabufio_core::pool::parse_size;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The limits of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of live buffers; `None` for half of the memory.
    pub bytes: Option<u64>,
    /// Live buffers. Each costs the service an entry in its ledger.
    pub buffers: usize,
    /// Blocking calls.
    pub requests: usize,
    /// Batches, until their results are dropped.
    pub batches: usize,
    /// Streams, until they are dropped.
    pub streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: None, buffers: 4096, requests: 16, batches: 8, streams: 4 }
    }
}

/// One limit for some users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    Bytes(u64),
    Buffers(usize),
    Requests(usize),
    Batches(usize),
    Streams(usize),
}

impl FromStr for Limit {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, value) = text.split_once('=').ok_or(())?;
        let count = || value.parse().map_err(drop);
        match name {
            "bytes" => parse_size(value).map(Self::Bytes).ok_or(()),
            "buffers" => count().map(Self::Buffers),
            "requests" => count().map(Self::Requests),
            "batches" => count().map(Self::Batches),
            "streams" => count().map(Self::Streams),
            _ => Err(()),
        }
    }
}

/// The limits of some users: one value of `--quota`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    uids: RangeInclusive<u32>,
    limits: Vec<Limit>,
}

impl FromStr for Rule {
    type Err = String;

    /// Reads `UIDS:LIMIT=NUMBER[,LIMIT=NUMBER...]`, where `UIDS` is `all`, a user id, or the first
    /// and the last of several with a `-` between them.
    fn from_str(text: &str) -> Result<Self, String> {
        let rule = text.split_once(':').and_then(|(uids, limits)| {
            let uids = match uids.split_once('-') {
                None if uids == "all" => 0..=u32::MAX,
                None => uids.parse().map(|uid| uid..=uid).ok()?,
                Some((first, last)) => first.parse().ok()?..=last.parse().ok()?,
            };
            let limits: Result<Vec<Limit>, ()> = limits.split(',').map(str::parse).collect();
            (!uids.is_empty()).then_some(Self { uids, limits: limits.ok()? })
        });
        rule.ok_or_else(|| {
            format!("'{text}': not UIDS:LIMIT=NUMBER, such as 10000-19999:bytes=512M,requests=4")
        })
    }
}

/// The limits of all users.
#[derive(Debug, Clone, Default)]
pub struct Quota(Vec<Rule>);

impl Quota {
    /// Later rules override earlier ones.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// The limits of `uid`.
    pub fn of(&self, uid: u32) -> Limits {
        let mut limits = Limits::default();
        for limit in self.0.iter().filter(|rule| rule.uids.contains(&uid)).flat_map(|r| &r.limits) {
            match *limit {
                Limit::Bytes(bytes) => limits.bytes = Some(bytes),
                Limit::Buffers(buffers) => limits.buffers = buffers,
                Limit::Requests(requests) => limits.requests = requests,
                Limit::Batches(batches) => limits.batches = batches,
                Limit::Streams(streams) => limits.streams = streams,
            }
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(rules: &[&str]) -> Quota {
        Quota::new(rules.iter().map(|rule| rule.parse().expect(rule)).collect())
    }

    #[test]
    fn later_rules_override_earlier_ones_limit_by_limit() {
        let quota = quota(&[
            "all:bytes=1G,requests=4",
            "0-9999:bytes=2G,batches=3",
            "1000:buffers=7,streams=1",
        ]);
        let app = Limits { bytes: Some(1 << 30), requests: 4, ..Limits::default() };
        assert_eq!(quota.of(10_000), app);
        let system = Limits { bytes: Some(2 << 30), batches: 3, ..app };
        assert_eq!(quota.of(0), system);
        assert_eq!(quota.of(9_999), system);
        assert_eq!(quota.of(1000), Limits { buffers: 7, streams: 1, ..system });
    }

    #[test]
    fn user_without_a_rule_has_the_defaults() {
        assert_eq!(quota(&["5:requests=1"]).of(6), Limits::default());
    }

    #[test]
    fn malformed_rules_are_refused() {
        for text in [
            "",
            "all",
            "all:",
            "all:bytes",
            "all:bytes=",
            "all:bytes=1T",
            "all:bytes=-1",
            "all:speed=1",
            "all:bytes=1,",
            "9-1:bytes=1",
            "-1:bytes=1",
            "1-:bytes=1",
            "4294967296:bytes=1",
            "x:bytes=1",
            "all:bytes=18446744073709551615K",
        ] {
            let error = text.parse::<Rule>().expect_err(text);
            assert!(error.starts_with(&format!("'{text}': not UIDS:LIMIT=NUMBER")), "{error}");
        }
    }
}
