//! The handshake from the responder's side, and back.

use adit_noise::{
    AES_256_GCM, Error, Initiator, MESSAGE_1, MESSAGE_2, PAYLOAD, PresharedKey, Protocol, Responder,
    WIREGUARD,
};

use crate::damage::damage;
use crate::{Input, keys};

/// Bytes as message 1; or a true message 1, damaged, then its true answer, damaged. Of either protocol.
pub fn noise_responder(data: &[u8]) {
    respond(&WIREGUARD, data);
    respond(&AES_256_GCM, data);
}

fn respond(protocol: &Protocol, data: &[u8]) {
    let (mut input, responder) = (Input::new(data), keys::private(0));
    if input.flag() {
        let message = input.rest();
        return match Responder::receive(protocol, &responder, message) {
            // Only a recorded message gets as far as that.
            Ok((_, remote, _)) => assert_eq!(remote, keys::public(1)),
            Err(error) => assert_eq!(error == Error::BadLength, message.len() != MESSAGE_1),
        };
    }
    let (payload, preshared) = (input.array::<PAYLOAD>(), PresharedKey::from_bytes([input.byte(); 32]));
    let other = PresharedKey::from_bytes([input.byte(); 32]);
    let mut sent = [0; MESSAGE_1];
    let (own, remote) = (keys::private(1), keys::public(0));
    let initiator = Initiator::start(protocol, &own, &remote, &preshared, &payload, &mut sent);
    let initiator = initiator.expect("the keys are keys");

    let mut message = sent.to_vec();
    damage(&mut message, &mut input);
    if message != sent {
        let error = Responder::receive(protocol, &responder, &message).expect_err("damaged");
        assert_eq!(error == Error::BadLength, message.len() != MESSAGE_1);
        return;
    }
    let (party, name, stamp) = Responder::receive(protocol, &responder, &message).expect("a true message");
    assert_eq!((name, stamp), (keys::public(1), payload));
    let mut answer = [0; MESSAGE_2];
    let theirs = party.respond(&other, &mut answer).expect("there is room");

    let mut damaged = answer.to_vec();
    damage(&mut damaged, &mut input);
    let initiator = if damaged == answer {
        initiator
    } else {
        initiator.finish(&damaged).expect_err("a damaged answer").0
    };
    match initiator.finish(&answer) {
        Ok(ours) => {
            assert_eq!(preshared, other);
            assert_eq!((&*ours.send, &*ours.receive), (&*theirs.receive, &*theirs.send));
            assert_ne!(*ours.send, *ours.receive);
        }
        Err((_, error)) => assert!(preshared != other && error == Error::Decrypt),
    }
}
