//! The targets P1 to P11: ratios inside one session, each judged from the tables.

use super::report::{Row, Session, Spread, Target};

/// The limits of the service in bytes.
const MAX_IDLE: u64 = 4 << 20;
const MAX_GROWTH: u64 = 8 << 20;
const MAX_PROGRAM: u64 = 2 << 20;
/// The limit of its start until it is registered, in milliseconds.
const MAX_START_MS: f64 = 50.0;
/// Above this request size, in bytes, the cost of a byte must not depend on the size.
const FLAT_ABOVE: u64 = 32 << 20;
const OURS: &str = "RW_FILE direct read";

/// A measured ratio and its bound.
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
        model(limited),
        snapshot(free),
        stream(limited),
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

/// The time of `other` over the time of `base`: the median over the runs. Both ran side by side in
/// each run.
fn ratio(what: &str, base: Option<&Spread>, other: Option<&Spread>, bound: Bound) -> Ratio {
    let value = base.zip(other).and_then(|(base, other)| {
        let pairs = base.samples_nanos.iter().zip(&other.samples_nanos);
        median(pairs.map(|(base, other)| *other as f64 / *base as f64).collect())
    });
    Ratio { what: what.to_owned(), value, bound }
}

/// The CPU time that a row took, in seconds for each GiB.
fn cpu(row: Option<&Row>) -> Option<f64> {
    Some(row?.figures.as_ref()?.cpu_seconds_per_gib)
}

/// The middle value; of an even number the mean of the middle two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.get(values.len() / 2)?;
    Some((values[(values.len() - 1) / 2] + middle) / 2.0)
}

/// The time of a disk with `rate` bytes a second, in nanoseconds.
fn at_limit(bytes: u64, rate: u64) -> f64 {
    bytes as f64 * 1e9 / rate as f64
}

