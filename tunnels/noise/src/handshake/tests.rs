use proptest::prelude::*;

use super::*;
use crate::{AES_256_GCM, MACSEC, WIREGUARD};

const STAMP: [u8; PAYLOAD] = *b"twelve bytes";

fn private(byte: u8) -> PrivateKey {
    PrivateKey::from_bytes([byte; 32])
}

fn psk(byte: u8) -> PresharedKey {
    PresharedKey::from_bytes([byte; 32])
}

/// Party 1 begins a handshake with party 2.
fn start(preshared: &PresharedKey) -> (Initiator, [u8; MESSAGE_1]) {
    start_as(&WIREGUARD, preshared)
}

fn start_as(protocol: &Protocol, preshared: &PresharedKey) -> (Initiator, [u8; MESSAGE_1]) {
    let mut message = [0; MESSAGE_1];
    let remote = private(2).public();
    let initiator =
        Initiator::start(protocol, &private(1), &remote, preshared, &STAMP, &mut message).unwrap();
    (initiator, message)
}

/// Party 2 answers.
fn respond(message_1: &[u8], preshared: &PresharedKey) -> (Split, [u8; MESSAGE_2]) {
    let (responder, ..) = Responder::receive(&WIREGUARD, &private(2), message_1).unwrap();
    let mut message = [0; MESSAGE_2];
    let split = responder.respond(preshared, &mut message).unwrap();
    (split, message)
}

#[test]
fn both_parties_arrive_at_the_same_keys_crosswise() {
    for (protocol, preshared) in
        [(WIREGUARD, psk(9)), (WIREGUARD, psk(0)), (AES_256_GCM, psk(9)), (AES_256_GCM, psk(0))]
    {
        let (initiator, message_1) = start_as(&protocol, &preshared);
        let (responder, remote, stamp) = Responder::receive(&protocol, &private(2), &message_1).unwrap();
        assert_eq!((remote, stamp), (private(1).public(), STAMP));

        let mut message_2 = [0; MESSAGE_2];
        let theirs = responder.respond(&preshared, &mut message_2).unwrap();
        let ours = initiator.finish(&message_2).unwrap();
        assert_eq!(ours.send, theirs.receive);
        assert_eq!(ours.receive, theirs.send);
        assert_ne!(ours.send, ours.receive);
        assert_ne!(*ours.send, [0; 32]);
    }
}

#[test]
fn every_handshake_has_keys_of_its_own() {
    let (first, message) = start(&psk(9));
    let (_, answer) = respond(&message, &psk(9));
    let first = first.finish(&answer).unwrap();
    let (second, message) = start(&psk(9));
    let (_, answer) = respond(&message, &psk(9));
    assert_ne!(first.send, second.finish(&answer).unwrap().send);
}

#[test]
fn another_preshared_key_is_found_out_by_the_initiator() {
    for (ours, theirs) in [(psk(9), psk(8)), (psk(9), psk(0)), (psk(0), psk(9))] {
        let (initiator, message_1) = start(&ours);
        let (_, message_2) = respond(&message_1, &theirs);
        assert_eq!(initiator.finish(&message_2).unwrap_err().1, Error::Decrypt);
    }
}

#[test]
fn a_message_for_another_static_key_does_not_open() {
    let (_, message_1) = start(&psk(9));
    let received = Responder::receive(&WIREGUARD, &private(3), &message_1);
    assert_eq!(received.unwrap_err(), Error::Decrypt);
}

#[test]
fn an_answer_by_another_party_does_not_complete_the_handshake() {
    let mut message_1 = [0; MESSAGE_1];
    let impostor = private(3);
    Initiator::start(&WIREGUARD, &private(1), &impostor.public(), &psk(9), &STAMP, &mut message_1).unwrap();
    let (responder, ..) = Responder::receive(&WIREGUARD, &impostor, &message_1).unwrap();
    let mut message_2 = [0; MESSAGE_2];
    responder.respond(&psk(9), &mut message_2).unwrap();

    let (initiator, _) = start(&psk(9));
    assert_eq!(initiator.finish(&message_2).unwrap_err().1, Error::Decrypt);
}

