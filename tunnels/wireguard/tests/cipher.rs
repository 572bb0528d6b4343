//! Tunnels of either cipher: two of one kind work alike, two of different kinds never talk, and a tunnel can change.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

mod party;

use adit_aead::{Algorithm, Key, Secret};
use adit_noise::{PrivateKey, Responder, Tai64n};
use adit_wireguard::{Cipher, PeerChange, Refused, message};
use party::{A, B, Sent, Weather, World, is_cookie, is_data, is_initiation, is_response, now, pad, secs};
use proptest::prelude::*;

const CHACHA: Cipher = Cipher::ChaCha20Poly1305;
const GCM: Cipher = Cipher::Aes256Gcm;

/// Two parties of this cipher that have a session.
fn connected(cipher: Cipher) -> World {
    let mut world = World::of([cipher; 2]);
    exchange(&mut world, A, B, b"first");
    world
}

/// Sends a packet, which has to arrive.
fn exchange(world: &mut World, from: usize, to: usize, packet: &[u8]) {
    world.send(from, packet);
    world.run(1.0);
    assert_eq!(world.take(to), [pad(packet)]);
}

fn first(world: &World, is: impl Fn(&Sent) -> bool) -> Vec<u8> {
    world.log.iter().find(|sent| is(sent)).unwrap().datagram.clone()
}

#[test]
fn two_of_a_kind_talk_through_three_renewals_without_losing_a_packet() {
    for cipher in Cipher::ALL {
        let mut world = connected(cipher);
        let (sent, received) = world.converse(4000);
        for party in [A, B] {
            assert_eq!(received[party], sent, "{cipher}: in order, each once");
            assert_eq!(world.parties[party].refused, [], "{cipher}");
        }
        assert_eq!(world.times(A, is_initiation).len(), 4, "{cipher}");
    }
}

#[test]
fn messages_have_the_lengths_of_wireguard_whatever_the_cipher() {
    for cipher in Cipher::ALL {
        let world = connected(cipher);
        assert_eq!(first(&world, is_initiation).len(), 148);
        assert_eq!(first(&world, is_response).len(), 92);
        assert_eq!(first(&world, is_data).len(), 16 + 16 + 16, "{cipher}");
    }
}

/// By the keys of the handshake, taken from the library alone: what is on the wire is what `docs/security.md` says it is.
#[test]
fn data_of_a_gcm_tunnel_is_sealed_under_the_number_in_big_endian_order() {
    let mut world = World::of([GCM; 2]);
    let us = world.parties[B].tunnel.private_key().unwrap().clone();
    world.parties[B].tunnel.set_up(false, now(secs(0.0)));
    world.send(A, b"first");
    let initiation = first(&world, is_initiation);
    let (responder, _, stamp) =
        Responder::receive(&adit_noise::AES_256_GCM, &us, &initiation[8..8 + adit_noise::MESSAGE_1]).unwrap();
    assert!(Tai64n(stamp) > Tai64n::from_wall(core::time::Duration::ZERO));
    let preshared = world.parties[A].status().preshared_key;
    let mut response = vec![0; message::RESPONSE];
    response[0] = 2;
    response[8..12].copy_from_slice(&initiation[4..8]);
    let noise = 12..12 + adit_noise::MESSAGE_2;
    let split = responder.respond(&preshared, &mut response[noise]).unwrap();
    let public = world.parties[A].public();
    let mac = adit_noise::mac::MacKey::new(adit_noise::AES_256_GCM.mac1_label, &public);
    mac.stamp_mac1(&mut response).unwrap();
    let (from, at) = (world.parties[B].address, world.at);
    world.parties[A].receive(from, &response, at);
    world.depart();
    for number in 1..300 {
        world.send(A, &[number as u8; 20]);
    }

    let key = Key::new(Algorithm::Aes256Gcm, &Secret::from(&*split.receive));
    let data: Vec<_> = world.log.iter().filter(|sent| is_data(sent)).collect();
    assert_eq!(data.len(), 300);
    for (number, sent) in data.iter().enumerate() {
        let mut sealed = sent.datagram[16..].to_vec();
        assert_eq!(sent.datagram[8..16], (number as u64).to_le_bytes(), "the header is WireGuard's");
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&(number as u64).to_be_bytes());
        assert_eq!(key.open(nonce, &[], &mut sealed), Ok(()), "{number}");
    }
}

