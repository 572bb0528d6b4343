//! Prolongs a lease while its tunnel is up: at two thirds of its time, and again and again if that fails.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use adit_noise::{PrivateKey, Time};
use adit_wireguard::PeerChange;
use adit_wireguard::uapi::Change;

use super::enroll::{self, Granted};
use super::laid;
use super::network::Network;
use super::profile::Lease;
use super::running::{Running, fit};
use super::status::Tunnel;
use crate::clock;
use crate::store::Wall;

/// Pauses between tries: this long at first, twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How the next renewal is getting on.
#[derive(Debug)]
pub(super) struct Renewal {
    asking: Option<Receiver<Result<Granted, String>>>,
    pause: Duration,
    /// Not before this after a failure.
    again: Option<Time>,
    error: Option<String>,
}

impl Renewal {
    /// None is under way.
    #[must_use]
    pub(super) fn new() -> Self {
        Self { asking: None, pause: FIRST_PAUSE, again: None, error: None }
    }

    /// Why the last one failed, if it did.
    #[must_use]
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Asks the gateway if it is time to, and gives out what it has granted.
    fn poll(&mut self, key: &PrivateKey, lease: &Lease, wall: Wall, now: Time) -> Option<Granted> {
        if let Some(answer) = self.asking.as_ref().and_then(|asking| asking.try_recv().ok()) {
            self.asking = None;
            match answer {
                Ok(granted) => {
                    (self.pause, self.again, self.error) = (FIRST_PAUSE, None, None);
                    return Some(granted);
                }
                Err(error) => {
                    tracing::error!("the lease could not be prolonged: {error}");
                    self.error = Some(error);
                    self.again = Some(now + self.pause);
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
        if self.asking.is_none() && wall >= due(lease) && self.again.is_none_or(|again| now >= again) {
            let (key, lease) = (key.clone(), lease.clone());
            let (answer, asking) = mpsc::channel();
            let ask = move || {
                // Nobody waits once the client ends.
                let _ = answer.send(enroll::renew(&key, &lease).map_err(|error| format!("{error:#}")));
            };
            if thread::Builder::new().name("renewal".into()).spawn(ask).is_ok() {
                self.asking = Some(asking);
            }
        }
        None
    }
}

/// When a lease is to be prolonged. A clock that was set back makes it too early, never too late by more than the lease.
fn due(lease: &Lease) -> Wall {
    lease.begin + lease.until.saturating_sub(lease.begin) / 3 * 2
}

impl Running {
    /// Prolongs the lease if it is time to.
    pub(super) fn renew(&mut self) {
        let Some(lease) = &self.profile.lease else { return };
        let now = clock::both();
        let granted = self.renewal.poll(&self.profile.private_key, lease, now.wall.as_secs(), now.mono);
        let Some((mut profile, skew)) = granted else { return };
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

    #[test]
    fn a_lease_is_prolonged_at_two_thirds_and_a_failure_is_tried_again_ever_more_seldom() {
        let profile = sample();
        let mut lease = profile.lease.clone().unwrap();
        // Nobody listens there: the answer comes at once.
        lease.url = "https://127.0.0.1:1".into();
        lease.ca = Some("/dev/null".into());
        let mut renewal = Renewal::new();
        let mut now = Time::from_nanos(1_000_000_000_000);
        let key = &profile.private_key;
        assert!(renewal.poll(key, &lease, 1_600, now).is_none() && renewal.asking.is_none(), "too early");
        let mut pauses = Vec::new();
        for _ in 0..4 {
            renewal.poll(key, &lease, 1_666, now);
            assert!(renewal.asking.is_some());
            while renewal.asking.is_some() {
                renewal.poll(key, &lease, 1_666, now);
            }
            pauses.push(renewal.again.unwrap().since(now).as_secs());
            now = renewal.again.unwrap();
        }
        assert_eq!(pauses, [5, 10, 20, 40]);
        assert!(renewal.error().is_some_and(|error| error.contains("/dev/null")), "{:?}", renewal.error());
    }
}
