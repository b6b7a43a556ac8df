//! The arguments of a dump.

/// What to dump.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Args {
    pub json: bool,
    pub reset: bool,
    pub help: bool,
    /// The only user to show.
    pub client: Option<u32>,
}

pub(super) const HELP: &str = "\
Shows the state of the service, which docs/dump.md of its source describes.

Usage: dumpsys vendor.dmabufio.IDmabufIo/default [--json] [--client UID] [--reset] [--help]

  --json        print one JSON object instead of text
  --client UID  show only this user among the requests, the charges and the errors
  --reset       afterwards, forget the totals, the latencies and the errors; for root, system and
                shell only
  --help        print this
";

impl Args {
    /// # Errors
    /// If they make no sense, what to do.
    pub fn parse(args: &[String]) -> Result<Self, &'static str> {
        let mut parsed = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--json" => parsed.json = true,
                "--reset" => parsed.reset = true,
                "--help" => parsed.help = true,
                "--client" => {
                    let uid = args.next().and_then(|uid| uid.parse().ok());
                    parsed.client = Some(uid.ok_or("--client: needs a user id; see --help\n")?);
                }
                // A bug report asks every service for all that it has.
                "-a" => {}
                _ => return Err("unknown argument; see --help\n"),
            }
        }
        Ok(parsed)
    }

    /// Whether to show things of `uid`.
    pub fn shows(&self, uid: u32) -> bool {
        self.client.is_none_or(|client| client == uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, &'static str> {
        Args::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_read_in_any_order() {
        assert_eq!(parse(&[]), Ok(Args::default()));
        assert_eq!(parse(&["-a"]), Ok(Args::default()));
        let all = Args { json: true, reset: true, help: true, client: Some(10_001) };
        assert_eq!(parse(&["--client", "10001", "--help", "--reset", "--json"]), Ok(all));
    }

    #[test]
    fn wrong_arguments_are_refused_without_an_echo() {
        assert_eq!(parse(&["--\u{1b}[2J"]), Err("unknown argument; see --help\n"));
        for args in [&["--client"][..], &["--client", "me"], &["--client", "-1"]] {
            assert_eq!(parse(args), Err("--client: needs a user id; see --help\n"));
        }
    }
}
