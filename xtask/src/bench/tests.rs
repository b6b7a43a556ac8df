//! Tests of the schema, the targets and the writers, on a benchmark that was never run.

use super::*;
use report::{Report, Target};

/// What `dmabufio bench --json` prints, with the given rows in a table.
fn printed(table: &str, rows: &str) -> String {
    format!(
        r#"{{"file":"f","bytes":1024,"chunk":512,"runs":3,
        "tables":[{{"id":"{table}","cache":"cold","rows":[{rows}]}}]}}"#
    )
}

/// A row that took the same in every run.
fn row(name: &str, nanos: u64) -> String {
    let spread = format!(
        r#"{{"median_nanos":{nanos},"min_nanos":{nanos},"max_nanos":{nanos},"samples_nanos":[{nanos},{nanos},{nanos}]}}"#
    );
    format!(
        r#"{{"name":"{name}","x":1048576,"bytes":1073741824,"figures":{{"alloc":null,"io":{spread},"total":{spread},
        "cpu_seconds_per_gib":0.5,"page_cache_growth_pages":0}}}}"#
    )
}

const FAILED: &str = r#"{"name":"fio psync bs=32M","bytes":1024,"figures":null,"error":"no fio"}"#;

fn session(texts: &[String]) -> Result<Session> {
    let report = |text: &String| serde_json::from_str::<Report>(text);
    let reports = texts.iter().enumerate().map(|(i, text)| Ok((i.to_string(), report(text)?)));
    Ok(Session { disk_rate: None, reports: reports.collect::<Result<_>>()? })
}

fn judged(free: &[String], limited: &[String]) -> Result<BTreeMap<String, Target>> {
    let targets = targets::judge(&session(free)?, &session(limited)?, 1 << 20);
    Ok(targets.into_iter().map(|target| (target.id.clone(), target)).collect())
}

fn bench(free: Session) -> Bench {
    let text = || "x".to_owned();
    Bench {
        schema: report::SCHEMA,
        unix_time: 0,
        commit: text(),
        quick: true,
        machine: Machine {
            kernel: text(),
            kernel_build: text(),
            cpu: text(),
            cpus: 2,
            memory_kib: 4 << 20,
            disk: text(),
            file_system: text(),
            qemu: text(),
        },
        service_bytes: 1,
        targets: targets::judge(&free, &free, 1),
        sessions: vec![free],
    }
}

#[test]
fn unknown_field_is_refused() {
    let text = printed("fair", &row("a", 1)).replace("\"runs\"", "\"runners\"");
    assert!(serde_json::from_str::<Report>(&text).is_err());
}

#[test]
fn written_benchmark_is_read_back() -> Result<()> {
    let bench =
        bench(session(&[printed("sizes", &format!("{},{FAILED}", row("read", 1_000_000)))])?);
    let text = serde_json::to_string(&bench)?;
    let again: Bench = serde_json::from_str(&text)?;
    assert_eq!(serde_json::to_string(&again)?, text);
    Ok(())
}

#[test]
fn what_was_not_measured_is_missed() -> Result<()> {
    let targets = judged(&[], &[])?;
    assert_eq!(targets.len(), 11);
    assert!(targets.values().all(|target| !target.met));
    Ok(())
}

#[test]
fn ratio_decides_at_its_bound() -> Result<()> {
    for (fio, met) in [(97, true), (96, false)] {
        let rows = format!("{},{}", row("RW_FILE direct read", 100), row("fio psync bs=32M", fio));
        let target = judged(&[printed("fair", &rows)], &[])?.remove("P1").context("P1")?;
        assert_eq!(target.met, met, "{target:?}");
        assert_eq!(target.measured, format!("0.{fio}0"));
    }
    Ok(())
}

/// A GiB in 100 ns.
const RATE: u64 = 10_000_000 << 30;

