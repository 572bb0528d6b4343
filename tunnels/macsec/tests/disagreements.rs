//! What others may send, and peers that are configured otherwise: nothing of it leads to keys, and who should know is told.

mod link;
mod station;

use adit_macsec::agreement::message::{self, Message};
use adit_macsec::agreement::{Agreement, Config, ConfigError, Disagreement, Refused, Source};
use adit_macsec::{CipherSuite, Offset, Protection, SakError};
use adit_noise::mac::MacKey;
use adit_noise::{MACSEC, PresharedKey, WIREGUARD};
use link::EAST;
use proptest::prelude::*;
use station::{A, B, ENCRYPTED, Station, World, address, config, now, private, secs};

const ELSEWHERE: Source = Source::Ethernet([0x0a, 9, 9, 9, 9, 9]);

/// Two ends of which B is configured otherwise: what each is told, once there was time for it.
fn told(change: impl Fn(&mut Config)) -> [Vec<Disagreement>; 2] {
    let mut other = config(B);
    change(&mut other);
    let mut world = World::of([config(A), other], 1);
    world.run(30.0);
    for station in &world.stations {
        assert_eq!((station.sends_with(), station.receives_with().len()), (None, 0), "no keys");
        let status = station.agreement.status();
        assert!(status.trying_since.is_some());
        assert_eq!(status.disagreement, station.told.last().copied());
    }
    world.stations.map(|station| station.told)
}

#[test]
fn another_suite_is_told_to_both_operators_by_name() {
    let [a, b] = told(|config| config.suite = CipherSuite::GcmAes128);
    let (ours, theirs) = (CipherSuite::GcmAesXpn256, CipherSuite::GcmAes128);
    assert_eq!(a, [Disagreement::Suite { ours, theirs }], "once");
    assert_eq!(b, [Disagreement::Suite { ours: theirs, theirs: ours }]);
    assert!(a[0].to_string().contains("the peer has the cipher gcm-aes-128, we have gcm-aes-xpn-256"));
}

#[test]
fn another_protection_is_told_to_both_operators() {
    let [a, b] = told(|config| config.protection = Protection::IntegrityOnly);
    assert!(a[0].to_string().contains("the peer has integrity only, we have encryption"));
    assert!(b[0].to_string().contains("the peer has encryption, we have integrity only"));
}

#[test]
fn one_sci_on_both_ends_is_told_to_both_operators() {
    let [a, b] = told(|config| config.sci = EAST);
    assert_eq!([a, b], [[Disagreement::Sci(EAST)], [Disagreement::Sci(EAST)]]);
}

#[test]
fn a_peer_that_mends_its_ways_has_a_link_at_once() {
    let mut world = World::of([config(A), Config { suite: CipherSuite::GcmAes128, ..config(B) }], 1);
    world.run(30.0);
    world.stations[B].config.suite = config(A).suite;
    world.stations[B].restart(world.at);
    world.run(1.0);
    assert!(world.passes());
    assert!(world.stations.iter().all(|station| station.agreement.status().disagreement.is_none()));
}

#[test]
fn another_preshared_key_leads_to_no_keys_and_the_initiator_says_why() {
    let other = Config { preshared: PresharedKey::from_bytes([8; 32]), ..config(B) };
    let mut world = World::of([config(A), other], 1);
    world.run(12.0);
    for station in &world.stations {
        assert_eq!(station.sends_with(), None);
        assert!(!station.refused.is_empty());
        assert!(
            station.refused.iter().all(|reason| *reason == Refused::BadResponse),
            "{:?}",
            station.refused
        );
    }
    assert!(Refused::BadResponse.to_string().contains("preshared key"));
}

#[test]
fn a_stranger_who_knows_our_public_key_is_refused() {
    let stranger = Config { private: private(3), remote: private(2).public(), ..config(A) };
    let mut stranger = Station::new(stranger, secs(0.0));
    stranger.agreement.handle_timeout(now(secs(0.0)));
    stranger.settle();
    let mut world = World::connected();
    let heard = world.stations[B].heard;
    assert_eq!(world.inject(B, ELSEWHERE, &stranger.wire[0]), Some(Refused::UnknownPeer));
    assert_eq!(world.stations[B].heard, heard);
    assert!(world.stations[B].wire.is_empty(), "no answer");
}

