//! Two tunnels, a link that may lose, double and reorder, and a hand-moved clock: the life of sessions.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod party;

use adit_noise::{PresharedKey, PrivateKey};
use adit_wireguard::{Endpoint, Local, Output, PeerChange, Refused, Udp};
use party::{A, B, World, is_data, is_initiation, is_keepalive, is_response, now, pad, secs};

/// Within a millisecond.
fn close(time: f64, expected: f64) -> bool {
    (time - expected).abs() < 0.001
}

#[test]
fn the_first_packet_brings_about_a_handshake_and_arrives() {
    for preshared in [None, Some(PresharedKey::generate())] {
        let mut world = World::new(preshared);
        world.send(A, b"ping");
        assert_eq!(world.log.len(), 1);
        assert!(is_initiation(&world.log[0]));
        world.run(1.0);
        assert_eq!(world.take(B), [pad(b"ping")]);
        world.send(B, b"pong");
        world.run(1.0);
        assert_eq!(world.take(A), [pad(b"pong")]);
        assert_eq!(world.times(B, is_response).len(), 1);
        assert_eq!(world.times(A, is_keepalive).len(), 0, "the packet itself confirms");
        let wall = now(secs(0.02)).wall;
        assert_eq!(world.parties[A].status().last_handshake, Some(wall));
        assert!(world.parties[B].status().last_handshake.unwrap() > wall);
        assert_eq!(world.parties[B].status().endpoint, Some(world.parties[A].address));
    }
}

#[test]
fn packets_that_waited_leave_in_order_and_only_once() {
    let mut world = World::new(None);
    let packets: Vec<_> = (0..100_u8).map(|number| [number; 16]).collect();
    for packet in &packets {
        world.send(A, packet);
    }
    world.run(1.0);
    assert_eq!(world.take(B), packets);
    assert_eq!(world.times(A, is_initiation).len(), 1);
}

/// The kinds of what a tunnel puts out, in order.
fn kinds(party: &mut party::Party) -> Vec<&'static str> {
    let outputs = std::iter::from_fn(|| party.tunnel.poll_output());
    let kind = |output| match output {
        Output::Transmit { .. } => "transmit",
        Output::Session(_, Some(_)) => "session",
        Output::Current(_, Some(_)) => "current",
        Output::Session(_, None)
        | Output::Current(_, None)
        | Output::Peer(..)
        | Output::Routes(_)
        | Output::Dropped(..) => "other",
    };
    outputs.map(kind).collect()
}

#[test]
fn a_session_is_told_of_before_anybody_can_answer_and_sent_with_after_what_waited() {
    let mut world = World::introduced();
    let [a, b] = &mut world.parties;
    let at = now(world.at);
    a.send(b"one", world.at);
    a.send(b"two", world.at);
    b.send(b"three", world.at);
    b.wire.clear();
    let mut initiation = a.wire.pop().unwrap().1;
    b.tunnel.handle_handshake(Endpoint::udp(a.address), &mut initiation, false, at).unwrap();
    let Some(Output::Session(local, Some(_))) = b.tunnel.poll_output() else { panic!("a session first") };
    let Some(Output::Transmit { mut datagram, .. }) = b.tunnel.poll_output() else { panic!("a response") };
    assert!(b.tunnel.poll_output().is_none());
    a.tunnel.handle_handshake(Endpoint::udp(b.address), &mut datagram, false, at).unwrap();
    assert_eq!(kinds(a), ["session", "transmit", "transmit", "current"]);
    b.tunnel.handle_confirmed(local, at);
    assert_eq!(kinds(b), ["transmit", "current"]);
}

#[test]
fn of_too_many_waiting_packets_the_oldest_are_dropped() {
    let mut world = World::new(None);
    for number in 0..130_u8 {
        world.send(A, &[number; 16]);
    }
    assert_eq!(world.parties[A].refused, [Refused::StagingFull; 2]);
    world.run(1.0);
    let received = world.take(B);
    assert_eq!(received.len(), 128);
    assert_eq!(received[0], [2; 16]);
}

