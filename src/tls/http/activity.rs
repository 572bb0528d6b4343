//! What goes on in one connection, and when it has gone on for too long without anything.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::watch::LOOKS;

/// So many requests a client may leave before they are answered, and half of all.
const LEFT: u64 = 100;

/// What a connection's stream, its requests and its watch share.
#[derive(Debug)]
pub(super) struct Activity {
    received: Cell<u64>,
    sent: Cell<u64>,
    /// Requests that are being answered.
    running: Cell<usize>,
    /// When the last request began or ended, or a part of a body passed.
    moved: Cell<Instant>,
    /// When the first byte of a request came, whose head is not whole yet.
    head: Cell<Option<Instant>>,
    /// Since when the other side takes nothing.
    stalled: Cell<Option<Instant>>,
    /// Requests so far.
    requests: Cell<u64>,
    /// Those of them that the client left before they were answered.
    left: Cell<u64>,
    /// Rung when those are too many.
    pub(super) abuse: Notify,
    /// What came was no record: what that is called.
    refused: Cell<Option<&'static str>>,
    /// Why its requests are given up.
    given_up: Cell<Option<&'static str>>,
    /// Many requests share the connection.
    http2: Cell<bool>,
    /// When something came last, over HTTP/2.
    heard: Cell<Instant>,
}

/// How long the phases of a connection may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Limits {
    /// A request's head, from its first byte to the last.
    pub(super) head: Duration,
    /// Without a request.
    pub(super) idle: Duration,
    /// Until the other side takes something of what is to be sent.
    pub(super) stalled: Duration,
    /// In a request without any part of a body.
    pub(super) silent: Duration,
}

