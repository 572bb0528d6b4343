//! A connected socket of a data thread. It remembers whether there is something to read or room to write, so that no system
//! call is made to be told that there is not.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown, sockopt};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use super::dial::Near;

/// A stream of bytes and whether it is ready, as far as that was looked at.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    readable: bool,
    writable: bool,
    /// What is behind it, if that is TLS.
    near: Option<Near>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn poll_ready(&self, interest: Interest, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match (self, interest.is_readable()) {
            (Self::Tcp(stream), true) => stream.poll_read_ready(cx),
            (Self::Tcp(stream), false) => stream.poll_write_ready(cx),
            (Self::Unix(stream), true) => stream.poll_read_ready(cx),
            (Self::Unix(stream), false) => stream.poll_write_ready(cx),
        }
    }

    /// Has tokio forget that it is ready. Afterwards it is tried until it is not: what comes meanwhile is not forgotten.
    fn forget(&self, interest: Interest) {
        let blocked = || Err::<(), _>(ErrorKind::WouldBlock.into());
        // The answer is the error that was put in.
        let _ = match self {
            Self::Tcp(stream) => stream.try_io(interest, blocked),
            Self::Unix(stream) => stream.try_io(interest, blocked),
        };
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Socket {
    /// A connection that was accepted. Something may have come on it.
    pub(super) fn accepted(stream: TcpStream) -> Self {
        // It fails if the client is gone, which reading will tell.
        let _ = stream.set_nodelay(true);
        let stream = Stream::Tcp(stream);
        // tokio takes it for readable before it was looked at, as we do: once is enough.
        stream.forget(Interest::READABLE);
        Self { stream, readable: true, writable: true, near: None }
    }

    /// Connects by TCP.
    ///
    /// # Errors
    /// What the system says; no deadline is set.
    pub(super) async fn connect_tcp(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: Stream::Tcp(stream), readable: false, writable: true, near: None })
    }

    /// Connects to a unix socket.
    ///
    /// # Errors
    /// What the system says; `EAGAIN` if its queue is full.
    pub(super) async fn connect_unix(path: &Path) -> io::Result<Self> {
        Ok(Self::unix(UnixStream::connect(path).await?))
    }

    /// One end of a pair behind which there is TLS.
    pub(super) fn behind(stream: UnixStream, near: Near) -> Self {
        Self { near: Some(near), ..Self::unix(stream) }
    }

    /// A connected unix socket.
    pub(super) fn unix(stream: UnixStream) -> Self {
        Self { stream: Stream::Unix(stream), readable: false, writable: true, near: None }
    }

    /// Waits until there may be something to read.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.readable {
            ready!(self.stream.poll_ready(Interest::READABLE, cx))?;
            self.stream.forget(Interest::READABLE);
            self.readable = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads. Nothing means that nothing will come any more.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let room = into.len();
        loop {
            ready!(self.poll_readable(cx))?;
            let read = recv(&*self, &mut *into, RecvFlags::empty()).map(|(_, count)| count);
            if let Some(done) = self.read(read, room) {
                return Poll::Ready(done);
            }
        }
    }

    /// Reads into several places, one after the other.
    pub(super) fn poll_receive_vectored(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let room = into.iter().map(|slice| slice.len()).sum();
        loop {
            ready!(self.poll_readable(cx))?;
            let read = rustix::io::readv(&*self, into);
            if let Some(done) = self.read(read, room) {
                return Poll::Ready(done);
            }
        }
    }

    /// What a read says; `None` if it is to be tried again.
    fn read(&mut self, read: Result<usize, Errno>, room: usize) -> Option<io::Result<usize>> {
        match read {
            // The end of the pair is none of the stream behind it.
            Ok(0) if self.near.as_ref().is_some_and(|near| near.hop().cut.get()) => {
                Some(Err(ErrorKind::ConnectionReset.into()))
            }
            Ok(count) => {
                // Less than there was room for is all there was. An end that came with it is told again: tokio keeps it.
                self.readable = count == room || count == 0;
                Some(Ok(count))
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                None
            }
            Err(Errno::INTR) => None,
            Err(error) => Some(Err(error.into())),
        }
    }

    /// Writes as much as there is room for. If there is `more` to come, an end for example, the system may wait for it to send
    /// both at once: for 200 ms at most.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        more: bool,
    ) -> Poll<io::Result<usize>> {
        let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
        loop {
            if !self.writable {
                ready!(self.stream.poll_ready(Interest::WRITABLE, cx))?;
                self.stream.forget(Interest::WRITABLE);
                self.writable = true;
            }
            match send(&*self, bytes, flags) {
                Ok(count) => {
                    self.writable = count == bytes.len();
                    return Poll::Ready(Ok(count));
                }
                Err(Errno::AGAIN) => self.writable = false,
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Writes all of it.
    pub(super) async fn send_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send_ahead(bytes, false).await
    }

    /// Writes all of it, perhaps together with what is sent next, as [`poll_send`](Self::poll_send) does.
    pub(super) async fn send_ahead(&mut self, mut bytes: &[u8], more: bool) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = std::future::poll_fn(|cx| self.poll_send(cx, bytes, more)).await?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Says that nothing more will be sent.
    pub(super) fn end(&self) {
        // It fails if the other side is gone, which reading will tell.
        let _ = shutdown(self, Shutdown::Write);
    }

    /// Ends the connection so that the other side cannot take it for a proper end (RFC 9293, section 3.10.5: a reset).
    pub(super) fn abort(self) {
        if let Some(near) = &self.near {
            near.hop().abandoned.set(true);
        }
        let _ = sockopt::set_socket_linger(&self, Some(Duration::ZERO));
    }

    /// Our address of a TCP connection.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        match &self.stream {
            Stream::Tcp(stream) => stream.local_addr().ok(),
            Stream::Unix(_) => None,
        }
    }
}
