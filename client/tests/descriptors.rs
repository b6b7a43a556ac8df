//! Tests the error of a client that can open no more descriptors. Alone in its process, which
//! shares the limit.

#![allow(missing_docs, reason = "test code")]

use dmabufio_client::{Client, Error};
use dmabufio_core::error::ErrorKind;
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use std::path::Path;

#[test]
fn lack_of_descriptors_is_not_called_a_lack_of_service() {
    let nobody = || Client::socket(Path::new("/nonexistent/socket")).err().expect("an error");
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..before }).expect("setrlimit");
    let lacking = nobody();
    setrlimit(Resource::Nofile, before).expect("setrlimit");
    assert_eq!(lacking.kind(), Some(ErrorKind::NoMemory), "{lacking}");
    assert!(lacking.to_string().ends_with("(os error 24)"), "{lacking}");
    let absent = nobody();
    assert!(matches!(absent, Error::Unreachable(_)), "{absent}");
    assert!(absent.to_string().contains("/nonexistent/socket"), "{absent}");
}
