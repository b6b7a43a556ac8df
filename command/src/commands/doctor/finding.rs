//! What `dmabufio doctor` found, and how bad it is.

use serde::Serialize;
use std::fmt;

/// What a finding is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Without it nothing works.
    Necessary,
    /// Without it it works, slowly.
    Recommended,
    /// For information.
    Informative,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Necessary => "necessary",
            Self::Recommended => "recommended",
            Self::Informative => "informative",
        })
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// For information.
    Info,
    /// It works, slowly.
    Slow,
    /// It does not work.
    Broken,
}

/// One line of the report.
#[derive(Serialize)]
pub struct Finding {
    pub group: Group,
    pub subject: &'static str,
    pub verdict: Verdict,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    pub fn new(
        group: Group,
        subject: &'static str,
        verdict: Verdict,
        text: impl Into<String>,
    ) -> Self {
        Self { group, subject, verdict, text: text.into(), fix: None }
    }

    /// Adds what to do about it.
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}
