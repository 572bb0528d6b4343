//! Conversations with gotatun.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod interop;
mod party;

use std::net::SocketAddr;
use std::sync::Arc;

use adit_noise::{PresharedKey, PrivateKey, PublicKey};
use gotatun::noise::index_table::IndexTable;
use gotatun::noise::rate_limiter::RateLimiter;
use gotatun::noise::{Tunn, TunnResult};
use gotatun::packet::{Packet, WgKind};
use gotatun::tun::MtuWatcher;
use gotatun::x25519;
use interop::Other;

struct Gotatun {
    tunn: Tunn,
    limit: Arc<RateLimiter>,
    mtu: MtuWatcher,
}

fn us() -> SocketAddr {
    "192.0.2.1:1001".parse().unwrap()
}

fn bytes(kind: WgKind) -> Vec<u8> {
    let packet = match kind {
        WgKind::HandshakeInit(packet) => packet.into_bytes(),
        WgKind::HandshakeResp(packet) => packet.into_bytes(),
        WgKind::CookieReply(packet) => packet.into_bytes(),
        WgKind::Data(packet) => packet.into_bytes(),
    };
    packet.to_vec()
}

impl Other for Gotatun {
    fn new(private: &PrivateKey, remote: &PublicKey, preshared: Option<&PresharedKey>, loaded: bool) -> Self {
        let secret = x25519::StaticSecret::from(*private.as_bytes());
        let public = x25519::PublicKey::from(&secret);
        let limit = Arc::new(RateLimiter::new(&public, if loaded { 0 } else { 1000 }));
        let preshared = preshared.map(|key| *key.as_bytes());
        let remote = x25519::PublicKey::from(*remote.as_bytes());
        let indexes = IndexTable::from_os_rng();
        let tunn = Tunn::new(secret, remote, preshared, None, indexes, Arc::clone(&limit));
        Self { tunn, limit, mtu: MtuWatcher::new(1420) }
    }

    fn send(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        let packet = Packet::copy_from(packet);
        let sent = self.tunn.handle_outgoing_packet(packet, Some(&mut self.mtu));
        sent.map(bytes).into_iter().collect()
    }

    fn initiate(&mut self) -> Vec<u8> {
        bytes(self.tunn.format_handshake_initiation(true).unwrap().into())
    }

    fn receive(&mut self, datagram: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let kind = match self.limit.verify_packet(us(), Packet::copy_from(datagram)) {
            Ok(kind) => kind,
            Err(TunnResult::WriteToNetwork(cookie)) => return (vec![bytes(cookie)], Vec::new()),
            Err(other) => panic!("{other:?}"),
        };
        let (mut datagrams, mut packets) = (Vec::new(), Vec::new());
        match self.tunn.handle_incoming_packet(kind) {
            TunnResult::Done => {}
            TunnResult::Err(error) => panic!("{error:?}"),
            TunnResult::WriteToNetwork(kind) => datagrams.push(bytes(kind)),
            TunnResult::WriteToTunnel(packet) if packet.is_empty() => {}
            TunnResult::WriteToTunnel(packet) => packets.push(packet.to_vec()),
        }
        let queued: Vec<_> = self.tunn.get_queued_packets(&mut self.mtu).collect();
        datagrams.extend(queued.into_iter().map(bytes));
        (datagrams, packets)
    }
}

#[test]
fn we_begin_with_gotatun() {
    interop::we_begin::<Gotatun>();
}

#[test]
fn gotatun_begins_with_us() {
    interop::they_begin::<Gotatun>();
}

#[test]
fn sessions_with_gotatun_are_renewed_by_either() {
    interop::sessions_are_renewed_by_either::<Gotatun>();
}

#[test]
fn keepalives_cross_with_gotatun() {
    interop::keepalives_cross::<Gotatun>();
}

#[test]
fn gotatun_under_load_is_given_its_cookie() {
    interop::they_ask_for_a_cookie::<Gotatun>();
}

#[test]
fn gotatun_gives_us_our_cookie() {
    interop::we_ask_for_a_cookie::<Gotatun>();
}