#[test]
fn what_cannot_be_a_link_is_refused_when_it_is_made() {
    let made = |config| Agreement::new(config, now(secs(0.0))).map(|_| ());
    let own = Config { remote: private(1).public(), ..config(A) };
    assert_eq!(made(own), Err(ConfigError::OwnKey));
    let offset = Config { protection: Protection::Confidentiality(Offset::Thirty), ..config(A) };
    assert_eq!(made(offset), Err(ConfigError::Sak(SakError::Offset(30))));
    assert_eq!(made(config(A)), Ok(()));
}

#[test]
fn messages_that_come_again_or_come_back_are_refused() {
    let mut world = World::connected();
    let initiations = [world.last(A, Message::Initiation), world.last(B, Message::Initiation)];
    let responses = [world.last(A, Message::Response), world.last(B, Message::Response)];
    let before = world.stations.each_ref().map(|station| (station.sends_with(), station.receives_with()));
    for (me, other) in [(A, B), (B, A)] {
        assert_eq!(world.inject(other, ELSEWHERE, &initiations[me]), Some(Refused::TimestampReplayed));
        assert_eq!(world.inject(other, ELSEWHERE, &responses[me]), Some(Refused::UnknownIndex));
        assert_eq!(world.inject(me, ELSEWHERE, &initiations[me]), Some(Refused::BadMac1), "reflected");
        assert_eq!(world.inject(me, ELSEWHERE, &responses[me]), Some(Refused::BadMac1), "reflected");
    }
    assert_eq!(
        world.stations.each_ref().map(|station| (station.sends_with(), station.receives_with())),
        before
    );
    assert!(world.stations.iter().all(|station| station.wire.is_empty()));
}

/// An initiation of before a restart is authentic, and nobody can go on with what it leads to.
#[test]
fn a_replay_to_a_station_that_began_anew_moves_no_key_that_is_sent_with() {
    let mut world = World::connected();
    let initiation = world.last(A, Message::Initiation);
    world.stations[B].restart(world.at);
    assert_eq!(world.inject(B, ELSEWHERE, &initiation), None);
    assert_eq!(world.stations[B].sends_with(), None);
    world.run(6.0);
    assert!(world.passes());
    world.run(5.0);
    assert_eq!(world.stations[B].receives_with().len(), 1);
}

#[test]
fn wireguard_and_a_link_refuse_each_others_messages() {
    let world = World::connected();
    let initiation = world.last(A, Message::Initiation);
    let keys = |protocol: &adit_noise::Protocol| MacKey::new(protocol.mac1_label, &private(2).public());
    assert_eq!(keys(&MACSEC).verify_mac1(&initiation), Ok(()));
    assert!(keys(&WIREGUARD).verify_mac1(&initiation).is_err(), "a WireGuard peer does no work for it");
    assert_ne!(initiation.len(), 148);

    let mut world = World::connected();
    let mut foreign = vec![0; 148];
    foreign[0] = 1;
    keys(&WIREGUARD).stamp_mac1(&mut foreign).unwrap();
    assert_eq!(world.inject(B, ELSEWHERE, &foreign), Some(Refused::Length));
    foreign.resize(message::INITIATION, 0);
    keys(&WIREGUARD).stamp_mac1(&mut foreign).unwrap();
    assert_eq!(world.inject(B, ELSEWHERE, &foreign), Some(Refused::BadMac1));
    keys(&MACSEC).stamp_mac1(&mut foreign).unwrap();
    assert_eq!(world.inject(B, ELSEWHERE, &foreign), Some(Refused::BadHandshake));
}

#[test]
fn under_load_a_station_asks_for_a_proof_of_the_address_and_then_answers() {
    let mut world = World::new();
    world.stations[B].under_load = true;
    world.run(0.1);
    assert!(world.stations[B].refused.contains(&Refused::UnderLoad));
    assert!(!world.times(B, Message::CookieReply).is_empty());
    world.run(12.0);
    assert!(world.passes(), "with the cookie");

    let initiation = world.last(A, Message::Initiation);
    assert_eq!(world.inject(B, ELSEWHERE, &initiation), Some(Refused::UnderLoad), "the cookie is another's");
    let reply = world.stations[B].wire.pop().unwrap();
    assert_eq!(Message::parse(&reply), Some(Message::CookieReply));
}

