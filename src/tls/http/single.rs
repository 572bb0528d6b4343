//! A connection to a backend of HTTP/1.1, with one request at a time (RFC 9112).
//!
//! It has no task of its own: whoever waits for the answer, and then for its content, has it read and written. hyper's client
//! has one, and what goes to and fro between two tasks is a seventh of all that a small request costs. Only what is left of a
//! request whose answer began gets a task (`response`).

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::replace;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use hyper::body::{Body as _, Buf as _, Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, HeaderMap, TRAILER};
use hyper::rt::Write as _;
use hyper::{Method, Request};

use super::body::{Fault, RequestBody};
use super::content::{Content, Part};
use super::head::{self, Framing, Head};
use super::mistake::Mistake;
use super::stream::Stream;

/// Bytes of room for what is written that are kept from one request to the next.
const ROOM: usize = 4096;

/// The connection.
pub(super) struct Single {
    stream: Stream,
    /// What is to be written: a head, and what is around chunks.
    out: Vec<u8>,
    /// Bytes of it that were.
    written: usize,
    /// Content of the request that follows it.
    data: Bytes,
    /// What is left of the request.
    sending: Sending,
    /// Where that comes from, once the answer's head is there.
    body: Option<RequestBody>,
    /// Why it goes no further.
    fault: Option<Fault>,
    /// Who waits for the answer's content meanwhile.
    waiting: Option<Waker>,
    /// What of an answer came with a head that was not whole.
    ahead: Vec<u8>,
    /// Bytes of it that were read.
    read: usize,
    /// Something of the request may have been written.
    begun: bool,
    /// Something of an answer came.
    heard: bool,
    /// What is left of the answer.
    content: Content,
    /// Another request may follow.
    lasts: bool,
}

/// What is left of a request behind `data`.
enum Sending {
    /// Nothing.
    Done,
    /// So many bytes.
    Length(u64),
    /// Chunks; with what names the trailers.
    Chunked(HeaderMap),
}

/// There was no answer.
pub(super) struct Unheard {
    pub(super) mistake: Mistake,
    /// Nothing of the request was sent, nor taken from its client.
    pub(super) unsent: bool,
    /// The connection ended without a word.
    pub(super) silent: bool,
}

/// Why a request does not go on.
enum Stopped {
    /// What the client sends of it.
    Fault(Fault),
    /// The connection.
    Broken(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Stopped> for Mistake {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Fault(fault) => Self::Request(fault),
            Stopped::Broken(error) => Self::Broken(error),
        }
    }
}

