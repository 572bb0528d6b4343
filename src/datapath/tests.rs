//! Both directions without devices: what one side seals, the other opens.

use std::sync::Arc;

use adit_aead::{Algorithm, Secret};
use adit_noise::Time;
use adit_packet::Ecn;
use adit_wireguard::{AllowedIps, Endpoint, Keys, PeerId, Session, Traffic, Udp};

use super::train::run;
use super::wireguard::{Change, Note, Table};
use super::*;
use crate::net::udp::UdpSocket;

const MTU: usize = 1_420;

fn now() -> Time {
    Time::from_secs(1_000)
}

fn path() -> Udp {
    Udp { remote: "192.0.2.2:51820".parse().unwrap(), local: None }
}

fn received(len: usize, stride: usize) -> udp::Received {
    udp::Received { len, stride, path: path(), ecn: Ecn::NotEct, truncated: false, lost: 0 }
}

macro_rules! context {
    ($table:expr, $tally:expr, $inbox:expr) => {
        Context { framing: &mut $table, tally: &$tally, inbox: &$inbox, mtu: MTU, now: now() }
    };
}

// They use the macro.
mod macsec;
mod order;
mod rest;
mod tally;

/// One side of a tunnel: 10.0.0.0/8 is the peer's.
struct Side {
    table: Table,
    tally: Tally,
    inbox: Inbox<Note, ()>,
    outward: Outward<Table>,
    inward: Inward<Table>,
    traffic: Arc<Traffic>,
}

impl Side {
    fn new(send: u8, receive: u8, local: u32, remote: u32) -> Self {
        let peer = PeerId::new(1);
        let traffic = Arc::new(Traffic::new(peer, Some(Endpoint::Udp(path()))));
        let key = |byte| Secret::from([byte; 32]);
        let keys = Keys { send: key(send), receive: key(receive), algorithm: Algorithm::ChaCha20Poly1305 };
        let session = Arc::new(Session::new(traffic.clone(), &keys, local, remote, true, now()));
        let mut routes = AllowedIps::default();
        routes.insert("10.0.0.0/8".parse().unwrap(), peer);
        routes.insert("fd00::/8".parse().unwrap(), peer);
        let mut table = Table::default();
        table.apply(Change::Peer(peer, Some(traffic.clone())));
        table.apply(Change::Session(local, Some(session.clone())));
        table.apply(Change::Current(peer, Some(session)));
        table.apply(Change::Routes(Arc::new(routes)));
        let inward = Inward::new(&Offloads::default());
        Self {
            table,
            tally: Tally::default(),
            inbox: Inbox::default(),
            outward: Outward::default(),
            inward,
            traffic,
        }
    }

    fn pair() -> (Self, Self) {
        (Self::new(1, 2, 7, 8), Self::new(2, 1, 8, 7))
    }

    /// Gathers packets as if the device had handed them over.
    fn gather(&mut self, packets: &[(VirtioNetHdr, Vec<u8>)]) {
        let (outward, mut context) = (&mut self.outward, context!(self.table, self.tally, self.inbox));
        outward.clear();
        for (header, packet) in packets {
            let start = outward.used + Session::HEAD;
            header.emit(&mut outward.arena[start - virtio::LEN..start]).unwrap();
            outward.arena[start..start + packet.len()].copy_from_slice(packet);
            outward.admit(start, packet.len(), &mut context);
        }
    }

    /// Gathers packets and seals them, and returns the datagrams.
    fn seal(&mut self, packets: &[(VirtioNetHdr, Vec<u8>)]) -> Vec<Vec<u8>> {
        self.gather(packets);
        let (outward, mut context) = (&mut self.outward, context!(self.table, self.tally, self.inbox));
        assert!(outward.seal(&mut context), "a session came");
        let kept = outward.slots.iter().filter(|slot| slot.kept);
        kept.map(|slot| outward.arena[slot.range()].to_vec()).collect()
    }

