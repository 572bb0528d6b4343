//! Where a peer stands between sessions: the handshake that we try, and what keeps the peer's from being replayed.

use core::time::Duration;

use adit_noise::{Initiator, Tai64n, Time};

use crate::{Cipher, Refused, timers};

/// Least time between two initiations that are consumed from one peer: 50 a second, as in the kernel.
const INITIATION_INTERVAL: Duration = Duration::from_millis(20);

/// An initiation on its way, whose response names `index`.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) index: u32,
    pub(crate) initiator: Initiator,
    /// The cipher that it was made under.
    pub(crate) cipher: Cipher,
}

/// A handshake that we try until it succeeds or [`timers::REKEY_ATTEMPT_TIME`] has passed.
#[derive(Debug)]
struct Attempt {
    /// When somebody first asked for it.
    since: Time,
    /// When somebody last asked for it.
    began: Time,
    /// When the next initiation is sent.
    due: Time,
    pending: Option<Pending>,
}

/// What an attempt needs now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Nothing.
    Wait,
    /// An initiation; `again` if an earlier one got no response.
    Initiate { again: bool },
    /// To be given up.
    Abandon,
}

#[derive(Debug, Default)]
pub(crate) struct Handshake {
    attempt: Option<Attempt>,
    /// When we last sent an initiation or a response.
    last_sent: Option<Time>,
    /// The stamp of our last initiation.
    sent_stamp: Option<Tai64n>,
    /// The greatest stamp of an initiation of the peer. It outlives everything but the peer.
    greatest_stamp: Option<Tai64n>,
    last_consumed: Option<Time>,
    /// Drawn anew for each initiation.
    jitter: Duration,
}

impl Handshake {
    /// Somebody wants a session. An attempt that runs goes on, and has its whole time ahead again.
    pub(crate) fn begin(&mut self, now: Time) {
        let free = self.last_sent.map_or(now, |at| at + timers::REKEY_TIMEOUT);
        let attempt =
            self.attempt.get_or_insert(Attempt { since: now, began: now, due: free.max(now), pending: None });
        attempt.began = now;
    }

    /// What is to be done now.
    pub(crate) fn step(&self, now: Time) -> Step {
        match &self.attempt {
            Some(attempt) if now >= attempt.began + timers::REKEY_ATTEMPT_TIME => Step::Abandon,
            Some(attempt) if now >= attempt.due => Step::Initiate { again: attempt.pending.is_some() },
            Some(_) | None => Step::Wait,
        }
    }

    /// Since when there is an attempt, if there is one.
    pub(crate) fn trying_since(&self) -> Option<Time> {
        self.attempt.as_ref().map(|attempt| attempt.since)
    }

