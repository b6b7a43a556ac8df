//! The dump (`dumpsys`). Waits for short locks only, and names no file.

mod args;
mod json;
mod report;
mod text;

use crate::state::State;
use args::{Args, HELP};
use report::Report;

/// The users that may reset what the service counts: root, system and shell of Android. Clients
/// must not hide what they do.
const MAY_RESET: [u32; 3] = [0, 1000, 2000];

/// The state of the service, as the arguments of `uid` say.
pub(crate) fn run(state: &State, uid: u32, args: &[String]) -> String {
    let args = match Args::parse(args) {
        Ok(args) if args.help => return HELP.to_owned(),
        Ok(args) => args,
        Err(what) => return what.to_owned(),
    };
    let totals = match args.reset {
        true if !MAY_RESET.contains(&uid) => {
            return "--reset: only root, system and shell may do that\n".to_owned();
        }
        true => state.statistics.take(),
        false => state.statistics.totals(),
    };
    let report = Report::new(state, &totals, &args);
    match args.json {
        true => format!("{}\n", report.json()),
        false => report.to_string(),
    }
}
