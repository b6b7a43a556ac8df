//! The service on this host: everything of `support/service_suite.rs`, over a Unix socket with the
//! embedded heap, and how the process behaves.

#![allow(missing_docs, reason = "test code")]

#[path = "support/service_suite.rs"]
mod suite;
mod support;

use rustix::process::{kill_process, Pid, Signal};
use std::process::Command;
use support::fixture::{o_path, Fixture};

#[test]
fn sigterm_ends_the_service_cleanly() {
    let mut fixture = Fixture::new();
    let mut child = fixture.child.take().expect("this test's own service");
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::Term).expect("kill");
    let status = child.wait().expect("wait");
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(!fixture.dir.path().join("socket").exists(), "the socket is left behind");
}

#[test]
fn o_path_buffer_is_refused() {
    let fixture = Fixture::new();
    fixture.refuses_buffer("buffer: an O_PATH descriptor", o_path(&fixture));
}

#[test]
fn o_path_file_is_refused() {
    let fixture = Fixture::new();
    fixture.refuses_file("file: an O_PATH descriptor", o_path(&fixture));
}

#[test]
fn wrong_options_say_what_is_wrong_and_fail() {
    for (args, message) in [
        (&["--heap", "cma"][..], "heap 'cma': not one of system, system-direct, udmabuf, memfd"),
        (&["--heap"], "--heap: needs a value"),
        (&["--pool", "32M"], "--pool: '32M': not SIZE:COUNT"),
        (&["--heap", "memfd", "--pool", "4K:1,1G:1000"], "or half of the memory"),
        (&["--quota", "all:speed=1"], "--quota: 'all:speed=1': not UIDS:LIMIT=NUMBER"),
        (&["--lazy", "--socket", "/nowhere/socket"], "--lazy: not with --socket"),
        (&["--speed", "high"], "--speed: unknown option"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_dmabufio-service"))
            .args(args)
            .output()
            .expect("run the service");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text.contains(message), "{args:?}: {text}");
    }
}
