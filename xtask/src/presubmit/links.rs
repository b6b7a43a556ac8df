//! Checks that every path in a document or a comment exists: link targets, words in backquotes that
//! look like paths of the tree, and documents that code names. If a link names a heading, the
//! document must have it.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use xtask::tree;

/// The broken names, as `file:line: what`.
pub fn check() -> Result<Vec<String>> {
    let files = tree::files()?;
    let top = |path: &str| {
        path.split_once('/').is_some_and(|(first, _)| {
            files.iter().any(|file| file.starts_with(&format!("{first}/")))
        })
    };
    let mut problems = Vec::new();
    for name in files.iter().filter(|name| name.ends_with(".md") || name.ends_with(".rs")) {
        let is_document = name.ends_with(".md");
        let dir = Path::new(name).parent().unwrap_or(Path::new(""));
        let mut fenced = false;
        for (number, line) in tree::read(name)?.lines().enumerate() {
            if is_document && line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            let said: Vec<(&str, Vec<PathBuf>)> = if is_document {
                // A link is relative to its document. A quoted path may also be relative to the
                // root.
                let linked = links(line).into_iter().map(|link| match link.starts_with('#') {
                    true => (link, vec![PathBuf::from(name)]),
                    false => (link, vec![dir.join(split(link).0)]),
                });
                let quoted = quoted(line)
                    .into_iter()
                    .filter(|path| top(path))
                    .map(|path| (path, vec![PathBuf::from(path), dir.join(path)]));
                linked.chain(quoted).collect()
            } else {
                let named = named(line).into_iter();
                named.map(|link| (link, vec![PathBuf::from(split(link).0)])).collect()
            };
            for (link, paths) in said {
                let mut found = paths.iter().filter_map(|path| normal(path));
                let Some(path) = found.find(|path| tree::path(path).exists()) else {
                    problems.push(format!("{name}:{}: there is no {link}", number + 1));
                    continue;
                };
                if let Some(anchor) = split(link).1 {
                    if path.ends_with(".md") && !has_heading(&tree::read(&path)?, anchor) {
                        problems.push(format!("{name}:{}: {path} has no #{anchor}", number + 1));
                    }
                }
            }
        }
    }
    Ok(problems)
}

/// A link without its anchor, and the anchor.
fn split(link: &str) -> (&str, Option<&str>) {
    link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)))
}

/// The relative targets of `[text](target)`, with their anchors.
fn links(line: &str) -> Vec<&str> {
    line.match_indices("](")
        .filter_map(|(at, _)| {
            let rest = &line[at + 2..];
            let target = rest[..rest.find(')')?].split(' ').next()?;
            (!target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
                .then_some(target)
        })
        .collect()
}

/// The documents that a line comment names, with their anchors.
fn named(line: &str) -> Vec<&str> {
    let Some(comment) = line.trim_start().strip_prefix("//") else { return Vec::new() };
    comment
        .split(|c: char| c.is_whitespace() || "()`,;<>".contains(c))
        .map(|word| word.trim_end_matches(['.', ':']))
        .filter(|word| word.starts_with("docs/") && split(word).0.ends_with(".md"))
        .collect()
}

/// Whether a document has a heading with this anchor. As on GitHub, an anchor is the heading in
/// lower case, without punctuation, with hyphens for blanks.
fn has_heading(text: &str, anchor: &str) -> bool {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchors = headings.map(|line| {
        let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
        let title = line.trim_start_matches('#').trim().to_lowercase();
        title.chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect::<String>()
    });
    anchors.into_iter().any(|known| known == anchor)
}

/// Words in backquotes that can be a path: without blanks, patterns or placeholders.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .map(|word| word.split(':').next().unwrap_or(word))
        .filter(|word| word.contains('/') && !word.starts_with('/'))
        .filter(|word| word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)))
        .collect()
}

/// `path` without `.` and `..`; `None` if it leaves the tree.
fn normal(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()?),
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_links_are_found() {
        let line = "[a](docs/a.md#part), [b](https://x.y/z), [c](#here) and [d](../d.md \"title\")";
        assert_eq!(links(line), ["docs/a.md#part", "#here", "../d.md"]);
    }

    #[test]
    fn documents_are_found_in_comments_only() {
        let line = "    /// See docs/a.md#part, `docs/b.md` and (docs/c.md).";
        assert_eq!(named(line), ["docs/a.md#part", "docs/b.md", "docs/c.md"]);
        assert!(named("read(\"docs/a.md\")").is_empty());
    }

    #[test]
    fn anchor_is_the_heading_without_punctuation() {
        let text = "# One\n## `RWF_DONTCACHE` is used: `fallocate(2)`, in AUTO\n";
        assert!(has_heading(text, "rwf_dontcache-is-used-fallocate2-in-auto"));
        assert!(!has_heading(text, "rwf_dontcache"));
    }

    #[test]
    fn only_plain_paths_count_as_quoted() {
        assert_eq!(quoted("`src/a.rs:12`, `src/*.rs`, `a b/c`, `/dev/x`, `name`"), ["src/a.rs"]);
    }

    #[test]
    fn path_out_of_the_tree_is_refused() {
        assert_eq!(normal(Path::new("docs/../README.md")).as_deref(), Some("README.md"));
        assert_eq!(normal(Path::new("../x")), None);
    }
}