    /// When there is something to do.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let attempt = self.attempt.as_ref()?;
        Some(attempt.due.min(attempt.began + timers::REKEY_ATTEMPT_TIME))
    }

    /// The stamp for an initiation sent now: later than all before.
    pub(crate) fn next_stamp(&mut self, wall: Duration) -> Tai64n {
        let stamp = Tai64n::from_wall(wall);
        let stamp = self.sent_stamp.map_or(stamp, |sent| stamp.next_after(sent));
        *self.sent_stamp.insert(stamp)
    }

    /// An initiation goes out. Returns the index of the one before, which is given up.
    pub(crate) fn initiated(&mut self, pending: Pending, jitter: Duration, now: Time) -> Option<u32> {
        self.last_sent = Some(now);
        self.jitter = jitter;
        let attempt = self.attempt.as_mut()?;
        attempt.due = now + timers::REKEY_TIMEOUT + jitter;
        attempt.pending.replace(pending).map(|before| before.index)
    }

    /// A response goes out: no initiation shortly after.
    pub(crate) fn responded(&mut self, now: Time) {
        self.last_sent = Some(now);
        if let Some(attempt) = &mut self.attempt {
            attempt.due = attempt.due.max(now + timers::REKEY_TIMEOUT);
        }
    }

    /// Takes the initiation on its way, to finish it; [`Self::put_back`] if that fails.
    pub(crate) fn take_pending(&mut self, index: u32) -> Option<Pending> {
        let pending = &mut self.attempt.as_mut()?.pending;
        pending.take_if(|pending| pending.index == index)
    }

    /// The response was forged or damaged: the true one may still come.
    pub(crate) fn put_back(&mut self, pending: Pending) {
        if let Some(attempt) = &mut self.attempt {
            attempt.pending = Some(pending);
        }
    }

    /// Ends the attempt. Returns the index to release.
    pub(crate) fn end(&mut self) -> Option<u32> {
        self.attempt.take()?.pending.map(|pending| pending.index)
    }

    /// Lets the next initiation go out at once, as after the interface was down or the key changed.
    pub(crate) fn forget_last_sent(&mut self) {
        self.last_sent = None;
    }

    /// How long after [`timers::KEEPALIVE_TIMEOUT`] and [`timers::REKEY_TIMEOUT`] unanswered data leads to a handshake.
    pub(crate) fn jitter(&self) -> Duration {
        self.jitter
    }

    /// Consumes the stamp of an authentic initiation (section 5.1): it must be later than all before it, and not follow
    /// the last one at once.
    pub(crate) fn consume(&mut self, stamp: Tai64n, now: Time) -> Result<(), Refused> {
        if self.greatest_stamp.is_some_and(|greatest| stamp <= greatest) {
            return Err(Refused::TimestampReplayed);
        }
        if self.last_consumed.is_some_and(|last| now.since(last) < INITIATION_INTERVAL) {
            return Err(Refused::Flood);
        }
        self.greatest_stamp = Some(stamp);
        self.last_consumed = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(seconds: u64) -> Tai64n {
        Tai64n::from_wall(Duration::from_secs(seconds))
    }

    fn millis(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn stamps_of_a_peer_must_grow() {
        let mut handshake = Handshake::default();
        assert_eq!(handshake.consume(stamp(10), millis(0)), Ok(()));
        for (seconds, at) in [(10, 100), (9, 200), (0, 300)] {
            let refused = handshake.consume(stamp(seconds), millis(at));
            assert_eq!(refused, Err(Refused::TimestampReplayed));
        }
        assert_eq!(handshake.consume(stamp(11), millis(400)), Ok(()));
    }

    #[test]
    fn initiations_are_consumed_20_ms_apart() {
        let mut handshake = Handshake::default();
        assert_eq!(handshake.consume(stamp(1), millis(100)), Ok(()));
        let flood = Err(Refused::Flood);
        assert_eq!(handshake.consume(stamp(2), millis(100)), flood);
        assert_eq!(handshake.consume(stamp(2), millis(119)), flood);
        assert_eq!(handshake.consume(stamp(2), millis(120)), Ok(()));
    }

    #[test]
    fn a_refused_flood_does_not_use_its_stamp_up() {
        let mut handshake = Handshake::default();
        assert_eq!(handshake.consume(stamp(1), millis(0)), Ok(()));
        assert_eq!(handshake.consume(stamp(9), millis(1)), Err(Refused::Flood));
        assert_eq!(handshake.consume(stamp(5), millis(50)), Ok(()));
    }

    #[test]
    fn an_attempt_waits_until_5_s_after_the_last_message_and_ends_90_s_after_it_was_wanted() {
        let mut handshake = Handshake::default();
        let at = Time::from_secs;
        handshake.responded(at(10));
        handshake.begin(at(12));
        assert_eq!(handshake.deadline(), Some(at(15)));
        assert_eq!(handshake.step(millis(14_999)), Step::Wait);
        assert_eq!(handshake.step(at(15)), Step::Initiate { again: false });
        handshake.begin(at(14));
        assert_eq!(handshake.deadline(), Some(at(15)), "wanting more is no reason to hurry");
        assert_eq!(handshake.step(at(103)), Step::Initiate { again: false });
        assert_eq!(handshake.step(at(104)), Step::Abandon);
    }

    #[test]
    fn stamps_grow_even_if_the_clock_goes_back() {
        let mut handshake = Handshake::default();
        let first = handshake.next_stamp(Duration::from_secs(100));
        let second = handshake.next_stamp(Duration::from_secs(50));
        assert!(second > first);
    }
}