#[test]
fn another_prologue_or_name_is_another_protocol() {
    let (_, message_1) = start(&psk(9));
    let other = Protocol { prologue: b"another", ..WIREGUARD };
    assert_eq!(Responder::receive(&other, &private(2), &message_1).unwrap_err(), Error::Decrypt);
    let other = Protocol { noise: "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2b", ..WIREGUARD };
    assert_eq!(Responder::receive(&other, &private(2), &message_1).unwrap_err(), Error::Decrypt);
}

#[test]
fn no_protocol_takes_a_message_of_another() {
    let all = [WIREGUARD, AES_256_GCM, MACSEC];
    let pairs = all.into_iter().flat_map(|ours| all.map(|theirs| (ours, theirs)));
    for (ours, theirs) in pairs.filter(|(ours, theirs)| ours != theirs) {
        let (_, message_1) = start_as(&ours, &psk(9));
        assert_eq!(Responder::receive(&theirs, &private(2), &message_1).unwrap_err(), Error::Decrypt);
        // Not even if only one of the constants is another.
        let others =
            [Protocol { noise: theirs.noise, ..ours }, Protocol { prologue: theirs.prologue, ..ours }];
        for other in others.into_iter().filter(|other| *other != ours) {
            assert_eq!(Responder::receive(&other, &private(2), &message_1).unwrap_err(), Error::Decrypt);
        }
    }
}

#[test]
fn both_messages_carry_payloads_of_any_length_that_is_agreed_on() {
    let preshared = psk(9);
    for (forth, back) in [(0, 0), (12, 0), (36, 24), (300, 1)] {
        let (greeting, answer) = (vec![0xaa; forth], vec![0xbb; back]);
        let (mut one, mut two) = (vec![0; message_1(forth)], vec![0; message_2(back)]);
        let remote = private(2).public();
        let initiator =
            Initiator::start_with(&MACSEC, &private(1), &remote, &preshared, &greeting, &mut one).unwrap();

        let short = Responder::receive_with(&MACSEC, &private(2), &one, &mut vec![0; forth + 1]);
        assert_eq!(short.unwrap_err(), Error::BadLength);
        let mut heard = vec![0; forth];
        let (responder, from) = Responder::receive_with(&MACSEC, &private(2), &one, &mut heard).unwrap();
        assert_eq!((from, heard), (private(1).public(), greeting));
        let theirs = responder.respond_with(&preshared, &answer, &mut two).unwrap();

        let (initiator, error) = initiator.finish_with(&two, &mut vec![0; back + 1]).unwrap_err();
        assert_eq!(error, Error::BadLength);
        two[33] ^= 1;
        let (initiator, error) = initiator.finish_with(&two, &mut vec![0; back]).unwrap_err();
        assert_eq!(error, Error::Decrypt, "the payload is authentic");
        two[33] ^= 1;
        let mut heard = vec![0; back];
        let ours = initiator.finish_with(&two, &mut heard).unwrap();
        assert_eq!((heard, ours.send), (answer, theirs.receive));
    }
}

#[test]
fn what_is_not_built_in_is_unsupported() {
    for noise in ["Noise_IKpsk2_25519_ChaChaPoly_SHA512", "Noise_IKpsk2_448_ChaChaPoly_BLAKE2s", "?"] {
        let other = Protocol { noise, ..WIREGUARD };
        let received = Responder::receive(&other, &private(2), &[0; MESSAGE_1]);
        assert_eq!(received.unwrap_err(), Error::Unsupported, "{noise}");
    }
}

