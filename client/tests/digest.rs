//! Digests of buffers, against other implementations of them.

#![allow(missing_docs, reason = "test code")]

use crc32c::crc32c;
use dmabufio_client::digest::{Algorithm, Digest, Digester, NoDigest};
use dmabufio_client::{Buffer, Client};
use dmabufio_core::error::ErrorKind;
use dmabufio_core::heap::Heap;
use sha2::{Digest as _, Sha256};

const LEN: usize = 300_000;

fn bytes() -> Vec<u8> {
    (0..LEN as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 19) as u8).collect()
}

fn filled() -> Buffer {
    let client = Client::local(Heap::Memfd).expect("a client");
    let buffer = client.allocate(LEN as u64, "test").expect("a buffer");
    buffer.write(0, &bytes()).expect("write");
    buffer
}

/// The digests of the references.
fn expected(bytes: &[u8]) -> [(Algorithm, Digest); 2] {
    let crc = Digest::Crc32c(crc32c(bytes));
    let sha = Digest::Sha256(Sha256::digest(bytes).into());
    [(Algorithm::Crc32c, crc), (Algorithm::Sha256, sha)]
}

#[test]
fn digest_of_any_range_is_that_of_the_references() {
    let (buffer, bytes) = (filled(), bytes());
    for (offset, len) in [(0, LEN), (0, 0), (1, 1), (4095, 65538), (LEN - 1, 1)] {
        for (algorithm, digest) in expected(&bytes[offset..offset + len]) {
            let found = Digest::of(algorithm, &buffer, offset as u64, len as u64);
            assert_eq!(found.expect("a digest"), digest, "{offset} {len}");
            assert_eq!(digest.algorithm(), algorithm);
        }
    }
}

#[test]
fn pieces_of_buffers_that_are_gone_make_one_digest() {
    let bytes = bytes();
    for (algorithm, digest) in expected(&[&bytes[7..100_000], &bytes[..200_000]].concat()) {
        let digester = Digester::start(algorithm).expect("a thread");
        digester.add(&filled(), 7, 99_993).expect("add");
        digester.add(&filled(), 0, 0).expect("add");
        digester.add(&filled(), 0, 200_000).expect("add");
        assert_eq!(digester.finish().expect("a digest"), digest);
    }
}

#[test]
fn range_beyond_the_buffer_is_an_error_at_the_end() {
    let digester = Digester::start(Algorithm::Sha256).expect("a thread");
    let buffer = filled();
    for _ in 0..3 {
        digester.add(&buffer, buffer.size(), 1).expect("add");
    }
    let error = digester.finish().expect_err("an error");
    assert_eq!(error.kind(), Some(ErrorKind::InvalidRequest), "{error}");
}

#[test]
fn text_of_a_digest_leads_back_and_other_texts_are_refused() {
    for (_, digest) in expected(b"abc") {
        let text = digest.to_string();
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(text.to_uppercase().parse(), Ok(digest));
    }
    let sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(expected(b"abc")[1].1.to_string(), sha);
    for text in ["", "+1234567", "1234567", "123456789", &sha[1..], &"\u{e9}".repeat(32)] {
        assert_eq!(text.parse::<Digest>(), Err(NoDigest), "{text}");
    }
}