#[test]
fn bytes_are_counted_with_handshakes_and_headers() {
    let mut world = World::new(None);
    world.send(A, &[0; 100]);
    world.run(1.0);
    let data = 16 + 112 + 16;
    let (a, b) = (world.parties[A].status(), world.parties[B].status());
    assert_eq!((a.sent_bytes, a.received_bytes), (148 + data, 92));
    assert_eq!((b.sent_bytes, b.received_bytes), (92, 148 + data));
}

#[test]
fn received_data_is_answered_by_one_keepalive_after_10_s() {
    let mut world = World::connected();
    world.run(60.0);
    let keepalives = world.times(B, is_keepalive);
    assert_eq!(keepalives.len(), 1);
    let arrived = 0.03;
    assert!(close(keepalives[0], arrived + 10.0), "{keepalives:?}");
    assert_eq!(world.times(A, is_keepalive).len(), 0, "a keepalive is not answered");
}

#[test]
fn data_that_goes_back_spares_the_keepalive() {
    let mut world = World::connected();
    world.run(8.0);
    world.send(B, b"answer");
    world.run(30.0);
    assert_eq!(world.times(B, is_keepalive).len(), 0);
    assert_eq!(world.times(A, is_keepalive).len(), 1);
}

#[test]
fn a_keepalive_for_data_late_in_a_pause_is_not_late() {
    let mut world = World::connected();
    world.run(30.0);
    world.send(A, b"later");
    let arrived = world.at.since(secs(0.0)).as_secs_f64() + 0.01;
    world.run(30.0);
    let keepalives = world.times(B, is_keepalive);
    assert_eq!(keepalives.len(), 2);
    assert!(close(keepalives[1], arrived + 10.0), "{keepalives:?}");
}

#[test]
fn initiations_are_repeated_every_5_s_and_given_up_after_90_s() {
    let mut world = World::new(None);
    world.weather.lost = 1000;
    world.send(A, b"one");
    world.send(A, b"two");
    world.run(300.0);
    let times = world.times(A, is_initiation);
    assert!((17..=18).contains(&times.len()), "{times:?}");
    for pair in times.windows(2) {
        let pause = pair[1] - pair[0];
        assert!((5.0..5.334).contains(&pause), "{times:?}");
    }
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().any(|pause| !close(*pause, pauses[0])), "by chance: {pauses:?}");
    assert!(times.iter().all(|time| *time < 90.0));
    assert_eq!(world.parties[A].dropped, [(Refused::HandshakeAbandoned, 2)]);
    assert_eq!(world.parties[A].tunnel.poll_timeout(), None, "nothing is left to do");

    world.weather.lost = 0;
    world.send(A, b"three");
    world.run(1.0);
    assert_eq!(world.take(B), [pad(b"three")]);
}

#[test]
fn new_data_gives_a_handshake_its_whole_time_again() {
    let mut world = World::new(None);
    world.weather.lost = 1000;
    world.send(A, b"one");
    world.run(80.0);
    world.send(A, b"two");
    world.run(80.0);
    assert!(*world.times(A, is_initiation).last().unwrap() > 150.0);
    world.run(20.0);
    assert_eq!(world.parties[A].dropped, [(Refused::HandshakeAbandoned, 2)]);
}

#[test]
fn stamps_of_repeated_initiations_differ_so_that_any_can_be_answered() {
    let mut world = World::new(None);
    world.weather.lost = 1000;
    world.send(A, b"one");
    world.run(20.0);
    world.weather.lost = 0;
    world.run(6.0);
    assert_eq!(world.take(B), [pad(b"one")]);
}

#[test]
fn unanswered_data_leads_to_a_handshake_after_15_s() {
    let mut world = World::connected();
    world.run(59.0);
    world.send(B, b"settled");
    world.run(1.0);
    world.weather.lost = 1000;
    let before = world.times(A, is_initiation).len();
    world.run(20.0);
    let sent = world.at.since(secs(0.0)).as_secs_f64();
    world.send(A, b"into the void");
    world.run(16.0);
    let times = world.times(A, is_initiation);
    assert_eq!(times.len(), before + 1, "{times:?}");
    let patience = times[before] - sent;
    assert!((15.0..15.334).contains(&patience), "{patience}");
}