    /// Takes trains as if the socket had received them, and returns what the device would get.
    fn open(&mut self, trains: &[(Vec<u8>, usize)]) -> Vec<(VirtioNetHdr, Vec<u8>)> {
        let received =
            trains.iter().map(|(bytes, stride)| (bytes.as_slice(), received(bytes.len(), *stride)));
        self.open_received(received)
    }

    fn open_received<'t>(
        &mut self,
        trains: impl IntoIterator<Item = (&'t [u8], udp::Received)>,
    ) -> Vec<(VirtioNetHdr, Vec<u8>)> {
        let (inward, mut context) = (&mut self.inward, context!(self.table, self.tally, self.inbox));
        inward.clear();
        for (bytes, received) in trains {
            inward.arena[inward.used..inward.used + bytes.len()].copy_from_slice(bytes);
            inward.admit(&received);
        }
        inward.sort(&mut context);
        inward.open(&mut context);
        inward.news().for_each(|change| context.framing.apply(change));
        inward.writes().map(|(header, pieces)| (header, pieces.concat())).collect()
    }

    fn of(&self, reason: Reason) -> u64 {
        self.tally.drops().of(reason)
    }

    fn dropped(&self) -> u64 {
        Reason::all().map(|reason| self.of(reason)).sum()
    }
}

/// An IPv4 packet of `len` bytes without meaning behind its header.
fn packet(source: [u8; 4], destination: [u8; 4], len: usize) -> Vec<u8> {
    let mut packet = vec![0; len];
    packet[..4].copy_from_slice(&[0x45, 0, (len >> 8) as u8, len as u8]);
    packet[8..10].copy_from_slice(&[64, 253]);
    packet[12..16].copy_from_slice(&source);
    packet[16..20].copy_from_slice(&destination);
    packet
}

fn plain(len: usize) -> (VirtioNetHdr, Vec<u8>) {
    (VirtioNetHdr::default(), packet([10, 0, 0, 1], [10, 0, 0, 2], len))
}

/// A TCP super-packet as the kernel hands it over, with a payload of `len` bytes in segments of `size`.
fn tcp(len: usize, size: u16) -> (VirtioNetHdr, Vec<u8>) {
    let mut packet = packet([10, 0, 0, 1], [10, 0, 0, 2], 40 + len);
    packet[6] = 0x40;
    packet[9] = 6;
    packet[20..24].copy_from_slice(&[0x30, 0x39, 0x14, 0x51]);
    packet[32..36].copy_from_slice(&[0x50, 0x10, 1, 0]);
    for (at, byte) in packet[40..].iter_mut().enumerate() {
        *byte = ((at * 31) >> 2) as u8;
    }
    let (flags, gso_type) = (virtio::NEEDS_CSUM, virtio::GSO_TCPV4);
    (VirtioNetHdr { flags, gso_type, hdr_len: 40, gso_size: size, csum_start: 20, csum_offset: 16 }, packet)
}

#[test]
fn packets_of_every_length_cross() {
    let (mut a, mut b) = Side::pair();
    for len in 20..=MTU {
        let sent = plain(len);
        let datagrams = a.seal(std::slice::from_ref(&sent));
        assert_eq!(datagrams.len(), 1);
        assert!(
            datagrams[0].len() <= MTU + Session::OVERHEAD && (datagrams[0].len() % 16 == 0 || len > MTU - 16)
        );
        assert_eq!(b.open(&[(datagrams[0].clone(), datagrams[0].len())]), [sent]);
    }
    assert_eq!((a.dropped(), b.dropped()), (0, 0));
}

/// A datagram in a UDP packet, as it comes back when the way to the peer's endpoint is through the peer.
fn carried(datagram: &[u8], version: u8, fragment: bool) -> (VirtioNetHdr, Vec<u8>) {
    let mut packet = if version == 4 {
        packet([10, 0, 0, 1], [10, 0, 0, 2], 28)
    } else {
        let mut packet = vec![0; if fragment { 56 } else { 48 }];
        (packet[0], packet[6], packet[40]) = (0x60, if fragment { 44 } else { 17 }, 17);
        packet[24..40].copy_from_slice(&"fd00::2".parse::<std::net::Ipv6Addr>().unwrap().octets());
        packet
    };
    packet.extend(datagram);
    let len = packet.len() as u16;
    if version == 4 {
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        (packet[6], packet[9]) = (if fragment { 0x20 } else { 0 }, 17);
    } else {
        packet[4..6].copy_from_slice(&(len - 40).to_be_bytes());
    }
    (VirtioNetHdr::default(), packet)
}

