//! How `adit status` and `adit down` speak to a tunnel that is up: a word in a line, and an answer in JSON.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::net::listen;

use super::status::Tunnel;
use crate::net::sys::option::peer;
use crate::net::unix::{SocketFile, bind_private};
use crate::privilege;

/// Whoever is in this group may ask and end, if there is such a group.
const GROUP: &str = "adit";
/// How long a word may take to come, or an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an answer may take: an end waits for what it takes away.
const ANSWER: Duration = Duration::from_secs(20);
/// The longest word, in bytes.
const LONGEST: usize = 32;
/// Who waits to be heard at most.
const WAITING: i32 = 16;

/// What whoever may not is told.
pub(super) const FORBIDDEN: &str =
    "only root and the people of the group adit may: `usermod -aG adit NAME` puts one in";

/// What a tunnel can be asked for.
#[derive(Debug)]
pub(super) enum Request {
    /// How it is.
    Status(SyncSender<Tunnel>),
    /// To end; answered when everything is taken away. Without a sender it is a signal.
    Stop(Option<SyncSender<Tunnel>>),
}

/// Makes the socket of a tunnel. One that nobody listens to is replaced.
///
/// # Errors
/// In words; also if the tunnel is up already.
pub(super) fn bind(path: &Path) -> Result<(UnixListener, SocketFile)> {
    let shown = path.display();
    if UnixStream::connect(path).is_ok() {
        bail!("it is up already");
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {shown}"));
        }
        _ => {}
    }
    let (listener, file) = bind_private(path).with_context(|| format!("cannot make {shown}"))?;
    if let Some(group) = privilege::group(GROUP)? {
        std::os::unix::fs::lchown(path, None, Some(group))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    }
    listener.set_nonblocking(false)?;
    listen(&listener, WAITING)?;
    Ok((listener, file))
}

/// Hears whoever comes, one after the other, until nobody takes requests any more.
///
/// # Errors
/// What the system says.
pub(super) fn serve(listener: UnixListener, requests: mpsc::Sender<Request>) -> io::Result<()> {
    let run = move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            // Who breaks off is not answered.
            let _ = hear(&stream, &requests);
        }
    };
    thread::Builder::new().name("socket".into()).spawn(run).map(drop)
}

/// Whether who is at the other end may ask and order, whatever the modes of files are: root, this process's own user, and the
/// people of the group.
///
/// # Errors
/// What the system says.
pub(super) fn may_ask(stream: &UnixStream) -> io::Result<bool> {
    let peer = peer(stream.as_fd())?;
    if peer.uid == 0 || peer.uid == rustix::process::geteuid().as_raw() {
        return Ok(true);
    }
    match privilege::group(GROUP)? {
        Some(group) => Ok(peer.gid == group || privilege::is_member(peer.uid, group)?),
        None => Ok(false),
    }
}

/// What comes before the end of a line, of the stream, or of so many bytes, all of it within a time.
///
/// # Errors
/// It did not come in time, or what the system says.
pub(super) fn line(mut stream: &UnixStream, longest: usize, patience: Duration) -> io::Result<Vec<u8>> {
    let begin = Instant::now();
    let mut line = Vec::new();
    let mut part = [0; 512];
    while line.len() < longest && !line.contains(&b'\n') {
        let left = patience.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it comes too slowly"));
        }
        // A read that the timeout ends may have waited less than all of it.
        stream.set_read_timeout(Some(left))?;
        let room = part.len().min(longest - line.len());
        match stream.read(part.get_mut(..room).unwrap_or_default()) {
            Ok(0) => break,
            Ok(size) => line.extend(part.iter().take(size)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
    let end = line.iter().position(|byte| *byte == b'\n').unwrap_or(line.len());
    line.truncate(end);
    Ok(line)
}

fn hear(mut stream: &UnixStream, requests: &mpsc::Sender<Request>) -> Result<()> {
    if !may_ask(stream)? {
        bail!("somebody who may not");
    }
    stream.set_write_timeout(Some(PATIENCE))?;
    let word = line(stream, LONGEST, PATIENCE)?;
    let (reply, answer) = mpsc::sync_channel(1);
    let request = match word.trim_ascii() {
        b"status" => Request::Status(reply),
        b"stop" => Request::Stop(Some(reply)),
        _ => bail!("an unknown word"),
    };
    requests.send(request)?;
    let answer = answer.recv_timeout(ANSWER)?;
    Ok(stream.write_all(&serde_json::to_vec(&answer)?)?)
}

/// Asks a tunnel how it is. `None` if it is not up.
///
/// # Errors
/// In words: it does not answer, or one may not ask.
pub(super) fn status(path: &Path) -> Result<Option<Tunnel>> {
    ask(path, "status\n")
}

/// Has a tunnel end, and waits for that. `None` if it is not up.
///
/// # Errors
/// In words: it does not answer, or one may not ask.
pub(super) fn stop(path: &Path) -> Result<Option<Tunnel>> {
    ask(path, "stop\n")
}

fn ask(path: &Path, word: &str) -> Result<Option<Tunnel>> {
    let mut stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            bail!("{}: {FORBIDDEN}", path.display());
        }
        Err(error) => return Err(error).with_context(|| format!("cannot ask {}", path.display())),
    };
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // It is ending this moment: its socket is the last to know.
        Ok(0) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
        read => read.context("the tunnel's process does not answer")?,
    };
    Ok(Some(serde_json::from_slice(&answer).context("the tunnel's process broke off")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_folder::Folder;

    #[test]
    fn a_tunnel_that_is_up_answers_and_one_that_is_not_is_none() {
        let folder = Folder::new();
        let path = folder.path().join("office.sock");
        assert_eq!(status(&path).unwrap(), None);
        let (listener, file) = bind(&path).unwrap();
        let (send, requests) = mpsc::channel();
        serve(listener, send).unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                for request in requests.iter().take(2) {
                    let tunnel = Tunnel { profile: "office".into(), ..Tunnel::default() };
                    match request {
                        Request::Status(reply) | Request::Stop(Some(reply)) => reply.send(tunnel).unwrap(),
                        Request::Stop(None) => panic!("nobody sent a signal"),
                    }
                }
            });
            assert!(bind(&path).unwrap_err().to_string().contains("up already"));
            assert_eq!(status(&path).unwrap().unwrap().profile, "office");
            assert_eq!(stop(&path).unwrap().unwrap().profile, "office");
        });
        // One letter at a time is as slow as none: all of it has one deadline.
        let (one, other) = UnixStream::pair().unwrap();
        let dripping = thread::spawn(move || {
            while (&other).write_all(b"s").is_ok() {
                thread::sleep(Duration::from_millis(10));
            }
        });
        let error = line(&one, usize::MAX, Duration::from_millis(100)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(one);
        dripping.join().unwrap();
        let mut rude = UnixStream::connect(&path).unwrap();
        rude.write_all(&[b'x'; 64]).unwrap();
        assert_eq!(rude.read_to_end(&mut Vec::new()).unwrap_or(0), 0, "an unknown word has no answer");
        drop(file);
        assert_eq!(status(&path).unwrap(), None);
    }
}
