//! Every path that a document names exists: link targets, and words in backquotes that look like paths of the tree.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use xtask::tree;

/// What leads nowhere, as `file:line: what`.
pub fn check() -> Result<Vec<String>> {
    let files = tree::files()?;
    let top = |path: &str| {
        path.split_once('/').is_some_and(|(first, _)| {
            files.iter().any(|file| file.starts_with(&format!("{first}/")))
        })
    };
    let mut problems = Vec::new();
    for name in files.iter().filter(|name| name.ends_with(".md")) {
        let dir = Path::new(name).parent().unwrap_or(Path::new(""));
        let mut fenced = false;
        for (number, line) in tree::read(name)?.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            // A link is relative to its document, a quoted path also to the root, as people write them.
            let linked = links(line).into_iter().map(|link| (link, vec![dir.join(link)]));
            let quoted = quoted(line)
                .into_iter()
                .filter(|path| top(path))
                .map(|path| (path, vec![PathBuf::from(path), dir.join(path)]));
            for (said, paths) in linked.chain(quoted) {
                if !paths
                    .iter()
                    .filter_map(|path| normal(path))
                    .any(|path| tree::path(&path).exists())
                {
                    problems.push(format!("{name}:{}: there is no {said}", number + 1));
                }
            }
        }
    }
    Ok(problems)
}

/// The relative targets of `[text](target)`.
fn links(line: &str) -> Vec<&str> {
    line.match_indices("](")
        .filter_map(|(at, _)| {
            let rest = &line[at + 2..];
            let target = rest[..rest.find(')')?].split('#').next()?.split(' ').next()?;
            (!target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
                .then_some(target)
        })
        .collect()
}

/// Words in backquotes that can only be one path: no blanks, patterns or placeholders.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .map(|word| word.split(':').next().unwrap_or(word))
        .filter(|word| word.contains('/') && !word.starts_with('/'))
        .filter(|word| word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c)))
        .collect()
}

/// `path` without `.` and `..`; none when it leaves the tree.
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
        assert_eq!(links(line), ["docs/a.md", "../d.md"]);
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
