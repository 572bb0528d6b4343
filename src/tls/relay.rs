//! Both directions of one connection, from the end of the handshake to the end.
//!
//! Each direction reads only when all that it read before was written: a slow receiver holds up its sender, and memory is
//! bounded by one buffer a direction. A stream ends towards one side only if the other ended it properly; what was cut short
//! is passed on as a reset, never as an end.

use std::future::Future;
use std::io::IoSliceMut;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep};

use super::buffers::{Buffer, Pool, RECORDS, SMALL};
use super::channel::Channel;
use super::choice::Timeouts;
use super::counters::{Counters, Failure};
use super::record::{CONTENT, RecordError};
use super::socket::Socket;

/// Buffers that a direction may move before others get their turn.
const TURNS: u32 = 16;
/// Looks at a connection in the time that it may be idle.
const LOOKS: u32 = 4;

/// One direction.
#[derive(Debug, Default)]
struct Flow {
    /// What is to be written.
    pending: Option<Buffer>,
    /// The last read brought a whole record: the next deserves a large buffer.
    bulk: bool,
    /// All was read.
    ending: bool,
    /// All was written, and the end as well.
    ended: bool,
    bytes: u64,
}

/// A client, a backend, and what goes between them.
pub(super) struct Relay {
    client: Socket,
    backend: Socket,
    /// `None`: passed through untouched.
    channel: Option<Box<Channel>>,
    /// The beginning of a record from the client.
    carry: Vec<u8>,
    up: Flow,
    down: Flow,
    pool: Rc<Pool>,
    timer: Pin<Box<Sleep>>,
    timeouts: Timeouts,
    /// Looks in a row at which nothing had come.
    looks: u32,
    moved: bool,
    turns: u32,
}

/// How a connection ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Bytes to the backend, decrypted.
    pub(super) upward: u64,
    /// Bytes from it.
    pub(super) downward: u64,
    /// What went wrong, if it did.
    pub(super) failure: Option<Failure>,
}

impl Relay {
    /// `carry` came from the client behind its handshake.
    pub(super) fn new(
        client: Socket,
        backend: Socket,
        channel: Option<Box<Channel>>,
        carry: Vec<u8>,
        pool: Rc<Pool>,
        timeouts: Timeouts,
    ) -> Self {
        Self {
            client,
            backend,
            channel,
            carry,
            up: Flow::default(),
            down: Flow::default(),
            pool,
            timer: Box::pin(sleep(timeouts.idle / LOOKS)),
            timeouts,
            looks: 0,
            moved: false,
            turns: 0,
        }
    }

    /// Runs until both streams ended, or one broke.
    pub(super) async fn run(mut self, counters: &Counters) -> Ended {
        let begun = self.begin();
        counters.upward.add(self.up.bytes);
        let result = match begun {
            Ok(()) => std::future::poll_fn(|cx| self.poll(cx, counters)).await,
            Err(failure) => Err(failure),
        };
        let ended = Ended { upward: self.up.bytes, downward: self.down.bytes, failure: result.err() };
        self.part(ended.failure.as_ref());
        ended
    }

    /// Ends both connections so that neither side takes a failure for an end. Proper ends have been said by now.
    fn part(mut self, failure: Option<&Failure>) {
        if let (Some(Failure::Record(error)), Some(channel)) = (failure, &mut self.channel)
            && self.down.pending.is_none()
        {
            let mut buffer = self.pool.take(false);
            if let Some(length) = channel.complain(*error, buffer.room()) {
                buffer.set(0, length);
                let mut cx = Context::from_waker(std::task::Waker::noop());
                // If there is no room for it, the connection's end must do.
                let _ = self.client.poll_send(&mut cx, buffer.rest(), false);
            }
        }
        match failure {
            None | Some(Failure::Backend) => {}
            Some(_) => self.backend.abort(),
        }
    }

    /// Opens what came behind the handshake.
    fn begin(&mut self) -> Result<(), Failure> {
        if self.carry.is_empty() {
            return Ok(());
        }
        let came = std::mem::take(&mut self.carry);
        let mut buffer = self.pool.take(came.len() > SMALL);
        // More than that a client cannot have sent ahead: the handshake reads no further.
        let room = buffer.room().get_mut(..came.len()).ok_or(RecordError::Length)?;
        room.copy_from_slice(&came);
        self.deliver(buffer, came.len())
    }

    fn poll(&mut self, cx: &mut Context<'_>, counters: &Counters) -> Poll<Result<(), Failure>> {
        self.moved = false;
        let before = (self.up.bytes, self.down.bytes);
        self.turns = TURNS;
        let up = self.poll_up(cx);
        self.turns = TURNS;
        let down = self.poll_down(cx);
        counters.upward.add(self.up.bytes - before.0);
        counters.downward.add(self.down.bytes - before.1);
        match (up, down) {
            (Poll::Ready(Err(failure)), _) | (_, Poll::Ready(Err(failure))) => {
                return Poll::Ready(Err(failure));
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Ok(())),
            (Poll::Pending, _) | (_, Poll::Pending) => {}
        }
        if self.moved {
            self.looks = 0;
        }
        self.poll_idle(cx)
    }