#[test]
fn any_corrupted_answer_leaves_the_handshake_to_be_completed_by_the_true_one() {
    let (mut initiator, message_1) = start(&psk(9));
    let (theirs, message_2) = respond(&message_1, &psk(9));
    for bit in (0..MESSAGE_2 * 8).step_by(5) {
        let mut forged = message_2;
        forged[bit / 8] ^= 1 << (bit % 8);
        let (kept, error) = initiator.finish(&forged).unwrap_err();
        // X25519 ignores the highest bit of a public key, the transcript does not.
        assert_eq!(error, Error::Decrypt, "bit {bit}");
        initiator = kept;
    }
    let (kept, error) = initiator.finish(&[0; MESSAGE_2]).unwrap_err();
    assert_eq!(error, Error::LowOrder);
    let (kept, error) = kept.finish(&message_2[..MESSAGE_2 - 1]).unwrap_err();
    assert_eq!(error, Error::BadLength);
    assert_eq!(kept.finish(&message_2).unwrap().send, theirs.receive);
}

#[test]
fn keys_of_low_order_are_refused_wherever_they_appear() {
    // Zero, one, and a point of order eight (RFC 7748, section 6.1, asks for the check).
    let eight = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800";
    let one = format!("01{}", "0".repeat(62));
    for low in [&"0".repeat(64), &one, eight] {
        let low = PublicKey::from_hex(low).unwrap();
        let mut message = [0; MESSAGE_1];
        let started = Initiator::start(&WIREGUARD, &private(1), &low, &psk(9), &STAMP, &mut message);
        assert_eq!(started.unwrap_err(), Error::LowOrder);

        let (initiator, mut message_1) = start(&psk(9));
        message_1[..32].copy_from_slice(low.as_bytes());
        let received = Responder::receive(&WIREGUARD, &private(2), &message_1);
        assert_eq!(received.unwrap_err(), Error::LowOrder);

        let mut message_2 = [0; MESSAGE_2];
        message_2[..32].copy_from_slice(low.as_bytes());
        assert_eq!(initiator.finish(&message_2).unwrap_err().1, Error::LowOrder);
    }
}

#[test]
fn lengths_other_than_the_exact_ones_are_refused() {
    let (_, message_1) = start(&psk(9));
    let longer = [&message_1[..], &[0]].concat();
    for message in [&message_1[..MESSAGE_1 - 1], &longer, &[]] {
        let received = Responder::receive(&WIREGUARD, &private(2), message);
        assert_eq!(received.unwrap_err(), Error::BadLength);
    }
    for len in [0, MESSAGE_2 - 1, MESSAGE_2 + 1] {
        let (responder, ..) = Responder::receive(&WIREGUARD, &private(2), &message_1).unwrap();
        assert_eq!(responder.respond(&psk(9), &mut vec![0; len]).unwrap_err(), Error::BadLength);
    }
    for len in [0, MESSAGE_1 - 1, MESSAGE_1 + 1] {
        let (remote, mut out) = (private(2).public(), vec![0; len]);
        let started = Initiator::start(&WIREGUARD, &private(1), &remote, &psk(9), &STAMP, &mut out);
        assert_eq!(started.unwrap_err(), Error::BadLength);
    }
}

#[test]
fn a_handshake_may_move_to_another_thread_and_shows_no_secret() {
    fn movable<T: Send>(_: &T) {}
    let (initiator, message_1) = start(&psk(9));
    let (responder, ..) = Responder::receive(&WIREGUARD, &private(2), &message_1).unwrap();
    movable(&initiator);
    movable(&responder);
    let split = respond(&message_1, &psk(9)).0;
    let shown = format!("{initiator:?} {responder:?} {split:?}");
    assert_eq!(shown, "Initiator(..) Responder(..) Split(..)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_flipped_bit_of_message_1_is_refused(bit in 0..MESSAGE_1 * 8, gcm: bool) {
        let protocol = if gcm { AES_256_GCM } else { WIREGUARD };
        let (_, mut message_1) = start_as(&protocol, &psk(9));
        message_1[bit / 8] ^= 1 << (bit % 8);
        let received = Responder::receive(&protocol, &private(2), &message_1);
        prop_assert_eq!(received.unwrap_err(), Error::Decrypt);
    }

    #[test]
    fn random_messages_are_refused(message in proptest::collection::vec(any::<u8>(), 0..200)) {
        let error = Responder::receive(&WIREGUARD, &private(2), &message).unwrap_err();
        prop_assert_eq!(error == Error::BadLength, message.len() != MESSAGE_1);
    }
}
