//! Prolongs a lease while its tunnel is up: at two thirds of its time, and again and again if that fails. Out of turn, too, when
//! the gateway falls silent: WireGuard does not say that it has forgotten a key, and HTTPS does.

mod granted;

use std::path::Path;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use adit_noise::{Now, PrivateKey, Time};
use anyhow::anyhow;

use super::endpoints::Memory;
use super::enroll;
use super::grant::{Granted, Refusal};
use super::holder::Holder;
use super::lease::Lease;
use super::status::{SILENCE, Tunnel};
use super::token::{self, pin::Stamp};
use crate::status::Peer;
use crate::store::Wall;

/// Pauses between tries: this long at first, twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// And between those out of turn.
const FIRST_DOUBT: Duration = Duration::from_secs(60);
const LONGEST_DOUBT: Duration = Duration::from_secs(960);
/// A gateway that has never answered is asked by HTTPS after so many seconds.
const NEVER: f64 = 1.5;
/// One that lasts longer is told: what it asks of the network ends before.
const OVERDUE: Duration = Duration::from_secs(60);
/// After one by a token that ended with its process, and perhaps ended it, the next waits for so long.
const HELD: Duration = Duration::from_secs(300);

/// Why a lease was not prolonged.
#[derive(Clone, Debug)]
struct Failure {
    words: String,
    /// Whether it is the gateway that says so.
    refused: bool,
    /// Whether it has forgotten us.
    is_final: bool,
    /// The file with a PIN that the token refused.
    refused_pin: Option<Stamp>,
}

/// Why it is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reason {
    /// It is time to.
    Due,
    /// The gateway has fallen silent.
    Silence,
}

/// A renewal that is under way.
#[derive(Debug)]
struct Asking {
    reason: Reason,
    since: Time,
    /// Whether it was told that it lasts long.
    overdue: bool,
    answer: Receiver<Result<Granted, Failure>>,
}

/// How the next renewal is getting on.
#[derive(Debug)]
pub(super) struct Renewal {
    asking: Option<Asking>,
    /// When one by a token began that has not ended, perhaps in an earlier life.
    begun: Option<Wall>,
    /// Not before this, as one of an earlier life did not end.
    held: Option<Time>,
    pause: Duration,
    /// Not before this after a failure.
    again: Option<Time>,
    doubt: Duration,
    /// Not before this out of turn.
    doubted: Option<Time>,
    failure: Option<Failure>,
    /// When the gateway granted it last.
    granted: Option<Time>,
    /// The file with a PIN that the token refused: not again before it is written anew.
    refused_pin: Option<Stamp>,
}

impl Renewal {
    /// None is under way. A PIN that was refused in an earlier life stays so; and if that life ended while it asked a token,
    /// this one does not do the same at once: each time would give a PIN.
    #[must_use]
    pub(super) fn new(memory: &Memory, now: Now) -> Self {
        let age = |begun| now.wall.saturating_sub(Duration::from_secs(begun));
        let left = memory.renewing.map(|begun| HELD.saturating_sub(age(begun)));
        let left = left.filter(|left| !left.is_zero());
        let words = "the last renewal by the token did not end; the next one waits until 300 s after it";
        Self {
            asking: None,
            begun: memory.renewing,
            held: left.map(|left| now.mono + left),
            pause: FIRST_PAUSE,
            again: None,
            doubt: FIRST_DOUBT,
            doubted: None,
            failure: left.map(|_| Failure::of(&anyhow!("{words}"))),
            granted: None,
            refused_pin: memory.refused_pin.clone(),
        }
    }

    /// Why the last one failed, if it did.
    #[must_use]
    pub(super) fn error(&self) -> Option<&str> {
        self.failure.as_ref().map(|failure| failure.words.as_str())
    }

