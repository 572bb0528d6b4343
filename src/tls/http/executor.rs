//! Where the tasks of HTTP/2 connections run: on the thread of their connection. One that answers a client is given up if the
//! client does not take the answer.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::task::spawn_local;
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Activity;

/// A whole connection may be slow: then a stream may take so many times as long.
const SLOW: u32 = 10;

/// This thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local;

impl<F: Future + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_local(async move {
            future.await;
        });
    }
}

tokio::task_local! {
    static HELD: Rc<Held>;
}

/// Since when the last part of an answer was handed over, and no other asked for.
#[derive(Debug, Default)]
pub(super) struct Held {
    since: Cell<Option<Instant>>,
    given_up: Cell<bool>,
}

impl Held {
    /// Of the stream whose task this is.
    pub(super) fn current() -> Option<Rc<Self>> {
        HELD.try_with(Rc::clone).ok()
    }

    /// A part was handed over.
    pub(super) fn hand_over(&self) {
        self.since.set(Some(Instant::now()));
    }

    /// The next is asked for.
    pub(super) fn ask(&self) {
        self.since.set(None);
    }

    /// Whether it was held for too long.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.get()
    }
}

/// This thread, for the streams of a client.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) activity: Rc<Activity>,
    /// How long a part of an answer may wait for the client's window (RFC 9113, section 5.2).
    pub(super) limit: Duration,
}

impl<F: Future + 'static> Executor<F> for Streams {
    fn execute(&self, future: F) {
        let (activity, limit) = (self.activity.clone(), self.limit);
        spawn_local(async move {
            let held = Rc::new(Held::default());
            let mut answering = pin!(HELD.scope(held.clone(), future));
            let mut timer = None::<Pin<Box<Sleep>>>;
            // What is dropped unfinished is reset.
            poll_fn(|cx| {
                if answering.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                while let Some(since) = held.since.get() {
                    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(since + limit)));
                    ready!(timer.as_mut().poll(cx));
                    let now = Instant::now();
                    let patience = if activity.is_stalled() { limit * SLOW } else { limit };
                    if now >= since + patience {
                        held.given_up.set(true);
                        return Poll::Ready(());
                    }
                    timer.as_mut().reset((since + limit).max(now + limit / SLOW));
                }
                timer = None;
                Poll::Pending
            })
            .await;
        });
    }
}
