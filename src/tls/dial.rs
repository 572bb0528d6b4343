//! A connection to a backend: a preface that goes ahead of all else, then TLS if the route has it.
//!
//! The relay moves plaintext. Where a backend wants TLS, a task beside it seals and opens: it sits behind a pair of unix
//! sockets, so that the relay is the same for all. How a stream ended passes through it: what was cut short is no end.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::spawn_local;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::choice::BackendAddress;
use super::socket::Socket;

/// Bytes that are moved at a time, either way.
const CHUNK: usize = 32 << 10;

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
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    stream.write_all(preface).await?;
    let outer = TlsConnector::from(tls.config).connect(tls.name, stream).await?;
    let (near, far) = UnixStream::pair()?;
    let hop = Rc::new(Hop::default());
    spawn_local(carry(outer, near, hop.clone()));
    Ok(Socket::behind(far, hop))
}

/// Moves both streams to their ends.
async fn carry<S>(outer: TlsStream<S>, near: UnixStream, hop: Rc<Hop>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut from_backend, mut to_backend) = tokio::io::split(outer);
    let (mut from_us, mut to_us) = near.into_split();
    let up = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = from_us.read(&mut buffer).await?;
            if count == 0 && hop.abandoned.get() {
                // Without close_notify it is no end.
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if count == 0 {
                return to_backend.shutdown().await;
            }
            to_backend.write_all(buffer.get(..count).unwrap_or_default()).await?;
            to_backend.flush().await?;
        }
    };
    let down = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = from_backend.read(&mut buffer).await?;
            if count == 0 {
                return to_us.shutdown().await;
            }
            to_us.write_all(buffer.get(..count).unwrap_or_default()).await?;
        }
    };
    if tokio::try_join!(up, down).is_err() {
        hop.cut.set(true);
    }
}

#[cfg(test)]
mod tests;
