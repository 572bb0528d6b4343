//! What a worker tells of its batches, and of the packets that it drops: each kind is shown with its own bytes.

use adit_wireguard::Refused;

use super::*;

/// Somebody watches what this side drops.
fn watched(mut side: Side) -> (Side, Arc<Tracer>) {
    let tracer = Arc::new(Tracer::default());
    assert!(tracer.begin());
    side.tally = Tally::new(tracer.clone());
    (side, tracer)
}

/// A dropped packet with all of its bytes at hand.
fn shown(reason: Reason, packet: &[u8]) -> Dropped {
    let head = packet[..packet.len().min(64)].to_vec();
    Dropped { at: now(), reason, packets: 1, len: packet.len(), head }
}

/// Each of these is shown, is counted, and nothing else is.
fn assert_shown(side: &Side, tracer: &Tracer, expected: &[Dropped]) {
    assert_eq!(tracer.take(), (expected.to_vec(), 0));
    for dropped in expected {
        let alike = expected.iter().filter(|other| other.reason == dropped.reason);
        assert_eq!(side.of(dropped.reason), alike.map(|other| other.packets).sum::<u64>());
    }
    assert_eq!(side.dropped(), expected.iter().map(|dropped| dropped.packets).sum::<u64>());
}

fn stray() -> Vec<u8> {
    packet([10, 0, 0, 1], [192, 0, 2, 1], 100)
}

/// The datagram that carries a packet which the data path would not have sealed.
fn sealed(side: &mut Side, packet: &[u8]) -> Vec<u8> {
    let mut arena = vec![0; Session::HEAD + packet.len() + Session::TAIL];
    arena[Session::HEAD..Session::HEAD + packet.len()].copy_from_slice(packet);
    let mut slots = [Slot { start: Session::HEAD, len: packet.len(), ..Slot::default() }];
    let (session, _) = side.table.peer(PeerId::new(1)).unwrap().path().unwrap();
    session.seal(&mut arena, &mut slots, MTU).unwrap();
    arena[slots[0].range()].to_vec()
}

/// Of a datagram that was not opened, what is behind its header does not matter.
fn headers_only(mut dropped: Vec<Dropped>) -> Vec<Dropped> {
    dropped.iter_mut().for_each(|dropped| dropped.head.truncate(Session::HEAD));
    dropped
}

#[test]
fn batches_are_counted_by_their_size() {
    let (mut a, mut b) = Side::pair();
    let datagrams = a.seal(&[tcp(10 * 1_380, 1_380)]);
    b.open(&[(datagrams.concat(), datagrams[0].len()), (garbage(100, 100, 9), 100)]);
    a.seal(&[plain(100)]);
    a.seal(&[]);
    let outward = &a.tally.outward;
    assert_eq!((outward.packets(), outward.sizes()[..4].to_vec()), (11, vec![1, 0, 0, 1]));
    assert_eq!(outward.sizes().iter().sum::<u64>(), 2);
    assert_eq!((b.tally.inward.packets(), b.tally.inward.sizes()[3]), (10, 1));
    assert_eq!((a.tally.inward.packets(), b.tally.outward.packets()), (0, 0));
}

#[test]
fn a_packet_that_cannot_leave_is_shown() {
    let (mut a, tracer) = watched(Side::pair().0);
    let broken = VirtioNetHdr { gso_type: 99, ..VirtioNetHdr::default() };
    let packets = [
        (VirtioNetHdr::default(), vec![0x45; 10]),
        (VirtioNetHdr::default(), stray()),
        (broken, plain(90).1),
    ];
    assert!(a.seal(&packets).is_empty());
    let reasons = [Reason::Malformed, Reason::NoRoute, Reason::Malformed];
    let expected: Vec<_> =
        reasons.iter().zip(&packets).map(|(reason, (_, bytes))| shown(*reason, bytes)).collect();
    assert_shown(&a, &tracer, &expected);
}