#[test]
fn after_a_response_no_initiation_is_sent_for_5_s() {
    let mut world = World::introduced();
    world.send(A, b"data");
    world.run(0.015);
    assert_eq!(world.times(B, is_response).len(), 1);
    world.weather.lost = 1000;
    world.send(B, b"waits");
    world.run(6.0);
    let times = world.times(B, is_initiation);
    assert!(times.len() == 1 && close(times[0], 5.01), "{times:?}");
}

#[test]
fn what_waited_at_the_responder_leaves_when_the_session_is_confirmed() {
    let mut world = World::introduced();
    world.weather.lost = 1000;
    world.send(B, b"one");
    world.send(B, b"two");
    world.run(1.0);
    world.weather.lost = 0;
    world.send(A, b"data");
    world.run(0.1);
    assert_eq!(world.take(A), [pad(b"one"), pad(b"two")]);
    assert_eq!(world.take(B), [pad(b"data")]);
    assert_eq!(world.times(B, is_initiation).len(), 1);
}

#[test]
fn a_wish_that_was_met_already_begins_nothing() {
    let mut world = World::connected();
    let (id, at) = (world.parties[A].peer(), world.at);
    let traffic = world.parties[A].traffic[&id].clone();
    assert!(traffic.want_handshake());
    world.parties[A].tunnel.handle_want(id, now(at));
    world.run(10.0);
    assert_eq!(world.times(A, is_initiation).len(), 1);
    assert!(traffic.want_handshake(), "a later wish is heard again");
}

/// A path that names our own address, as learned from what the peer sent.
fn sticky(world: &World) -> Option<Endpoint> {
    let local = Local { address: "192.0.2.1".parse().unwrap(), interface: 3 };
    Some(Endpoint::Udp(Udp { remote: world.parties[B].address, local: Some(local) }))
}

#[test]
fn our_address_on_the_path_is_forgotten_when_a_handshake_is_repeated() {
    let mut world = World::new(None);
    world.weather.lost = 1000;
    let path = sticky(&world);
    let id = world.parties[A].peer();
    world.parties[A].traffic[&id].endpoint.set(path);
    world.send(A, b"data");
    world.run(6.0);
    assert_eq!(world.parties[A].paths, [path.unwrap(), path.unwrap().without_local()]);
}

#[test]
fn our_address_on_the_path_is_forgotten_when_data_stays_unanswered() {
    let mut world = World::connected();
    world.run(60.0);
    world.weather.lost = 1000;
    let path = sticky(&world);
    let id = world.parties[A].peer();
    world.parties[A].traffic[&id].endpoint.set(path);
    world.send(A, b"data");
    world.run(14.0);
    assert_eq!(world.parties[A].traffic[&id].endpoint.get(), path);
    world.run(2.0);
    assert_eq!(*world.parties[A].paths.last().unwrap(), path.unwrap().without_local());
}

#[test]
fn the_initiator_renews_after_120_s_without_losing_a_packet() {
    let mut world = World::connected();
    let (mut sent, mut received) = (Vec::new(), [Vec::new(), Vec::new()]);
    for number in 0..4000_u32 {
        let packet = [&number.to_le_bytes()[..], &[0; 12]].concat();
        world.send(A, &packet);
        world.send(B, &packet);
        sent.push(packet);
        world.run(0.1);
        for party in [A, B] {
            received[party].extend(world.take(party));
        }
    }
    world.run(1.0);
    for party in [A, B] {
        received[party].extend(world.take(party));
        assert_eq!(received[party], sent, "in order, each once");
    }
    let times = world.times(A, is_initiation);
    assert_eq!(times.len(), 4, "{times:?}");
    for pair in times.windows(2) {
        assert!((120.0..120.3).contains(&(pair[1] - pair[0])), "{times:?}");
    }
    assert_eq!(world.times(B, is_initiation).len(), 0, "the responder does not renew");
    assert!(world.parties.iter().all(|party| party.refused.is_empty()));
}