#[test]
fn two_of_different_kinds_say_so_and_exchange_nothing() {
    for ciphers in [[CHACHA, GCM], [GCM, CHACHA]] {
        let mut world = World::of(ciphers);
        let change = PeerChange { endpoint: Some(world.parties[A].address), ..PeerChange::default() };
        let (key, at) = (world.parties[A].public(), world.at);
        world.parties[B].change(&key, change, at);
        world.send(A, b"never");
        world.send(B, b"never");
        world.run(60.0);
        for party in [A, B] {
            assert!(world.parties[party].current().is_none());
            assert!(world.take(party).is_empty());
            let refused = &world.parties[party].refused;
            assert!(refused.len() > 5 && refused.iter().all(|reason| *reason == Refused::OtherCipher));
        }
        assert!(world.log.iter().all(is_initiation), "neither is answered");
    }
}

#[test]
fn under_load_nobody_looks_whether_it_is_the_cipher() {
    let mut world = World::of([GCM, CHACHA]);
    world.parties[B].under_load = true;
    world.send(A, b"never");
    world.run(1.0);
    assert_eq!(world.parties[B].refused, [Refused::BadMac1]);
    assert!(world.times(B, |_| true).is_empty(), "no cookie either");
}

#[test]
fn who_knows_neither_key_is_no_peer_of_another_cipher() {
    let mut world = World::of([GCM, GCM]);
    world.parties[B].tunnel.set_private_key(Some(PrivateKey::generate()), now(secs(0.0)));
    world.send(A, b"never");
    world.run(1.0);
    assert_eq!(world.parties[B].refused, [Refused::BadMac1]);
}

#[test]
fn a_loaded_party_of_either_kind_asks_for_a_cookie_and_takes_it() {
    for cipher in Cipher::ALL {
        let mut world = World::of([cipher; 2]);
        world.parties[B].under_load = true;
        world.send(A, b"patient");
        world.run(10.0);
        assert_eq!(world.times(B, is_cookie).len(), 1, "{cipher}");
        assert_eq!(world.take(B), [pad(b"patient")], "{cipher}");
    }
}

#[test]
fn a_changed_cipher_ends_the_sessions_until_the_other_side_follows() {
    for (from, to) in [(CHACHA, GCM), (GCM, CHACHA)] {
        let mut world = connected(from);
        let at = now(world.at);
        world.parties[A].tunnel.set_cipher(from, at);
        world.parties[A].settle();
        assert!(world.parties[A].current().is_some(), "it has that one");
        world.parties[A].tunnel.set_cipher(to, at);
        world.parties[A].settle();
        assert_eq!(world.parties[A].tunnel.cipher(), to);
        assert!(world.parties[A].current().is_none() && world.parties[A].sessions.is_empty());

        world.send(A, b"waits");
        world.send(B, b"too late");
        world.run(3.0);
        assert!(world.take(A).is_empty() && world.take(B).is_empty());
        assert_eq!(world.parties[A].refused, [Refused::UnknownIndex], "data of the session that ended");
        assert_eq!(world.parties[B].refused, [Refused::OtherCipher]);

        let at = now(world.at);
        world.parties[B].tunnel.set_cipher(to, at);
        world.parties[B].settle();
        world.run(6.0);
        assert_eq!(world.take(B), [pad(b"waits")], "within the time between two initiations");
        exchange(&mut world, B, A, b"as before");
        exchange(&mut world, A, B, b"as before");
    }
}