    /// Whether the gateway has forgotten us.
    #[must_use]
    pub(super) fn is_removed(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.is_final)
    }

    /// When the gateway granted the lease last.
    #[must_use]
    pub(super) fn granted(&self) -> Option<Time> {
        self.granted
    }

    /// Whether one is under way.
    #[must_use]
    pub(super) fn is_under_way(&self) -> bool {
        self.asking.is_some()
    }

    /// What the gateway has granted, once it has. One that lasts long is told and waited for: a second one beside it would give
    /// the token a second PIN.
    fn answer(&mut self, lease: &Lease, now: Time) -> Option<Granted> {
        if self.held.take_if(|until| now >= *until).is_some() {
            self.failure = None;
        }
        let asking = self.asking.as_mut()?;
        let (answer, told) = match asking.answer.try_recv() {
            Ok(answer) => (answer, asking.overdue),
            Err(TryRecvError::Disconnected) => {
                (Err(Failure::of(&anyhow!("the renewal broke off: its thread has panicked"))), true)
            }
            Err(TryRecvError::Empty) => {
                if !asking.overdue && now.since(asking.since) >= OVERDUE {
                    asking.overdue = true;
                    let who = if lease.is_by_token() { "the token" } else { "the gateway" };
                    let failure =
                        Failure::of(&anyhow!("{who} does not answer; it is waited for, and not asked again"));
                    tracing::error!("the lease could not be prolonged yet: {}", failure.words);
                    self.failure = Some(failure);
                }
                return None;
            }
        };
        let reason = if told { Reason::Due } else { asking.reason };
        (self.asking, self.begun) = (None, None);
        match answer {
            Ok(granted) => {
                (self.pause, self.again, self.failure) = (FIRST_PAUSE, None, None);
                self.granted = Some(now);
                Some(granted)
            }
            Err(failure) => {
                self.failed(failure, reason, now);
                None
            }
        }
    }

    /// Whether the gateway is to be asked now, and why. If that takes a token, it is noted before.
    fn begin(&mut self, lease: &Lease, reason: Option<Reason>, now: Now) -> Option<Reason> {
        if reason != Some(Reason::Silence) {
            (self.doubt, self.doubted) = (FIRST_DOUBT, None);
        }
        let reason = reason?;
        let wait = match reason {
            Reason::Due => self.again,
            Reason::Silence => self.doubted,
        };
        if self.asking.is_some() || wait.max(self.held).is_some_and(|until| now.mono < until) {
            return None;
        }
        if let Some(refused) = &self.refused_pin {
            let uri = lease.key.as_ref().and_then(Holder::uri).filter(|uri| uri.pin().is_some());
            // A file that cannot be looked at is not another one.
            let anew = uri.is_none_or(|uri| Stamp::of(uri).is_some_and(|found| found != *refused));
            if !anew {
                self.failure.get_or_insert_with(|| Failure::of(&anyhow!("{}", not_taken(uri))));
                return None;
            }
            self.refused_pin = None;
        }
        self.begun = lease.is_by_token().then_some(now.wall.as_secs());
        Some(reason)
    }

    /// Asks it.
    fn ask(&mut self, key: &PrivateKey, lease: &Lease, reason: Reason, now: Time) {
        let (key, lease) = (key.clone(), lease.clone());
        let (send, answer) = mpsc::channel();
        let ask = move || {
            // Nobody waits once the client ends.
            let _ = send.send(enroll::renew(&key, &lease).map_err(|error| Failure::of(&error)));
        };
        if let Err(error) = thread::Builder::new().name("renewal".into()).spawn(ask) {
            self.begun = None;
            return self.failed(Failure::of(&anyhow!("no thread: {error}")), Reason::Due, now);
        }
        self.asking = Some(Asking { reason, since: now, overdue: false, answer });
        if reason == Reason::Silence {
            self.doubted = Some(now + self.doubt);
            self.doubt = (self.doubt * 2).min(LONGEST_DOUBT);
        }
    }

    fn failed(&mut self, failure: Failure, reason: Reason, now: Time) {
        self.refused_pin = failure.refused_pin.clone().or(self.refused_pin.take());
        // Where there is no network there is no HTTPS either: of that the status tells already.
        if reason == Reason::Silence && !failure.refused {
            return;
        }
        tracing::error!("the lease could not be prolonged: {}", failure.words);
        self.failure = Some(failure);
        self.again = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

impl Failure {
    fn of(error: &anyhow::Error) -> Self {
        let refusal = error.downcast_ref::<Refusal>();
        Self {
            words: format!("{error:#}"),
            refused: refusal.is_some(),
            is_final: refusal.is_some_and(Refusal::is_final),
            refused_pin: error.downcast_ref().and_then(token::Error::refused_pin),
        }
    }
}

/// That a PIN is not tried, in words.
fn not_taken(uri: Option<&token::Uri>) -> String {
    let file = uri.and_then(token::Uri::pin).unwrap_or(Path::new("the file with the PIN"));
    format!(
        "the token did not take the PIN in {}; it is tried again once that file is written anew",
        file.display()
    )
}

/// Whether a gateway does not answer: for long, or never in this life.
fn is_silent(peer: Option<&Peer>) -> bool {
    let Some(peer) = peer else { return false };
    let patience = if peer.handshake_age.is_some() { SILENCE.as_secs_f64() } else { NEVER };
    peer.trying_for.is_some_and(|time| time >= patience)
}

/// What a status says of a lease, in words: how long it lasts.
#[must_use]
pub(super) fn words(tunnel: &Tunnel, wall: Wall) -> Option<String> {
    let end = tunnel.lease_end?;
    let left = end.saturating_sub(wall);
    Some(if left == 0 { "over".into() } else { format!("ends in {}", super::status::span(left as f64)) })
}

#[cfg(test)]
mod tests;
