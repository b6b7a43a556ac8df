//! Formats file names for people and for programs. A name may have bytes that are not text, or text
//! with control characters for a terminal.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The name for people. Plain text stays as it is. Other names are in quotes, with escapes for
/// control characters (`\u{1b}`) and for bytes that are not text (`\xFF`).
pub fn shown(path: &Path) -> String {
    let quoted = format!("{path:?}");
    match path.to_str() {
        // Only the quotes are new. Quotes and backslashes do no harm.
        Some(text) if text.escape_debug().filter(|&c| c == '\\').count() == harmless(text) => {
            text.to_owned()
        }
        _ => quoted,
    }
}

/// The number of backslashes that `escape_debug` writes for a harmless text.
fn harmless(text: &str) -> usize {
    text.chars().map(|c| if c == '\\' { 2 } else { usize::from(matches!(c, '"' | '\'')) }).sum()
}

/// `text` with escapes for control characters, except the ends of lines.
pub fn without_controls(text: &str) -> String {
    let escape = |c: char| match c {
        '\n' => c.to_string(),
        _ if c.is_control() => c.escape_default().to_string(),
        _ => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// The name for programs, as fields of an object: `KEY` with the exact name if it is text, else as
/// [`shown`]. If it is not text, `KEY_hex` has the bytes in hexadecimal digits.
#[derive(Debug)]
pub struct NameField {
    key: &'static str,
    path: PathBuf,
}

impl NameField {
    pub fn new(key: &'static str, path: &Path) -> Self {
        Self { key, path: path.to_owned() }
    }

    /// The name for people.
    pub fn shown(&self) -> String {
        shown(&self.path)
    }
}

impl Serialize for NameField {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        match self.path.to_str() {
            Some(text) => fields.serialize_entry(self.key, text)?,
            None => {
                let bytes = self.path.as_os_str().as_bytes();
                let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                fields.serialize_entry(self.key, &shown(&self.path))?;
                fields.serialize_entry(&format!("{}_hex", self.key), &digits)?;
            }
        }
        fields.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::ffi::OsStr;

    #[test]
    fn plain_names_are_shown_as_they_are() {
        for name in ["model.gguf", "a b", "Größe", "it's", "back\\slash", "say \"hi\""] {
            assert_eq!(shown(Path::new(name)), name);
        }
    }

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        for (name, text) in [
            ("a\u{1b}[31mb", r#""a\u{1b}[31mb""#),
            ("a\nb\\", r#""a\nb\\""#),
            ("a\u{9b}b", r#""a\u{9b}b""#),
            ("a\u{202e}b", r#""a\u{202e}b""#),
        ] {
            assert_eq!(shown(Path::new(name)), text);
        }
    }

    #[test]
    fn names_that_are_no_text_stay_apart() {
        let name = |byte| PathBuf::from(OsStr::from_bytes(&[b'a', byte]));
        assert_eq!(shown(&name(0xff)), r#""a\xFF""#);
        let field = |byte| serde_json::to_value(NameField::new("file", &name(byte))).expect("JSON");
        assert_eq!(field(0xfe), json!({ "file": r#""a\xFE""#, "file_hex": "61fe" }));
        assert_eq!(field(b'\n'), json!({ "file": "a\n" }));
    }

    #[test]
    fn messages_keep_their_lines_only() {
        assert_eq!(without_controls("a\u{1b}b\rc\nd"), "a\\u{1b}b\\rc\nd");
    }
}
