//! The targets P1 to P8: ratios inside one session, each judged from the tables.

use super::report::{Row, Session, Spread, Target};

/// What the service may cost, in bytes.
const MAX_IDLE: u64 = 6 << 20;
const MAX_GROWTH: u64 = 8 << 20;
const MAX_PROGRAM: u64 = 2 << 20;
/// What it may take to register, in milliseconds.
const MAX_START_MS: f64 = 50.0;
/// Above this request size, in bytes, the cost of a byte is to be flat.
const FLAT_ABOVE: u64 = 32 << 20;
const OURS: &str = "RW_FILE direct read";

/// A measured ratio and the bound it is held to.
struct Ratio {
    what: String,
    value: Option<f64>,
    bound: Bound,
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Ratio {
    fn met(&self) -> bool {
        match (self.value, self.bound) {
            (Some(value), Bound::AtLeast(bound)) => value >= bound,
            (Some(value), Bound::AtMost(bound)) => value <= bound,
            (None, _) => false,
        }
    }

    fn measured(&self) -> String {
        let value = self.value.map_or("not measured".to_owned(), |value| format!("{value:.3}"));
        format!("{}{value}", self.what)
    }

    fn wanted(&self) -> String {
        match self.bound {
            Bound::AtLeast(bound) => format!("{}>= {bound}", self.what),
            Bound::AtMost(bound) => format!("{}<= {bound}", self.what),
        }
    }
}

/// Judges all targets.
pub fn judge(free: &Session, limited: &Session, program_bytes: u64) -> Vec<Target> {
    vec![
        target(
            "P1",
            "RW_FILE direct read against fio psync bs=32M: time of fio over ours",
            &[ratio(
                "",
                io(free.row("fair", OURS)),
                io(free.row("fair", "fio psync bs=32M")),
                Bound::AtLeast(0.97),
            )],
            "the disk; fio also pins its pages, 4 KiB each",
        ),
        against_published(limited),
        pipelined(free, limited),
        through_binder(free, limited),
        blocks(free),
        memory(free),
        start(free, program_bytes),
        flat(free, limited),
    ]
}

fn target(id: &str, what: &str, ratios: &[Ratio], limited_by: &str) -> Target {
    let join = |text: fn(&Ratio) -> String| ratios.iter().map(text).collect::<Vec<_>>().join(", ");
    Target {
        id: id.to_owned(),
        what: what.to_owned(),
        measured: join(Ratio::measured),
        wanted: join(Ratio::wanted),
        met: ratios.iter().all(Ratio::met),
        limited_by: limited_by.to_owned(),
    }
}

fn total(row: Option<&Row>) -> Option<&Spread> {
    Some(&row?.figures.as_ref()?.total)
}

fn io(row: Option<&Row>) -> Option<&Spread> {
    row?.figures.as_ref()?.io.as_ref()
}

/// How many times longer `other` takes than `base`: the median over the runs, each of which met the same machine.
fn ratio(what: &str, base: Option<&Spread>, other: Option<&Spread>, bound: Bound) -> Ratio {
    let value = base.zip(other).and_then(|(base, other)| {
        let pairs = base.samples_nanos.iter().zip(&other.samples_nanos);
        median(pairs.map(|(base, other)| *other as f64 / *base as f64).collect())
    });
    Ratio { what: what.to_owned(), value, bound }
}

/// The middle value; of an even number the mean of the middle two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.get(values.len() / 2)?;
    Some((values[(values.len() - 1) / 2] + middle) / 2.0)
}

/// Allocating and reading, the best of the five other published ways over `load`, with the disk limited. What the
/// limiter lets pass above the limit at first is taken back: no row reads faster than the limit.
fn against_published(limited: &Session) -> Target {
    let cost = |row: &Row| row.nanos_at(limited.disk_rate?).map(|nanos| nanos / row.bytes as f64);
    let best = limited.table("published").and_then(|table| {
        let others = table.rows.iter().filter(|row| row.name != OURS).map(cost);
        let others: Option<Vec<f64>> = others.collect();
        others?.into_iter().min_by(f64::total_cmp)
    });
    let over = |row: Option<&Row>| row.and_then(cost).zip(best).map(|(ours, best)| best / ours);
    let value = over(limited.row("ours", "load through the service"));
    let plain = over(limited.row("published", OURS));
    let plain = plain.map_or("not measured".to_owned(), |value| format!("{value:.3}"));
    target(
        "P2",
        &format!(
            "allocate and read with the disk limited, the best of the five other published ways over load ({OURS}: {plain})"
        ),
        &[Ratio { what: String::new(), value, bound: Bound::AtLeast(3.2) }],
        "the disk's limit; the first buffer has to be zeroed before anything can be read",
    )
}

