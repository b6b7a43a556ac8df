//! As much of XML as a VINTF manifest has: elements, attributes, text and comments. Entities stay as they are written.
//! A document with a DOCTYPE is refused.

/// An element and what is in it.
#[derive(Debug)]
pub struct Element<'a> {
    pub name: &'a str,
    attributes: &'a str,
    /// The text between its children, joined.
    pub text: String,
    children: Vec<Element<'a>>,
}

impl<'a> Element<'a> {
    /// The root of a document; `None` if that is not well-formed.
    pub fn parse(document: &'a str) -> Option<Self> {
        let mut open = vec![Self::new("", "")];
        let mut rest = document.trim_start_matches('\u{feff}');
        while let Some((text, markup)) = rest.split_once('<') {
            open.last_mut()?.text.push_str(text);
            rest = if let Some(comment) = markup.strip_prefix("!--") {
                comment.split_once("-->")?.1
            } else if let Some(data) = markup.strip_prefix("![CDATA[") {
                let (data, rest) = data.split_once("]]>")?;
                open.last_mut()?.text.push_str(data);
                rest
            } else if let Some(instruction) = markup.strip_prefix('?') {
                instruction.split_once("?>")?.1
            } else {
                let (tag, rest) = markup.split_at(end_of_tag(markup)?);
                if let Some(name) = tag.strip_prefix('/') {
                    let element = open.pop().filter(|one| one.name == name.trim_end())?;
                    open.last_mut()?.children.push(element);
                } else {
                    let (tag, is_empty) = match tag.strip_suffix('/') {
                        Some(tag) => (tag, true),
                        None => (tag, false),
                    };
                    let (name, attributes) =
                        tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
                    if !name.starts_with(char::is_alphabetic) {
                        return None;
                    }
                    let element = Self::new(name, attributes);
                    if is_empty {
                        open.last_mut()?.children.push(element);
                    } else {
                        open.push(element);
                    }
                }
                &rest[1..]
            };
        }
        let document = open.pop().filter(|_| open.is_empty())?;
        let text = document.text + rest;
        let mut roots = document.children.into_iter();
        let root = roots.next().filter(|_| text.trim().is_empty())?;
        roots.next().is_none().then_some(root)
    }

    fn new(name: &'a str, attributes: &'a str) -> Self {
        Self { name, attributes, text: String::new(), children: Vec::new() }
    }

    /// The children of a name.
    pub fn children<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b Element<'a>> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.attributes;
        loop {
            let (key, tail) = rest.split_once('=')?;
            let tail = tail.trim_start();
            let quote = tail.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
            let (value, tail) = tail[1..].split_once(quote)?;
            if key.trim() == name {
                return Some(value);
            }
            rest = tail;
        }
    }
}

/// Where the `>` of a tag is that is not in the value of an attribute.
fn end_of_tag(markup: &str) -> Option<usize> {
    let mut quoted = None;
    markup.char_indices().find_map(|(i, c)| match (quoted, c) {
        (None, '>') => Some(i),
        (None, '"' | '\'') => {
            quoted = Some(c);
            None
        }
        (Some(quote), _) if quote == c => {
            quoted = None;
            None
        }
        _ => None,
    })
}
