//! `dmabufio dump` and `dmabufio stat`, with the service of the VM.

#![allow(missing_docs, reason = "test code")]

use dmabufio_client::Client;
use serde_json::Value;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const LEN: u64 = 4 << 20;

fn dmabufio(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_dmabufio")).args(args).output();
    let output = output.expect("run dmabufio");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn json(args: &[&str]) -> Value {
    let (status, text) = dmabufio(args);
    assert_eq!(status, Some(0), "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn dump_has_the_documented_fields_and_counts_a_load_after_a_reset() {
    let dir = TempDir::new_in(env::var_os("DMABUFIO_TEST_DIR").expect("the VM")).expect("a folder");
    let path = dir.path().join("secret-name");
    fs::write(&path, vec![7; LEN as usize]).expect("write");
    json(&["dump", "--json", "--reset"]);
    let path = path.to_str().expect("UTF-8");
    json(&["load", "--json", path]);
    let client = Client::service().expect("the service");
    client.allocate(1 << 60, "").expect_err("more than there is");
    let dump = json(&["dump", "--json"]);
    let documented = include_str!("../../docs/dump.md");
    let mut named = keys(&dump);
    for list in ["users", "latencies", "last_errors"] {
        named.extend(dump[list].as_array().expect("a list").iter().flat_map(keys));
    }
    for name in named {
        assert!(documented.contains(&format!("`{name}`")), "{name} is not documented");
    }
    assert_eq!(dump["schema"], 1);
    assert_eq!((&dump["transfers"], &dump["errors"]), (&1.into(), &1.into()), "{dump}");
    let moved = ["bytes_direct", "bytes_bounced", "bytes_buffered"]
        .map(|name| dump[name].as_u64().expect("a number"));
    assert_eq!(moved.iter().sum::<u64>(), LEN, "{dump}");
    let latencies = dump["latencies"].as_array().expect("a list");
    let phases: Vec<&Value> = latencies.iter().map(|latency| &latency["phase"]).collect();
    assert_eq!(phases, ["queue", "io"], "{dump}");
    assert!(latencies.iter().all(|latency| latency["class"] == "normal" && latency["count"] == 1));
    let error = &dump["last_errors"][0];
    assert_eq!((&error["uid"], &error["call"]), (&0.into(), &"allocate".into()), "{dump}");
    assert!(!dump.to_string().contains("secret-name"), "a file name: {dump}");
    let (_, text) = dmabufio(&["dump", "--client", "12345"]);
    assert!(text.contains("errors: 1\n") && !text.contains("uid="), "{text}");
}

#[test]
fn stat_shows_a_look_or_one_each_second() {
    let (status, text) = dmabufio(&["stat", "--once"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("requests   0 running, 0 given up"), "{text}");
    let mut live = Command::new(env!("CARGO_BIN_EXE_dmabufio"))
        .arg("stat")
        .stdout(Stdio::piped())
        .spawn()
        .expect("run dmabufio");
    let start = Instant::now();
    let output = BufReader::new(live.stdout.take().expect("its output"));
    let lines = output.lines().map_while(Result::ok);
    let looks = lines.filter(|line| line.starts_with("requests   ")).take(3).count();
    let time = start.elapsed();
    live.kill().and_then(|()| live.wait()).expect("kill");
    assert_eq!(looks, 3);
    assert!(time >= Duration::from_secs(2), "three looks in {time:?}");
}

#[test]
fn dump_without_a_service_says_so() {
    let (status, text) = dmabufio(&["dump", "--local"]);
    assert_eq!(status, Some(1), "{text}");
    assert_eq!(text, "dmabufio: dump: only of a service on kernel binder\n");
}