fn judged_limited(free: &[String], limited: &[String]) -> Result<BTreeMap<String, Target>> {
    let limited = Session { disk_rate: Some(RATE), ..session(limited)? };
    let targets = targets::judge(&session(free)?, &limited, 1 << 20);
    Ok(targets.into_iter().map(|target| (target.id.clone(), target)).collect())
}

#[test]
fn load_is_compared_with_the_best_of_the_others_at_the_limit() -> Result<()> {
    // The limiter gives 40 to each that reads.
    for (load, met, measured) in [(60, true, "3.300"), (63, true, "3.204"), (64, false, "3.173")] {
        let others =
            [row("RW_FILE direct read", 60), row("dmabuf buffer read", 330), row("udmabuf", 900)];
        let ours = [row("transfer through the service", 60), row("load through the service", load)];
        let texts = [printed("published", &others.join(",")), printed("ours", &ours.join(","))];
        let target = judged_limited(&[], &texts)?.remove("P2").context("P2")?;
        assert_eq!((target.met, target.measured.as_str()), (met, measured));
        assert!(target.what.contains("(RW_FILE direct read: 3.300)"), "{target:?}");
    }
    Ok(())
}

#[test]
fn load_is_compared_with_its_longer_half_where_the_disk_is_limited() -> Result<()> {
    let load = |nanos| {
        let rows = [
            row("allocate through the service", 50),
            row("transfer through the service", 100),
            row("load through the service", nanos),
        ];
        printed("ours", &rows.join(","))
    };
    let load = judged(&[load(140)], &[load(110)])?.remove("P3").context("P3")?;
    assert!(load.what.contains("(free: 1.400)"), "{load:?}");
    assert_eq!(load.measured, "1.100, warm pool not measured");
    Ok(())
}

#[test]
fn what_calls_and_sizes_add_is_weighed_against_the_limited_disk() -> Result<()> {
    for (added, met, call, size) in [(2, true, "1.020", "1.020"), (11, false, "1.110", "1.110")] {
        let whole = [
            row("one buffer: RW_FILE", 50),
            row("one buffer: transfer through the service", 50 + added),
        ];
        let sized = |nanos, x| row("read", nanos).replace("\"x\":1048576", &format!("\"x\":{x}"));
        let sizes = [row("read", 900), sized(50 + added, 64 << 20), sized(50, 1 << 30)];
        let texts = [printed("whole", &whole.join(",")), printed("sizes", &sizes.join(","))];
        let judged = judged_limited(&texts, &[])?;
        let (calls, sizes) = (&judged["P4"], &judged["P8"]);
        assert_eq!((calls.met, calls.measured.as_str()), (met, call));
        assert_eq!((sizes.met, sizes.measured.as_str()), (met, size));
        let free = format!("(free: {:.3})", (50 + added) as f64 / 50.0);
        assert!(calls.what.contains(&free) && sizes.what.contains(&free), "{calls:?} {sizes:?}");
        assert!(sizes.what.contains("to 1024 MiB"), "{sizes:?}");
    }
    Ok(())
}

#[test]
fn model_is_compared_with_a_plain_load_and_with_what_frameworks_do() -> Result<()> {
    for (nanos, met) in [(105, true), (106, false)] {
        let rows = [
            row("model through the service", nanos),
            row("load through the service", 100),
            row("mmap, touch each tensor", 3 * nanos),
            row("read(2) each tensor into the heap", 4 * nanos),
        ];
        let target =
            judged(&[], &[printed("model", &rows.join(","))])?.remove("P9").context("P9")?;
        assert_eq!(target.met, met, "{target:?}");
        let measured = format!("1.{:02}0, mmap 3.000, read(2) 4.000", nanos - 100);
        assert_eq!(target.measured, measured);
    }
    Ok(())
}

#[test]
fn stream_is_compared_with_a_load_of_all_and_with_read() -> Result<()> {
    for (nanos, met) in [(100, true), (106, false)] {
        let rows = [
            row("stream through a ring of 64 MiB", nanos),
            row("load through the service", 100),
            row("read(2) each frame into the heap", 4 * nanos),
        ];
        let target =
            judged(&[], &[printed("stream", &rows.join(","))])?.remove("P11").context("P11")?;
        assert_eq!(target.met, met, "{target:?}");
    }
    Ok(())
}

