//! Patterns of tensor names.

/// Whether `name` matches `pattern`, in which `*` stands for any text and `?` for one character.
/// Takes time in proportion to the product of their lengths at most.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut done) = (0, 0);
    // Behind the last star, and what it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while done < name.len() {
        match pattern.get(at) {
            Some('*') => {
                at += 1;
                star = Some((at, done));
            }
            Some(&c) if c == '?' || c == name[done] => {
                at += 1;
                done += 1;
            }
            _ => match star {
                Some((behind, end)) => {
                    star = Some((behind, end + 1));
                    (at, done) = (behind, end + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn star_stands_for_any_text_and_question_mark_for_one_character() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "a.b"),
            ("layers.?.w", "layers.7.w"),
            ("*.weight", "a.weight.weight"),
            ("a*b*c", "a.b.b.c"),
            ("?", "ß"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("", "a"), ("layers.?.w", "layers.17.w"), ("*.weight", "a.bias"), ("a", "ab")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