    /// Looks four times in an idle time whether something came: so no clock is read for what comes.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while self.timer.as_mut().poll(cx).is_ready() {
            self.looks += 1;
            if self.looks > LOOKS {
                return Poll::Ready(Err(Failure::Idle));
            }
            let half = self.up.ended || self.down.ended;
            let idle =
                if half { self.timeouts.half_closed.min(self.timeouts.idle) } else { self.timeouts.idle };
            self.timer.as_mut().reset(Instant::now() + idle / LOOKS);
        }
        Poll::Pending
    }

    /// Whether it is others' turn.
    fn yields(&mut self, cx: &Context<'_>) -> bool {
        let over = self.turns == 0;
        if over {
            cx.waker().wake_by_ref();
        }
        self.turns = self.turns.saturating_sub(1);
        over
    }

    /// Client to backend.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while !self.up.ended {
            if let Some(buffer) = &mut self.up.pending {
                ready!(drain(buffer, &mut self.backend, self.up.ending, cx)).map_err(|_| Failure::Backend)?;
                (self.up.pending, self.moved) = (None, true);
            }
            if self.up.ending {
                self.backend.end();
                self.up.ended = true;
                // A half of it is over: from now on it may not idle as long.
                self.shorten();
                break;
            }
            if self.yields(cx) {
                return Poll::Pending;
            }
            ready!(self.client.poll_readable(cx)).map_err(|_| Failure::Truncated)?;
            let mut buffer = self.pool.take(self.up.bulk);
            let carried = self.carry.len();
            let (head, free) = buffer.room().split_at_mut(carried);
            head.copy_from_slice(&self.carry);
            let room = free.len();
            let read = ready!(self.client.poll_receive(cx, free)).map_err(|_| Failure::Truncated)?;
            self.moved = true;
            self.up.bulk = read == room || read >= SMALL;
            if read > 0 {
                self.deliver(buffer, carried + read)?;
            } else if self.channel.is_some() {
                // An end of TCP alone: anybody could have made it.
                return Poll::Ready(Err(Failure::Truncated));
            } else {
                self.up.ending = true;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Opens the first `length` bytes of `buffer` and has them written to the backend.
    fn deliver(&mut self, mut buffer: Buffer, length: usize) -> Result<(), Failure> {
        let text = match &mut self.channel {
            None => 0..length,
            Some(channel) => {
                let bytes = &mut buffer.room()[..length];
                let opened = channel.open(bytes)?;
                self.up.ending = opened.closed;
                let rest = if opened.closed { &[] } else { &bytes[opened.taken..] };
                // Exactly as much as came: who sends half of a record holds no whole buffer.
                self.carry = rest.to_vec();
                opened.text
            }
        };
        self.up.bytes += text.len() as u64;
        buffer.set(text.start, text.end);
        self.up.pending = Some(buffer).filter(|buffer| !buffer.rest().is_empty());
        Ok(())
    }

    /// Backend to client.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while !self.down.ended {
            if let Some(buffer) = &mut self.down.pending {
                ready!(drain(buffer, &mut self.client, self.down.ending, cx))
                    .map_err(|_| Failure::Truncated)?;
                (self.down.pending, self.moved) = (None, true);
            }
            if self.down.ending {
                // If the other half is over too, the connection's end says it.
                if !self.up.ended {
                    self.client.end();
                }
                self.down.ended = true;
                self.shorten();
                break;
            }
            if self.yields(cx) {
                return Poll::Pending;
            }
            ready!(self.backend.poll_readable(cx)).map_err(|_| Failure::Backend)?;
            let mut buffer = self.pool.take(self.down.bulk);
            if let Some(channel) = self.channel.as_mut().filter(|channel| channel.wants_update()) {
                let length = channel.renew(buffer.room())?;
                buffer.set(0, length);
                self.down.pending = Some(buffer);
                continue;
            }
            let (read, sealed) = ready!(self.fetch(&mut buffer, cx))?;
            self.moved = true;
            self.down.bytes += read as u64;
            self.down.ending = read == 0;
            buffer.set(0, sealed);
            self.down.pending = Some(buffer).filter(|_| sealed > 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads from the backend, straight to where it will be sealed: bytes read, and bytes to be sent.
    fn fetch(&mut self, buffer: &mut Buffer, cx: &mut Context<'_>) -> Poll<Result<(usize, usize), Failure>> {
        let room = buffer.room();
        let Some(channel) = &mut self.channel else {
            let length = room.len();
            let read = ready!(self.backend.poll_receive(cx, room)).map_err(|_| Failure::Backend)?;
            self.down.bulk = read == length;
            return Poll::Ready(Ok((read, read)));
        };
        let (head, tail) = channel.room();
        let mut contents: [IoSliceMut<'_>; RECORDS] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
        let mut count = 0;
        for (slot, content) in room.chunks_exact_mut(head + CONTENT + tail).zip(&mut contents) {
            *content = IoSliceMut::new(&mut slot[head..head + CONTENT]);
            count += 1;
        }
        let read = ready!(self.backend.poll_receive_vectored(cx, &mut contents[..count]));
        let read = read.map_err(|_| Failure::Backend)?;
        self.down.bulk = read >= CONTENT;
        let sealed = if read == 0 { channel.close(room)? } else { channel.seal(room, read)? };
        Poll::Ready(Ok((read, sealed)))
    }

    /// Looks soon, and then by the time-out of half a connection.
    fn shorten(&mut self) {
        let idle = self.timeouts.half_closed.min(self.timeouts.idle);
        self.looks = 0;
        self.timer.as_mut().reset(Instant::now() + idle / LOOKS);
    }
}

/// Writes what is left of a buffer. If it is the last, the end of the stream goes with it in one segment.
fn drain(
    buffer: &mut Buffer,
    to: &mut Socket,
    last: bool,
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<()>> {
    while !buffer.rest().is_empty() {
        let sent = ready!(to.poll_send(cx, buffer.rest(), last))?;
        buffer.sent(sent);
    }
    Poll::Ready(Ok(()))
}
