//! A connection to a backend: a preface that goes ahead of all else, then TLS if the route has it.
//!
//! The relay moves plaintext. Where a backend wants TLS, a task beside it seals and opens: it sits behind a pair of unix
//! sockets, so that the relay is the same for all. How a stream ended passes through it: what was cut short is no end. The
//! task does not outlive the socket that it serves but for what is still to be sent.

use std::cell::Cell;
use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::choice::BackendAddress;
use super::socket::Socket;

/// Bytes that are moved at a time, either way.
const CHUNK: usize = 32 << 10;
/// How long a backend may take for what it was sent, once nobody waits for its answer: as `timeouts.half_closed` is unless it
/// is set.
const PARTING: Duration = Duration::from_secs(30);

/// By which rules TLS is spoken to a backend, and which name its certificate has to have.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Whom it trusts, who we are, what may be negotiated.
    pub config: Arc<ClientConfig>,
    /// The name.
    pub name: ServerName<'static>,
}

/// How streams behind TLS ended.
#[derive(Debug, Default)]
pub(super) struct Hop {
    /// The backend's was cut short.
    pub(super) cut: Cell<bool>,
    /// Ours was: the backend must not take it for an end.
    pub(super) abandoned: Cell<bool>,
    /// Rung when nobody is at our end any more.
    left: Notify,
}

/// Our end of what TLS is behind. When it is dropped, so is the rest.
#[derive(Debug)]
pub(super) struct Near(Rc<Hop>);

impl Near {
    /// How the streams ended.
    pub(super) fn hop(&self) -> &Hop {
        &self.0
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        self.0.left.notify_one();
    }
}

/// Connects; no deadline is set.
///
/// # Errors
/// What the system says, or why TLS was refused.
pub(super) async fn dial(address: &BackendAddress, preface: &[u8], tls: Option<Tls>) -> io::Result<Socket> {
    let Some(tls) = tls else {
        let mut socket = match address {
            BackendAddress::Tcp(address) => Socket::connect_tcp(*address).await?,
            BackendAddress::Unix(path) => Socket::connect_unix(path).await?,
        };
        socket.send_all(preface).await?;
        return Ok(socket);
    };
    match address {
        BackendAddress::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            secured(stream, preface, tls).await
        }
        BackendAddress::Unix(path) => secured(UnixStream::connect(path).await?, preface, tls).await,
    }
}

async fn secured<S>(mut stream: S, preface: &[u8], tls: Tls) -> io::Result<Socket>
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + 'static,
{
    stream.write_all(preface).await?;
    let outer = TlsConnector::from(tls.config).connect(tls.name, stream).await?;
    hide(outer).map(|(socket, _)| socket)
}

/// A socket in front of it, and the task between them, which has both connections.
fn hide<S>(outer: TlsStream<S>) -> io::Result<(Socket, JoinHandle<()>)>
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + 'static,
{
    let (near, far) = UnixStream::pair()?;
    let hop = Rc::new(Hop::default());
    let task = spawn_local(carry(outer, near, hop.clone()));
    Ok((Socket::behind(far, Near(hop)), task))
}

/// Moves both streams to their ends, or until nobody is at our end.
async fn carry<S>(outer: TlsStream<S>, near: UnixStream, hop: Rc<Hop>)
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin,
{
    let (mut from_backend, mut to_backend) = tokio::io::split(outer);
    let (from_us, to_us) = near.into_split();
    {
        let said = Cell::new(false);
        let mut up = pin!(async {
            let sent = send(from_us, &mut to_backend, &hop).await;
            said.set(true);
            sent
        });
        let both = async { tokio::try_join!(up.as_mut(), fetch(&mut from_backend, to_us)) };
        tokio::select! {
            biased;
            () = hop.left.notified() => {}
            moved = both => return hop.cut.set(moved.is_err()),
        }
        if !hop.abandoned.get() {
            // What was written before we left is on its way.
            if !said.get() {
                let _ = timeout(PARTING, up).await;
            }
            return;
        }
    }
    // It may not even read: a reset is told at once, and nothing is kept for it.
    let outer = from_backend.unsplit(to_backend);
    let _ = sockopt::set_socket_linger(outer.get_ref().0, Some(Duration::ZERO));
}

/// Moves what comes from our end, and its end.
async fn send<S>(mut from_us: OwnedReadHalf, to_backend: &mut WriteHalf<S>, hop: &Hop) -> io::Result<()>
where
    S: AsyncWrite,
{
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = from_us.read(&mut buffer).await?;
        if count == 0 && hop.abandoned.get() {
            // It is no end. Who abandons it leaves, which ends this.
            return std::future::pending().await;
        }
        if count == 0 {
            return to_backend.shutdown().await;
        }
        to_backend.write_all(buffer.get(..count).unwrap_or_default()).await?;
        to_backend.flush().await?;
    }
}

/// Moves what comes from the backend, and its end.
async fn fetch<S>(from_backend: &mut ReadHalf<S>, mut to_us: OwnedWriteHalf) -> io::Result<()>
where
    S: AsyncRead,
{
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = from_backend.read(&mut buffer).await?;
        if count == 0 {
            return to_us.shutdown().await;
        }
        to_us.write_all(buffer.get(..count).unwrap_or_default()).await?;
    }
}

#[cfg(test)]
mod tests;