impl Single {
    /// One that was just made.
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            out: Vec::new(),
            written: 0,
            data: Bytes::new(),
            sending: Sending::Done,
            body: None,
            fault: None,
            waiting: None,
            ahead: Vec::new(),
            read: 0,
            begun: false,
            heard: false,
            content: Content::Over,
            lasts: true,
        }
    }

    /// Whether another request may be sent: what there was is over, and nothing came that nobody asked for.
    pub(super) fn is_free(&mut self) -> bool {
        self.lasts
            && self.content.is_over()
            && self.is_sent()
            && self.read == self.ahead.len()
            && self.stream.is_quiet()
    }

    fn is_sent(&self) -> bool {
        matches!(self.sending, Sending::Done)
            && self.written == self.out.len()
            && self.data.is_empty()
            && self.stream.is_drained()
    }

    /// Sends a request: the head of its answer. What is left of the request goes on with the answer's content.
    ///
    /// # Errors
    /// There is none; the connection is over then. What came of the request's body is gone, unless it was not sent.
    pub(super) async fn ask(&mut self, request: &mut Request<RequestBody>) -> Result<Head, Unheard> {
        self.begin(request);
        let asked = poll_fn(|cx| self.poll_head(cx, request)).await;
        asked.map_err(|mistake| {
            let unsent = !self.begun && !self.heard && request.body().is_whole();
            let silent = !self.heard && matches!(mistake, Mistake::Closed | Mistake::Broken(_));
            self.lasts = false;
            Unheard { mistake, unsent, silent }
        })
    }

    /// What is left of the request comes from there.
    pub(super) fn goes_on(&mut self, body: &mut RequestBody) {
        if !self.is_sent() {
            let empty = body.empty();
            self.body = Some(replace(body, empty));
        }
    }

    fn begin(&mut self, request: &Request<RequestBody>) {
        let (headers, body) = (request.headers(), request.body());
        let framing = match (body.is_end_stream(), body.size_hint().exact()) {
            (true, _) => headers.contains_key(CONTENT_LENGTH).then_some(Framing::Length(0)),
            (false, Some(length)) => Some(Framing::Length(length)),
            (false, None) => Some(Framing::Chunked),
        };
        self.sending = match framing {
            None | Some(Framing::Length(0) | Framing::End) => Sending::Done,
            Some(Framing::Length(length)) => Sending::Length(length),
            Some(Framing::Chunked) => Sending::Chunked(announced(headers)),
        };
        self.out.clear();
        self.out.shrink_to(ROOM);
        head::write(request, framing, &mut self.out);
        self.ahead = Vec::new();
        (self.written, self.read, self.begun, self.heard) = (0, 0, false, false);
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        request: &mut Request<RequestBody>,
    ) -> Poll<Result<Head, Mistake>> {
        match self.poll_send(cx, request.body_mut()) {
            // A backend that hears no more may have answered: what is there to be read says so, or that it is gone.
            Poll::Ready(Err(Stopped::Broken(error))) if is_gone(&error) => {}
            Poll::Ready(Err(stopped)) => return Poll::Ready(Err(stopped.into())),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        loop {
            ready!(self.stream.poll_fill(cx))?;
            if let Some(head) = self.take_head(request.method())? {
                return Poll::Ready(Ok(head));
            }
        }
    }

    /// Takes the head of an answer from what came, if it is whole.
    fn take_head(&mut self, asked: &Method) -> Result<Option<Head>, Mistake> {
        let came = self.stream.rest();
        if came.is_empty() {
            return Err(Mistake::Closed);
        }
        self.heard = true;
        let found = if self.ahead.is_empty() {
            let found = head::read(came, asked)?;
            if found.is_none() {
                self.ahead.extend_from_slice(came);
            }
            self.stream.consume(found.as_ref().map_or(usize::MAX, |(_, length)| *length));
            found
        } else {
            let ends_line = came.contains(&b'\n');
            self.ahead.extend_from_slice(came);
            self.stream.consume(usize::MAX);
            if !ends_line && self.ahead.len() < head::MOST {
                return Ok(None);
            }
            let found = head::read(&self.ahead, asked)?;
            self.read = found.as_ref().map_or(0, |(_, length)| *length);
            found
        };
        Ok(found.map(|(head, _)| {
            self.content = Content::new(head.framing);
            self.lasts = head.lasts;
            head
        }))
    }

    /// Sends what is there of the request: ready when that was all of it.
    fn poll_send(&mut self, cx: &mut Context<'_>, body: &mut RequestBody) -> Poll<Result<(), Stopped>> {
        loop {
            // What is there goes along with what is ahead of it.
            while self.data.is_empty() && !matches!(self.sending, Sending::Done) {
                let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else { break };
                self.take_frame(frame.transpose().map_err(Stopped::Fault)?).map_err(Stopped::Fault)?;
            }
            let out = self.out.get(self.written..).unwrap_or_default();
            if out.is_empty() && self.data.is_empty() {
                ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
                let done = matches!(self.sending, Sending::Done);
                return if done { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            // A part may go ahead of an error.
            self.begun = true;
            let slices = [IoSlice::new(out), IoSlice::new(&self.data)];
            let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices))?;
            self.sent(count);
        }
    }

    /// The next of the request's content; `None`: there is no more.
    fn take_frame(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), Fault> {
        match (frame.map(Frame::into_data), &mut self.sending) {
            (None, Sending::Chunked(_)) => self.end_chunks(&HeaderMap::new()),
            (Some(Err(frame)), Sending::Chunked(_)) => {
                self.end_chunks(frame.trailers_ref().unwrap_or(&HeaderMap::new()));
            }
            // What a length was said of does not end before it.
            (None | Some(Err(_)), _) => return Err(Fault::Broken),
            (Some(Ok(data)), _) if data.is_empty() => {}
            (Some(Ok(data)), Sending::Chunked(_)) => {
                self.data = data;
                let length = format!("{:x}\r\n", self.data.len());
                self.put(length.as_bytes());
            }
            (Some(Ok(data)), Sending::Length(left)) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Fault::Long)?;
                if *left == 0 {
                    self.sending = Sending::Done;
                }
                self.data = data;
            }
            (Some(Ok(_)), Sending::Done) => return Err(Fault::Long),
        }
        Ok(())
    }

    fn end_chunks(&mut self, trailers: &HeaderMap) {
        if let Sending::Chunked(announced) = replace(&mut self.sending, Sending::Done) {
            let mut end = Vec::new();
            head::write_trailers(trailers, &announced, &mut end);
            self.put(&end);
        }
    }

    /// Has this written behind what is to be written.
    fn put(&mut self, bytes: &[u8]) {
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        self.out.extend_from_slice(bytes);
    }

    /// So much was written.
    fn sent(&mut self, count: usize) {
        let ahead = count.min(self.out.len() - self.written);
        self.written += ahead;
        if count > ahead {
            self.data.advance((count - ahead).min(self.data.len()));
            if self.data.is_empty() && matches!(self.sending, Sending::Chunked(_)) {
                self.put(b"\r\n");
            }
        }
    }

    /// Whether something of the request is left.
    pub(super) fn is_sending(&self) -> bool {
        self.body.is_some()
    }

    /// Sends what is left of the request: ready when there is no more, or it does not go on.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut body) = self.body.take() else { return Poll::Ready(()) };
        match self.poll_send(cx, &mut body) {
            Poll::Pending => {
                self.body = Some(body);
                return Poll::Pending;
            }
            Poll::Ready(Err(Stopped::Fault(fault))) => {
                self.fault = Some(fault);
                self.waiting.take().into_iter().for_each(Waker::wake);
            }
            // A backend that hears no more may go on all the same.
            Poll::Ready(_) => {}
        }
        Poll::Ready(())
    }

    /// The next of the answer's content; `None`: that was all.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Mistake>>> {
        if let Some(fault) = self.fault.take() {
            return Poll::Ready(Some(Err(fault.into())));
        }
        self.waiting = self.body.as_ref().map(|_| cx.waker().clone());
        loop {
            let ahead = self.ahead.get(self.read..).unwrap_or_default();
            let bytes = if ahead.is_empty() { self.stream.rest() } else { ahead };
            let (part, used) = self.content.next(bytes)?;
            let frame = match part {
                Part::Data(range) => {
                    Some(Frame::data(Bytes::copy_from_slice(bytes.get(range).unwrap_or_default())))
                }
                Part::Trailers(trailers) => Some(Frame::trailers(trailers)),
                Part::Over | Part::More => None,
            };
            if ahead.is_empty() {
                self.stream.consume(used);
            } else {
                self.read += used;
            }
            if frame.is_some() || self.content.is_over() {
                return Poll::Ready(frame.map(Ok));
            }
            if self.read < self.ahead.len() {
                continue;
            }
            ready!(self.stream.poll_fill(cx))?;
            if self.stream.rest().is_empty() {
                if !self.content.may_end() {
                    return Poll::Ready(Some(Err(Mistake::Closed)));
                }
                self.content = Content::Over;
            }
        }
    }

    /// Whether all of the answer's content came.
    pub(super) fn is_over(&self) -> bool {
        self.content.is_over()
    }

    /// How much of it is left.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.content.length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// What is left of it once it was upgraded: the connection, and what came on it already.
    pub(super) fn into_upgraded(self) -> (Stream, Bytes) {
        (self.stream, Bytes::copy_from_slice(self.ahead.get(self.read..).unwrap_or_default()))
    }
}

/// Whether it says that the other side is not there any more, or does not hear.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Of a request's headers those that name its trailers.
fn announced(headers: &HeaderMap) -> HeaderMap {
    headers.get_all(TRAILER).iter().map(|value| (TRAILER, value.clone())).collect()
}
