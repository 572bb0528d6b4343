//! What a tunnel makes of a lease that was prolonged.

use adit_wireguard::PeerChange;
use adit_wireguard::uapi::Change;

use super::{Reason, Renewal, is_silent};
use crate::client::laid;
use crate::client::network::Network;
use crate::client::profile::Profile;
use crate::client::running::{Running, fit};
use crate::client::term::Term;
use crate::clock;
use crate::status::Peer;

impl Running {
    /// Prolongs the lease if there is a reason to. `peer` is what is known of the gateway.
    pub(in crate::client) fn renew(&mut self, peer: Option<&Peer>) {
        let (Some(lease), Some(term)) = (&self.profile.lease, &self.term) else { return };
        let now = clock::both();
        let reason = if term.is_due(now.mono) {
            Some(Reason::Due)
        } else {
            Some(Reason::Silence).filter(|_| is_silent(peer))
        };
        let granted = self.renewal.answer(lease, now.mono);
        let reason = if granted.is_none() { self.renewal.begin(lease, reason, now) } else { None };
        let Renewal { refused_pin, begun, .. } = &self.renewal;
        if (&self.memory.refused_pin, self.memory.renewing) != (refused_pin, *begun) {
            (self.memory.refused_pin, self.memory.renewing) = (refused_pin.clone(), *begun);
            // Before the token is asked: its module may end this process.
            self.keep_memory();
        }
        if let Some(reason) = reason {
            self.renewal.ask(&self.profile.private_key, lease, reason, now.mono);
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
    fn apply(&self, profile: &Profile) {
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