#[test]
fn the_initiator_renews_after_165_s_what_it_only_receives_on() {
    let mut world = World::connected();
    world.run_to(secs(164.9));
    world.send(B, b"before");
    world.run_to(secs(165.1));
    assert_eq!(world.times(A, is_initiation).len(), 1);
    world.send(B, b"after");
    world.run(0.1);
    let times = world.times(A, is_initiation);
    assert!(times.len() == 2 && close(times[1], 165.11), "{times:?}");
}

#[test]
fn a_session_is_not_used_after_180_s() {
    let mut world = World::connected();
    world.weather.lost = 1000;
    world.run(178.0);
    world.parties[B].send(b"in time", world.at);
    let (_, in_time) = world.parties[B].wire.pop().unwrap();
    let from = world.parties[B].address;
    world.at = secs(179.9);
    let at = world.at;
    world.parties[A].receive(from, &in_time, at);
    assert_eq!(world.take(A).len(), 1);

    let at = secs(180.1);
    world.parties[B].wire.clear();
    world.parties[B].send(b"too late", at);
    let wire = &world.parties[B].wire;
    assert!(!wire.iter().any(|(_, datagram)| datagram[0] == 4), "a worker stages it: {wire:?}");
}

#[test]
fn keys_are_erased_after_540_s() {
    let mut world = World::connected();
    world.weather.lost = 1000;
    world.run_to(secs(540.0));
    assert!(world.parties.iter().all(|party| party.sessions.len() == 1));
    world.run_to(secs(540.1));
    for party in &world.parties {
        assert!(party.sessions.is_empty());
        assert!(party.current.is_empty());
        assert_eq!(party.tunnel.poll_timeout(), None);
    }
}

#[test]
fn simultaneous_initiations_converge() {
    for delay in [0, 1, 10, 500, 2000] {
        let mut world = World::introduced();
        world.delay = std::time::Duration::from_millis(delay);
        world.send(A, b"from A");
        world.send(B, b"from B");
        world.run(20.0);
        assert_eq!(world.take(A), [pad(b"from B")], "delay {delay} ms");
        assert_eq!(world.take(B), [pad(b"from A")], "delay {delay} ms");
        for number in 0..100_u8 {
            world.send(A, &[number; 16]);
            world.send(B, &[number; 16]);
            world.run(4.0);
            assert_eq!(world.take(A), [[number; 16]], "delay {delay} ms");
            assert_eq!(world.take(B), [[number; 16]], "delay {delay} ms");
        }
        let initiations = world.times(A, is_initiation).len() + world.times(B, is_initiation).len();
        assert!(initiations < 16, "{initiations} in 400 s");
    }
}

#[test]
fn persistent_keepalives_keep_the_silence_short_and_do_not_answer_one_another() {
    let mut world = World::introduced();
    for (me, other) in [(A, B), (B, A)] {
        let (key, at) = (world.parties[other].public(), world.at);
        let change = PeerChange { persistent_keepalive: Some(25), ..PeerChange::default() };
        world.parties[me].change(&key, change, at);
        world.run(0.5);
    }
    assert_eq!(world.times(A, is_initiation), [0.0], "at once");
    world.run(1000.0);
    let mut all: Vec<_> = world.times(A, |_| true);
    all.extend(world.times(B, |_| true));
    all.sort_by(f64::total_cmp);
    assert!((40..90).contains(&all.len()), "{all:?}");
    let gap = all.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    assert!(gap < 25.1, "{gap}");
    let mut times = world.times(A, is_initiation);
    times.extend(world.times(B, is_initiation));
    times.sort_by(f64::total_cmp);
    let renewals = times.windows(2).skip(1);
    assert!(renewals.clone().count() > 4);
    assert!(renewals.into_iter().all(|pair| pair[1] - pair[0] < 130.0), "keepalives renew too: {times:?}");
}

#[test]
fn a_persistent_peer_never_gives_up() {
    let mut world = World::new(None);
    world.weather.lost = 1000;
    let (key, at) = (world.parties[B].public(), world.at);
    let change = PeerChange { persistent_keepalive: Some(25), ..PeerChange::default() };
    world.parties[A].change(&key, change, at);
    world.run(1000.0);
    let times = world.times(A, is_initiation);
    assert!(times.windows(2).all(|pair| (5.0..26.0).contains(&(pair[1] - pair[0]))), "{times:?}");
    assert!(*times.last().unwrap() > 970.0);
}