/// Allocating and reading, the best of the five other published ways over `load`, with the disk limited. The limiter lets
/// more pass at first than the limit allows; both sides give that back.
fn against_published(limited: &Session) -> Target {
    // Nanoseconds a byte of a row that allocates, then reads.
    let cost = |row: &Row| {
        let figures = row.figures.as_ref()?;
        let nanos = |spread: &Spread| spread.median_nanos as f64;
        let alloc = figures.alloc.as_ref().map_or(0.0, nanos);
        let reading = nanos(figures.io.as_ref()?).max(at_limit(row.bytes, limited.disk_rate?));
        Some((alloc + reading) / row.bytes as f64)
    };
    let best = limited.table("published").and_then(|table| {
        let others = table.rows.iter().filter(|row| row.name != OURS).map(cost);
        let others: Option<Vec<f64>> = others.collect();
        others?.into_iter().min_by(f64::total_cmp)
    });
    // The limiter gave load as much as reading alone.
    let load = limited.row("ours", "load through the service").and_then(|load| {
        let reading = io(limited.row("ours", "transfer through the service"))?.median_nanos as f64;
        let given = at_limit(load.bytes, limited.disk_rate?) - reading;
        Some((load.nanos()? + given.max(0.0)) / load.bytes as f64)
    });
    let over = |ours: Option<f64>| ours.zip(best).map(|(ours, best)| best / ours);
    let plain = over(limited.row("published", OURS).and_then(cost));
    let plain = plain.map_or("not measured".to_owned(), |value| format!("{value:.3}"));
    target(
        "P2",
        &format!(
            "allocate and read with the disk limited, the best of the five other published ways over load ({OURS}: {plain})"
        ),
        &[Ratio { what: String::new(), value: over(load), bound: Bound::AtLeast(3.2) }],
        "the disk's limit",
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

/// The time that a call adds to 1 GiB, relative to the time of the limited disk. Measured without
/// the limit, because a limited disk catches up after idle time, which no real disk does.
fn through_binder(free: &Session, limited: &Session) -> Target {
    let raw = free.row("whole", "one buffer: RW_FILE");
    let called = total(free.row("whole", "one buffer: transfer through the service"));
    let added = total(raw).zip(called).and_then(|(raw, called)| {
        let pairs = raw.samples_nanos.iter().zip(&called.samples_nanos);
        median(pairs.map(|(raw, called)| *called as f64 - *raw as f64).collect())
    });
    let whole = raw.zip(limited.disk_rate).map(|(raw, rate)| at_limit(raw.bytes, rate));
    let value = added.zip(whole).map(|(added, whole)| 1.0 + added / whole);
    let free_ratio = ratio("free: ", total(raw), called, Bound::AtMost(1.02));
    target(
        "P4",
        &format!(
            "1 GiB into one buffer, through binder over the plain ioctl, disk limited ({})",
            free_ratio.measured()
        ),
        &[Ratio { what: String::new(), value, bound: Bound::AtMost(1.02) }],
        "an emulated CPU, for one binder call and the checks of both descriptors",
    )
}

fn blocks(free: &Session) -> Target {
    let ours = |kib: u32| free.row("blocks", &format!("batched extents of {kib}K"));
    let fio = |size: &str| {
        free.row("blocks", &format!("fio io_uring bs={size} depth=32, every second block"))
    };
    let time =
        |what, kib, size| ratio(what, total(ours(kib)), total(fio(size)), Bound::AtLeast(1.0));
    let value = cpu(ours(64)).zip(cpu(fio("64K"))).map(|(ours, fio)| ours / fio);
    let cpu = Ratio { what: "CPU 64 KiB ".to_owned(), value, bound: Bound::AtMost(0.5) };
    target(
        "P5",
        "batched extents against fio with the same blocks, 32 at a time: time of fio over ours; our CPU time over that of fio",
        &[time("1 MiB ", 1024, "1M"), time("64 KiB ", 64, "64K"), cpu],
        "one disk request for each block, which the emulation makes one after the other",
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

/// The change of the cost of a byte with the size of a request, relative to the time of the limited
/// disk. Measured without the limit, as in `through_binder`.
fn flat(free: &Session, limited: &Session) -> Target {
    let rows = free.table("sizes").map(|table| table.rows.as_slice()).unwrap_or_default();
    let long = |row: &&Row| row.name == "read" && row.x.is_some_and(|size| size > FLAT_ABOVE);
    let costs: Option<Vec<f64>> =
        rows.iter().filter(long).map(|row| Some(row.nanos()? / row.bytes as f64)).collect();
    let costs = costs.filter(|costs| costs.len() > 1).unwrap_or_default();
    let highest = costs.iter().copied().max_by(f64::total_cmp);
    let extremes = highest.zip(costs.iter().copied().min_by(f64::total_cmp));
    let value = extremes
        .zip(limited.disk_rate)
        .map(|((high, low), rate)| 1.0 + (high - low) / at_limit(1, rate));
    let bound = Bound::AtMost(1.10);
    let free_ratio = extremes.map(|(high, low)| high / low);
    let free_ratio = Ratio { what: "free: ".to_owned(), value: free_ratio, bound };
    let largest = rows.iter().filter(long).filter_map(|row| row.x).max().unwrap_or_default();
    target(
        "P8",
        &format!(
            "reading a byte in requests of more than 32 MiB, to {} MiB, disk limited: the most costly size over the cheapest ({})",
            largest >> 20,
            free_ratio.measured()
        ),
        &[Ratio { what: String::new(), value, bound }],
        "up to 1 ms in which the emulated disk runs empty between two requests",
    )
}

/// A model against the plain load of the same bytes, and against what frameworks do today.
fn model(limited: &Session) -> Target {
    let row = |name| total(limited.row("model", name));
    let ours = row("model through the service");
    let today = |what, name| ratio(what, ours, row(name), Bound::AtLeast(3.0));
    target(
        "P9",
        "a cold model with the disk limited: time over that of a plain load; mmap and read(2) over ours",
        &[
            ratio("", row("load through the service"), ours, Bound::AtMost(1.05)),
            today("mmap ", "mmap, touch each tensor"),
            today("read(2) ", "read(2) each tensor into the heap"),
        ],
        "reading and parsing the header before the first tensor",
    )
}

/// A snapshot against the codecs: time to restore, and CPU time to save.
fn snapshot(free: &Session) -> Target {
    let row = |name: &str| free.row("snapshot", name);
    let restore = |what, name| {
        ratio(what, total(row("restore: snapshot")), total(row(name)), Bound::AtLeast(5.0))
    };
    let save = |what: &str, name| {
        let value =
            cpu(row("save: snapshot")).zip(cpu(row(name))).map(|(ours, codec)| ours / codec);
        Ratio { what: what.to_owned(), value, bound: Bound::AtMost(0.20) }
    };
    target(
        "P10",
        "a snapshot of 1440 x 3200 pixels: time of a codec to restore it over ours; our CPU time to save it over that of a codec",
        &[
            restore("PNG ", "restore: PNG"),
            restore("JPEG ", "restore: JPEG"),
            save("save PNG ", "save: PNG"),
            save("save JPEG ", "save: JPEG"),
        ],
        "the checksum of the pixels, and making a save durable",
    )
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A stream against the load of the same bytes, which needs memory for all of them.
fn stream(limited: &Session) -> Target {
    let row = |name| total(limited.row("stream", name));
    let ours = row("stream through a ring of 64 MiB");
    let against = |what, name, bound| ratio(what, ours, row(name), Bound::AtLeast(bound));
    target(
        "P11",
        "frames of 8 MiB through a ring of 64 MiB, disk limited: time of a load of all over that of the stream; of read(2)",
        &[
            against("load ", "load through the service", 0.95),
            against("read(2) ", "read(2) each frame into the heap", 3.0),
        ],
        "a call for each frame to take it and one to give it back",
    )
}