/// `load` against the longer of its two halves with the disk limited, and with buffers kept ready against reading alone.
fn pipelined(free: &Session, limited: &Session) -> Target {
    let against_longer = |session: &Session, what: &str| {
        let row = |name| total(session.row("ours", name));
        let (alloc, read) =
            (row("allocate through the service"), row("transfer through the service"));
        let longer =
            alloc.zip(read).map(|(a, b)| if a.median_nanos > b.median_nanos { a } else { b });
        ratio(what, longer, row("load through the service"), Bound::AtMost(1.10))
    };
    let pooled = free.reports.get("pool").and_then(|report| report.tables.first());
    let row = |name: &str| total(pooled?.rows.iter().find(|row| row.name == name));
    target(
        "P3",
        &format!(
            "load over the longer of allocating and reading alone, disk limited ({}); from a warm pool over reading alone",
            against_longer(free, "free: ").measured()
        ),
        &[
            against_longer(limited, ""),
            ratio(
                "warm pool ",
                row("transfer through the service"),
                row("load through the service"),
                Bound::AtMost(1.05),
            ),
        ],
        "the disk; where it is free, two CPUs that zeroing and the copies of the emulated disk share",
    )
}

/// What a call costs that moves 1 GiB, with the disk limited.
fn through_binder(free: &Session, limited: &Session) -> Target {
    let over_ioctl = |session: &Session, what: &str| {
        ratio(
            what,
            total(session.row("whole", "one buffer: RW_FILE")),
            total(session.row("whole", "one buffer: transfer through the service")),
            Bound::AtMost(1.02),
        )
    };
    target(
        "P4",
        &format!(
            "1 GiB into one buffer, through binder over the plain ioctl, disk limited ({})",
            over_ioctl(free, "free: ").measured()
        ),
        &[over_ioctl(limited, "")],
        "the disk; where it is free, some 2 ms of an emulated CPU for one binder call and the checks of both descriptors",
    )
}

fn blocks(free: &Session) -> Target {
    let against = |what: &str, kib: u32, fio: &str, bound| {
        let ours = total(free.row("blocks", &format!("batched extents of {kib}K")));
        ratio(what, ours, total(free.row("blocks", fio)), Bound::AtLeast(bound))
    };
    target(
        "P5",
        "batched extents against fio with the same blocks, 8 at a time: time of fio over ours",
        &[
            against("1 MiB ", 1024, "fio io_uring bs=1M depth=8, every second block", 0.9),
            against("64 KiB ", 64, "fio io_uring bs=64K depth=8, every second block", 0.8),
        ],
        "a thread and a system call for each block; fio hands over several with one",
    )
}

fn memory(free: &Session) -> Target {
    let service = free.reports.values().find_map(|report| report.service.as_ref());
    Target {
        id: "P6".to_owned(),
        what: "memory of the service: idle, growth during 8 x 1 GiB, page cache growth".to_owned(),
        measured: service.map_or("not measured".to_owned(), |service| {
            format!(
                "{:.1} MiB, {:.1} MiB, {} pages",
                mib(service.idle_rss_bytes),
                mib(service.rss_growth_bytes),
                service.page_cache_growth_pages
            )
        }),
        wanted: format!("<= {} MiB, <= {} MiB, 0 pages", MAX_IDLE >> 20, MAX_GROWTH >> 20),
        met: service.is_some_and(|service| {
            service.idle_rss_bytes <= MAX_IDLE
                && service.rss_growth_bytes <= MAX_GROWTH
                && service.page_cache_growth_pages == 0
        }),
        limited_by: "the program's own pages and those of the C library".to_owned(),
    }
}

fn start(free: &Session, program_bytes: u64) -> Target {
    let start = free.reports.values().find_map(|report| report.start.as_ref());
    let millis = start.map(|start| start.median_nanos as f64 / 1e6);
    let time = millis.map_or("not measured".to_owned(), |millis| format!("{millis:.1} ms"));
    Target {
        id: "P7".to_owned(),
        what: "the service from its start to registered; size of its stripped release program"
            .to_owned(),
        measured: format!("{time}, {:.2} MiB", mib(program_bytes)),
        wanted: format!("<= {MAX_START_MS} ms, <= {} MiB", MAX_PROGRAM >> 20),
        met: millis.is_some_and(|millis| millis <= MAX_START_MS) && program_bytes <= MAX_PROGRAM,
        limited_by: "loading the program, opening binder and one call to the service manager"
            .to_owned(),
    }
}

fn flat(free: &Session, limited: &Session) -> Target {
    let spread = |session: &Session| {
        let rows = session.table("sizes").map(|table| table.rows.as_slice()).unwrap_or_default();
        let costs: Option<Vec<f64>> = rows
            .iter()
            .filter(|row| row.name == "read" && row.x.is_some_and(|size| size > FLAT_ABOVE))
            .map(|row| Some(row.nanos()? / row.bytes as f64))
            .collect();
        let costs = costs.unwrap_or_default();
        let highest = costs.iter().copied().max_by(f64::total_cmp);
        let lowest = costs.iter().copied().min_by(f64::total_cmp);
        let value = highest.zip(lowest).filter(|_| costs.len() > 1).map(|(high, low)| high / low);
        Ratio { what: String::new(), value, bound: Bound::AtMost(1.10) }
    };
    target(
        "P8",
        &format!(
            "reading a byte in requests of more than 32 MiB, disk limited: the most costly size over the cheapest (free: {})",
            spread(free).measured()
        ),
        &[spread(limited)],
        "the disk; where it is free, about 1 ms in which it runs empty between two requests",
    )
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
