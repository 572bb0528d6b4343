//! `adit serve`: does for the people of a group what takes root. An order is a line of JSON on a socket; it is done by a
//! process of adit of its own, whose words are made here: of whoever asks come names of profiles and switches, and nothing else.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command as Program, ExitCode, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::net::{AddressFamily, sockopt};
use sd_notify::NotifyState;
use serde::{Deserialize, Serialize};

use super::arguments::{Adit, Command};
use super::places::{self, Places};
use super::socket;
use crate::control::interface_name;

/// The longest order, in bytes.
const LONGEST: usize = 4 << 10;
/// What is read in vain after an order, in bytes.
const REST: u64 = 64 << 10;
/// The longest answer, in bytes.
const ANSWER: u64 = 4 << 20;
/// How long an order may take to come, or an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an order may wait for a gateway, in seconds: as long as it does, another one cannot be done in its place.
const WAIT: f64 = 30.0;
/// How much longer than it was told to wait an order may take.
const GRACE: Duration = Duration::from_secs(60);
/// Orders that are done at a time.
const ORDERS: usize = 16;

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
struct Order {
    word: Word,
    profile: Option<String>,
    flags: Vec<Flag>,
    /// Seconds.
    wait: Option<f64>,
}

/// What came of it.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Done {
    code: u8,
    output: String,
    errors: String,
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
    fn words(&self) -> Result<Vec<String>, String> {
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

/// Serves whoever comes, until it is killed.
///
/// # Errors
/// In words: there is no socket to be had.
pub(super) fn run(places: &Places) -> Result<()> {
    places::make_folder(&places.run, 0o755)?;
    let path = places.orders();
    let (listener, _file) = match inherited()? {
        Some(listener) => (listener, None),
        None => {
            let (listener, file) = socket::bind(&path).with_context(|| path.display().to_string())?;
            (listener, Some(file))
        }
    };
    // Now: once a package has replaced the file, the system tells no path any more under which there is a program.
    let program = std::env::current_exe().context("cannot find this program")?;
    // Without systemd nobody hears it.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    serve(&listener, &path, Arc::new(Performer { program, places: places.clone() }));
    Ok(())
}

/// Hears whoever comes, so many at a time, in the order in which they come.
fn serve(listener: &UnixListener, path: &Path, performer: Arc<Performer>) {
    for stream in listener.incoming() {
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!("{}: {error}", path.display());
                thread::sleep(PATIENCE / 10);
                continue;
            }
        };
        // One is that of the loop. Who has said nothing yet counts too.
        if Arc::strong_count(&performer) > ORDERS {
            // Who does not take it has gone.
            let _ = answer(&stream, &refused(1, "too much is being done at once; try again"));
            continue;
        }
        let performer = performer.clone();
        let hear = move || {
            if let Err(error) = hear(&stream, &performer) {
                tracing::warn!("an order: {error:#}");
            }
        };
        // No thread: the connection is closed.
        let _ = thread::Builder::new().name("order".into()).spawn(hear);
    }
}

/// The socket that systemd has made, as standard input.
fn inherited() -> Result<Option<UnixListener>> {
    let stdin = io::stdin();
    let listens = sockopt::socket_acceptconn(stdin.as_fd()) == Ok(true)
        && sockopt::socket_domain(stdin.as_fd()) == Ok(AddressFamily::UNIX);
    if !listens {
        return Ok(None);
    }
    let listener = UnixListener::from(stdin.as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(false)?;
    Ok(Some(listener))
}

fn hear(stream: &UnixStream, performer: &Performer) -> Result<()> {
    let line = socket::line(stream, LONGEST, PATIENCE)?;
    let done = if socket::may_ask(stream)? {
        let words = serde_json::from_slice::<Order>(&line).map_err(|error| error.to_string());
        match words.and_then(|order| order.words()) {
            Ok(words) => performer.perform(&words),
            Err(error) => refused(super::WRONG, &format!("no order: {error}")),
        }
    } else {
        refused(1, socket::FORBIDDEN)
    };
    answer(stream, &done)
}

fn refused(code: u8, words: &str) -> Done {
    Done { code, errors: format!("adit: {words}\n"), ..Done::default() }
}

/// Answers. What was sent beside an order is taken, as the other end would be told of it in place of the end; what still comes
/// is not waited for.
fn answer(mut stream: &UnixStream, done: &Done) -> Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&serde_json::to_vec(done)?)?;
    stream.shutdown(Shutdown::Write)?;
    stream.set_nonblocking(true)?;
    let _ = io::copy(&mut stream.take(REST), &mut io::sink());
    Ok(())
}

