//! Conversations with boringtun.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod interop;
mod party;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use adit_noise::{PresharedKey, PrivateKey, PublicKey};
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519;
use interop::Other;

const US: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

struct Boringtun(Tunn);

impl Other for Boringtun {
    fn new(private: &PrivateKey, remote: &PublicKey, preshared: Option<&PresharedKey>, loaded: bool) -> Self {
        let secret = x25519::StaticSecret::from(*private.as_bytes());
        let public = x25519::PublicKey::from(&secret);
        let limit = Arc::new(RateLimiter::new(&public, if loaded { 0 } else { 1000 }));
        let preshared = preshared.map(|key| *key.as_bytes());
        let remote = x25519::PublicKey::from(*remote.as_bytes());
        Self(Tunn::new(secret, remote, preshared, None, 1, Some(limit)))
    }

    fn send(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        let mut room = [0; 2048];
        match self.0.encapsulate(packet, &mut room) {
            TunnResult::WriteToNetwork(datagram) => vec![datagram.to_vec()],
            TunnResult::Done => Vec::new(),
            other @ (TunnResult::Err(_)
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..)) => panic!("{other:?}"),
        }
    }

    fn initiate(&mut self) -> Vec<u8> {
        let mut room = [0; 2048];
        match self.0.format_handshake_initiation(&mut room, true) {
            TunnResult::WriteToNetwork(datagram) => datagram.to_vec(),
            other @ (TunnResult::Done
            | TunnResult::Err(_)
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..)) => panic!("{other:?}"),
        }
    }

    fn receive(&mut self, datagram: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let (mut datagrams, mut packets) = (Vec::new(), Vec::new());
        let mut next = datagram;
        loop {
            let mut room = [0; 2048];
            match self.0.decapsulate(Some(US), next, &mut room) {
                TunnResult::WriteToNetwork(datagram) => datagrams.push(datagram.to_vec()),
                TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                    packets.push(packet.to_vec());
                    return (datagrams, packets);
                }
                TunnResult::Done => return (datagrams, packets),
                TunnResult::Err(error) => panic!("{error:?}"),
            }
            // What it queued is asked for with nothing.
            next = &[];
        }
    }
}

#[test]
fn we_begin_with_boringtun() {
    interop::we_begin::<Boringtun>();
}

#[test]
fn boringtun_begins_with_us() {
    interop::they_begin::<Boringtun>();
}

#[test]
fn sessions_with_boringtun_are_renewed_by_either() {
    interop::sessions_are_renewed_by_either::<Boringtun>();
}

#[test]
fn keepalives_cross_with_boringtun() {
    interop::keepalives_cross::<Boringtun>();
}

#[test]
fn boringtun_under_load_is_given_its_cookie() {
    interop::they_ask_for_a_cookie::<Boringtun>();
}

#[test]
fn boringtun_gives_us_our_cookie() {
    interop::we_ask_for_a_cookie::<Boringtun>();
}
