//! What a dump shows: taken from the service under short locks, one after the other.

use super::args::Args;
use super::json::Json;
use crate::admission::Counts;
use crate::histogram::Histogram;
use crate::in_flight::{Flight, Phase};
use crate::memory::Charge;
use crate::quota::Limits;
use crate::state::State;
use crate::statistics::{Failure, Totals};
use dmabufio_core::heap::Heap;
use dmabufio_core::method::{Method, Support};
use dmabufio_core::pool::{Pool, ShelfStock, Stock};
use dmabufio_core::priority::Priority;
use dmabufio_wire::INSTANCE;
use std::time::Duration;

/// The version of the JSON object: it changes when a field changes its meaning or goes.
const SCHEMA: u64 = 1;

pub(super) struct Report<'a> {
    pub args: &'a Args,
    pub uptime: Duration,
    pub heap: Heap,
    pub clears_late: bool,
    pub support: Support,
    pub support_in_load: Support,
    pub counts: Counts,
    pub queued: usize,
    pub moving: usize,
    pub in_flight: Vec<Flight>,
    pub users: Vec<User>,
    pub stock: Option<Stock>,
    pub totals: &'a Totals,
    pub latencies: Vec<Latency<'a>>,
}

/// What counts for a user, and what may.
pub(super) struct User {
    pub uid: u32,
    pub charge: Charge,
    pub limits: Limits,
    /// The limit in bytes.
    pub bytes: u64,
}

/// Times of transfers that are alike.
pub(super) struct Latency<'a> {
    pub priority: Priority,
    /// `None` if nothing moved.
    pub method: Option<Method>,
    pub phase: &'static str,
    pub times: &'a Histogram,
}

impl<'a> Report<'a> {
    pub fn new(state: &State, totals: &'a Totals, args: &'a Args) -> Self {
        let State { heap, pool, support, support_in_load, admission, scheduler, memory, .. } =
            state;
        let (queued, moving) = scheduler.counts();
        let charges = memory.charges().into_iter().filter(|(uid, _)| args.shows(*uid));
        let user = |(uid, charge)| {
            let (limits, bytes) = memory.limits(uid);
            User { uid, charge, limits, bytes }
        };
        let mut in_flight = admission.in_flight();
        in_flight.retain(|flight| args.shows(flight.uid));
        Self {
            args,
            uptime: state.start.elapsed(),
            heap: heap.heap(),
            clears_late: heap.clears_late(),
            support: *support,
            support_in_load: *support_in_load,
            counts: admission.counts(),
            queued,
            moving,
            in_flight,
            users: charges.map(user).collect(),
            stock: pool.as_ref().map(Pool::stock),
            totals,
            latencies: latencies(totals),
        }
    }

    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.totals.last_errors.iter().filter(|failure| self.args.shows(failure.uid))
    }

    /// The object that docs/dump.md describes.
    pub fn json(&self) -> Json {
        let Self { counts, totals, .. } = self;
        let methods = |support: Support| Json::list(support.methods(), Json::text);
        Json::Object(vec![
            ("schema", SCHEMA.into()),
            ("service", Json::text(INSTANCE)),
            ("version", Json::text(env!("CARGO_PKG_VERSION"))),
            ("uptime_us", micros(self.uptime)),
            ("heap", Json::text(self.heap)),
            ("methods", methods(self.support)),
            ("load_methods", methods(self.support_in_load)),
            ("no_rw_file", self.support.rw_file.err().map_or(Json::Null, Json::text)),
            ("rw_extents", Json::Bool(self.support.rw_extents)),
            ("clears_late", Json::Bool(self.clears_late)),
            ("waiting", counts.waiting.into()),
            ("stalling_waiting", counts.stalling_waiting.into()),
            ("abandoned", counts.abandoned.into()),
            ("stalling_abandoned", counts.stalling_abandoned.into()),
            ("batches", counts.batches.into()),
            ("streams", counts.streams.into()),
            ("queued", self.queued.into()),
            ("moving", self.moving.into()),
            ("in_flight", Json::list(&self.in_flight, flight)),
            ("users", Json::list(&self.users, user)),
            ("pool", self.stock.as_ref().map_or(Json::Null, stock)),
            ("counted_us", micros(totals.since.elapsed())),
            ("transfers", totals.transfers.into()),
            ("bytes_direct", totals.direct.into()),
            ("bytes_bounced", totals.bounced.into()),
            ("bytes_buffered", totals.buffered.into()),
            ("latencies", Json::list(&self.latencies, latency)),
            ("errors", totals.errors.into()),
            ("last_errors", Json::list(self.failures(), failure)),
        ])
    }
}

/// The times of all transfers, without those that there are none of.
fn latencies(totals: &Totals) -> Vec<Latency<'_>> {
    let all = totals.latencies().flat_map(|(priority, method, times)| {
        let phases = [("queue", &times.queue), ("io", &times.io), ("sync", &times.sync)];
        phases.map(|(phase, times)| Latency { priority, method, phase, times })
    });
    all.filter(|latency| latency.times.count() > 0).collect()
}

fn flight(flight: &Flight) -> Json {
    let phase = match flight.phase {
        Phase::Queued => "queued",
        Phase::Moving => "moving",
        Phase::Other => "other",
    };
    Json::Object(vec![
        ("id", flight.id.into()),
        ("call", Json::text(flight.call)),
        ("uid", flight.uid.into()),
        ("class", flight.priority.map_or(Json::Null, |priority| Json::text(priority.name()))),
        ("phase", Json::text(phase)),
        ("abandoned", Json::Bool(flight.abandoned)),
        ("age_us", micros(flight.arrival.elapsed())),
        ("moved", flight.moved.into()),
        ("total", flight.total.into()),
    ])
}

