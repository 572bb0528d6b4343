//! Peers whose endpoints are names: told where they are, and looked for anew when they fall silent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use adit_wireguard::PeerChange;
use adit_wireguard::uapi::Change;

use super::Gateway;
use super::resolver::{self, PeerName};
use crate::clock;
use crate::config::{EndpointName, Peer, Wireguard};
use crate::control::Interface;
use crate::status;

/// The peers of a tunnel whose endpoints are names.
pub(super) fn names(config: &Wireguard) -> BTreeMap<String, (String, u16)> {
    let name = |(peer, settings): (&String, &Peer)| match &settings.endpoint {
        Some(EndpointName::Dns { host, port }) => Some((peer.clone(), (host.clone(), *port))),
        Some(EndpointName::Address(_)) | None => None,
    };
    config.peers.iter().filter_map(name).collect()
}

/// Looks for a peer at one of these addresses, unless that is where it is.
pub(super) fn place(
    interface: Option<&Interface>,
    config: Option<&Wireguard>,
    (tunnel, peer): &PeerName,
    addresses: &[SocketAddr],
) {
    let settings = config.and_then(|config| config.peers.get(peer));
    let (Some(interface), Some(settings)) = (interface, settings) else { return };
    let Ok(report) = interface.remote().report() else { return };
    let key = settings.public_key.to_base64();
    let found = report.peers.iter().find(|peer| peer.public_key == key);
    let now = found.and_then(|peer| peer.endpoint.as_deref()?.parse().ok());
    let Some(next) = resolver::next(addresses, now, found.is_some_and(is_silent)) else { return };
    tracing::info!("{tunnel}: peer {peer}: endpoint {next}");
    let change = PeerChange { update_only: true, endpoint: Some(next), ..PeerChange::default() };
    if let Err(error) = interface.remote().configure(vec![Change::Peer(settings.public_key, change)]) {
        tracing::error!("{tunnel}: peer {peer}: endpoint {next}: {error}");
    }
}

/// Whether a peer has left handshakes without an answer for [`resolver::SILENCE`].
fn is_silent(peer: &status::Peer) -> bool {
    peer.trying_for.is_some_and(|time| time >= resolver::SILENCE.as_secs_f64())
}

impl Gateway {
    /// Looks up the names of endpoints: those that have no address yet, and those where nobody answers.
    pub(super) fn resolve(&mut self) {
        let now = clock::now();
        if now.since(self.doubted) >= super::DOUBT {
            self.doubted = now;
            self.doubt_the_silent();
            self.doubt_silent_links();
        }
        for (peer, addresses) in self.resolver.poll(now) {
            self.place_link(&peer.0, &addresses);
            place(self.tunnels.get(&peer.0), self.config.wireguard.get(&peer.0), &peer, &addresses);
        }
    }

    fn doubt_the_silent(&mut self) {
        let now = clock::now();
        for (name, interface) in &self.tunnels {
            let Some(config) = self.config.wireguard.get(name) else { continue };
            let named = names(config);
            if named.is_empty() {
                continue;
            }
            let Ok(report) = interface.remote().report() else { continue };
            let silent = report.peers.iter().filter(|peer| is_silent(peer));
            let silent: BTreeSet<_> = silent.map(|peer| peer.public_key.as_str()).collect();
            for peer in named.into_keys() {
                if silent.contains(config.peers[&peer].public_key.to_base64().as_str()) {
                    self.resolver.doubt(&(name.clone(), peer), now);
                }
            }
        }
    }
}