#[test]
fn snapshot_is_compared_with_each_codec() -> Result<()> {
    for (jpeg, met) in [(50, true), (49, false)] {
        // The CPU time of a row is 0.5 s for a GiB.
        let slow = |name| row(name, 90).replace("0.5", "2.5");
        let rows = [
            row("save: snapshot", 10),
            slow("save: PNG"),
            slow("save: JPEG"),
            row("restore: snapshot", 10),
            row("restore: PNG", 60),
            row("restore: JPEG", jpeg),
        ];
        let free = printed("snapshot", &rows.join(","));
        let target = judged(&[free], &[])?.remove("P10").context("P10")?;
        assert_eq!(target.met, met, "{target:?}");
        let measured = format!("PNG 6.000, JPEG {}.{}00", jpeg / 10, jpeg % 10);
        assert_eq!(target.measured, format!("{measured}, save PNG 0.200, save JPEG 0.200"));
    }
    Ok(())
}

#[test]
fn disk_is_limited_to_what_it_was_on_the_phone() -> Result<()> {
    // A GiB in a second.
    let free = session(&[printed("published", &row("dmabuf buffer read", 1_000_000_000))])?;
    assert_eq!(disk_limit(&free)?, (3.9 * f64::from(1 << 30)) as u64);
    assert!(disk_limit(&session(&[])?).is_err());
    Ok(())
}

#[test]
fn tables_show_figures_and_failures() -> Result<()> {
    let rows = format!("{},{FAILED}", row("read", 2_000_000));
    let text = markdown::write(&bench(session(&[printed("sizes", &rows)])?));
    assert!(text.contains("Generated by `cargo xtask bench --quick --update`"), "{text}");
    assert!(text.contains("| read 1M |  | 2.0 | 2.0 | 2.0-2.0 | 536871 | 0.50 | 0 |"), "{text}");
    assert!(text.contains("| fio psync bs=32M | did not run: no fio |"), "{text}");
    assert!(text.contains("| P1 |") && text.contains("**FAIL**"), "{text}");
    Ok(())
}

#[test]
fn published_results_are_the_figures_and_the_plots() -> Result<()> {
    let (out, docs) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let names = ["figures.md", "sizes.svg"];
    for name in names.iter().chain(&["bench.json"]) {
        fs::write(out.path().join(name), name)?;
    }
    fs::create_dir(out.path().join("free"))?;
    publish(out.path(), docs.path())?;
    for name in names {
        assert_eq!(fs::read_to_string(docs.path().join(name))?, name);
    }
    assert_eq!(fs::read_dir(docs.path())?.count(), names.len());
    Ok(())
}

#[test]
fn plots_are_drawn() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let free = session(&[
        printed("published", &format!("{},{}", row("dmabuf buffer read", 5), row("RW_FILE", 2))),
        printed("sizes", &format!("{},{}", row("read", 5), row("write", 9))),
        printed("model", &format!("{},{}", row("mmap, touch each tensor", 5), row("model", 1))),
        printed("snapshot", &format!("{},{}", row("restore: PNG", 5), row("save: PNG", 1))),
        printed("stream", &format!("{},{}", row("read(2)", 5), row("ring", 1))),
    ])?;
    plot::draw(&bench(free), dir.path())?;
    for (name, word) in [
        ("published.svg", "dmabuf buffer read"),
        ("sizes.svg", "write"),
        ("model.svg", "mmap, touch each tensor"),
        ("snapshot.svg", "restore: PNG"),
        ("stream.svg", "ring"),
    ] {
        let svg = fs::read_to_string(dir.path().join(name))?;
        assert!(svg.starts_with("<svg") && svg.contains(word), "{name}: {svg}");
    }
    assert!(!dir.path().join("clients.svg").exists());
    Ok(())
}
