//! The UAPI socket: `/var/run/wireguard/NAME.sock`, by which `wg` and `wg-quick` configure an interface.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use adit_wireguard::uapi::{MAX_REQUEST, Request, emit_errno};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use zeroize::{Zeroize, Zeroizing};

use super::Command;
use crate::datapath::Inbox;
use crate::net::link;

/// Where `wg` looks for sockets.
pub const SOCKETS: &str = "/var/run/wireguard";
/// Clients served at a time.
const CLIENTS: usize = 64;
/// How long a client may take for its next bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A listening UAPI socket.
#[derive(Debug)]
pub(super) struct Uapi {
    path: PathBuf,
    listener: UnixListener,
    removed: AtomicBool,
}

impl Drop for Uapi {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Uapi {
    /// Makes the socket of the interface `name`, for root alone.
    ///
    /// # Errors
    /// `AddrInUse` if another process serves that interface; otherwise what the system says.
    pub(super) fn bind(name: &str) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(SOCKETS)?;
        let path = Path::new(SOCKETS).join(format!("{name}.sock"));
        if UnixStream::connect(&path).is_ok() {
            let text = format!("{} is served by another process", path.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let listener = UnixListener::bind(&path);
        rustix::process::umask(before);
        let listener = listener?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Self { path, listener, removed: AtomicBool::new(false) })
    }

    /// Serves clients until the socket's file is gone. Then the process should end.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn serve(&self, inbox: &Arc<Inbox<Command>>) -> io::Result<()> {
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        let events =
            inotify::WatchFlags::DELETE_SELF | inotify::WatchFlags::MOVE_SELF | inotify::WatchFlags::ATTRIB;
        inotify::add_watch(&watch, &self.path, events)?;
        let clients = Arc::new(AtomicUsize::new(0));
        while self.path.exists() {
            let mut fds = [PollFd::new(&self.listener, PollFlags::IN), PollFd::new(&watch, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
            let (accepted, watched) = (fds[0].revents(), fds[1].revents());
            if watched.contains(PollFlags::IN) {
                let _ = rustix::io::read(watch.as_fd(), &mut [0_u8; 4096]);
            }
            if accepted.contains(PollFlags::IN) {
                self.accept(inbox, &clients);
            }
        }
        Ok(())
    }

    /// Removes the socket's file, which ends [`Self::serve`]. Only the first time: a file that is there later is another
    /// process's.
    pub(super) fn remove(&self) {
        if !self.removed.swap(true, Ordering::Relaxed) {
            // It may be gone already: that is one of the ways to end.
            let _ = fs::remove_file(&self.path);
        }
    }

    fn accept(&self, inbox: &Arc<Inbox<Command>>, clients: &Arc<AtomicUsize>) {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => {
                // As when no descriptor is left: it lasts, and the client stays in the queue.
                tracing::error!("{}: {error}", self.path.display());
                return std::thread::sleep(Duration::from_millis(100));
            }
        };
        if clients.fetch_add(1, Ordering::Relaxed) >= CLIENTS {
            clients.fetch_sub(1, Ordering::Relaxed);
            return tracing::error!("{}: more than {CLIENTS} clients", self.path.display());
        }
        let (inbox, guard) = (inbox.clone(), Client(clients.clone()));
        let serve = move || {
            let _guard = guard;
            if let Err(error) = converse(stream, &inbox) {
                tracing::debug!("UAPI client: {error}");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("uapi".into()).spawn(serve) {
            tracing::error!("UAPI client: {error}");
        }
    }
}

/// Counts a client for as long as it is served.
struct Client(Arc<AtomicUsize>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads requests and answers them until the client goes away.
fn converse(mut stream: UnixStream, inbox: &Inbox<Command>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut received = Zeroizing::new(Vec::with_capacity(4096));
    while let Some(length) = read_request(&mut stream, &mut received)? {
        let scope = |name: &str| link::find(name).ok().map(|link| link.index);
        let parsed = Request::parse_scoped(&received[..length], &scope);
        // What follows is the next request, if the client did not wait for this one's answer.
        received[..length].zeroize();
        received.drain(..length);
        let request = match parsed {
            Ok(request) => request,
            Err(error) => {
                tracing::error!("UAPI request: {error}");
                return stream.write_all(emit_errno(error.errno()).as_bytes());
            }
        };
        let (reply, answer) = mpsc::sync_channel(1);
        inbox.command(Command::Uapi(request, reply));
        let answer =
            answer.recv_timeout(PATIENCE).map_err(|_| io::Error::other("the interface is going away"))?;
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// Reads until `received` begins with a whole request, and returns its length; `None` at the end. Keys are in it, so all of
/// it is wiped.
fn read_request(stream: &mut UnixStream, received: &mut Zeroizing<Vec<u8>>) -> io::Result<Option<usize>> {
    let mut buffer = Zeroizing::new([0; 4096]);
    let mut searched = 0;
    loop {
        if let Some(length) = Request::split(&received[searched..]) {
            return Ok(Some(searched + length));
        }
        // The blank line may be half here.
        searched = received.len().saturating_sub(1);
        let read = stream.read(buffer.as_mut_slice())?;
        if read == 0 {
            return if received.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        if received.len() + read > MAX_REQUEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "request too long"));
        }
        append(received, &buffer[..read]);
    }
}

/// Appends; a buffer that is too small is wiped when it is replaced.
fn append(request: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    if request.capacity() - request.len() < bytes.len() {
        let mut larger = Zeroizing::new(Vec::with_capacity((request.capacity() + bytes.len()) * 2));
        larger.extend_from_slice(request);
        *request = larger;
    }
    request.extend_from_slice(bytes);
}
