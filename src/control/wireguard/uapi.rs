//! The UAPI socket: `/var/run/wireguard/NAME.sock`, by which `wg` and `wg-quick` configure an interface.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use adit_wireguard::uapi::{Change, MAX_REQUEST, Request, emit_errno};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{Shutdown, listen, shutdown};
use zeroize::{Zeroize, Zeroizing};

use super::Command;
use crate::datapath::Inbox;
use crate::datapath::wireguard::Note;
use crate::net::link;
use crate::net::sys::option::peer;
use crate::net::unix::{SocketFile, bind_private};

/// Where `wg` looks for sockets.
pub const SOCKETS: &str = "/var/run/wireguard";
/// How often is looked whether the socket's file is there.
const GLANCE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// Clients that wait to be accepted at most.
const BACKLOG: i32 = 128;
/// Clients served at a time.
const CLIENTS: usize = 64;
/// How long a client may take for its next bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A listening UAPI socket.
#[derive(Debug)]
pub(super) struct Uapi {
    /// The interface's.
    name: String,
    file: SocketFile,
    listener: UnixListener,
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
        Self::bind_in(Path::new(SOCKETS), name)
    }

    fn bind_in(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(format!("{name}.sock"));
        if UnixStream::connect(&path).is_ok() {
            let text = format!("{} is served by another process", path.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (listener, file) = bind_private(&path)?;
        listen(&listener, BACKLOG)?;
        Ok(Self { name: name.to_owned(), file, listener })
    }

    /// Serves clients until the socket's file is gone, which is seen within [`GLANCE`]. Then the interface should end.
    ///
    /// It needs nothing that may have run out meanwhile: a kernel has 128 inotify instances for a user, and an interface
    /// must not end for want of one.
    pub(super) fn serve(&self, inbox: &Arc<Inbox<Note, Command>>) {
        let clients = Arc::new(AtomicUsize::new(0));
        while !self.file.is_gone() {
            let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
            match poll(&mut fds, Some(&GLANCE)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => self.accept(inbox, &clients),
                Err(error) => {
                    tracing::error!("{}: {error}", self.file.path().display());
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
        }
    }

    /// Removes the socket's file and ends [`Self::serve`].
    pub(super) fn remove(&self) {
        self.file.remove();
        // It wakes whoever serves. Failure only lets that wait for its next look.
        let _ = shutdown(&self.listener, Shutdown::Both);
    }

    fn accept(&self, inbox: &Arc<Inbox<Note, Command>>, clients: &Arc<AtomicUsize>) {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock || self.file.is_gone() => return,
            Err(error) => {
                // As when no descriptor is left: it lasts, and the client stays in the queue.
                tracing::error!("{}: {error}", self.file.path().display());
                return std::thread::sleep(Duration::from_millis(100));
            }
        };
        if clients.fetch_add(1, Ordering::Relaxed) >= CLIENTS {
            clients.fetch_sub(1, Ordering::Relaxed);
            return tracing::error!("{}: more than {CLIENTS} clients", self.file.path().display());
        }
        let (name, inbox, guard) = (self.name.clone(), inbox.clone(), Client(clients.clone()));
        let serve = move || {
            let _guard = guard;
            if let Err(error) = converse(&name, stream, &inbox) {
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
fn converse(name: &str, mut stream: UnixStream, inbox: &Inbox<Note, Command>) -> io::Result<()> {
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
        if let Request::Set(changes) = &request {
            let libc::ucred { uid, pid, .. } = peer(stream.as_fd())?;
            tracing::info!("{name}: set by uid {uid} pid {pid}: {}", summary(changes));
        }
        let (reply, answer) = mpsc::sync_channel(1);
        inbox.command(Command::Uapi(request, reply));
        let answer =
            answer.recv_timeout(PATIENCE).map_err(|_| io::Error::other("the interface is going away"))?;
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// What somebody asks to be changed, without any value: some are secret.
fn summary(changes: &[Change]) -> String {
    let (mut words, mut peers, mut removed) = (Vec::new(), 0, 0);
    for change in changes {
        match change {
            Change::PrivateKey(_) => words.push("private_key".to_owned()),
            Change::Cipher(_) => words.push("cipher".to_owned()),
            Change::ListenPort(_) => words.push("listen_port".to_owned()),
            Change::Fwmark(_) => words.push("fwmark".to_owned()),
            Change::ReplacePeers => words.push("replace_peers".to_owned()),
            Change::Peer(..) => peers += 1,
            Change::RemovePeer(_) => removed += 1,
        }
    }
    let counted = [(peers, "changed"), (removed, "removed")].into_iter().filter(|(count, _)| *count > 0);
    words.extend(counted.map(|(count, what)| format!("{count} peers {what}")));
    if words.is_empty() { "nothing".into() } else { words.join(", ") }
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::test_folder::Folder;

    fn serve(uapi: &Arc<Uapi>) -> std::thread::JoinHandle<()> {
        let uapi = uapi.clone();
        std::thread::spawn(move || uapi.serve(&Arc::default()))
    }

    #[test]
    fn more_sockets_than_a_user_has_inotify_instances_are_served_until_they_are_removed() {
        let folder = Folder::new();
        let bind = |at| Arc::new(Uapi::bind_in(folder.path(), &format!("wg{at}")).unwrap());
        let sockets: Vec<_> = (0..200).map(bind).collect();
        let serving: Vec<_> = sockets.iter().map(serve).collect();
        std::thread::sleep(Duration::from_millis(1_500));
        assert_eq!(serving.iter().filter(|thread| thread.is_finished()).count(), 0);
        // Half of them as wg-quick does it, half as the daemon does.
        let begun = Instant::now();
        for (at, uapi) in sockets.iter().enumerate() {
            if at % 2 == 0 { fs::remove_file(uapi.file.path()).unwrap() } else { uapi.remove() }
        }
        serving.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
    }

    #[test]
    fn who_serves_ends_at_once_when_its_own_process_removes_the_socket() {
        let folder = Folder::new();
        let uapi = Arc::new(Uapi::bind_in(folder.path(), "wg0").unwrap());
        let serving = serve(&uapi);
        std::thread::sleep(Duration::from_millis(100));
        let begun = Instant::now();
        uapi.remove();
        serving.join().unwrap();
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_set_is_summed_up_without_its_values() {
        let key = "7".repeat(64);
        let request = format!(
            "set=1\nprivate_key={key}\nlisten_port=51820\nreplace_peers=true\npublic_key={key}\npreshared_key={key}\n\
            public_key={}\nremove=true\n\n",
            "8".repeat(64)
        );
        let Ok(Request::Set(changes)) = Request::parse(request.as_bytes()) else { panic!("{request}") };
        let expected = "private_key, listen_port, replace_peers, 1 peers changed, 1 peers removed";
        assert_eq!(summary(&changes), expected);
        assert_eq!(summary(&[]), "nothing");
    }

    #[test]
    fn a_socket_that_is_served_is_not_taken_and_a_stale_one_is_replaced() {
        let folder = Folder::new();
        let first = Uapi::bind_in(folder.path(), "wg0").unwrap();
        let error = Uapi::bind_in(folder.path(), "wg0").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        drop(UnixListener::bind(folder.path().join("wg0.sock")).unwrap());
        Uapi::bind_in(folder.path(), "wg0").unwrap();
    }
}