fn user(User { uid, charge, limits, bytes }: &User) -> Json {
    Json::Object(vec![
        ("uid", (*uid).into()),
        ("buffers", charge.live.buffers.into()),
        ("bytes", charge.live.bytes.into()),
        ("promised_buffers", charge.promised.buffers.into()),
        ("promised_bytes", charge.promised.bytes.into()),
        ("max_buffers", limits.buffers.into()),
        ("max_bytes", (*bytes).into()),
        ("max_requests", limits.requests.into()),
        ("max_batches", limits.batches.into()),
        ("max_streams", limits.streams.into()),
    ])
}

fn stock(stock: &Stock) -> Json {
    let shelf = |shelf: &ShelfStock| {
        Json::Object(vec![
            ("size", shelf.class.size.into()),
            ("count", shelf.class.count.into()),
            ("ready", shelf.ready.into()),
            ("hits", shelf.hits.into()),
            ("misses", shelf.misses.into()),
        ])
    };
    let shelves = Json::list(&stock.shelves, shelf);
    Json::Object(vec![("trims", stock.trims.into()), ("shelves", shelves)])
}

fn latency(Latency { priority, method, phase, times }: &Latency<'_>) -> Json {
    Json::Object(vec![
        ("class", Json::text(priority.name())),
        ("method", method.map_or(Json::Null, Json::text)),
        ("phase", Json::text(phase)),
        ("count", times.count().into()),
        ("p50_us", micros(times.percentile(50))),
        ("p90_us", micros(times.percentile(90))),
        ("p99_us", micros(times.percentile(99))),
        ("max_us", micros(times.max())),
    ])
}

fn failure(failure: &Failure) -> Json {
    Json::Object(vec![
        ("age_us", micros(failure.at.elapsed())),
        ("call", Json::text(failure.call)),
        ("uid", failure.uid.into()),
        ("message", Json::text(&failure.message)),
    ])
}

fn micros(time: Duration) -> Json {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Sum;
    use dmabufio_core::method::FallbackReason;
    use dmabufio_core::pool::Class;
    use std::fs;
    use std::time::Instant;

    /// The fields of each table of the document, from the object as a whole to an error.
    fn documented() -> Vec<Vec<String>> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dump.md");
        let document = fs::read_to_string(path).expect(path);
        let (_, object) = document.split_once("## The object of `--json`").expect("its section");
        let tables = object.split("| field | meaning |\n|---|---|\n").skip(1);
        let cell = |row: &str| row.split('|').nth(1).expect("a cell").to_owned();
        let name = |field: &str| field.trim().trim_matches('`').to_owned();
        let names = |row: &str| cell(row).split(", ").map(name).collect::<Vec<_>>();
        let rows = |table: &str| -> Vec<String> {
            table.lines().take_while(|line| line.starts_with('|')).flat_map(names).collect()
        };
        tables.map(rows).collect()
    }

    fn names(object: &Json) -> Vec<&'static str> {
        match object {
            Json::Object(fields) => fields.iter().map(|(name, _)| *name).collect(),
            other => panic!("no object: {other}"),
        }
    }

    #[test]
    fn document_has_the_fields_of_each_object_in_their_order() {
        let totals = Totals::default();
        let sum = Sum { buffers: 1, bytes: 4096 };
        let one = User {
            uid: 1,
            charge: Charge { live: sum, promised: sum },
            limits: Limits::default(),
            bytes: 1,
        };
        let in_pool = Stock {
            trims: 1,
            shelves: vec![ShelfStock {
                class: Class { size: 4096, count: 1 },
                ready: 1,
                hits: 1,
                misses: 1,
            }],
        };
        let request = Flight {
            id: 1,
            call: "load",
            uid: 1,
            arrival: Instant::now(),
            priority: None,
            phase: Phase::Other,
            moved: 0,
            total: 0,
            abandoned: false,
        };
        let times = Histogram::default();
        let alike =
            Latency { priority: Priority::Normal, method: None, phase: "io", times: &times };
        let failed = Failure { at: Instant::now(), call: "load", uid: 1, message: String::new() };
        let support =
            Support { rw_file: Err(FallbackReason::NoIoctl), rw_extents: false, page_backed: true };
        let args = Args::default();
        let pool = stock(&in_pool);
        let Json::Object(of_pool) = &pool else { panic!("no object: {pool}") };
        let Some((_, Json::List(shelves))) = of_pool.last() else { panic!("no list: {pool}") };
        let objects = [
            names(
                &Report {
                    args: &args,
                    uptime: Duration::ZERO,
                    heap: Heap::System,
                    clears_late: false,
                    support,
                    support_in_load: support,
                    counts: Counts::default(),
                    queued: 0,
                    moving: 0,
                    in_flight: Vec::new(),
                    users: Vec::new(),
                    stock: None,
                    totals: &totals,
                    latencies: Vec::new(),
                }
                .json(),
            ),
            names(&flight(&request)),
            names(&user(&one)),
            names(&pool),
            names(&shelves[0]),
            names(&latency(&alike)),
            names(&failure(&failed)),
        ];
        assert_eq!(documented(), objects);
    }
}
