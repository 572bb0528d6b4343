//! A connection as hyper reads and writes it: in clear, whatever is on the wire.
//!
//! Records are opened and sealed where they lie, in buffers of the thread. One that has nothing in it goes back: an idle
//! connection has none.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::activity::Activity;
use super::backend::Open;
use crate::tls::buffers::{Buffer, Pool, RECORDS, SMALL};
use crate::tls::channel::Channel;
use crate::tls::counters::{Counters, Failure};
use crate::tls::record::{CONTENT, RecordError};
use crate::tls::socket::Socket;

/// Reads in a row.
const TURNS: u32 = 16;
/// What a client may still send when it was told that it is not read any more, in reads.
const LINGER: usize = 64;

/// A client's connection, or a backend's.
pub(super) struct Stream {
    socket: Socket,
    /// `None`: in clear on the wire too.
    channel: Option<Box<Channel>>,
    /// The beginning of a record.
    carry: Vec<u8>,
    /// What was opened, and is not read yet.
    opened: Option<Buffer>,
    /// What is to be sent.
    sealed: Option<Buffer>,
    /// Nothing more will come.
    over: bool,
    /// `close_notify` is among what is to be sent, or was sent.
    closed: bool,
    /// An error was told.
    broken: bool,
    /// The last read filled its buffer.
    bulk: bool,
    /// Reads that may follow each other before others get their turn.
    turns: u32,
    pool: Rc<Pool>,
    activity: Rc<Activity>,
    /// Of a client's.
    counters: Option<Arc<Counters>>,
    /// Of a backend's: it is counted as long as this is there.
    _open: Option<Open>,
}

impl Stream {
    /// A client's. `carry` came behind its handshake.
    ///
    /// # Errors
    /// What is wrong with `carry`.
    pub(super) fn of_client(
        socket: Socket,
        channel: Option<Box<Channel>>,
        carry: Vec<u8>,
        (pool, activity, counters): (Rc<Pool>, Rc<Activity>, Arc<Counters>),
    ) -> Result<Self, Failure> {
        let mut stream = Self::new(socket, channel, pool, activity);
        stream.counters = Some(counters);
        if !carry.is_empty() {
            let mut buffer = stream.pool.take(carry.len() > SMALL);
            // More than that a client cannot have sent ahead: the handshake reads no further.
            let room = buffer.room().get_mut(..carry.len()).ok_or(RecordError::Length)?;
            room.copy_from_slice(&carry);
            stream.open(buffer, carry.len())?;
        }
        Ok(stream)
    }

    /// A backend's.
    pub(super) fn of_backend(socket: Socket, pool: Rc<Pool>, activity: Rc<Activity>, open: Open) -> Self {
        let mut stream = Self::new(socket, None, pool, activity);
        stream._open = Some(open);
        stream
    }

    /// Anybody's; `channel` is what seals it.
    pub(super) fn new(
        socket: Socket,
        channel: Option<Box<Channel>>,
        pool: Rc<Pool>,
        activity: Rc<Activity>,
    ) -> Self {
        Self {
            socket,
            channel,
            carry: Vec::new(),
            opened: None,
            sealed: None,
            over: false,
            closed: false,
            broken: false,
            bulk: false,
            turns: TURNS,
            pool,
            activity,
            counters: None,
            _open: None,
        }
    }

    /// Whether it ended with an error.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Opens the first `length` bytes of `buffer`.
    fn open(&mut self, mut buffer: Buffer, length: usize) -> Result<(), Failure> {
        let text = match &mut self.channel {
            None => 0..length,
            Some(channel) => {
                let bytes = buffer.room().get_mut(..length).unwrap_or_default();
                let opened = channel.open(bytes)?;
                self.over = opened.closed;
                let rest = bytes.get(opened.taken..).unwrap_or_default();
                self.carry = if opened.closed { Vec::new() } else { rest.to_vec() };
                opened.text
            }
        };
        self.activity.receive(text.len());
        if let Some(counters) = &self.counters {
            counters.upward.add(text.len() as u64);
        }
        buffer.set(text.start, text.end);
        self.opened = Some(buffer).filter(|buffer| !buffer.rest().is_empty());
        Ok(())
    }

