//! Prolongs a lease while its tunnel is up: at two thirds of its time, and again and again if that fails. Out of turn, too, when
//! the gateway falls silent: WireGuard does not say that it has forgotten a key, and HTTPS does.

use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use adit_noise::{PrivateKey, Time};
use adit_wireguard::PeerChange;
use adit_wireguard::uapi::Change;

use super::enroll;
use super::grant::{Granted, Refusal};
use super::holder::Holder;
use super::laid;
use super::lease::Lease;
use super::network::Network;
use super::running::{Running, fit};
use super::status::{SILENCE, Tunnel};
use super::term::Term;
use super::token::{self, pin::Stamp};
use crate::clock;
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

/// How the next renewal is getting on.
#[derive(Debug)]
pub(super) struct Renewal {
    asking: Option<(Reason, Receiver<Result<Granted, Failure>>)>,
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
    /// None is under way. A PIN that was refused in an earlier life stays so.
    #[must_use]
    pub(super) fn new(refused_pin: Option<Stamp>) -> Self {
        Self {
            asking: None,
            pause: FIRST_PAUSE,
            again: None,
            doubt: FIRST_DOUBT,
            doubted: None,
            failure: None,
            granted: None,
            refused_pin,
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

    /// Asks the gateway if there is a reason to, and gives out what it has granted.
    fn poll(
        &mut self,
        key: &PrivateKey,
        lease: &Lease,
        reason: Option<Reason>,
        now: Time,
    ) -> Option<Granted> {
        let answer =
            self.asking.as_ref().and_then(|(reason, asking)| Some((*reason, asking.try_recv().ok()?)));
        if let Some((reason, answer)) = answer {
            self.asking = None;
            match answer {
                Ok(granted) => {
                    (self.pause, self.again, self.failure) = (FIRST_PAUSE, None, None);
                    self.granted = Some(now);
                    return Some(granted);
                }
                Err(failure) => self.failed(failure, reason, now),
            }
        }
        if reason != Some(Reason::Silence) {
            (self.doubt, self.doubted) = (FIRST_DOUBT, None);
        }
        let wait = match reason? {
            Reason::Due => self.again,
            Reason::Silence => self.doubted,
        };
        if self.asking.is_some() || wait.is_some_and(|until| now < until) {
            return None;
        }
        if self.refused_pin.is_some() {
            let uri = lease.key.as_ref().and_then(Holder::uri);
            if uri.and_then(Stamp::of) == self.refused_pin {
                let refused = || Failure::of(&anyhow::anyhow!("{}", refused(uri)));
                self.failure.get_or_insert_with(refused);
                return None;
            }
            self.refused_pin = None;
        }
        let (key, lease) = (key.clone(), lease.clone());
        let (answer, asking) = mpsc::channel();
        let ask = move || {
            // Nobody waits once the client ends.
            let _ = answer.send(enroll::renew(&key, &lease).map_err(|error| Failure::of(&error)));
        };
        if thread::Builder::new().name("renewal".into()).spawn(ask).is_ok() {
            self.asking = reason.map(|reason| (reason, asking));
            if reason == Some(Reason::Silence) {
                self.doubted = Some(now + self.doubt);
                self.doubt = (self.doubt * 2).min(LONGEST_DOUBT);
            }
        }
        None
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

impl Running {
    /// Prolongs the lease if there is a reason to. `peer` is what is known of the gateway.
    pub(super) fn renew(&mut self, peer: Option<&Peer>) {
        let (Some(lease), Some(term)) = (&self.profile.lease, &self.term) else { return };
        let now = clock::both();
        let reason = if term.is_due(now.mono) {
            Some(Reason::Due)
        } else {
            Some(Reason::Silence).filter(|_| is_silent(peer))
        };
        let granted = self.renewal.poll(&self.profile.private_key, lease, reason, now.mono);
        if self.memory.refused_pin != self.renewal.refused_pin {
            self.memory.refused_pin = self.renewal.refused_pin.clone();
            self.keep_memory();
        }
        let Some((mut profile, skew)) = granted else { return };
        self.term = profile.lease.as_ref().map(|lease| Term::new(lease, now));
        self.memory.skew = Some(skew);
        self.keep_memory();
        (profile.mtu, profile.listen_port) = (self.profile.mtu, self.profile.listen_port);
        if let Err(error) = self.places.save(&self.name, &profile, true) {
            // What is on the disk cannot be prolonged any more; this life goes on.
            tracing::error!("{}: {error:#}", self.name);
        }
        if let Err(error) = fit(&mut profile, self.wishes) {
            return tracing::error!("{}: {error:#}", self.name);
        }
        let (before, after) = (self.laid.network.clone(), Network::of(&profile));
        self.apply(&profile);
        let names = profile.dns != self.profile.dns || profile.search != self.profile.search;
        self.profile = profile;
        if before != after {
            self.laid.network = after;
            self.change_network(&before);
        }
        if names {
            let _ = laid::take_dns_back(&self.places, &self.name);
            self.laid.dns = None;
            self.lay_dns();
        }
        tracing::info!("{}: the lease was prolonged", self.name);
    }

    /// Tells the interface of a new preshared key, of new routes, of a new key of the gateway.
    fn apply(&self, profile: &super::profile::Profile) {
        let mut changes = Vec::new();
        let stays = |key| profile.gateways.iter().any(|gateway| gateway.public_key == key);
        let gone = self.profile.gateways.iter().map(|gateway| gateway.public_key).filter(|key| !stays(*key));
        changes.extend(gone.map(Change::RemovePeer));
        for gateway in &profile.gateways {
            let change = PeerChange {
                preshared_key: Some(gateway.preshared_key.clone()),
                persistent_keepalive: Some(gateway.keepalive),
                replace_allowed_ips: true,
                allowed_ips: gateway.routes.iter().map(|route| (true, *route)).collect(),
                ..PeerChange::default()
            };
            changes.push(Change::Peer(gateway.public_key, change));
        }
        if let Err(error) = self.interface.remote().configure(changes) {
            tracing::error!("{}: {error}", self.name);
        }
    }

    fn change_network(&self, before: &Network) {
        let index = self.interface.index();
        let changed = self.laid.write(&self.places, &self.name).and_then(|()| {
            before.remove_from(index, &self.laid.network)?;
            self.laid.network.lay(index)
        });
        if let Err(error) = changed {
            tracing::error!("{}: {error:#}", self.name);
        }
    }
}

/// That a PIN is not tried, in words.
fn refused(uri: Option<&token::Uri>) -> String {
    let file = uri.and_then(token::Uri::pin).unwrap_or(Path::new("the file with the PIN"));
    format!(
        "the token refused the PIN in {}; it is tried again once that file is written anew",
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
mod tests {
    use super::*;
    use crate::client::profile::tests::sample;
    use crate::test_folder::Folder;

    #[test]
    fn a_failure_is_tried_again_ever_more_seldom() {
        let profile = sample();
        let mut lease = profile.lease.clone().unwrap();
        // Nobody listens there: the answer comes at once.
        lease.url = "https://127.0.0.1:1".into();
        lease.ca = Some("/dev/null".into());
        let mut renewal = Renewal::new(None);
        let mut now = Time::from_nanos(1_000_000_000_000);
        let key = &profile.private_key;
        assert!(renewal.poll(key, &lease, None, now).is_none() && renewal.asking.is_none(), "too early");
        let mut pauses = Vec::new();
        for _ in 0..4 {
            renewal.poll(key, &lease, Some(Reason::Due), now);
            assert!(renewal.asking.is_some());
            while renewal.asking.is_some() {
                renewal.poll(key, &lease, None, now);
            }
            pauses.push(renewal.again.unwrap().since(now).as_secs());
            now = renewal.again.unwrap();
        }
        assert_eq!(pauses, [5, 10, 20, 40]);
        assert!(renewal.error().is_some_and(|error| error.contains("/dev/null")), "{:?}", renewal.error());
    }

    #[test]
    fn a_gateway_that_falls_silent_is_asked_out_of_turn_and_no_network_is_not_told_twice() {
        let profile = sample();
        let mut lease = profile.lease.clone().unwrap();
        (lease.url, lease.ca) = ("https://127.0.0.1:1".into(), Some("/dev/null".into()));
        let mut renewal = Renewal::new(None);
        let mut now = Time::from_nanos(1_000_000_000_000);
        let mut pauses = Vec::new();
        for _ in 0..3 {
            renewal.poll(&profile.private_key, &lease, Some(Reason::Silence), now);
            assert!(renewal.asking.is_some());
            while renewal.asking.is_some() {
                renewal.poll(&profile.private_key, &lease, Some(Reason::Silence), now);
            }
            pauses.push(renewal.doubted.unwrap().since(now).as_secs());
            now = renewal.doubted.unwrap();
        }
        assert_eq!(pauses, [60, 120, 240]);
        assert!(renewal.error().is_none() && renewal.again.is_none() && !renewal.is_removed());
        renewal.poll(&profile.private_key, &lease, None, now);
        assert!(renewal.doubted.is_none(), "it answers again");
    }

    #[test]
    fn a_pin_that_the_token_refused_is_not_tried_again_before_its_file_is_written_anew() {
        let folder = Folder::new();
        let file = folder.path().join("pin");
        std::fs::write(&file, "4711").unwrap();
        let profile = sample();
        let mut lease = profile.lease.clone().unwrap();
        let uri = token::Uri::parse(&format!("pkcs11:?pin-source={}", file.display())).unwrap();
        let stamp = Stamp::of(&uri);
        (lease.url, lease.key) = ("https://127.0.0.1:1".into(), Some(Holder::Token(uri)));
        let refused = token::Error::WrongPin { token: "t".into(), from: "f".into(), stamp: stamp.clone() };
        let mut renewal = Renewal::new(None);
        // Also if it was asked out of turn, of which nobody is told otherwise.
        renewal.failed(Failure::of(&refused.into()), Reason::Silence, Time::from_nanos(1));
        for mut renewal in [renewal, Renewal::new(stamp)] {
            let later = Time::from_nanos(u64::MAX / 2);
            renewal.poll(&profile.private_key, &lease, Some(Reason::Due), later);
            assert!(renewal.asking.is_none(), "the token would be asked");
            assert!(renewal.error().is_some_and(|error| error.contains("once that file is written anew")));
            let written = std::fs::metadata(&file).unwrap().modified().unwrap() + Duration::from_secs(1);
            std::fs::File::options().write(true).open(&file).unwrap().set_modified(written).unwrap();
            renewal.poll(&profile.private_key, &lease, Some(Reason::Due), later);
            assert!(renewal.asking.is_some() && renewal.refused_pin.is_none());
            let before = written - Duration::from_secs(1);
            std::fs::File::options().write(true).open(&file).unwrap().set_modified(before).unwrap();
        }
    }

    #[test]
    fn a_gateway_that_has_forgotten_us_is_known_by_its_word() {
        let refusal = |word: &str| {
            let body = serde_json::json!({ "error": word, "message": "a sentence" }).to_string();
            Failure::of(&Refusal::parse(body.as_bytes()).unwrap().into())
        };
        let mut renewal = Renewal::new(None);
        renewal.failed(refusal("wrong_secret"), Reason::Silence, Time::from_nanos(1));
        assert!(renewal.error().is_some_and(|error| error.contains("a sentence")) && !renewal.is_removed());
        renewal.failed(refusal("no_lease"), Reason::Silence, Time::from_nanos(1));
        assert!(renewal.is_removed());
    }

    #[test]
    fn silence_is_longer_where_there_was_an_answer() {
        let silent = |age, trying| {
            is_silent(Some(&Peer { handshake_age: age, trying_for: trying, ..Peer::default() }))
        };
        assert!(!silent(None, None) && !silent(None, Some(1.0)) && silent(None, Some(1.5)));
        assert!(!silent(Some(100.0), Some(5.9)) && silent(Some(100.0), Some(6.0)));
    }
}