/// What is to be done with a connection that is overdue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Overdue {
    /// It has no request: it may end properly.
    Idle,
    /// It is held up by the other side.
    Held,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            received: Cell::new(0),
            sent: Cell::new(0),
            running: Cell::new(0),
            moved: Cell::new(Instant::now()),
            head: Cell::new(None),
            stalled: Cell::new(None),
            requests: Cell::new(0),
            left: Cell::new(0),
            refused: Cell::new(None),
            given_up: Cell::new(None),
            http2: Cell::new(false),
            heard: Cell::new(Instant::now()),
            abuse: Notify::new(),
        }
    }

    /// Bytes in clear, from the other side and to it.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.received.get(), self.sent.get())
    }

    /// It is HTTP/2.
    pub(super) fn share(&self) {
        self.http2.set(true);
    }

    /// Whether it is.
    pub(super) fn is_shared(&self) -> bool {
        self.http2.get()
    }

    /// When something came last, over HTTP/2.
    pub(super) fn heard(&self) -> Instant {
        self.heard.get()
    }

    pub(super) fn receive(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
        if self.http2.get() {
            self.heard.set(Instant::now());
        }
        // Over HTTP/2 what comes between requests may be anything; without a request it is idle.
        let begins = !self.http2.get() || self.requests.get() == 0;
        if bytes > 0 && begins && self.running.get() == 0 && self.head.get().is_none() {
            self.head.set(Some(Instant::now()));
        }
    }

    pub(super) fn send(&self, bytes: usize) {
        self.sent.set(self.sent.get() + bytes as u64);
    }

    /// The other side takes nothing.
    pub(super) fn stall(&self) {
        if self.stalled.get().is_none() {
            self.stalled.set(Some(Instant::now()));
        }
    }

    /// Whether that is so.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.get().is_some()
    }

    /// It took something.
    pub(super) fn flow(&self) {
        self.stalled.set(None);
    }

    /// What came was no record, and that was counted.
    pub(super) fn refuse(&self, name: &'static str) {
        self.refused.set(Some(name));
    }

    /// Whether that was so, and what it is called: the end that follows is no other.
    pub(super) fn refused(&self) -> Option<&'static str> {
        self.refused.get()
    }

    /// Its requests are given up.
    pub(super) fn give_up(&self, why: &'static str) {
        self.given_up.set(Some(why));
    }

    /// Why, if they were.
    pub(super) fn given_up(&self) -> Option<&'static str> {
        self.given_up.get()
    }

    /// A request's head is whole.
    pub(super) fn begin(&self) {
        self.requests.set(self.requests.get() + 1);
        self.running.set(self.running.get() + 1);
        self.head.set(None);
        self.moved.set(Instant::now());
    }

    /// A part of a body passed.
    pub(super) fn pass(&self) {
        self.moved.set(Instant::now());
    }

    /// The client does not want to know any more. Each of these cost a backend's connection, and the client nothing.
    pub(super) fn leave(&self) {
        self.left.set(self.left.get() + 1);
        if self.left.get() >= LEFT && self.left.get() * 2 > self.requests.get() {
            self.abuse.notify_one();
        }
    }

    /// A request is over.
    pub(super) fn end(&self) {
        self.running.set(self.running.get().saturating_sub(1));
        self.moved.set(Instant::now());
    }

    /// Whether a request is being answered.
    pub(super) fn is_running(&self) -> bool {
        self.running.get() > 0
    }

    /// Whether there is no request, nor the beginning of one.
    pub(super) fn is_idle(&self) -> bool {
        self.running.get() == 0 && self.head.get().is_none()
    }

    /// Waits until nothing came and nothing went for so long; it may last a quarter longer.
    pub(super) async fn rests(&self, idle: Duration) {
        let (mut before, mut looks) = (self.bytes(), 0);
        while looks < LOOKS {
            sleep(idle / LOOKS).await;
            let now = self.bytes();
            looks = if now == before { looks + 1 } else { 0 };
            before = now;
        }
    }

    /// Whether something takes too long.
    pub(super) fn overdue(&self, limits: &Limits, now: Instant) -> Option<Overdue> {
        let since = |then: Instant| now.saturating_duration_since(then);
        if self.stalled.get().is_some_and(|then| since(then) >= limits.stalled) {
            return Some(Overdue::Held);
        }
        if self.running.get() > 0 {
            return (since(self.moved.get()) >= limits.silent).then_some(Overdue::Held);
        }
        // Who connects shall say something.
        let first = (self.requests.get() == 0).then(|| self.moved.get());
        if self.head.get().or(first).is_some_and(|then| since(then) >= limits.head) {
            return Some(Overdue::Held);
        }
        (since(self.moved.get()) >= limits.idle).then_some(Overdue::Idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        stalled: Duration::from_secs(30),
        silent: Duration::from_secs(600),
    };

    fn after(activity: &Activity, seconds: u64) -> Option<Overdue> {
        activity.overdue(&LIMITS, Instant::now() + Duration::from_secs(seconds))
    }

    #[test]
    fn whoever_says_nothing_or_half_a_head_is_held_up_and_who_rests_between_requests_is_idle() {
        let activity = Activity::new();
        assert_eq!((after(&activity, 9), after(&activity, 10)), (None, Some(Overdue::Held)));
        activity.receive(10);
        activity.begin();
        assert_eq!((after(&activity, 599), after(&activity, 600)), (None, Some(Overdue::Held)));
        activity.end();
        assert_eq!((after(&activity, 74), after(&activity, 75)), (None, Some(Overdue::Idle)));
        activity.receive(1);
        assert_eq!((after(&activity, 9), after(&activity, 10)), (None, Some(Overdue::Held)));
    }

    #[test]
    fn over_http2_whatever_comes_between_requests_begins_none() {
        let activity = Activity::new();
        activity.share();
        activity.receive(1);
        assert_eq!((after(&activity, 9), after(&activity, 10)), (None, Some(Overdue::Held)));
        activity.begin();
        activity.end();
        activity.receive(9);
        assert_eq!((after(&activity, 74), after(&activity, 75)), (None, Some(Overdue::Idle)));
    }

    #[test]
    fn whoever_takes_nothing_is_held_up_whatever_else_goes_on() {
        let activity = Activity::new();
        activity.begin();
        activity.stall();
        assert_eq!((after(&activity, 29), after(&activity, 30)), (None, Some(Overdue::Held)));
        activity.flow();
        assert_eq!(after(&activity, 30), None);
    }
}
