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
                    let Some(next) = next_look(since, limit, activity.is_stalled(), Instant::now()) else {
                        held.given_up.set(true);
                        return Poll::Ready(());
                    };
                    timer.as_mut().reset(next);
                }
                timer = None;
                Poll::Pending
            })
            .await;
        });
    }
}

/// When to look again at what is held since then; `None`: now it has been for too long.
fn next_look(since: Instant, limit: Duration, stalled: bool, now: Instant) -> Option<Instant> {
    let patience = if stalled { limit * SLOW } else { limit };
    // The connection may flow again at any time.
    (now < since + patience).then(|| (since + limit).max(now + limit / SLOW))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;
    use tokio::task::LocalSet;
    use tokio::time::{sleep, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    fn local<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, work)
    }

    /// Hands over a part of an answer that nobody takes; how long it is waited for, if that ends.
    async fn held(activity: &Rc<Activity>) -> Option<Duration> {
        let (answering, given_up) = oneshot::channel::<()>();
        let begun = Instant::now();
        Streams { activity: activity.clone(), limit: LIMIT }.execute(async move {
            let _answering = answering;
            Held::current().unwrap().hand_over();
            pending::<()>().await;
        });
        timeout(LIMIT * 30, given_up).await.is_ok().then(|| begun.elapsed())
    }

    #[test]
    fn a_part_is_held_for_the_limit_and_on_a_slow_connection_for_ten_times_that() {
        let (since, limit) = (Instant::now(), Duration::from_secs(30));
        let at = |seconds| since + Duration::from_secs(seconds);
        for (now, flows, stalled) in [
            // It was handed over when the timer ran already.
            (20, Some(30), Some(30)),
            (29, Some(32), Some(32)),
            (30, None, Some(33)),
            (299, None, Some(302)),
            (300, None, None),
        ] {
            for (is_stalled, expected) in [(false, flows), (true, stalled)] {
                assert_eq!(
                    next_look(since, limit, is_stalled, at(now)),
                    expected.map(at),
                    "{now} {is_stalled}"
                );
            }
        }
    }

    #[test]
    fn an_answer_is_given_up_when_it_was_held_for_too_long_and_not_before() {
        let [flowing, stalled, recovering] = [(); 3].map(|()| Rc::new(Activity::new()));
        stalled.stall();
        recovering.stall();
        let recovers = async {
            sleep(LIMIT * 2).await;
            recovering.flow();
        };
        let all = async { tokio::join!(held(&flowing), held(&stalled), held(&recovering), recovers) };
        let (at_once, late, in_between, ()) = local(all);
        assert!(at_once.is_some_and(|time| time >= LIMIT && time < LIMIT * 9), "{at_once:?}");
        assert!(late.is_some_and(|time| time >= LIMIT * 10), "{late:?}");
        assert!(in_between.is_some_and(|time| time >= LIMIT * 2 && time < LIMIT * 9), "{in_between:?}");
    }
}
