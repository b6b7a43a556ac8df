//! The header for C code is made from this crate.

#![allow(missing_docs, reason = "test code")]

use cbindgen::{Builder, Config};
use std::env;
use std::fs;
use std::path::Path;

/// The files with what C code sees, in the order of the header.
const SOURCES: [&str; 10] = [
    "error.rs",
    "numbers.rs",
    "objects.rs",
    "types.rs",
    "sys/error.rs",
    "sys/client.rs",
    "sys/batch.rs",
    "sys/memory.rs",
    "sys/model.rs",
    "sys/snapshot.rs",
];
const HEADER: &str = "include/dmabufio.h";

fn generated(folder: &Path) -> String {
    let config = Config::from_file(folder.join("cbindgen.toml")).expect("the configuration");

    let builder =
        SOURCES.into_iter().fold(Builder::new().with_config(config), |builder, source| {
            builder.with_src(folder.join("src").join(source))
        });
    let mut header = Vec::new();
    builder.generate().expect("the header").write(&mut header);
    String::from_utf8(header).expect("text")
}

#[test]
fn header_is_what_cbindgen_makes_of_the_source() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (path, header) = (folder.join(HEADER), generated(folder));
    if env::var_os("DMABUFIO_UPDATE_HEADER").is_some() {
        fs::write(&path, &header).expect("write");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == header,
        "client/c/{HEADER} is not up to date\n\
         next: DMABUFIO_UPDATE_HEADER=1 cargo test -p dmabufio_c --test header"
    );
}