/// What does orders.
struct Performer {
    /// This program, or what a package has put in its place.
    program: PathBuf,
    places: Places,
}

impl Performer {
    fn perform(&self, words: &[String]) -> Done {
        let folder = |name: &str, path: &Path| [name.into(), path.as_os_str().to_owned()];
        let ended = Program::new(&self.program)
            .args(folder("--profiles", &self.places.profiles))
            .args(folder("--run", &self.places.run))
            // A tunnel that talks would hold our end of its standard error.
            .args(["--log-level", "error"])
            .args(words)
            .stdin(Stdio::null())
            .output();
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!("{}: {error}", self.program.display());
                return refused(1, &format!("`adit serve` cannot start {}: {error}", self.program.display()));
            }
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = ended.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        Done { code, output: text(&ended.stdout), errors: text(&ended.stderr) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use clap::Parser as _;
    use proptest::prelude::*;

    use super::*;
    use crate::test_folder::Folder;

    /// A server in a folder of its own that does orders with `program`; where it listens.
    fn begin(folder: &Folder, program: &str) -> PathBuf {
        let path = folder.path().join("orders");
        let listener = UnixListener::bind(&path).unwrap();
        let places = Places { profiles: folder.path().into(), run: folder.path().into() };
        let (performer, name) = (Performer { program: program.into(), places }, path.clone());
        // It goes on until the tests end.
        thread::spawn(move || serve(&listener, &name, Arc::new(performer)));
        path
    }

    fn call(path: &Path) -> UnixStream {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE * 4)).unwrap();
        stream
    }

    /// What is answered to a line.
    fn say(path: &Path, line: &str) -> Done {
        let mut stream = call(path);
        stream.write_all(line.as_bytes()).unwrap();
        heard(stream)
    }

    fn heard(mut stream: UnixStream) -> Done {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    const STATUS: &str = r#"{"word":"status","profile":"office","flags":["json"],"wait":null}"#;

    #[test]
    fn an_order_is_done_and_one_that_cannot_be_started_is_answered_too() {
        let folder = Folder::new();
        let done = say(&begin(&folder, "/bin/echo"), &format!("{STATUS}\n"));
        assert!(done.output.ends_with("--log-level error status --json -- office\n"), "{done:?}");
        let folder = Folder::new();
        let done = say(&begin(&folder, "/none/adit (deleted)"), &format!("{STATUS}\n"));
        assert!(
            done.code == 1 && done.errors.contains("cannot start /none/adit (deleted): No such"),
            "{done:?}"
        );
    }

    #[test]
    fn who_comes_while_others_say_nothing_is_sent_away_at_once_and_they_soon() {
        let folder = Folder::new();
        let path = begin(&folder, "/bin/echo");
        let begin = Instant::now();
        let silent: Vec<_> = (0..ORDERS).map(|_| call(&path)).collect();
        let done = heard(call(&path));
        assert!(done.errors.contains("too much is being done at once"), "{done:?}");
        assert!(begin.elapsed() < PATIENCE, "nobody waited for its order");
        for mut stream in silent {
            assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "it is let go");
        }
        assert_eq!(say(&path, &format!("{STATUS}\n")).code, 0);
    }

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