    /// Fills `opened`, unless all came.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let filled = self.poll_open(cx);
        self.broken |= matches!(filled, Poll::Ready(Err(_)));
        filled
    }

    /// Whether nothing is there to be read, not even its end. How much was read or done in a row before is no matter: what is
    /// not looked at would be taken for what comes next.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.turns = TURNS;
        let looked = pin!(unconstrained(poll_fn(|cx| self.poll_fill(cx))));
        looked.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// What was opened, and is not read yet.
    pub(super) fn rest(&self) -> &[u8] {
        self.opened.as_ref().map_or(&[], Buffer::rest)
    }

    /// So much of it was read, or all.
    pub(super) fn consume(&mut self, count: usize) {
        if let Some(buffer) = &mut self.opened {
            buffer.sent(count);
            if buffer.rest().is_empty() {
                self.opened = None;
            }
        }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.opened.is_none() && !self.over {
            if self.turns == 0 {
                self.turns = TURNS;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(self.socket.poll_readable(cx))?;
            self.turns -= 1;
            let mut buffer = self.pool.take(self.bulk);
            let carried = self.carry.len();
            let room = buffer.room();
            room.get_mut(..carried).unwrap_or_default().copy_from_slice(&self.carry);
            let free = room.get_mut(carried..).unwrap_or_default();
            let size = free.len();
            let read = ready!(self.socket.poll_receive(cx, free))?;
            self.bulk = read == size || read >= SMALL;
            if read > 0 {
                if let Err(failure) = self.open(buffer, carried + read) {
                    return Poll::Ready(Err(self.refuse(cx, failure)));
                }
            } else if self.channel.is_some() {
                // An end of TCP alone: anybody could have made it.
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            } else {
                self.over = true;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Says what is wrong with a record, as far as there is room for it.
    fn refuse(&mut self, cx: &mut Context<'_>, failure: Failure) -> io::Error {
        if let Some(counters) = &self.counters {
            counters.fail(&failure);
            self.activity.refuse(failure.name());
        }
        if let (Failure::Record(error), Some(channel), None) = (&failure, &mut self.channel, &self.sealed) {
            let mut buffer = self.pool.take(false);
            if let Some(length) = channel.complain(*error, buffer.room()) {
                buffer.set(0, length);
                let _ = self.socket.poll_send(cx, buffer.rest(), false);
            }
        }
        io::Error::new(ErrorKind::InvalidData, failure)
    }

    /// Whether all that was written was sent.
    pub(super) fn is_drained(&self) -> bool {
        self.sealed.is_none()
    }

    /// Sends what is to be sent.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(buffer) = &mut self.sealed {
            if buffer.rest().is_empty() {
                self.sealed = None;
                break;
            }
            // The end of the stream goes with the last of it, in one segment.
            match self.socket.poll_send(cx, buffer.rest(), self.closed) {
                Poll::Ready(Ok(sent)) => buffer.sent(sent),
                Poll::Ready(Err(error)) => {
                    self.broken = true;
                    return Poll::Ready(Err(error));
                }
                Poll::Pending => {
                    self.activity.stall();
                    return Poll::Pending;
                }
            }
            self.activity.flow();
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what fits one buffer: the number of bytes.
    fn take(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let all: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut buffer = self.pool.take(all > CONTENT);
        let room = buffer.room();
        let (head, content, tail) = match &self.channel {
            Some(channel) => (channel.room().0, CONTENT, channel.room().1),
            None => (0, room.len(), 0),
        };
        let mut from = slices.iter().flat_map(|slice| slice.chunks(content));
        let (mut rest, mut taken) = (from.next().unwrap_or_default(), 0);
        for slot in room.chunks_exact_mut(head + content + tail).take(RECORDS) {
            let mut into = slot.get_mut(head..head + content).unwrap_or_default();
            while !into.is_empty() && !rest.is_empty() {
                let count = into.len().min(rest.len());
                let (now, later) = into.split_at_mut(count);
                now.copy_from_slice(rest.get(..count).unwrap_or_default());
                (into, rest, taken) = (later, rest.get(count..).unwrap_or_default(), taken + count);
                while rest.is_empty()
                    && let Some(next) = from.next()
                {
                    rest = next;
                }
            }
        }
        let sealed = match &mut self.channel {
            Some(channel) => {
                channel.seal(room, taken).map_err(|error| io::Error::other(Failure::from(error)))?
            }
            None => taken,
        };
        buffer.set(0, sealed);
        self.sealed = Some(buffer);
        self.activity.send(taken);
        if let Some(counters) = &self.counters {
            counters.downward.add(taken as u64);
        }
        Ok(taken)
    }

    /// Changes the key ahead of the next data, if that is due.
    fn poll_renew(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(channel) = self.channel.as_mut().filter(|channel| channel.wants_update()) {
            let mut buffer = self.pool.take(false);
            let length =
                channel.renew(buffer.room()).map_err(|error| io::Error::other(Failure::from(error)))?;
            buffer.set(0, length);
            self.sealed = Some(buffer);
            return self.poll_drain(cx);
        }
        Poll::Ready(Ok(()))
    }

    /// Ends it, and lets the other side read what it was told: a reset for what it sent meanwhile would take that away.
    pub(super) async fn finish(mut self, patience: Duration) {
        let until = Instant::now() + patience;
        let ended = std::future::poll_fn(|cx| Pin::new(&mut self).poll_shutdown(cx));
        if !matches!(tokio::time::timeout_at(until, ended).await, Ok(Ok(()))) || self.over {
            return;
        }
        for _ in 0..LINGER {
            let mut buffer = self.pool.take(false);
            let read = std::future::poll_fn(|cx| self.socket.poll_receive(cx, buffer.room()));
            if !matches!(tokio::time::timeout_at(until, read).await, Ok(Ok(1..))) {
                return;
            }
        }
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_fill(cx))?;
        let count = self.rest().len().min(into.remaining());
        into.put_slice(self.rest().get(..count).unwrap_or_default());
        self.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx))?;
        if self.closed {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        ready!(self.poll_renew(cx))?;
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let taken = self.take(slices)?;
        // It is ours now, whether there is room for it or not.
        match self.poll_drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_drain(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        if !self.closed {
            self.closed = true;
            let mut buffer = self.pool.take(false);
            if let Some(channel) = &mut self.channel {
                let length =
                    channel.close(buffer.room()).map_err(|error| io::Error::other(Failure::from(error)))?;
                buffer.set(0, length);
                self.sealed = Some(buffer);
            }
        }
        ready!(self.poll_drain(cx))?;
        self.socket.end();
        Poll::Ready(Ok(()))
    }
}
