//! What others may send: forged, replayed, in floods, from elsewhere. Nothing of it may change anything.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod party;

use std::net::SocketAddr;

use adit_noise::{PresharedKey, PrivateKey};
use adit_wireguard::{Endpoint, Output, PeerChange, Refused};
use party::{A, B, Sent, World, is_cookie, is_data, is_initiation, is_response, now, pad, secs};
use proptest::prelude::*;

fn elsewhere() -> SocketAddr {
    "203.0.113.9:9".parse().unwrap()
}

/// The last datagram that was sent and that `is` is true of.
fn last(world: &World, is: impl Fn(&Sent) -> bool) -> Vec<u8> {
    world.log.iter().rfind(|sent| is(sent)).unwrap().datagram.clone()
}

/// A datagram comes to `party` from `from`.
fn inject(world: &mut World, party: usize, from: SocketAddr, datagram: &[u8]) -> Option<Refused> {
    let at = world.at;
    let before = world.parties[party].refused.len();
    world.parties[party].receive(from, datagram, at);
    world.parties[party].refused.get(before).copied()
}

#[test]
fn a_party_roams_when_authentic_data_comes_from_elsewhere() {
    let mut world = World::connected();
    world.parties[A].address = elsewhere();
    world.send(A, b"moved");
    world.run(0.1);
    assert_eq!(world.parties[B].status().endpoint, Some(elsewhere()));
    world.send(B, b"found");
    world.run(0.1);
    assert_eq!(world.take(A), [pad(b"found")]);
}

#[test]
fn a_party_roams_when_an_authentic_handshake_comes_from_elsewhere() {
    let mut world = World::connected();
    world.run(130.0);
    world.parties[A].address = elsewhere();
    let (id, at) = (world.parties[A].peer(), world.at);
    world.parties[A].tunnel.handle_want(id, now(at));
    world.parties[A].settle();
    let (_, initiation) = world.parties[A].wire.pop().unwrap();
    assert_eq!(inject(&mut world, B, elsewhere(), &initiation), None);
    assert_eq!(world.parties[B].status().endpoint, Some(elsewhere()));
    assert_eq!(world.parties[B].paths.last().unwrap().remote(), elsewhere(), "the response goes there");
}

#[test]
fn nobody_roams_on_what_is_forged_or_replayed() {
    let mut world = World::connected();
    let home = world.parties[A].address;
    let mut forged = last(&world, is_data);
    forged[8] = 9;
    assert_eq!(inject(&mut world, B, elsewhere(), &forged), Some(Refused::Auth));
    let data = last(&world, is_data);
    assert_eq!(inject(&mut world, B, elsewhere(), &data), Some(Refused::Replay));
    let initiation = last(&world, is_initiation);
    assert_eq!(inject(&mut world, B, elsewhere(), &initiation), Some(Refused::TimestampReplayed));
    let response = last(&world, is_response);
    assert_eq!(inject(&mut world, A, elsewhere(), &response), Some(Refused::UnknownIndex));
    assert_eq!(world.parties[B].status().endpoint, Some(home));
    assert_eq!(world.parties[A].status().endpoint, Some(world.parties[B].address));
}

#[test]
fn a_replayed_initiation_is_refused_even_after_the_interface_was_down() {
    let mut world = World::connected();
    let initiation = last(&world, is_initiation);
    let from = world.parties[A].address;
    world.run(1.0);
    assert_eq!(inject(&mut world, B, from, &initiation), Some(Refused::TimestampReplayed));
    for up in [false, true] {
        world.parties[B].tunnel.set_up(up, now(world.at));
        world.parties[B].settle();
    }
    assert_eq!(inject(&mut world, B, from, &initiation), Some(Refused::TimestampReplayed));
    assert!(world.parties[B].sessions.is_empty());
}

#[test]
fn another_preshared_key_gives_no_session() {
    let mut world = World::new(Some(PresharedKey::generate()));
    let (key, at) = (world.parties[A].public(), world.at);
    let change = PeerChange { preshared_key: Some(PresharedKey::generate()), ..PeerChange::default() };
    world.parties[B].change(&key, change, at);
    world.send(A, b"never");
    world.run(60.0);
    assert!(world.parties[A].current().is_none());
    assert!(world.parties[B].current().is_none());
    assert!(world.parties[A].refused.iter().all(|reason| *reason == Refused::BadHandshake));
    assert!(world.parties[A].refused.len() > 5);
    assert!(world.take(B).is_empty());
}

#[test]
fn a_stranger_is_not_answered() {
    let mut world = World::new(None);
    world.parties[B].tunnel.remove_all_peers();
    world.send(A, b"never");
    world.run(30.0);
    assert!(world.times(B, |_| true).is_empty(), "not one datagram");
    assert!(world.parties[B].refused.iter().all(|reason| *reason == Refused::UnknownPeer));
    world.parties[B].tunnel.set_private_key(Some(PrivateKey::generate()), now(world.at));
    world.parties[B].refused.clear();
    world.run(30.0);
    assert!(world.times(B, |_| true).is_empty(), "not one datagram");
    assert!(world.parties[B].refused.iter().all(|reason| *reason == Refused::BadMac1));
    assert!(!world.parties[B].refused.is_empty());
}

