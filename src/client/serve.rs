//! `adit serve`: does for the people of a group what takes root. An order is a line of JSON on a socket; it is done by a
//! process of adit of its own, whose words are made here: of whoever asks come names of profiles and switches, and nothing else.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::net::{AddressFamily, sockopt};
use sd_notify::NotifyState;

use super::order::{Done, Order};
use super::places::{self, Places};
use super::socket;
use crate::crowd::{Crowd, Full};
use crate::net::sys::option::peer;

/// The longest order, in bytes.
const LONGEST: usize = 4 << 10;
/// What is read in vain after an order, in bytes.
const REST: u64 = 64 << 10;
/// How long an order may take to come, or an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(2);
/// Orders that are done at a time.
const ORDERS: usize = 16;
/// Those of one user: nobody keeps the others of the group from theirs.
const EACH: usize = 4;

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
    serve(&listener, &path, &Arc::new(Performer { program, places: places.clone() }));
    Ok(())
}

/// Hears whoever comes, so many at a time and so many of one user, in the order in which they come.
fn serve(listener: &UnixListener, path: &Path, performer: &Arc<Performer>) {
    let crowd = Crowd::new(ORDERS, EACH);
    for stream in listener.incoming() {
        let failed = |error| tracing::warn!("{}: {error}", path.display());
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                failed(error);
                thread::sleep(PATIENCE / 10);
                continue;
            }
        };
        // Who has said nothing yet counts too.
        let place = match peer(stream.as_fd()).map(|peer| crowd.enter(peer.uid)) {
            Ok(Ok(place)) => place,
            Ok(Err(full)) => {
                // Who does not take it has gone.
                let _ = answer(&stream, &refused(1, &too_many(full)));
                continue;
            }
            Err(error) => {
                failed(error);
                continue;
            }
        };
        let performer = performer.clone();
        let hear = move || {
            let heard = hear(&stream, &performer);
            drop(place);
            if let Err(error) = heard {
                tracing::warn!("an order: {error:#}");
            }
        };
        if let Err(error) = thread::Builder::new().name("order".into()).spawn(hear) {
            // The connection is closed.
            tracing::warn!("{}: no thread for an order: {error}", path.display());
        }
    }
}

fn too_many(full: Full) -> String {
    match full {
        Full::Own => {
            format!("{EACH} orders of yours are being done, which is as many as one user has; try again")
        }
        Full::All => "too much is being done at once; try again".into(),
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
        let ended = Command::new(&self.program)
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

    use super::*;
    use crate::test_folder::Folder;

    /// A server in a folder of its own that does orders with `program`; where it listens.
    fn begin(folder: &Folder, program: &str) -> PathBuf {
        let path = folder.path().join("orders");
        let listener = UnixListener::bind(&path).unwrap();
        let places = Places { profiles: folder.path().into(), run: folder.path().into() };
        let (performer, name) = (Performer { program: program.into(), places }, path.clone());
        // It goes on until the tests end.
        thread::spawn(move || serve(&listener, &name, &Arc::new(performer)));
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
        let silent: Vec<_> = (0..EACH).map(|_| call(&path)).collect();
        let done = heard(call(&path));
        assert!(done.errors.contains("4 orders of yours are being done"), "{done:?}");
        assert!(begin.elapsed() < PATIENCE, "nobody waited for its order");
        for mut stream in silent {
            assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "it is let go");
        }
        assert_eq!(say(&path, &format!("{STATUS}\n")).code, 0);
    }
}
