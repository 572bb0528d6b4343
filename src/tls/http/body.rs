//! Bodies of requests on their way: never more of one is held than hyper's windows and one buffer.

use std::cell::{Cell, RefCell};
use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::activity::Activity;
use super::headers;
use super::settings::Rules;
use super::shared::Load;
use crate::tls::counters::Failure;

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
    /// Something of it was taken.
    begun: bool,
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
                begun: false,
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

    /// One of the same request with nothing in it.
    pub(super) fn empty(&self) -> Self {
        let (progress, patience) = (self.progress.clone(), Duration::ZERO);
        let begun = false;
        Self {
            incoming: None,
            begun,
            progress,
            activity: None,
            rules: None,
            room: None,
            patience,
            timer: None,
        }
    }

    /// One of no request.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        let (moved, fault) = (Cell::new(Instant::now()), Cell::new(None));
        let progress = Rc::new(Progress { moved, fault, received: Cell::new(0), via: RefCell::new(None) });
        let (activity, rules, patience) = (None, None, Duration::ZERO);
        Self { incoming: None, begun: false, progress, activity, rules, room: None, patience, timer: None }
    }

    /// It goes to a connection of its own, or to this one.
    pub(super) fn goes(&self, via: Option<Rc<Load>>) {
        self.progress.via.replace(via);
    }

    /// Whether nothing of it was taken from the client, not even its end.
    pub(super) fn is_whole(&self) -> bool {
        !self.begun
    }

    fn is_shared(&self) -> bool {
        self.activity.as_ref().is_some_and(|activity| activity.is_shared())
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
            self.begun = true;
            return self.fail(Fault::Late);
        };
        self.begun = true;
        self.timer = None;
        self.progress.moved.set(Instant::now());
        if let Some(activity) = &self.activity {
            activity.pass();
        }
        // A stream of HTTP/2 that the client reset without an error ends here too, as if all had come.
        let cut = frame.is_none() && self.is_shared() && !self.is_end_stream();
        match frame {
            None if cut => self.fail(Fault::Broken),
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
