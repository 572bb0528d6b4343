//! How a session is used, renewed, replaced and ended.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod party;

use adit_noise::PrivateKey;
use adit_wireguard::Refused;
use party::{A, B, Weather, World, close, is_data, is_initiation, pad, secs};

#[test]
fn the_initiator_renews_after_120_s_without_losing_a_packet() {
    let mut world = World::connected();
    let (sent, received) = world.converse(4000);
    for party in [A, B] {
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
fn our_address_on_the_path_is_forgotten_when_data_stays_unanswered() {
    let mut world = World::connected();
    world.run(60.0);
    world.weather.lost = 1000;
    let path = world.sticky();
    let id = world.parties[A].peer();
    world.parties[A].traffic[&id].endpoint.set(Some(path));
    world.send(A, b"data");
    world.run(14.0);
    assert_eq!(world.parties[A].traffic[&id].endpoint.get(), Some(path));
    world.run(2.0);
    assert_eq!(*world.parties[A].paths.last().unwrap(), path.without_local());
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
fn a_bad_link_delivers_each_packet_at_most_once_and_recovers() {
    let mut world = World::introduced();
    world.weather = Weather { lost: 200, doubled: 200, late: 300 };
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
    world.weather = Weather::default();
    world.run(10.0);
    for party in [A, B] {
        world.take(party);
        world.send(party, b"calm");
    }
    world.run(10.0);
    assert_eq!(world.take(A), [pad(b"calm")]);
    assert_eq!(world.take(B), [pad(b"calm")]);
}
