//! What an interface tells of itself.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use adit_wireguard::{Cipher, PeerStatus};

use super::device::Device;
use crate::clock;
use crate::control::tallies;
use crate::datapath::Worker;
use crate::net::offload::Offloads;
use crate::status::{self, State};

impl Device {
    /// Everything but what only the configuration knows: names, addresses, and what is wrong.
    pub(super) fn report(&self) -> status::Wireguard {
        let peers: Vec<_> = self.tunnel.peers().collect();
        status::Wireguard {
            state: if self.up { State::Up } else { State::Down },
            public_key: self.tunnel.private_key().map(|key| key.public().to_base64()),
            // An interface that is down will have its port; one that is up without it has lost it to somebody.
            listen_port: if self.up && !self.carrier.is_open() { 0 } else { self.carrier.port() },
            fwmark: self.carrier.mark(),
            cipher: Some(self.tunnel.cipher().to_string()),
            other_cipher: self.other_cipher(),
            mtu: u32::try_from(self.shared.mtu.load(Ordering::Relaxed)).unwrap_or(u32::MAX),
            offloads: offloads(self.carrier.offloads(), self.tunnel.cipher()),
            workers: self.workers.iter().map(tallies::worker).collect(),
            handshake_queue: self.shared.inbox.depth() as u64,
            handshakes: self.tunnel.handshakes(),
            drops: self.drops_by_reason(),
            peers: peers.into_iter().map(|peer| self.peer(peer)).collect(),
            ..status::Wireguard::default()
        }
    }

    /// Who was set up with another cipher, if anybody came lately.
    pub(super) fn other_cipher(&self) -> Option<status::OtherCipher> {
        let (from, age) = self.other_cipher.last(clock::now())?;
        let cipher = self.tunnel.cipher().other().to_string();
        Some(status::OtherCipher { endpoint: from.to_string(), cipher, age: age.as_secs_f64() })
    }

    /// Dropped packets by reason.
    pub(super) fn drops_by_reason(&self) -> BTreeMap<String, u64> {
        let all: Vec<_> = self.workers.iter().flat_map(Worker::tallies).chain([&self.tally]).collect();
        tallies::drops(&all)
    }

    fn peer(&self, peer: PeerStatus) -> status::Peer {
        let age = |at: adit_noise::Time| clock::now().since(at).as_secs_f64();
        status::Peer {
            public_key: peer.public_key.to_base64(),
            owner: self.owners.of(&peer.public_key),
            preshared_key: !peer.preshared_key.is_none(),
            endpoint: peer.endpoint.map(|endpoint| endpoint.to_string()),
            allowed_ips: peer.allowed_ips.iter().map(ToString::to_string).collect(),
            latest_handshake: peer.last_handshake.map(|at| at.as_secs_f64()),
            handshake_age: peer.last_handshake_at.map(age),
            trying_for: peer.trying_since.map(age),
            persistent_keepalive: peer.persistent_keepalive,
            received_bytes: peer.received_bytes,
            sent_bytes: peer.sent_bytes,
            ..status::Peer::default()
        }
    }
}

/// The names of those that are of use to a tunnel with this cipher.
fn offloads(all: Offloads, cipher: Cipher) -> Vec<String> {
    let wide_cipher = all.wide_cipher && cipher == Cipher::ChaCha20Poly1305;
    Offloads { wide_cipher, ..all }.names().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wide_cipher_is_an_offload_of_tunnels_that_have_that_cipher() {
        let told = |text: &str, cipher| offloads(text.parse().unwrap(), cipher).join(",");
        for text in ["tun_tso,udp_gro,wide_cipher", "tun_tso,udp_gro"] {
            assert_eq!(told(text, Cipher::ChaCha20Poly1305), text);
            assert_eq!(told(text, Cipher::Aes256Gcm), "tun_tso,udp_gro");
        }
    }
}
