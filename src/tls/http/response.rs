//! Bodies of answers on their way: never more of one is held than one buffer.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, Sleep, sleep_until};

use super::backend::Lease;
use super::body::Progress;
use super::executor::Held;
use super::headers;
use super::mistake::Mistake;
use super::refusal::CLIENT_TIME;
use super::running::Running;
use super::shared::Slot;
use crate::tls::visit::DONE;

/// Most bytes of an answer that are handed over at once where a client's window may be small: who takes that many in time is
/// slow, and no more.
const PIECE: usize = 16_384;

/// The body of an answer.
pub(super) struct ResponseBody {
    content: Content,
    running: Option<Box<Running>>,
    /// Over HTTP/2 the client may not take it.
    held: Option<Rc<Held>>,
}

enum Content {
    /// Our own words.
    Text(Option<Bytes>),
    /// The backend's.
    Passed {
        source: Source,
        /// What came of it, and was not asked for yet.
        rest: Bytes,
        silence: Silence,
        /// Why it goes no further.
        mistake: Option<Mistake>,
    },
}

/// Where a backend's content comes from. The connection may be used by others when all came.
pub(super) enum Source {
    /// A connection with one request at a time.
    Single(Lease),
    /// The same while its request goes on, whether anybody asks for the answer or not: some take it when they have sent all.
    Sending { lease: Rc<RefCell<Lease>>, _task: Task },
    /// A stream of one that many requests share.
    Shared { incoming: Incoming, _slot: Slot },
}

/// A task that ends with what it is for.
pub(super) struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Source {
    /// A connection that an answer has for itself.
    pub(super) fn alone(lease: Lease) -> Self {
        if !lease.is_sending() {
            return Self::Single(lease);
        }
        let lease = Rc::new(RefCell::new(lease));
        let sending = Rc::downgrade(&lease);
        let rest = poll_fn(move |cx| {
            sending.upgrade().map_or(Poll::Ready(()), |lease| lease.borrow_mut().poll_rest(cx))
        });
        Self::Sending { lease, _task: Task(spawn_local(rest)) }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Mistake>>> {
        match self {
            Self::Single(lease) => lease.poll_frame(cx),
            Self::Sending { lease, .. } => lease.borrow_mut().poll_frame(cx),
            Self::Shared { incoming, .. } => {
                Pin::new(incoming).poll_frame(cx).map(|frame| frame.map(|frame| Ok(frame?)))
            }
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Single(lease) => lease.is_over(),
            Self::Sending { lease, .. } => lease.borrow().is_over(),
            Self::Shared { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Single(lease) => lease.size_hint(),
            Self::Sending { lease, .. } => lease.borrow().size_hint(),
            Self::Shared { incoming, .. } => incoming.size_hint(),
        }
    }
}

/// How long nothing may come of an answer, nor go of its request, where other requests of the client hide that from who looks at
/// its connection.
struct Silence {
    limit: Duration,
    /// When something came last.
    since: Instant,
    progress: Rc<Progress>,
    /// From the first time that it is waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    /// Something came.
    fn ends(&mut self) {
        if self.timer.is_some() {
            self.since = Instant::now();
        }
    }

    /// Ready when it lasted too long.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| {
            self.since = Instant::now();
            Box::pin(sleep_until(self.since + self.limit))
        });
        loop {
            ready!(timer.as_mut().poll(cx));
            let until = self.since.max(self.progress.moved.get()) + self.limit;
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
    }
}

impl ResponseBody {
    pub(super) fn text(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self::new(Content::Text(Some(text).filter(|text| !text.is_empty())))
    }

    /// A backend's, of which nothing may come for so long.
    pub(super) fn passed(source: Source, limit: Duration, progress: &Rc<Progress>) -> Self {
        let silence = Silence { limit, since: Instant::now(), progress: progress.clone(), timer: None };
        Self::new(Content::Passed { source, rest: Bytes::new(), silence, mistake: None })
    }

    fn new(content: Content) -> Self {
        Self { content, running: None, held: Held::current() }
    }

    /// The request is over when all of this was taken, or is not wanted any more.
    pub(super) fn ending(mut self, running: Box<Running>) -> Self {
        self.running = Some(running);
        self
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let Some(running) = &self.running else { return };
        // What was handed over may not have been taken.
        if self.held.as_ref().is_some_and(|held| held.is_given_up()) {
            running.ends(CLIENT_TIME);
        } else if self.is_end_stream() {
            running.ends(DONE);
        }
    }
}

/// What is handed over of it.
fn piece(rest: &mut Bytes) -> Bytes {
    rest.split_to(rest.len().min(PIECE))
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("hint", &self.size_hint()).finish_non_exhaustive()
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Mistake;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Mistake>>> {
        if let Some(held) = &self.held {
            held.ask();
        }
        let shares = self.held.is_some();
        let frame = match &mut self.content {
            Content::Text(text) => text.take().map(|text| Ok(Frame::data(text))),
            Content::Passed { rest, .. } if !rest.is_empty() => Some(Ok(Frame::data(piece(rest)))),
            Content::Passed { mistake, .. } if mistake.is_some() => mistake.take().map(Err),
            Content::Passed { source, rest, silence, mistake } => {
                let frame = match source.poll_frame(cx) {
                    // hyper drops what it was to send, if it hears of it in the same turn.
                    Poll::Ready(Some(Err(error))) => {
                        *mistake = Some(error);
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Ready(frame) => frame,
                    Poll::Pending if shares => {
                        ready!(silence.poll(cx));
                        Some(Err(Mistake::Silent))
                    }
                    Poll::Pending => return Poll::Pending,
                };
                silence.ends();
                match frame.map(|frame| frame.map(Frame::into_data)) {
                    None => {
                        self.content = Content::Text(None);
                        None
                    }
                    Some(Ok(Ok(data))) if shares => {
                        *rest = data;
                        Some(Ok(Frame::data(piece(rest))))
                    }
                    Some(Ok(Ok(data))) => Some(Ok(Frame::data(data))),
                    Some(Ok(Err(mut trailers))) => {
                        trailers.trailers_mut().into_iter().for_each(headers::strip);
                        Some(Ok(trailers))
                    }
                    Some(Err(error)) => Some(Err(error)),
                }
            }
        };
        if let (Some(held), Some(_)) = (&self.held, &frame) {
            held.hand_over();
        }
        if let Some(running) = &self.running {
            match &frame {
                Some(Ok(frame)) => running.passes(frame.data_ref().map_or(0, Bytes::len)),
                Some(Err(error)) => running.breaks(&error.to_string()),
                None => {
                    running.ends(DONE);
                    self.running = None;
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Text(text) => text.is_none(),
            Content::Passed { source, rest, .. } => rest.is_empty() && source.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Content::Passed { source, rest, .. } => {
                let (mut hint, rest) = (source.size_hint(), rest.len() as u64);
                if let Some(upper) = hint.upper() {
                    hint.set_upper(upper.saturating_add(rest));
                }
                hint.set_lower(hint.lower().saturating_add(rest));
                hint
            }
        }
    }
}