/// As a reload does it: the old key goes first, so that nothing is begun with it.
#[test]
fn another_cipher_and_another_key_bring_about_one_initiation_under_both() {
    for keepalive in [0, 25] {
        let mut world = World::of([CHACHA; 2]);
        world.parties[B].tunnel.set_up(false, now(world.at));
        let change = PeerChange { persistent_keepalive: Some(keepalive), ..PeerChange::default() };
        let (them, at) = (world.parties[B].public(), world.at);
        world.parties[A].change(&them, change, at);
        world.send(A, b"waits");
        world.run(1.0);
        let before = world.times(A, is_initiation).len();

        let (key, at) = (PrivateKey::generate(), now(world.at));
        let tunnel = &mut world.parties[A].tunnel;
        tunnel.set_private_key(None, at);
        tunnel.set_cipher(GCM, at);
        tunnel.set_private_key(Some(key.clone()), at);
        world.parties[A].settle();
        world.depart();
        assert_eq!(world.times(A, is_initiation).len(), before + 1);
        let initiation = world.log.iter().rfind(|sent| is_initiation(sent)).unwrap();
        let noise = &initiation.datagram[8..8 + adit_noise::MESSAGE_1];
        let us = world.parties[B].tunnel.private_key().unwrap();
        let (_, sender, _) = Responder::receive(&adit_noise::AES_256_GCM, us, noise).unwrap();
        assert_eq!(sender, key.public());

        let preshared_key = Some(world.parties[B].status().preshared_key);
        let party = &mut world.parties[B];
        party.tunnel.remove_all_peers();
        party.tunnel.set_cipher(GCM, at);
        party.tunnel.set_up(true, at);
        party.settle();
        party.change(&key.public(), PeerChange { preshared_key, ..PeerChange::default() }, at.mono);
        world.run(6.0);
        assert_eq!(world.take(B), [pad(b"waits")], "it went on waiting");
    }
}

#[test]
fn cookies_are_asked_for_and_taken_after_a_change() {
    for (from, to) in [(CHACHA, GCM), (GCM, CHACHA)] {
        let mut world = connected(from);
        let at = now(world.at);
        for party in &mut world.parties {
            party.tunnel.set_cipher(to, at);
            party.settle();
        }
        world.parties[B].under_load = true;
        world.send(A, b"patient");
        world.run(10.0);
        assert_eq!(world.times(B, is_cookie).len(), 1, "{to}");
        assert_eq!(world.take(B), [pad(b"patient")], "{to}");
    }
}

#[test]
fn an_answer_of_before_the_change_does_not_count_after_it() {
    let mut world = World::of([CHACHA; 2]);
    world.send(A, b"waits");
    world.run(0.015);
    let response = first(&world, is_response);
    for cipher in [GCM, CHACHA] {
        let at = now(world.at);
        world.parties[A].tunnel.set_cipher(cipher, at);
        world.parties[A].settle();
    }
    let (from, at) = (world.parties[B].address, world.at);
    world.parties[A].receive(from, &response, at);
    assert_eq!(world.parties[A].refused, [Refused::UnknownIndex]);
}

#[test]
fn peers_that_come_after_the_change_have_the_new_cipher() {
    let mut world = World::of([CHACHA; 2]);
    for (me, other) in [(A, B), (B, A)] {
        let at = now(world.at);
        let (key, preshared) = (world.parties[other].public(), world.parties[me].status().preshared_key);
        let endpoint = Some(world.parties[other].address);
        let party = &mut world.parties[me];
        party.tunnel.remove_all_peers();
        party.tunnel.set_cipher(GCM, at);
        party.settle();
        let change = PeerChange { endpoint, preshared_key: Some(preshared), ..PeerChange::default() };
        party.change(&key, change, at.mono);
    }
    exchange(&mut world, A, B, b"hello");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn on_a_bad_link_either_kind_delivers_each_packet_at_most_once(
        gcm: bool, lost in 0..300_u64, doubled in 0..300_u64, late in 0..500_u64, lengths in proptest::collection::vec(1_usize..1400, 40)
    ) {
        let mut world = connected(if gcm { GCM } else { CHACHA });
        world.weather = Weather { lost, doubled, late };
        for (number, length) in lengths.iter().enumerate() {
            let mut packet = vec![number as u8; *length];
            packet[0] = 0x45;
            world.send(A, &packet);
            world.run(0.2);
        }
        world.weather = Weather::default();
        world.run(20.0);
        let came = world.take(B);
        prop_assert!(came.len() <= lengths.len());
        // In any order, but none that was not sent and none twice.
        let mut expected: Vec<_> = lengths.iter().enumerate().map(|(number, length)| {
            let mut packet = vec![number as u8; *length];
            packet[0] = 0x45;
            pad(&packet)
        }).collect();
        for packet in came {
            let at = expected.iter().position(|sent| *sent == packet);
            prop_assert!(at.is_some(), "not sent, or twice");
            expected.remove(at.unwrap_or_default());
        }
    }
}