/// What is due but cannot be done must not come due again at once.
#[test]
fn a_keepalive_shorter_than_the_pause_between_initiations_does_not_hurry_them() {
    let mut world = World::new(None);
    world.weather.lost = 1000;
    let (key, at) = (world.parties[B].public(), world.at);
    let change = PeerChange { persistent_keepalive: Some(1), ..PeerChange::default() };
    world.parties[A].change(&key, change, at);
    world.run(60.0);
    let times = world.times(A, is_initiation);
    assert!((11..=12).contains(&times.len()), "{times:?}");
}

/// The same for an answer that is owed when the session has ended.
#[test]
fn an_answer_owed_on_an_ended_session_is_tried_once() {
    let mut world = World::connected();
    world.run_to(secs(174.0));
    world.send(B, b"late");
    world.weather.lost = 1000;
    world.run(120.0);
    assert_eq!(world.take(A), [pad(b"late")]);
    let times = world.times(A, is_initiation);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 5.0), "{times:?}");
    assert!(*times.last().unwrap() < 184.1 + 90.0, "{times:?}");
}

#[test]
fn a_bad_link_delivers_each_packet_at_most_once_and_recovers() {
    let mut world = World::introduced();
    world.weather = party::Weather { lost: 200, doubled: 200, late: 300 };
    let mut received = [Vec::new(), Vec::new()];
    for number in 0..3000_u32 {
        let packet = [&number.to_le_bytes()[..], &[0; 12]].concat();
        world.send(A, &packet);
        world.send(B, &packet);
        world.run(0.2);
        for party in [A, B] {
            received[party].extend(world.take(party));
        }
    }
    for packets in &mut received {
        let count = packets.len();
        assert!(count > 2100, "{count} of 3000 arrived at a loss of a fifth");
        packets.sort();
        packets.dedup();
        assert_eq!(packets.len(), count, "none twice");
    }
    world.weather = party::Weather::default();
    world.run(10.0);
    for party in [A, B] {
        world.take(party);
        world.send(party, b"calm");
    }
    world.run(10.0);
    assert_eq!(world.take(A), [pad(b"calm")]);
    assert_eq!(world.take(B), [pad(b"calm")]);
}

#[test]
fn after_a_restart_with_the_same_keys_the_other_side_follows() {
    let keys = [PrivateKey::generate(), PrivateKey::generate()];
    let mut world = World::with_keys(keys.clone(), None);
    world.send(A, b"before");
    world.run(1.0);
    let fresh = World::with_keys(keys, None);
    let [_, b] = fresh.parties;
    world.parties[B] = b;
    // A still has the old session, and hears nothing: after 15 s it begins anew.
    world.send(A, b"lost");
    world.run(17.0);
    assert!(world.parties[B].refused.contains(&Refused::UnknownIndex));
    world.send(A, b"after");
    world.run(1.0);
    assert_eq!(world.take(B), [pad(b"after")]);
}

#[test]
fn a_replayed_data_message_is_refused() {
    let mut world = World::connected();
    world.send(A, b"once");
    world.run(0.1);
    let sent = world.log.iter().rfind(|sent| is_data(sent)).unwrap().datagram.clone();
    let (from, at) = (world.parties[A].address, world.at);
    world.parties[B].receive(from, &sent, at);
    assert_eq!(world.parties[B].refused, [Refused::Replay]);
    assert_eq!(world.take(B).len(), 1);
}

#[test]
fn a_packet_of_the_old_session_still_opens_after_the_keys_changed() {
    let mut world = World::connected();
    world.run_to(secs(119.0));
    world.parties[A].send(b"late", world.at);
    let (_, late) = world.parties[A].wire.pop().unwrap();
    world.run_to(secs(121.0));
    world.send(A, b"renews");
    world.run(1.0);
    assert_eq!(world.times(A, is_initiation).len(), 2);
    world.take(B);
    let (from, at) = (world.parties[A].address, world.at);
    world.parties[B].receive(from, &late, at);
    assert_eq!(world.take(B), [pad(b"late")]);
}
