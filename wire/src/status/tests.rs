use super::*;
use rustix::io::Errno;

/// Every kind, with the exception and the service-specific code that the interface documents.
const EXPECTED: [(ErrorKind, ExceptionCode, i32); 12] = [
    (ErrorKind::InvalidRequest, ex::ILLEGAL_ARGUMENT, 0),
    (ErrorKind::BadDescriptor, ex::ILLEGAL_ARGUMENT, 0),
    (ErrorKind::PermissionDenied, ex::SECURITY, 0),
    (ErrorKind::Unsupported, ex::UNSUPPORTED_OPERATION, 0),
    (ErrorKind::NotDirect, ex::SERVICE_SPECIFIC, 1),
    (ErrorKind::Busy, ex::SERVICE_SPECIFIC, 2),
    (ErrorKind::NoMemory, ex::SERVICE_SPECIFIC, 3),
    (ErrorKind::NoSpace, ex::SERVICE_SPECIFIC, 4),
    (ErrorKind::Io, ex::SERVICE_SPECIFIC, 5),
    (ErrorKind::TimedOut, ex::SERVICE_SPECIFIC, 6),
    (ErrorKind::Cancelled, ex::SERVICE_SPECIFIC, 7),
    (ErrorKind::QuotaExceeded, ex::SERVICE_SPECIFIC, 8),
];

fn check(status: &Status, kind: ErrorKind) {
    let expected = EXPECTED.iter().find(|(k, _, _)| *k == kind);
    let (_, exception, code) = expected.expect("an entry in EXPECTED for every kind");
    assert_eq!(status.exception_code(), *exception, "{kind:?}");
    if *exception == ex::SERVICE_SPECIFIC {
        assert_eq!(status.service_specific_error(), *code, "{kind:?}");
    }
}

#[test]
fn every_kind_has_its_documented_status() {
    for (kind, _, _) in EXPECTED {
        let status = to_status(&Error::new(kind, "extent 3: too long"));
        check(&status, kind);
        assert!(describe(&status).contains("extent 3: too long"));
    }
}

#[test]
fn every_errno_has_a_status_that_names_it() {
    for raw in 1..=133 {
        let errno = Errno::from_raw_os_error(raw);
        let status = to_status(&Error::from_errno("file: pread", errno));
        check(&status, errno.into());
        assert!(describe(&status).contains(&format!("(os error {raw})")), "{raw}");
    }
}

#[test]
fn errnos_of_a_full_disk_are_no_space() {
    for errno in [Errno::NOSPC, Errno::DQUOT, Errno::FBIG] {
        check(&to_status(&Error::from_errno("save", errno)), ErrorKind::NoSpace);
    }
}

#[test]
fn every_kind_survives_the_round_trip_but_a_bad_descriptor() {
    for (kind, _, _) in EXPECTED {
        let back = from_status(&to_status(&Error::new(kind, "x"))).expect("a failure").kind();
        // The interface has one exception for everything that the caller has to mend.
        let merged = kind == ErrorKind::BadDescriptor && back == ErrorKind::InvalidRequest;
        assert!(back == kind || merged, "{kind:?} came back as {back:?}");
    }
}

#[test]
fn item_of_a_load_has_the_code_of_the_status() {
    for (kind, exception, code) in EXPECTED {
        let item = failed_item(&Error::new(kind, "x"));
        let expected = if exception == ex::SERVICE_SPECIFIC { code } else { exception as i32 };
        assert_eq!(item.error, expected, "{kind:?}");
        let transfer = failed_transfer(&Error::new(kind, "x"));
        assert_eq!((transfer.error, &transfer.message), (item.error, &item.message));
        let back = item_error(item.error, item.message).kind();
        assert!(back == kind || kind == ErrorKind::BadDescriptor, "{kind:?} came back as {back:?}");
    }
}
