//! `--sha256` and `--sums`: the digest that a file is expected to have.

use crate::name::shown;
use anyhow::{bail, ensure, Context, Result};
use dmabufio_client::digest::{Algorithm, Digest, Digester};
use dmabufio_client::open_regular;
use rustix::fs::OFlags;
use std::ffi::OsStr;
use std::fs::canonicalize;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The most bytes of a list of digests.
const LONGEST_LIST: u64 = 64 << 20;

/// Options that say which digest is expected.
#[derive(clap::Args)]
pub struct ExpectedArgs {
    /// Fail unless what was loaded has this SHA-256
    #[arg(long, value_name = "HEX", value_parser = parse_sha256, conflicts_with = "sums")]
    sha256: Option<Digest>,

    /// Fail unless the whole file has the SHA-256 of its line in this list
    #[arg(long, value_name = "SHA256SUMS", conflicts_with_all = ["offset", "length"])]
    sums: Option<PathBuf>,
}

fn parse_sha256(text: &str) -> Result<Digest, String> {
    match text.parse() {
        Ok(digest @ Digest::Sha256(_)) => Ok(digest),
        _ => Err("not the 64 hexadecimal digits of a SHA-256".to_owned()),
    }
}

impl ExpectedArgs {
    /// The digest that `file` has to have.
    pub fn digest(&self, file: &Path) -> Result<Option<Digest>> {
        match &self.sums {
            Some(list) => {
                let found = of_list(list, file).with_context(|| shown(list))?;
                Ok(Some(found))
            }
            None => Ok(self.sha256),
        }
    }
}

/// Starts to compute what is to be compared with `expected`.
pub fn start(expected: Option<Digest>) -> Result<Option<Digester>> {
    Ok(expected.map(|_| Digester::start(Algorithm::Sha256)).transpose()?)
}

/// Fails unless `digester` finds what is expected.
pub fn check(digester: Option<Digester>, expected: Option<Digest>) -> Result<()> {
    let Some((digester, expected)) = digester.zip(expected) else { return Ok(()) };
    let found = digester.finish().context("compute the SHA-256")?;
    ensure!(found == expected, "what was loaded has the SHA-256 {found}, and not {expected}");
    Ok(())
}

/// The digest that the list has for `file`. Its names count from its own folder.
fn of_list(list: &Path, file: &Path) -> Result<Digest> {
    let mut text = Vec::new();
    open_regular(list, OFlags::empty())?.take(LONGEST_LIST + 1).read_to_end(&mut text)?;
    ensure!(text.len() as u64 <= LONGEST_LIST, "more than {LONGEST_LIST} bytes");
    let folder = list.parent().unwrap_or(Path::new(""));
    let (wanted, real) = (file.file_name(), canonicalize(file).ok());
    let same = |path: &Path| {
        // Only names that end alike are looked up.
        path.file_name() == wanted && canonicalize(folder.join(path)).ok() == real
    };
    for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let (path, digest) = entry(line).with_context(|| format!("line {number}"))?;
        if same(&path) {
            return Ok(digest);
        }
    }
    bail!("has no line for {}", shown(file))
}

/// A line: the digest, a space, a space or an asterisk, and the name. A backslash at the start says
/// that backslashes and ends of lines in the name are escaped.
fn entry(line: &[u8]) -> Result<(PathBuf, Digest)> {
    let (escaped, rest) = match line.strip_prefix(b"\\") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let what = "not a digest and a name, as sha256sum writes them";
    let (digest, name) = rest.split_at_checked(64).context(what)?;
    let digest = std::str::from_utf8(digest).ok().and_then(|text| parse_sha256(text).ok());
    let name = name.strip_prefix(b"  ").or_else(|| name.strip_prefix(b" *"));
    let (digest, name) = digest.zip(name.filter(|name| !name.is_empty())).context(what)?;
    if !escaped {
        return Ok((OsStr::from_bytes(name).into(), digest));
    }
    let mut plain = Vec::new();
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(match (byte, byte == b'\\') {
            (_, false) => byte,
            _ => match bytes.next() {
                Some(b'\\') => b'\\',
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                _ => bail!(what),
            },
        });
    }
    Ok((OsStr::from_bytes(&plain).into(), digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn lines_of_sha256sum_are_read() {
        for (line, name) in [
            (format!("{HEX}  a b"), "a b"),
            (format!("{HEX} *a"), "a"),
            (format!("{HEX}   a"), " a"),
            (format!("\\{HEX}  a\\nb\\\\c"), "a\nb\\c"),
            (format!("{HEX}  a\\n"), "a\\n"),
        ] {
            let (path, digest) = entry(line.as_bytes()).expect(&line);
            assert_eq!((path.to_str(), digest.to_string().as_str()), (Some(name), HEX));
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "a".to_owned(),
            HEX.to_owned(),
            format!("{HEX}  "),
            format!("{HEX} a"),
            format!("{HEX}a  b"),
            format!("x{}  a", &HEX[1..]),
            format!("\\{HEX}  a\\t"),
            format!("\\{HEX}  a\\"),
            format!("SHA256 (a) = {HEX}"),
        ] {
            assert!(entry(line.as_bytes()).is_err(), "{line}");
        }
    }
}