#[test]
fn a_forged_response_does_not_spoil_the_true_one() {
    let mut world = World::new(None);
    world.send(A, b"data");
    world.run(0.015);
    let true_response = last(&world, is_response);
    // The forger knows A's public key, so the MAC is right.
    let mac = adit_noise::mac::MacKey::new(adit_noise::WIREGUARD.mac1_label, &world.parties[A].public());
    for at in 12..60 {
        let mut forged = true_response.clone();
        forged[at] ^= 0x40;
        mac.stamp_mac1(&mut forged).unwrap();
        assert_eq!(inject(&mut world, A, elsewhere(), &forged), Some(Refused::BadHandshake));
    }
    world.run(1.0);
    assert_eq!(world.take(B), [pad(b"data")]);
    assert_eq!(world.parties[A].status().endpoint, Some(world.parties[B].address));
}

#[test]
fn under_load_a_cookie_is_asked_for_and_then_the_handshake_succeeds() {
    let mut world = World::new(None);
    world.parties[B].under_load = true;
    world.send(A, b"patient");
    world.run(4.9);
    assert_eq!(world.parties[B].refused, [Refused::UnderLoad]);
    assert_eq!(world.times(B, is_cookie).len(), 1);
    assert_eq!(world.times(A, is_initiation).len(), 1, "the cookie hastens nothing");
    assert!(world.parties[A].refused.is_empty(), "the cookie was taken");
    world.run(1.0);
    assert_eq!(world.times(A, is_initiation).len(), 2);
    assert_eq!(world.take(B), [pad(b"patient")]);
}

#[test]
fn a_loaded_initiator_gets_its_response_with_a_cookie_too() {
    let mut world = World::new(None);
    world.parties[A].under_load = true;
    world.send(A, b"patient");
    world.run(20.0);
    assert_eq!(world.times(A, is_cookie).len(), 1, "for the first response");
    assert_eq!(world.take(B), [pad(b"patient")]);
}

#[test]
fn a_cookie_is_good_for_one_address_and_port() {
    let mut world = World::new(None);
    world.parties[B].under_load = true;
    world.send(A, b"data");
    world.run(1.0);
    world.weather.lost = 1000;
    world.run(5.0);
    let initiation = last(&world, is_initiation);
    let home = world.parties[A].address;
    let mut port = home;
    port.set_port(home.port() + 1);
    for from in [port, SocketAddr::new("192.0.2.77".parse().unwrap(), home.port())] {
        assert_eq!(inject(&mut world, B, from, &initiation), Some(Refused::UnderLoad));
    }
    assert_eq!(inject(&mut world, B, home, &initiation), None);
}

#[test]
fn only_a_reply_to_the_last_message_is_taken_for_a_cookie() {
    let mut world = World::new(None);
    world.parties[B].under_load = true;
    world.send(A, b"data");
    world.run(1.0);
    let reply = last(&world, is_cookie);
    let home = world.parties[A].status().endpoint;
    assert_eq!(inject(&mut world, A, elsewhere(), &reply), Some(Refused::CookieStale), "taken once");
    world.weather.lost = 1000;
    world.run(5.0);
    assert_eq!(inject(&mut world, A, elsewhere(), &reply), Some(Refused::UnknownIndex));
    let index: [u8; 4] = last(&world, is_initiation)[4..8].try_into().unwrap();
    let mut reply = reply;
    reply[4..8].copy_from_slice(&index);
    assert_eq!(inject(&mut world, A, elsewhere(), &reply), Some(Refused::CookieStale));
    assert_eq!(world.parties[A].status().endpoint, home, "nobody roams on a cookie reply");
}

#[test]
fn the_index_of_an_ended_session_is_nobodys() {
    let mut world = World::connected();
    let index = world.parties[A].current().unwrap().local_index();
    let mut reply = vec![0; 64];
    reply[0] = 3;
    reply[4..8].copy_from_slice(&index.to_le_bytes());
    assert_eq!(inject(&mut world, A, elsewhere(), &reply), Some(Refused::CookieStale));
    world.parties[A].tunnel.set_up(false, now(world.at));
    world.parties[A].tunnel.set_up(true, now(world.at));
    world.parties[A].settle();
    assert_eq!(inject(&mut world, A, elsewhere(), &reply), Some(Refused::UnknownIndex));
}

#[test]
fn under_load_one_source_is_answered_20_times_a_second_at_most() {
    let mut world = World::new(None);
    world.parties[B].under_load = true;
    world.send(A, b"data");
    world.run(1.0);
    world.weather.lost = 1000;
    world.run(5.0);
    let initiation = last(&world, is_initiation);
    let home = world.parties[A].address;
    let refused: Vec<_> = (0..10).map(|_| inject(&mut world, B, home, &initiation)).collect();
    assert_eq!(refused[0], None);
    assert_eq!(refused[1..5], [Some(Refused::TimestampReplayed); 4]);
    assert_eq!(refused[5..], [Some(Refused::RateLimited); 5]);
}

