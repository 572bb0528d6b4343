//! Bodies on their way: never more of one is held than hyper's windows and one buffer.

use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::{fmt, io};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::activity::Activity;
use super::backend::{Lease, words};
use super::executor::Held;
use super::headers;
use super::refusal::CLIENT_TIME;
use super::running::Running;
use super::settings::Rules;
use super::shared::Load;
use crate::tls::counters::Failure;
use crate::tls::visit::DONE;

/// Most bytes of an answer that are handed over at once where a client's window may be small: who takes that many in time is
/// slow, and no more.
const PIECE: usize = 16_384;

/// Why a body did not pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Fault {
    /// The client sends more than it may.
    #[error("a body that is too long")]
    Long,
    /// The client sends nothing more.
    #[error("a body that does not come")]
    Late,
    /// The client broke off.
    #[error("a body that was broken off")]
    Broken,
    /// What the client sends are no chunks.
    #[error("a body of what are no chunks")]
    Chunks,
}

/// How a request's body does, for whoever waits for the answer.
#[derive(Debug)]
pub(super) struct Progress {
    /// When a part of it was passed on.
    pub(super) moved: Cell<Instant>,
    /// Why it goes no further.
    pub(super) fault: Cell<Option<Fault>>,
    /// Bytes of it.
    pub(super) received: Cell<u64>,
    /// Which shared connection it went to.
    pub(super) via: RefCell<Option<Rc<Load>>>,
}

/// A request's body on its way to the backend.
pub(super) struct RequestBody {
    /// `None`: there is nothing in it.
    incoming: Option<Incoming>,
    progress: Rc<Progress>,
    activity: Option<Rc<Activity>>,
    /// `None`: there is nothing in it.
    rules: Option<std::sync::Arc<Rules>>,
    /// Bytes that may yet come.
    room: Option<u64>,
    patience: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    pub(super) fn new(
        incoming: Incoming,
        rules: &std::sync::Arc<Rules>,
        patience: Duration,
        activity: Rc<Activity>,
    ) -> (Self, Rc<Progress>) {
        let (moved, fault) = (Cell::new(Instant::now()), Cell::new(None));
        let progress = Rc::new(Progress { moved, fault, received: Cell::new(0), via: RefCell::new(None) });
        let shown = progress.clone();
        (
            Self {
                incoming: Some(incoming),
                progress,
                activity: Some(activity),
                rules: Some(rules.clone()),
                room: rules.settings.body_bytes,
                patience,
                timer: None,
            },
            shown,
        )
    }

    /// One with nothing in it, for a request that is sent once more.
    pub(super) fn empty(progress: &Rc<Progress>) -> Self {
        let (progress, patience) = (progress.clone(), Duration::ZERO);
        Self { incoming: None, progress, activity: None, rules: None, room: None, patience, timer: None }
    }

    /// It goes to a connection of its own, or to this one.
    pub(super) fn goes(&self, via: Option<Rc<Load>>) {
        self.progress.via.replace(via);
    }

    fn fail(&self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.progress.fault.set(Some(fault));
        Poll::Ready(Some(Err(fault)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(incoming).poll_frame(cx) else {
            let patience = self.patience;
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
            ready!(timer.as_mut().poll(cx));
            return self.fail(Fault::Late);
        };
        self.timer = None;
        self.progress.moved.set(Instant::now());
        if let Some(activity) = &self.activity {
            activity.pass();
        }
        match frame {
            None => Poll::Ready(None),
            Some(Err(error)) => self.fail(if is_malformed(&error) { Fault::Chunks } else { Fault::Broken }),
            Some(Ok(mut frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    let identity = self.rules.as_ref().and_then(|rules| rules.settings.identity.as_ref());
                    headers::strip_trailers(trailers, identity);
                }
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.progress.received.set(self.progress.received.get() + length);
                match self.room.map(|room| room.checked_sub(length)) {
                    Some(None) => return self.fail(Fault::Long),
                    Some(left @ Some(_)) => self.room = left,
                    None => {}
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Whether a body cannot be read, rather than that it ended too soon.
fn is_malformed(error: &hyper::Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let kinds = [io::ErrorKind::InvalidInput, io::ErrorKind::InvalidData];
    // Our own stream says the same of records.
    source.is_some_and(|source| kinds.contains(&source.kind()) && !is_failure(source))
}

fn is_failure(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Failure>())
}

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
        incoming: Incoming,
        /// What came of it, and was not asked for yet.
        rest: Bytes,
        /// The connection goes back when all came.
        lease: RefCell<Option<Lease>>,
    },
}

impl ResponseBody {
    pub(super) fn text(text: impl Into<Bytes>) -> Self {
        let text = text.into();
        Self::new(Content::Text(Some(text).filter(|text| !text.is_empty())))
    }

    pub(super) fn passed(incoming: Incoming, lease: Option<Lease>) -> Self {
        Self::new(Content::Passed { incoming, rest: Bytes::new(), lease: RefCell::new(lease) })
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
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(held) = &self.held {
            held.ask();
        }
        let pieces = self.held.is_some();
        let frame = match &mut self.content {
            Content::Text(text) => text.take().map(|text| Ok(Frame::data(text))),
            Content::Passed { rest, .. } if !rest.is_empty() => Some(Ok(Frame::data(piece(rest)))),
            Content::Passed { incoming, lease, rest } => {
                match ready!(Pin::new(incoming).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                    None => {
                        lease.take();
                        None
                    }
                    Some(Ok(Ok(data))) if pieces => {
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
                Some(Err(error)) => running.breaks(&words(error)),
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
            Content::Passed { incoming, rest, .. } => rest.is_empty() && incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Content::Passed { incoming, rest, .. } => {
                let (mut hint, rest) = (incoming.size_hint(), rest.len() as u64);
                if let Some(upper) = hint.upper() {
                    hint.set_upper(upper.saturating_add(rest));
                }
                hint.set_lower(hint.lower().saturating_add(rest));
                hint
            }
        }
    }
}
