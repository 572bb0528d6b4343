//! How a session comes about: what waits for it, and what is sent again.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod party;

use adit_noise::PresharedKey;
use adit_wireguard::{Endpoint, Output, Refused};
use party::{A, B, Party, World, close, is_initiation, is_keepalive, is_response, now, pad, secs};

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
fn kinds(party: &mut Party) -> Vec<&'static str> {
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
fn a_status_tells_since_when_a_handshake_is_tried_and_how_many_succeeded() {
    let mut world = World::new(None);
    world.weather.lost = 1000;
    world.send(A, b"one");
    let since = world.parties[A].status().trying_since;
    assert!(since.is_some());
    world.run(50.0);
    world.send(A, b"asking again does not begin anew");
    assert_eq!(world.parties[A].status().trying_since, since);
    world.weather.lost = 0;
    world.run(10.0);
    for party in [A, B] {
        let status = world.parties[party].status();
        assert_eq!((status.trying_since, world.parties[party].tunnel.handshakes()), (None, 1));
        assert!(status.last_handshake_at > since);
    }
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

#[test]
fn our_address_on_the_path_is_forgotten_when_a_handshake_is_repeated() {
    let mut world = World::new(None);
    world.weather.lost = 1000;
    let path = world.sticky();
    let id = world.parties[A].peer();
    world.parties[A].traffic[&id].endpoint.set(Some(path));
    world.send(A, b"data");
    world.run(6.0);
    assert_eq!(world.parties[A].paths, [path, path.without_local()]);
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