#[test]
fn initiations_of_one_peer_are_consumed_20_ms_apart() {
    let mut world = World::new(None);
    world.weather.lost = 1000;
    world.send(A, b"data");
    world.run(11.0);
    let initiations: Vec<_> = world.log.iter().filter(|sent| is_initiation(sent)).cloned().collect();
    let from = world.parties[A].address;
    assert_eq!(inject(&mut world, B, from, &initiations[0].datagram), None);
    assert_eq!(inject(&mut world, B, from, &initiations[1].datagram), Some(Refused::Flood));
    world.run(0.020);
    assert_eq!(inject(&mut world, B, from, &initiations[1].datagram), None);
}

#[test]
fn a_flood_of_forged_initiations_changes_nothing() {
    let mut world = World::connected();
    let template = last(&world, is_initiation);
    let mac = adit_noise::mac::MacKey::new(adit_noise::WIREGUARD.mac1_label, &world.parties[B].public());
    let before = format!("{:?}", world.parties[B].tunnel);
    for number in 0..2000_u32 {
        let mut forged = template.clone();
        let at = 8 + world.random(108) as usize;
        forged[at] ^= 1 + world.random(255) as u8;
        forged[4..8].copy_from_slice(&number.to_le_bytes());
        if number % 2 == 0 {
            mac.stamp_mac1(&mut forged).unwrap();
        }
        let expected = if number % 2 == 0 { Refused::BadHandshake } else { Refused::BadMac1 };
        assert_eq!(inject(&mut world, B, elsewhere(), &forged), Some(expected));
    }
    assert_eq!(format!("{:?}", world.parties[B].tunnel), before);
    world.send(A, b"still");
    world.run(0.1);
    assert!(world.take(B).contains(&pad(b"still")));
}

#[test]
fn a_removed_peer_is_forgotten_in_the_middle_of_its_handshake() {
    let mut world = World::new(None);
    world.send(A, b"data");
    let key = world.parties[B].public();
    world.parties[A].tunnel.remove_peer(&key);
    world.parties[A].settle();
    assert_eq!(world.parties[A].dropped, [(Refused::PeerGone, 1)]);
    assert_eq!(world.parties[A].tunnel.poll_timeout(), None);
    world.run(1.0);
    assert_eq!(world.parties[A].refused, [Refused::UnknownIndex]);
    assert_eq!(world.parties[A].tunnel.peers().count(), 0);
}

#[test]
fn garbage_of_every_length_and_type_is_refused() {
    let mut world = World::connected();
    for len in 0..2000 {
        for kind in 0..6 {
            let mut garbage = vec![0xa5; len];
            for (at, byte) in [kind, 0, 0, 0].into_iter().enumerate().take(len) {
                garbage[at] = byte;
            }
            let from = Endpoint::udp(elsewhere());
            let at = now(world.at);
            let tunnel = &mut world.parties[B].tunnel;
            let refused = tunnel.handle_handshake(from, &mut garbage, len % 2 == 0, at);
            assert!(refused.is_err(), "{len} bytes of type {kind}");
        }
    }
    assert!(world.parties[B].tunnel.poll_output().is_none());
}

#[test]
fn a_peer_key_of_low_order_is_given_up_at_once() {
    let mut world = World::new(None);
    let zero = adit_noise::PublicKey::from_bytes([0; 32]);
    let at = world.at;
    let change = PeerChange { endpoint: Some(elsewhere()), ..PeerChange::default() };
    let id = world.parties[A].change(&zero, change, at);
    assert_eq!(world.parties[A].tunnel.handle_unsent(id, b"data", now(secs(0.0))), Ok(()));
    let output = world.parties[A].tunnel.poll_output();
    assert!(matches!(output, Some(Output::Dropped(Refused::HandshakeAbandoned, 1))));
    assert!(world.parties[A].tunnel.poll_output().is_none());
}

proptest! {
    #[test]
    fn a_damaged_handshake_message_changes_nothing(bit in 0..148 * 8_usize, cut in 0..148_usize) {
        let mut world = World::connected();
        for (is, party) in [(is_initiation as fn(&Sent) -> bool, B), (is_response, A), (is_data, B)] {
            let whole = last(&world, is);
            // A replay, so that the peer was looked at: when it is looked at next is all that may change.
            prop_assert!(inject(&mut world, party, elsewhere(), &whole).is_some());
            let before = format!("{:?}", world.parties[party].tunnel);
            let mut damaged = whole.clone();
            let place = bit / 8 % damaged.len();
            damaged[place] ^= 1 << (bit % 8);
            prop_assert!(inject(&mut world, party, elsewhere(), &damaged).is_some());
            prop_assert!(inject(&mut world, party, elsewhere(), &whole[..cut % whole.len()]).is_some());
            prop_assert_eq!(format!("{:?}", world.parties[party].tunnel), before);
        }
    }
}
