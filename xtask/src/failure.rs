//! What the exit status of `cargo xtask` says beyond success and failure.

use std::fmt;
use std::process::ExitCode;

use anyhow::Error;

/// The exit status (`EX_UNAVAILABLE`) for: nothing was found wrong, but what was to be looked at could not be had.
pub const UNAVAILABLE: u8 = 69;

/// Marks an error as one of the VM itself, or of another thing that has to be there first; as a context of the error.
#[derive(Clone, Copy, Debug)]
pub struct Unavailable(pub &'static str);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Marks an error whose message has been printed where it belongs.
#[derive(Clone, Copy, Debug)]
pub struct Reported;

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("see above")
    }
}

/// The exit status for `error`.
pub fn code(error: &Error) -> ExitCode {
    if error.downcast_ref::<Unavailable>().is_some() {
        ExitCode::from(UNAVAILABLE)
    } else {
        ExitCode::FAILURE
    }
}