#[test]
fn each_packet_to_a_peer_that_is_gone_is_shown() {
    let (mut a, tracer) = watched(Side::pair().0);
    a.table.apply(Change::Peer(PeerId::new(1), None));
    let packets = [plain(100), plain(200)];
    assert!(a.seal(&packets).is_empty());
    assert_shown(&a, &tracer, &packets.map(|(_, packet)| shown(Reason::NoRoute, &packet)));
}

#[test]
fn a_packet_that_may_not_wait_for_a_session_is_shown() {
    let (mut a, tracer) = watched(Side::pair().0);
    a.table.apply(Change::Current(PeerId::new(1), None));
    let packet: &[u8] = &[0; 20];
    while a.inbox.unsent(PeerId::new(1), [packet].into_iter(), 0) == Some(1) {}
    assert!(a.seal(&[plain(100)]).is_empty());
    assert_shown(&a, &tracer, &[shown(Reason::UnsentQueueFull, &plain(100).1)]);
}

#[test]
fn what_has_no_socket_or_is_refused_by_it_is_shown_as_it_was_sealed() {
    let (mut a, tracer) = watched(Side::pair().0);
    let datagrams = a.seal(&[plain(100), plain(100)]);
    a.outward.discard(&mut context!(a.table, a.tally, a.inbox));
    let mut expected: Vec<_> = datagrams.iter().map(|datagram| shown(Reason::NoCarrier, datagram)).collect();
    assert!(!a.outward.is_blocked());
    assert_eq!(tracer.take().0, expected);

    // Nobody may send there who has not asked the kernel for it.
    a.traffic.endpoint.set(Some(Endpoint::udp("255.255.255.255:9".parse().unwrap())));
    let datagrams = a.seal(&[plain(100), plain(200)]);
    let socket = UdpSocket::bind(0, 1, 0, &Offloads::default()).unwrap().remove(0);
    let carrier = Carrier::Udp(Arc::new(socket));
    a.outward.send(&carrier, &mut context!(a.table, a.tally, a.inbox));
    let refused: Vec<_> = datagrams.iter().map(|datagram| shown(Reason::SendFailed, datagram)).collect();
    assert_eq!(tracer.take().0, refused);
    expected.extend(refused);
    assert_eq!(a.dropped(), expected.len() as u64);
}

#[test]
fn what_the_socket_lost_is_shown_as_a_number() {
    let (b, tracer) = watched(Side::pair().1);
    let (mut b, bytes) = (b, garbage(100, 100, 9));
    let received =
        [udp::Received { lost: 5, ..received(100, 100) }, udp::Received { lost: 2, ..received(100, 100) }];
    b.open_received(received.map(|received| (bytes.as_slice(), received)));
    let lost = Dropped { packets: 7, ..shown(Reason::ReceiveQueueFull, &[]) };
    let garbage = || shown(Reason::NotWireguard, &bytes);
    assert_shown(&b, &tracer, &[lost, garbage(), garbage()]);
    b.open(&[(bytes.clone(), 100)]);
    assert_eq!(tracer.take().0, [garbage()]);
}

#[test]
fn a_datagram_that_was_cut_off_is_shown_and_not_looked_into() {
    let (mut a, _) = Side::pair();
    let (mut b, tracer) = watched(Side::pair().1);
    let datagram = a.seal(&[plain(100)]).concat();
    let received = udp::Received { truncated: true, ..received(datagram.len(), datagram.len()) };
    assert!(b.open_received([(datagram.as_slice(), received)]).is_empty());
    assert_shown(&b, &tracer, &[shown(Reason::Truncated, &datagram)]);
}