#[test]
fn what_was_sealed_for_a_peer_is_not_sealed_for_it_again() {
    let (mut a, mut b) = Side::pair();
    let datagram = a.seal(&[plain(100)]).remove(0);
    let mut expected = 0;
    for (version, fragment) in [(4, false), (4, true), (6, false), (6, true)] {
        assert_eq!(a.seal(&[carried(&datagram, version, fragment)]), [[0; 0]; 0], "{version} {fragment}");
        expected += 1;
        assert_eq!(a.dropped(), expected);
    }
    // Somebody else's tunnel in ours.
    for (version, fragment) in [(4, false), (6, false)] {
        assert_eq!(b.seal(&[carried(&datagram, version, fragment)]).len(), 1, "{version}");
    }
}

#[test]
fn a_super_packet_crosses_as_one_train_and_is_one_again() {
    let (mut a, mut b) = Side::pair();
    let sent = tcp(44 * 1_380 + 100, 1_380);
    let datagrams = a.seal(std::slice::from_ref(&sent));
    assert_eq!(datagrams.len(), 45);
    assert_eq!(run(&a.outward.slots, udp::TRAIN_SEGMENTS), 45);
    let arrived = b.open(&[(datagrams.concat(), datagrams[0].len())]);
    assert_eq!(arrived.len(), 1);
    assert_eq!((arrived[0].0.gso_type, arrived[0].0.gso_size), (virtio::GSO_TCPV4, 1_380));
    assert_eq!(arrived[0].1[40..], sent.1[40..]);
    assert_eq!((a.dropped(), b.dropped()), (0, 0));
}

#[test]
fn without_a_session_packets_go_to_the_control_thread() {
    let (mut a, _) = Side::pair();
    a.table.apply(Change::Current(PeerId::new(1), None));
    assert!(a.seal(&[plain(100), plain(200)]).is_empty());
    let notes = a.inbox.take(1, None).notes;
    assert_eq!(notes, [100, 200].map(|len| Note::Unsent(PeerId::new(1), plain(len).1)));
}

#[test]
fn a_packet_that_nobody_may_have_is_counted() {
    let (mut a, _) = Side::pair();
    let stray = (VirtioNetHdr::default(), packet([10, 0, 0, 1], [192, 0, 2, 1], 100));
    assert!(a.seal(&[stray, (VirtioNetHdr::default(), vec![0x45; 10])]).is_empty());
    assert_eq!((a.of(Reason::NoRoute), a.of(Reason::Malformed)), (1, 1));
}

#[test]
fn packets_to_a_peer_that_is_gone_are_counted_and_those_behind_them_leave() {
    let (mut a, _) = Side::pair();
    let mut routes = AllowedIps::default();
    routes.insert("10.0.0.0/8".parse().unwrap(), PeerId::new(1));
    routes.insert("192.0.2.0/24".parse().unwrap(), PeerId::new(2));
    a.table.apply(Change::Routes(Arc::new(routes)));
    let stray = (VirtioNetHdr::default(), packet([10, 0, 0, 1], [192, 0, 2, 1], 100));
    assert_eq!(a.seal(&[stray.clone(), stray, plain(100)]).len(), 1);
    assert_eq!((a.of(Reason::NoRoute), a.dropped()), (2, 2));
}

#[test]
fn a_source_that_is_not_the_peers_is_counted() {
    let (mut a, mut b) = Side::pair();
    let forged = (VirtioNetHdr::default(), packet([192, 0, 2, 1], [10, 0, 0, 2], 100));
    let datagram = a.seal(&[forged]).concat();
    assert!(b.open(&[(datagram.clone(), datagram.len())]).is_empty());
    assert_eq!(b.of(Reason::Source), 1);
}