#[test]
fn a_cookie_reply_is_taken_once_and_only_for_the_message_it_answers() {
    let mut world = World::new();
    world.stations[B].under_load = true;
    world.run(0.015);
    let reply = world.last(B, Message::CookieReply);
    world.stations[A].restart(world.at);
    world.run(0.001);
    assert_eq!(world.inject(A, address(B), &reply), Some(Refused::UnknownIndex));
    let mut forged = reply.clone();
    let sent = world.last(A, Message::Initiation);
    forged[4..8].copy_from_slice(&sent[4..8]);
    assert_eq!(world.inject(A, address(B), &forged), Some(Refused::CookieStale));
    world.run(0.1);
    let reply = world.last(B, Message::CookieReply);
    assert_eq!(world.inject(A, address(B), &reply), Some(Refused::CookieStale), "it was taken already");
}

#[test]
fn padding_of_an_ethernet_link_does_not_matter() {
    let mut world = World::new();
    world.weather.lost = 1000;
    world.run(0.001);
    let mut padded = world.last(A, Message::Initiation);
    padded.extend([0; 20]);
    assert_eq!(world.inject(B, address(A), &padded), Some(Refused::Length), "over UDP there is none");
    let message = Message::trim(&padded).unwrap().to_vec();
    assert_eq!(world.inject(B, address(A), &message), None);
}

/// Each bit of a message, the mac1 made right again as anybody can who knows the receiver: refused, but for the index of the
/// sender, for which mac1 alone vouches; and the true one is taken afterwards.
#[test]
fn any_damaged_message_is_refused_and_does_not_keep_the_true_one_out() {
    let mut world = World::new();
    world.weather.lost = 1000;
    world.run(0.001);
    let initiation = world.last(A, Message::Initiation);
    let mac = |to: u8| MacKey::new(MACSEC.mac1_label, &private(to).public());
    let damaged = |message: &[u8], from: usize, to: u8| -> Vec<Vec<u8>> {
        let bits = (from * 8..(message.len() - 32) * 8).step_by(7);
        let forge = |bit: usize| {
            let mut forged = message.to_vec();
            forged[bit / 8] ^= 1 << (bit % 8);
            mac(to).stamp_mac1(&mut forged).unwrap();
            forged
        };
        bits.map(forge).collect()
    };
    for forged in damaged(&initiation, 8, 2) {
        assert_eq!(world.inject(B, ELSEWHERE, &forged), Some(Refused::BadHandshake));
    }
    assert_eq!(world.stations[B].heard, 0);
    assert_eq!(world.inject(B, address(A), &initiation), None);
    let response = world.stations[B].wire.pop().unwrap();
    for forged in damaged(&response, 12, 1) {
        assert_eq!(world.inject(A, ELSEWHERE, &forged), Some(Refused::BadResponse));
    }
    assert_eq!(world.inject(A, address(B), &response), None);
    assert!(world.stations[A].sends_with().is_some());
}

proptest! {
    #[test]
    fn garbage_is_refused_and_changes_nothing(
        kind in 0..20_u8,
        garbage in proptest::collection::vec(any::<u8>(), 0..200),
        len in proptest::sample::select(vec![0, 4, 64, 120, 176, 200]),
        under_load: bool,
    ) {
        let mut agreement = Agreement::new(Config { protection: ENCRYPTED, ..config(A) }, now(secs(0.0))).unwrap();
        let before = format!("{agreement:?}");
        let mut message = [&[kind, 0, 0, 0], &garbage[..]].concat();
        message.resize(len, 0);
        let refused = agreement.handle_message(&message, ELSEWHERE, under_load, now(secs(0.0)));
        prop_assert!(matches!(refused, Err(Refused::Length | Refused::BadMac1 | Refused::UnknownIndex)));
        prop_assert_eq!(before, format!("{agreement:?}"));
    }
}
