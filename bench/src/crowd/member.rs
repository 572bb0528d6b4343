//! One peer of a crowd, without a socket: its keys, its handshake, its session.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use adit_aead::{Algorithm, Secret};
use adit_noise::cookie::Jar;
use adit_noise::mac::MacKey;
use adit_noise::{Initiator, Now, PresharedKey, PrivateKey, PublicKey, Split, Tai64n, WIREGUARD};
use adit_wireguard::message::{INITIATION, RESPONSE};
use adit_wireguard::{Keys, PeerId, Session, Traffic};

/// The first outer address less one: the range for benchmarks (RFC 2544, appendix C.2.2).
const OUTER: u32 = 0xc612_0000;
/// The first inner address less one: 10.128.0.0.
const INNER: u32 = 0x0a80_0000;

/// The gateway that a crowd talks to.
pub(crate) struct Gateway {
    pub(crate) key: PublicKey,
    mac: MacKey,
}

/// A peer. Who knows its number knows its private key.
pub(crate) struct Member {
    number: u32,
    private: PrivateKey,
    jar: Jar,
    pending: Option<Initiator>,
    pub(crate) session: Option<Session>,
}

impl Gateway {
    pub(crate) fn new(key: PublicKey) -> Self {
        Self { key, mac: MacKey::new(WIREGUARD.mac1_label, &key) }
    }
}

impl Member {
    pub(crate) fn new(number: u32, gateway: &Gateway) -> Self {
        let jar = Jar::new(&WIREGUARD, &gateway.key);
        Self { number, private: private_key(number), jar, pending: None, session: None }
    }

    /// An initiation; a later one makes the answer to this one void.
    pub(crate) fn initiate(&mut self, gateway: &Gateway, now: Now) -> io::Result<[u8; INITIATION]> {
        let mut message = [0; INITIATION];
        message[0] = 1;
        message[4..8].copy_from_slice(&self.number.to_le_bytes());
        let (stamp, noise) = (Tai64n::from_wall(now.wall), &mut message[8..116]);
        let none = PresharedKey::default();
        let started = Initiator::start(&WIREGUARD, &self.private, &gateway.key, &none, &stamp.0, noise);
        self.pending = Some(started.map_err(io::Error::other)?);
        gateway.mac.stamp_mac1(&mut message).map_err(io::Error::other)?;
        self.jar.stamp_mac2(&mut message, now.mono).map_err(io::Error::other)?;
        Ok(message)
    }

    /// Consumes a response: whether there is a session now.
    pub(crate) fn handle_response(&mut self, message: &[u8; RESPONSE], now: Now) -> bool {
        let Some(pending) = self.pending.take() else { return false };
        match pending.finish(&message[12..60]) {
            Ok(split) => {
                self.session = Some(session(self.number, &split, word(message, 4), now));
                true
            }
            Err((pending, _)) => {
                self.pending = Some(pending);
                false
            }
        }
    }

    /// Consumes a cookie reply: whether the next initiation will have a cookie.
    pub(crate) fn handle_cookie_reply(&mut self, message: &[u8], now: Now) -> bool {
        self.jar.open_reply(&message[8..], now.mono).is_ok()
    }
}

/// The little-endian word at an offset.
pub(crate) fn word(message: &[u8], at: usize) -> u32 {
    message[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn session(number: u32, split: &Split, remote: u32, now: Now) -> Session {
    let keys = Keys {
        send: Secret::from(&*split.send),
        receive: Secret::from(&*split.receive),
        algorithm: Algorithm::ChaCha20Poly1305,
    };
    let traffic = Arc::new(Traffic::new(PeerId::new(number), None));
    Session::new(traffic, &keys, number, remote, true, now.mono)
}

/// A key that is the same each time (SplitMix64): the crowd of one run is known to the gateway of another.
fn private_key(number: u32) -> PrivateKey {
    let mut state = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(mixed ^ mixed >> 31).to_le_bytes());
    }
    PrivateKey::from_bytes(bytes)
}

/// The public key of a member.
#[must_use]
pub fn public_key(number: u32) -> PublicKey {
    private_key(number).public()
}

/// Where a member sends from.
#[must_use]
pub fn outer(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(OUTER + 1 + number)
}

/// A member's address in the tunnel.
#[must_use]
pub fn inner(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(INNER + 1 + number)
}

/// The member with an inner address.
pub(crate) fn number(inner: Ipv4Addr) -> Option<u32> {
    inner.to_bits().checked_sub(INNER + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use adit_noise::{Responder, Time};

    use super::*;

    fn now() -> Now {
        Now { mono: Time::from_secs(1), wall: Duration::from_secs(1_000_000) }
    }

    #[test]
    fn a_responder_learns_who_the_member_is_and_both_have_one_session() {
        let own = PrivateKey::generate();
        let gateway = Gateway::new(own.public());
        let mut member = Member::new(7, &gateway);
        let message = member.initiate(&gateway, now()).unwrap();
        assert!(gateway.mac.verify_mac1(&message).is_ok());
        let (responder, key, _) = Responder::receive(&WIREGUARD, &own, &message[8..116]).unwrap();
        assert_eq!(key, public_key(7));
        let mut response = [0; RESPONSE];
        response[4..12].copy_from_slice(&[9, 0, 0, 0, 7, 0, 0, 0]);
        let split = responder.respond(&PresharedKey::default(), &mut response[12..60]).unwrap();
        let mut forged = response;
        forged[20] ^= 1;
        assert!(!member.handle_response(&forged, now()), "a forged response");
        assert!(member.handle_response(&response, now()), "the true one after it");
        assert!(!member.handle_response(&response, now()), "once");
        let mine = member.session.unwrap();
        assert_eq!((mine.local_index(), mine.remote_index()), (7, 9));
        let theirs = session(9, &split, 7, now());
        let (mut arena, mut slots) =
            ([1; 64], [adit_packet::Slot { start: 16, len: 16, ..Default::default() }]);
        mine.seal(&mut arena, &mut slots, 1420).unwrap();
        slots[0].kept = true;
        theirs.open(&mut arena, &mut slots, |_, _| {});
        assert!(slots[0].kept && arena[slots[0].range()] == [1; 16]);
    }

    #[test]
    fn no_two_members_are_alike_and_addresses_read_back() {
        let keys: std::collections::HashSet<_> = (0..1_000).map(public_key).collect();
        assert_eq!(keys.len(), 1_000);
        assert_eq!(
            (outer(0).to_string(), inner(9_999).to_string()),
            ("198.18.0.1".into(), "10.128.39.16".into())
        );
        assert_eq!(number(inner(9_999)), Some(9_999));
        assert_eq!(number(Ipv4Addr::new(10, 0, 0, 1)), None);
    }
}