#[test]
fn a_replayed_train_is_counted_and_not_delivered() {
    let (mut a, mut b) = Side::pair();
    let datagrams = a.seal(&[tcp(10 * 1_380, 1_380)]);
    let train = (datagrams.concat(), datagrams[0].len());
    assert_eq!(b.open(std::slice::from_ref(&train)).len(), 1);
    assert!(b.open(&[train]).is_empty());
    assert_eq!(b.of(Reason::Protocol(adit_wireguard::Refused::Replay)), 10);
}

#[test]
fn the_answer_to_the_first_packet_of_a_new_session_goes_under_it() {
    let (mut a, mut b) = (Side::new(1, 2, 7, 8), Side::new(4, 3, 6, 5));
    // b has an old session that a forgot, and a new one that a began.
    let key = |byte| Secret::from([byte; 32]);
    let keys = Keys { send: key(2), receive: key(1), algorithm: Algorithm::ChaCha20Poly1305 };
    let later = now() + std::time::Duration::from_secs(1);
    let session = Arc::new(Session::new(b.traffic.clone(), &keys, 8, 7, false, later));
    b.table.apply(Change::Session(8, Some(session)));
    let question = a.seal(&[plain(100)]).concat();
    assert_eq!(b.open(&[(question.clone(), question.len())]).len(), 1);
    let answer = b.seal(&[plain(100)]).concat();
    assert_eq!(a.open(&[(answer.clone(), answer.len())]).len(), 1);
    assert_eq!(b.inbox.take(1, None).notes, [Note::Confirmed(8)]);
}

#[test]
fn an_authentic_packet_from_elsewhere_moves_the_peer_and_a_forged_one_does_not() {
    let (mut a, mut b) = Side::pair();
    let elsewhere = Endpoint::udp("198.51.100.9:9".parse().unwrap());
    b.traffic.endpoint.set(Some(elsewhere));
    let mut forged = a.seal(&[plain(100)]).concat();
    *forged.last_mut().unwrap() ^= 1;
    b.open(&[(forged.clone(), forged.len())]);
    assert_eq!(b.traffic.endpoint.get(), Some(elsewhere));
    let authentic = a.seal(&[plain(100)]).concat();
    b.open(&[(authentic.clone(), authentic.len())]);
    assert_eq!(b.traffic.endpoint.get(), Some(Endpoint::Udp(path())));
}

/// What is not a datagram of the tunnel: its type, and noise.
fn garbage(len: usize, stride: usize, first: u8) -> Vec<u8> {
    let mut bytes = vec![0xa5; len];
    for datagram in bytes.chunks_mut(stride) {
        datagram[0] = first;
        datagram.iter_mut().take(4).skip(1).for_each(|byte| *byte = 0);
    }
    bytes
}

fn assert_accounted(side: &mut Side, bytes: Vec<u8>, stride: usize) {
    let (len, before) = (bytes.len(), side.dropped());
    assert!(side.open(&[(bytes, stride)]).is_empty());
    let handed = side.inbox.take(usize::MAX, Some(std::time::Duration::ZERO)).handshakes.len();
    assert_eq!(
        side.dropped() - before + handed as u64,
        len.div_ceil(stride).max(1) as u64,
        "{len} by {stride}"
    );
}

#[test]
fn garbage_of_every_length_is_counted() {
    let (_, mut b) = Side::pair();
    for len in 0..=65_535 {
        assert_accounted(&mut b, garbage(len, len.max(1), [0, 1, 2, 3, 4, 9][len % 6]), len.max(1));
    }
}

#[test]
fn trains_of_garbage_are_counted_datagram_by_datagram() {
    let (_, mut b) = Side::pair();
    for len in (0..200).chain((200..65_535).step_by(1_499)).chain([65_534, 65_535]) {
        for (stride, first) in [(1_452, 4), (33, 4), (148, 1), (92, 2), (64, 3), (1, 9)] {
            assert_accounted(&mut b, garbage(len, stride, first), stride);
        }
    }
}