#[test]
fn each_datagram_that_the_tunnel_does_not_know_is_shown() {
    let (_, b) = Side::pair();
    let (mut b, tracer) = watched(b);
    let (strange, initiation, unknown) = (garbage(250, 100, 9), garbage(148, 148, 1), garbage(64, 64, 4));
    while b.inbox.handshake(Path::Udp(path()), &[0; 148]) {}
    b.open(&[(strange.clone(), 100), (initiation.clone(), 148), (unknown.clone(), 64)]);
    let mut expected: Vec<_> =
        strange.chunks(100).map(|datagram| shown(Reason::NotWireguard, datagram)).collect();
    expected.push(shown(Reason::HandshakeQueueFull, &initiation));
    expected.push(shown(Reason::UnknownSession, &unknown));
    assert_shown(&b, &tracer, &expected);
}

#[test]
fn a_datagram_under_keys_too_old_is_shown() {
    let (mut a, _) = Side::pair();
    let (mut b, tracer) = watched(Side::pair().1);
    let key = |byte| Secret::from([byte; 32]);
    let keys = Keys { send: key(2), receive: key(1), algorithm: Algorithm::ChaCha20Poly1305 };
    let old = Session::new(b.traffic.clone(), &keys, 8, 7, true, Time::from_secs(1));
    b.table.apply(Change::Session(8, Some(Arc::new(old))));
    let datagram = a.seal(&[plain(100)]).concat();
    assert!(b.open(&[(datagram.clone(), datagram.len())]).is_empty());
    assert_shown(&b, &tracer, &[shown(Reason::Expired, &datagram)]);
}

#[test]
fn a_datagram_that_is_not_authentic_or_beyond_its_key_is_shown_by_its_header() {
    let (mut a, _) = Side::pair();
    let (mut b, tracer) = watched(Side::pair().1);
    let (mut forged, mut beyond) = (a.seal(&[plain(100)]).concat(), a.seal(&[plain(200)]).concat());
    *forged.last_mut().unwrap() ^= 1;
    beyond[8..16].fill(0xff);
    assert!(b.open(&[(forged.clone(), forged.len()), (beyond.clone(), beyond.len())]).is_empty());
    let reasons = [Reason::Protocol(Refused::Auth), Reason::Protocol(Refused::Exhausted)];
    let expected = headers_only(vec![shown(reasons[0], &forged), shown(reasons[1], &beyond)]);
    assert_eq!(headers_only(tracer.take().0), expected);
    assert_eq!((b.of(reasons[0]), b.of(reasons[1]), b.dropped()), (1, 1, 2));
}

#[test]
fn a_replayed_packet_is_shown_as_what_it_is_inside() {
    let (mut a, _) = Side::pair();
    let (mut b, tracer) = watched(Side::pair().1);
    let (datagram, keepalive) = (a.seal(&[plain(112)]).concat(), sealed(&mut a, &[]));
    for _ in 0..2 {
        b.open(&[(datagram.clone(), datagram.len()), (keepalive.clone(), keepalive.len())]);
    }
    let replay = |bytes| shown(Reason::Protocol(Refused::Replay), bytes);
    assert_shown(&b, &tracer, &[replay(&plain(112).1), replay(&keepalive)]);
}

#[test]
fn a_packet_that_was_opened_in_vain_is_shown() {
    let (mut a, _) = Side::pair();
    let (mut b, tracer) = watched(Side::pair().1);
    let (forged, strange) = (packet([192, 0, 2, 1], [10, 0, 0, 2], 100), vec![0x95; 96]);
    let [from_elsewhere, unknown, marked] =
        [&forged, &strange, &plain(100).1].map(|inner| sealed(&mut a, inner));
    let received = |bytes: &[u8], ecn| udp::Received { ecn, ..received(bytes.len(), bytes.len()) };
    let trains = [(&from_elsewhere, Ecn::NotEct), (&unknown, Ecn::NotEct), (&marked, Ecn::Ce)];
    let trains = trains.map(|(bytes, ecn)| (bytes.as_slice(), received(bytes, ecn)));
    assert!(b.open_received(trains).is_empty());
    let expected = [
        shown(Reason::Source, &forged),
        shown(Reason::Malformed, &strange),
        shown(Reason::Congestion, &plain(100).1),
    ];
    assert_shown(&b, &tracer, &expected);
}
