//! An order to `adit serve`: a line of JSON on a socket, and how it is given by who is not root. Names of profiles and switches
//! are in it, and nothing else.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::arguments::{Adit, Command};
use super::places::Places;
use super::socket;
use crate::control::interface_name;

/// The longest answer, in bytes.
const ANSWER: u64 = 4 << 20;
/// How long an order may wait for a gateway, in seconds: as long as it does, another one cannot be done in its place.
const WAIT: f64 = 30.0;
/// How much longer than it was told to wait an order may take.
const GRACE: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Up,
    Down,
    Status,
}

/// An option of its command line.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Flag {
    FullTunnel,
    KillSwitch,
    NoKillSwitch,
    Json,
}

/// One order.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Order {
    word: Word,
    profile: Option<String>,
    flags: Vec<Flag>,
    /// Seconds.
    wait: Option<f64>,
}

/// What came of it.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Done {
    pub(super) code: u8,
    pub(super) output: String,
    pub(super) errors: String,
}

impl Order {
    /// The order that a command is; `None` if it is none for somebody else.
    fn of(command: &Command) -> Option<Self> {
        let order = |word, profile: &Option<String>, flags: &[(bool, Flag)], wait| {
            let flags = flags.iter().filter(|(on, _)| *on).map(|(_, flag)| *flag).collect();
            Some(Self { word, profile: profile.clone(), flags, wait })
        };
        match command {
            Command::Up(up) => {
                let flags = [
                    (up.full_tunnel, Flag::FullTunnel),
                    (up.kill_switch, Flag::KillSwitch),
                    (up.no_kill_switch, Flag::NoKillSwitch),
                ];
                order(Word::Up, &up.profile, &flags, Some(up.wait.as_secs_f64()))
            }
            Command::Down(down) => order(Word::Down, &down.profile, &[], None),
            Command::Status(status) => {
                order(Word::Status, &status.profile, &[(status.json, Flag::Json)], None)
            }
            Command::Import(_)
            | Command::Enroll(_)
            | Command::Qr(_)
            | Command::Serve
            | Command::Completions { .. }
            | Command::Man { .. }
            | Command::Keep(_) => None,
        }
    }

    /// The words of a command line.
    ///
    /// # Errors
    /// The profile's name can be none.
    pub(super) fn words(&self) -> Result<Vec<String>, String> {
        let mut words = vec![match self.word {
            Word::Up => "up",
            Word::Down => "down",
            Word::Status => "status",
        }];
        words.extend(self.flags.iter().map(|flag| match flag {
            Flag::FullTunnel => "--full-tunnel",
            Flag::KillSwitch => "--kill-switch",
            Flag::NoKillSwitch => "--no-kill-switch",
            Flag::Json => "--json",
        }));
        let mut words: Vec<_> = words.into_iter().map(str::to_owned).collect();
        if let Some(wait) = self.wait {
            words.push(format!("--wait={}", wait.min(WAIT)));
        }
        if let Some(profile) = &self.profile {
            // A name may begin with a dash.
            words.extend(["--".to_owned(), interface_name(profile)?]);
        }
        Ok(words)
    }
}

/// Has `adit serve` do what this process has no right to, if there is one. `None` if it is to be done here.
///
/// # Errors
/// In words: one may not ask, or it does not answer.
pub(super) fn pass_on(places: &Places, arguments: &Adit) -> Result<Option<ExitCode>> {
    if arguments.foreground || rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let Some(order) = Order::of(&arguments.command) else { return Ok(None) };
    let path = places.orders();
    let mut stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => bail!(socket::FORBIDDEN),
        Err(error) => return Err(error).with_context(|| format!("cannot ask {}", path.display())),
    };
    stream.set_read_timeout(Some(Duration::from_secs_f64(order.wait.unwrap_or(0.0)) + GRACE))?;
    let mut line = serde_json::to_vec(&order)?;
    line.push(b'\n');
    // Who is refused at once is told so, and that is to be read.
    let sent = stream.write_all(&line);
    let mut answer = Vec::new();
    let read = stream.take(ANSWER).read_to_end(&mut answer);
    let done: Done = match serde_json::from_slice(&answer) {
        // Whatever came after it: the other end does not wait for an order that it refuses.
        Ok(done) => done,
        Err(error) => {
            sent.context("`adit serve` does not listen")?;
            read.context("`adit serve` does not answer")?;
            return Err(error).context("`adit serve` broke off");
        }
    };
    super::write(&done.output)?;
    // It fails when nobody reads that either.
    let _ = io::stderr().write_all(done.errors.as_bytes());
    Ok(Some(done.code.into()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nobody_has_an_order_wait_for_long() {
        let order = order("adit up --wait 3600").unwrap();
        assert_eq!(order.words().unwrap(), ["up", "--wait=30"]);
    }

    fn order(words: &str) -> Option<Order> {
        Order::of(&Adit::try_parse_from(words.split(' ')).unwrap().command)
    }

    #[test]
    fn what_is_ordered_is_what_was_typed() {
        for (typed, done) in [
            ("up", "up --wait=5"),
            (
                "up office --full-tunnel --no-kill-switch",
                "up --full-tunnel --no-kill-switch --wait=5 -- office",
            ),
            ("up --kill-switch --wait 0.5", "up --kill-switch --wait=0.5"),
            ("down office", "down -- office"),
            ("status --json", "status --json"),
        ] {
            let line = serde_json::to_string(&order(&format!("adit {typed}")).unwrap()).unwrap();
            let words = serde_json::from_str::<Order>(&line).unwrap().words().unwrap();
            assert_eq!(words.join(" "), done);
            Adit::try_parse_from(std::iter::once("adit".to_owned()).chain(words)).unwrap();
        }
        for kept in ["adit import x.conf", "adit enroll https://x", "adit qr", "adit serve"] {
            assert_eq!(order(kept), None, "{kept}");
        }
    }

    proptest! {
        /// Whatever somebody of the group sends, it is no other command than these three, with no other options.
        #[test]
        fn no_order_is_anything_else(profile in "\\PC{0,20}|--[a-z-]{1,12}|[a-z0-9.-]{1,15}", wait in any::<f64>()) {
            let order = Order { word: Word::Up, profile: Some(profile.clone()), flags: vec![Flag::Json], wait: Some(wait) };
            if let Ok(words) = order.words() {
                prop_assert_eq!(&words[..2], &["up", "--json"]);
                prop_assert!(words[2].starts_with("--wait="));
                prop_assert_eq!(&words[3..], &["--".to_owned(), profile]);
            }
        }

        #[test]
        fn what_is_no_order_is_refused(line in "\\PC{0,60}") {
            prop_assert!(serde_json::from_str::<Order>(&line).is_err());
        }
    }
}
