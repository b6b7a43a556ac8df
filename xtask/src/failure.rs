//! The exit statuses of `cargo xtask` beyond success and failure.

use std::fmt;
use std::process::ExitCode;

use anyhow::Error;

/// The exit status (`EX_UNAVAILABLE`) if no test failed, but something that the tests need was not
/// available.
pub const UNAVAILABLE: u8 = 69;

/// Marks an error of the VM itself, or of another requirement; used as a context of the error.
#[derive(Clone, Copy, Debug)]
pub struct Unavailable(pub &'static str);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Marks an error whose message is already printed.
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
