//! Reads Android.bp files: as much of the Blueprint language as they use.

use std::iter::Peekable;
use std::str::Chars;

use anyhow::{bail, Context, Result};

/// A value of a property.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `"text"`
    Text(String),
    /// `[..]`
    List(Vec<Value>),
    /// `{..}`
    Map(Properties),
    /// `true` or `false`
    Flag(bool),
    /// A number.
    Number(i64),
}

/// Names with their values, in the order of the file.
pub type Properties = Vec<(String, Value)>;

/// One module.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// Its type, say `rust_binary`.
    pub kind: String,
    /// What it sets.
    pub properties: Properties,
}

impl Module {
    /// The value of a property, `a.b` for one inside a map.
    pub fn get(&self, path: &str) -> Option<&Value> {
        let mut properties = &self.properties;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            let value = &properties.iter().find(|(name, _)| name == part)?.1;
            match value {
                Value::Map(inner) if parts.peek().is_some() => properties = inner,
                value if parts.peek().is_none() => return Some(value),
                _ => return None,
            }
        }
        None
    }

    /// A property that is text.
    pub fn text(&self, path: &str) -> Option<&str> {
        match self.get(path)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A property that is a list of texts; empty if it is not set.
    pub fn list(&self, path: &str) -> Vec<&str> {
        match self.get(path) {
            Some(Value::List(values)) => values
                .iter()
                .filter_map(|value| match value {
                    Value::Text(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// With what its defaults set: lists are joined, anything else of the module's own counts.
    pub fn with_defaults(&self, modules: &[Module]) -> Module {
        let mut whole = self.clone();
        for name in self.list("defaults") {
            let defaults = modules.iter().find(|module| module.name() == name);
            for (property, value) in defaults
                .map(|module| module.with_defaults(modules).properties)
                .into_iter()
                .flatten()
                .filter(|(property, _)| property != "name" && property != "defaults")
            {
                match whole.properties.iter_mut().find(|(own, _)| *own == property) {
                    None => whole.properties.push((property, value)),
                    Some((_, Value::List(own))) => {
                        if let Value::List(more) = value {
                            own.extend(more);
                        }
                    }
                    Some(_) => {}
                }
            }
        }
        whole
    }

    /// Whether a property is set to true.
    pub fn flag(&self, path: &str) -> bool {
        self.get(path) == Some(&Value::Flag(true))
    }

    /// Its name, empty if it has none.
    pub fn name(&self) -> &str {
        self.text("name").unwrap_or_default()
    }
}

/// Reads the modules of a file.
pub fn parse(text: &str) -> Result<Vec<Module>> {
    let mut parser = Parser { chars: text.chars().peekable(), line: 1 };
    let mut modules = Vec::new();
    loop {
        parser.space()?;
        if parser.chars.peek().is_none() {
            return Ok(modules);
        }
        let line = parser.line;
        let module = parser.module();
        modules.push(module.with_context(|| format!("in what begins on line {line}"))?);
    }
}

struct Parser<'a> {
    chars: Peekable<Chars<'a>>,
    line: usize,
}

impl Parser<'_> {
    fn module(&mut self) -> Result<Module> {
        let kind = self.word()?;
        self.expect('{')?;
        Ok(Module { kind, properties: self.properties()? })
    }

    /// The inside of a map whose brace is read, and its end.
    fn properties(&mut self) -> Result<Properties> {
        let mut properties = Properties::new();
        loop {
            self.space()?;
            if self.take_if('}') {
                return Ok(properties);
            }
            let name = self.word()?;
            if properties.iter().any(|(known, _)| *known == name) {
                bail!("line {}: {name} is set twice", self.line);
            }
            self.expect(':')?;
            let value = self.value()?;
            properties.push((name, value));
            self.end_of_item('}')?;
        }
    }

    fn value(&mut self) -> Result<Value> {
        self.space()?;
        match self.chars.peek() {
            Some('"') => self.quoted().map(Value::Text),
            Some('{') => {
                self.chars.next();
                self.properties().map(Value::Map)
            }
            Some('[') => {
                self.chars.next();
                self.items().map(Value::List)
            }
            Some(c) if c.is_ascii_digit() || *c == '-' => {
                let mut digits = String::new();
                while let Some(c) = self.chars.next_if(|c| c.is_ascii_digit() || *c == '-') {
                    digits.push(c);
                }
                Ok(Value::Number(digits.parse()?))
            }
            _ => match self.word()?.as_str() {
                "true" => Ok(Value::Flag(true)),
                "false" => Ok(Value::Flag(false)),
                other => bail!("line {}: `{other}` is no value known here", self.line),
            },
        }
    }

    fn items(&mut self) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        loop {
            self.space()?;
            if self.take_if(']') {
                return Ok(items);
            }
            items.push(self.value()?);
            self.end_of_item(']')?;
        }
    }

    /// A comma, or the bracket that ends the list, which is left to be read.
    fn end_of_item(&mut self, bracket: char) -> Result<()> {
        self.space()?;
        if self.take_if(',') || self.chars.peek() == Some(&bracket) {
            return Ok(());
        }
        bail!("line {}: a comma is missing", self.line)
    }

    fn quoted(&mut self) -> Result<String> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            match self.chars.next() {
                Some('"') => return Ok(text),
                Some('\\') => text.extend(self.chars.next()),
                Some('\n') | None => bail!("line {}: a text without end", self.line),
                Some(c) => text.push(c),
            }
        }
    }

    fn word(&mut self) -> Result<String> {
        self.space()?;
        let mut word = String::new();
        while let Some(c) = self.chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            word.push(c);
        }
        if word.is_empty() {
            bail!("line {}: expected a name, found {:?}", self.line, self.chars.peek());
        }
        Ok(word)
    }

    fn expect(&mut self, wanted: char) -> Result<()> {
        self.space()?;
        if self.take_if(wanted) {
            return Ok(());
        }
        bail!("line {}: expected `{wanted}`, found {:?}", self.line, self.chars.peek())
    }

    fn take_if(&mut self, wanted: char) -> bool {
        self.chars.next_if_eq(&wanted).is_some()
    }

    /// Skips white space and comments.
    fn space(&mut self) -> Result<()> {
        while let Some(&c) = self.chars.peek() {
            match c {
                '\n' => self.line += 1,
                c if c.is_whitespace() => {}
                '/' => {
                    self.chars.next();
                    self.comment()?;
                    continue;
                }
                _ => break,
            }
            self.chars.next();
        }
        Ok(())
    }

    fn comment(&mut self) -> Result<()> {
        match self.chars.next() {
            Some('/') => while self.chars.next_if(|c| *c != '\n').is_some() {},
            Some('*') => {
                let mut last = ' ';
                loop {
                    match self.chars.next() {
                        Some('/') if last == '*' => break,
                        Some(c) => {
                            self.line += usize::from(c == '\n');
                            last = c;
                        }
                        None => bail!("line {}: a comment without end", self.line),
                    }
                }
            }
            _ => bail!("line {}: `/` begins no comment", self.line),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_read_with_all_kinds_of_values() -> Result<()> {
        let modules = parse(
            "// a comment\nrust_library {\n    name: \"liba\", /* two\n lines */\n    srcs: [\"a.rs\"],\n    backend: {\n        cpp: { enabled: false },\n    },\n    vendor: true,\n    levels: 3,\n}\n",
        )?;
        let [module] = modules.as_slice() else { bail!("{} modules", modules.len()) };
        assert_eq!((module.kind.as_str(), module.name()), ("rust_library", "liba"));
        assert_eq!(module.list("srcs"), ["a.rs"]);
        assert_eq!(module.get("backend.cpp.enabled"), Some(&Value::Flag(false)));
        assert!(module.flag("vendor") && !module.flag("backend"));
        assert_eq!(module.get("levels"), Some(&Value::Number(3)));
        assert_eq!(module.get("backend.cpp.enabled.more"), None);
        Ok(())
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, said) in [
            ("rust_library {\n    name: \"a\"\n    srcs: [],\n}", "line 3: a comma is missing"),
            ("a {\n  b: true,\n  b: true,\n}", "line 3: b is set twice"),
            ("a {\n  b: \"c\n}", "a text without end"),
            ("a {", "expected a name"),
            ("a { b: unknown }", "`unknown` is no value"),
            ("/* a", "a comment without end"),
        ] {
            let error =
                parse(text).map_or_else(|error| format!("{error:#}"), |_| "accepted".into());
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
