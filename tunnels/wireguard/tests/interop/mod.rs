//! Conversations with another implementation, in one process. Each is held with and without a preshared key.

use adit_noise::{PresharedKey, PrivateKey, PublicKey, Time};
use adit_wireguard::{PeerChange, Refused};

use crate::party::{MTU, Party, now, secs};

/// Another implementation. Its clock is the real one, and too little passes in a test to matter.
pub(crate) trait Other: Sized {
    /// A peer of `remote`; with `loaded` it asks everybody for a cookie.
    fn new(private: &PrivateKey, remote: &PublicKey, preshared: Option<&PresharedKey>, loaded: bool) -> Self;
    /// Sends a packet: the datagrams that leave.
    fn send(&mut self, packet: &[u8]) -> Vec<Vec<u8>>;
    /// Begins a handshake, even if one runs.
    fn initiate(&mut self) -> Vec<u8>;
    /// Takes a datagram in: the datagrams that leave, and the packets that came out.
    fn receive(&mut self, datagram: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>);
}

/// We and the other.
struct Pair<O> {
    us: Party,
    other: O,
    /// Packets that came out at the other.
    heard: Vec<Vec<u8>>,
    at: Time,
}

const OTHER: &str = "192.0.2.2:1002";

impl<O: Other> Pair<O> {
    fn new(preshared: Option<&PresharedKey>, loaded: bool) -> Self {
        let (ours, theirs) = (PrivateKey::generate(), PrivateKey::generate());
        let at = secs(0.0);
        let mut us = Party::new(&ours, "192.0.2.1:1001", at);
        let change = PeerChange {
            preshared_key: preshared.cloned(),
            endpoint: Some(OTHER.parse().unwrap()),
            ..PeerChange::default()
        };
        us.change(&theirs.public(), change, at);
        let other = O::new(&theirs, &ours.public(), preshared, loaded);
        Self { us, other, heard: Vec::new(), at }
    }

    /// Carries datagrams to and fro until nobody has more to say.
    fn talk(&mut self, to_us: Vec<Vec<u8>>) {
        let mut to_us = to_us;
        for _ in 0..20 {
            for datagram in std::mem::take(&mut to_us) {
                self.us.receive(OTHER.parse().unwrap(), &datagram, self.at);
            }
            for (_, datagram) in std::mem::take(&mut self.us.wire) {
                let (replies, packets) = self.other.receive(&datagram);
                to_us.extend(replies);
                self.heard.extend(packets);
            }
            if to_us.is_empty() {
                return;
            }
        }
        panic!("they never rest");
    }

    fn we_send(&mut self, packet: &[u8]) {
        self.us.send(packet, self.at);
        self.talk(Vec::new());
        assert_heard(&self.heard.pop().expect("the other heard it"), packet);
    }

    fn they_send(&mut self, packet: &[u8]) {
        let datagrams = self.other.send(packet);
        self.talk(datagrams);
        assert_heard(&self.us.inbox.pop().expect("we heard it"), packet);
    }

    fn converse(&mut self) {
        for len in [20, 21, 36, 100, 1419, 1420] {
            self.we_send(&ipv4(len));
            self.they_send(&ipv4(len));
        }
        assert_eq!(self.us.refused, []);
    }
}

/// What was heard is the packet, perhaps with padding, which never goes past the MTU.
fn assert_heard(heard: &[u8], packet: &[u8]) {
    let (start, padding) = heard.split_at(packet.len());
    assert_eq!(start, packet);
    assert!(padding.len() < 16 && padding.iter().all(|byte| *byte == 0), "{padding:?}");
    assert!(heard.len() <= MTU);
}

/// An IPv4 packet, since some look at what they open.
fn ipv4(len: usize) -> Vec<u8> {
    let mut packet = vec![0x5a; len];
    packet[..20].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    packet
}

fn with_and_without_preshared_key(case: impl Fn(Option<&PresharedKey>)) {
    case(None);
    case(Some(&PresharedKey::generate()));
}

