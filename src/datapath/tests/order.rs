//! Packets that have to wait for a session, and those behind them.

use super::*;

/// A session of the side's peer.
fn session(side: &Side, born: Time) -> Arc<Session> {
    let key = |byte| Secret::from([byte; 32]);
    let keys = Keys { send: key(1), receive: key(2), algorithm: Algorithm::ChaCha20Poly1305 };
    Arc::new(Session::new(side.traffic.clone(), &keys, 3, 4, false, born))
}

/// What is left in the inbox, as the length of each packet.
fn left(side: &Side) -> Vec<usize> {
    side.inbox.close().take_unsent().into_iter().map(|(_, packet)| packet.len()).collect()
}

#[test]
fn a_batch_that_meets_a_new_session_is_sealed_with_it_once_the_mailbox_was_read() {
    let (mut a, _) = Side::pair();
    let mut routes = AllowedIps::default();
    let [peer, other] = [1, 2].map(PeerId::new);
    routes.insert("10.0.0.0/8".parse().unwrap(), peer);
    routes.insert("192.0.2.0/24".parse().unwrap(), other);
    let traffic = Arc::new(Traffic::new(other, Some(Endpoint::Udp(path()))));
    a.table.apply(Change::Routes(Arc::new(routes)));
    a.table.apply(Change::Peer(other, Some(traffic)));

    // Of the peer with a session first, then of the one without.
    a.gather(&[
        plain(100),
        (VirtioNetHdr::default(), packet([10, 0, 0, 1], [192, 0, 2, 1], 200)),
        plain(300),
    ]);
    let edition = a.inbox.close().next_edition();
    let seal = |a: &mut Side| a.outward.seal(&mut context!(a.table, a.tally, a.inbox));
    assert!(!seal(&mut a));
    assert!(!seal(&mut a), "it has still not been read");
    assert_eq!((left(&a), a.dropped()), (vec![], 0));
    a.table.apply(Change::Current(other, Some(session(&a, now()))));
    a.table.apply(Change::Edition(edition));
    assert!(seal(&mut a));
    let lengths: Vec<_> = a.outward.datagrams().map(|(_, datagram)| datagram.len()).collect();
    assert_eq!(lengths, [100, 200, 300].map(|len| Session::sealed_len(len, MTU)));
    assert_eq!((left(&a), a.dropped(), a.tally.outward.packets()), (vec![], 0, 3));
}

/// The session that the peer had is too old, and a packet waits. Then the first packet comes under one that it began.
#[test]
fn what_is_behind_a_packet_that_waits_waits_for_the_control_thread_too() {
    let (mut a, _) = Side::pair();
    let peer = PeerId::new(1);
    a.table.apply(Change::Current(peer, Some(session(&a, Time::from_secs(1)))));
    assert!(a.seal(&[plain(100)]).is_empty());
    let new = session(&a, now());
    a.table.apply(Change::Confirmed(new.clone()));
    assert!(a.seal(&[plain(200)]).is_empty());
    assert_eq!(left(&a), [100, 200]);
    a.table.apply(Change::Current(peer, Some(new)));
    assert_eq!(a.seal(&[plain(300)]).len(), 1);
    assert_eq!(left(&a), [0; 0]);
}
