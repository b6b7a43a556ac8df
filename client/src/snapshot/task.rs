//! The names of snapshots, for people and as files.

use std::ffi::OsString;
use std::fmt::{self, Display, Formatter};

/// A task of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// The user, as Android numbers them; the first one is 0.
    pub user: u32,
    /// The task.
    pub task: u32,
}

impl Display for TaskId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "task {} of user {}", self.task, self.user)
    }
}

/// Which of a task's two snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// All pixels.
    Full,
    /// Half the width and half the height.
    Reduced,
}

impl Display for Variant {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Reduced => "reduced",
        })
    }
}

impl Variant {
    fn suffix(self) -> &'static str {
        match self {
            Self::Full => ".snapshot",
            Self::Reduced => ".reduced",
        }
    }
}

impl TaskId {
    pub(super) fn file_name(self, variant: Variant) -> OsString {
        format!("{}-{}{}", self.user, self.task, variant.suffix()).into()
    }

    /// Whose snapshot a file is, if that is its name.
    pub(super) fn of_file_name(name: &[u8]) -> Option<(Self, Variant)> {
        let name = std::str::from_utf8(name).ok()?;
        let variant = [Variant::Full, Variant::Reduced];
        let variant = variant.into_iter().find(|variant| name.ends_with(variant.suffix()))?;
        let (user, task) = name.strip_suffix(variant.suffix())?.split_once('-')?;
        let id = Self { user: user.parse().ok()?, task: task.parse().ok()? };
        // One name each: no zeros in front, no sign.
        (id.file_name(variant).to_str() == Some(name)).then_some((id, variant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_name_leads_back_to_its_task_only() {
        for (user, task) in [(0, 0), (10, 42), (u32::MAX, u32::MAX)] {
            for variant in [Variant::Full, Variant::Reduced] {
                let id = TaskId { user, task };
                let name = id.file_name(variant).into_string().expect("text");
                assert_eq!(TaskId::of_file_name(name.as_bytes()), Some((id, variant)));
            }
        }
        for other in [
            "",
            "-.snapshot",
            "0-.snapshot",
            "00-1.snapshot",
            "+1-1.snapshot",
            "1--1.snapshot",
            "1-4294967296.snapshot",
            "1-1.snapshot.reduced",
            "1-1",
            "a1-1.snapshot",
            "1-1.SNAPSHOT",
        ] {
            assert_eq!(TaskId::of_file_name(other.as_bytes()), None, "{other}");
        }
        assert_eq!(TaskId::of_file_name(b"\xff-1.snapshot"), None);
    }
}