/// We begin: what we send brings about the handshake and arrives.
pub(crate) fn we_begin<O: Other>() {
    with_and_without_preshared_key(|preshared| {
        let mut pair = Pair::<O>::new(preshared, false);
        pair.we_send(&ipv4(60));
        pair.converse();
        assert!(pair.us.current().unwrap().is_initiator());
    });
}

/// They begin: what they send brings about the handshake and arrives.
pub(crate) fn they_begin<O: Other>() {
    with_and_without_preshared_key(|preshared| {
        let mut pair = Pair::<O>::new(preshared, false);
        pair.they_send(&ipv4(60));
        pair.converse();
        assert!(!pair.us.current().unwrap().is_initiator());
    });
}

/// Sessions follow one another, begun by either, and packets go through all of them.
pub(crate) fn sessions_are_renewed_by_either<O: Other>() {
    let mut pair = Pair::<O>::new(None, false);
    pair.we_send(&ipv4(60));
    for _ in 0..4 {
        let before = pair.us.current().unwrap().local_index();
        // Stamps of the other are those of the real clock, and it rounds them down.
        std::thread::sleep(std::time::Duration::from_millis(40));
        pair.at = pair.at + std::time::Duration::from_secs(6);
        let initiation = pair.other.initiate();
        pair.talk(vec![initiation]);
        pair.they_send(&ipv4(60));
        pair.we_send(&ipv4(60));
        let between = pair.us.current().unwrap().local_index();
        assert_ne!(before, between);

        for up in [false, true] {
            pair.us.tunnel.set_up(up, now(pair.at));
            pair.us.settle();
        }
        std::thread::sleep(std::time::Duration::from_millis(60));
        pair.we_send(&ipv4(60));
        pair.they_send(&ipv4(60));
        assert_ne!(between, pair.us.current().unwrap().local_index());
    }
    assert_eq!(pair.us.refused, []);
}

/// A keepalive of ours is taken, and ours is the answer to one of theirs: none.
pub(crate) fn keepalives_cross<O: Other>() {
    let mut pair = Pair::<O>::new(None, false);
    pair.they_send(&ipv4(60));
    pair.at = pair.at + std::time::Duration::from_secs(11);
    pair.us.tick(pair.at);
    let sent: Vec<_> = pair.us.wire.iter().map(|(_, datagram)| datagram.len()).collect();
    assert_eq!(sent, [32], "a keepalive");
    pair.talk(Vec::new());
    assert!(pair.heard.is_empty(), "and nothing in it");
    let keepalive = pair.other.send(&[]);
    assert_eq!(keepalive.iter().map(Vec::len).collect::<Vec<_>>(), [32]);
    pair.talk(keepalive);
    assert!(pair.us.inbox.is_empty() && pair.us.refused.is_empty());
    pair.at = pair.at + std::time::Duration::from_secs(9);
    pair.us.tick(pair.at);
    assert!(pair.us.wire.is_empty(), "a keepalive is not answered");
}

/// The other is loaded: it sends a cookie, and takes our next initiation with it.
pub(crate) fn they_ask_for_a_cookie<O: Other>() {
    let mut pair = Pair::<O>::new(None, true);
    pair.us.send(&ipv4(60), pair.at);
    pair.talk(Vec::new());
    assert!(pair.us.current().is_none());
    assert_eq!(pair.us.refused, [], "the cookie was taken");
    pair.at = pair.at + std::time::Duration::from_secs(6);
    pair.us.tick(pair.at);
    pair.talk(Vec::new());
    assert_heard(&pair.heard.pop().expect("it came with the cookie"), &ipv4(60));
}

/// We are loaded: the other takes our cookie, and comes again with it.
pub(crate) fn we_ask_for_a_cookie<O: Other>() {
    let mut pair = Pair::<O>::new(None, false);
    pair.us.under_load = true;
    let initiation = pair.other.send(&ipv4(60));
    pair.talk(initiation);
    assert_eq!(pair.us.refused, [Refused::UnderLoad]);
    pair.us.refused.clear();
    std::thread::sleep(std::time::Duration::from_millis(40));
    let again = pair.other.initiate();
    pair.talk(vec![again]);
    assert_eq!(pair.us.refused, []);
    pair.we_send(&ipv4(60));
    pair.they_send(&ipv4(60));
}
