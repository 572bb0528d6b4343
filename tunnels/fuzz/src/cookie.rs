//! Cookies: what a loaded responder sends, and what is made of it.

use std::time::Duration;

use adit_noise::cookie::{Checker, Jar, LIFETIME, REPLY};
use adit_noise::mac::{MAC, MacKey};
use adit_noise::{Error, Time, WIREGUARD};

use crate::damage::damage;
use crate::{Input, keys};

/// A message of any length, a reply damaged on its way, and the message that follows.
pub fn noise_cookie(data: &[u8]) {
    let mut input = Input::new(data);
    let mut checker = Checker::new(&WIREGUARD, &keys::public(0));
    let mut jar = Jar::new(&WIREGUARD, &keys::public(0));
    let mac = MacKey::new(WIREGUARD.mac1_label, &keys::public(0));
    let source = input.array::<18>();
    let (wait, age) = (Duration::from_secs(input.byte().into()), Duration::from_secs(input.byte().into()));
    let start = Time::from_secs(1_000);
    let mut damaged = input.array::<REPLY>().to_vec();
    assert_eq!(jar.open_reply(&damaged, start), Err(Error::UnexpectedCookie));

    let len = input.byte().into();
    let mut message = input.bytes(len).to_vec();
    if message.len() < 2 * MAC {
        return short(&mut message, &source, start, (&mut checker, &mut jar, &mac));
    }
    mac.stamp_mac1(&mut message).expect("there is room for both");
    jar.stamp_mac2(&mut message, start).expect("there is room for both");
    assert!(message.ends_with(&[0; MAC]), "no cookie yet");
    assert_eq!(checker.verify_mac2(&message, &source, start), Err(Error::BadMac2));

    let reply = checker.make_reply(&message, &source, start).expect("there is room for both");
    if jar.open_reply(&damaged, start).is_ok() {
        // No wonder: whoever knows the responder's public key and sees mac1 can make one, and the fuzzer sees the tag.
        return;
    }
    damaged = reply.to_vec();
    damage(&mut damaged, &mut input);
    if damaged != reply {
        let error = jar.open_reply(&damaged, start).expect_err("a damaged reply");
        assert_eq!(error == Error::BadLength, damaged.len() != REPLY);
        jar.stamp_mac2(&mut message, start).expect("there is room for both");
        assert!(message.ends_with(&[0; MAC]), "a damaged reply is no cookie");
    }
    let opened = start + wait;
    assert_eq!(jar.open_reply(&reply, opened), Ok(()));
    assert_eq!(jar.open_reply(&reply, opened), Err(Error::UnexpectedCookie), "a reply is taken once");

    let then = opened + age;
    jar.stamp_mac2(&mut message, then).expect("there is room for both");
    assert_eq!(message.ends_with(&[0; MAC]), age >= LIFETIME);
    let valid = age < LIFETIME && wait + age < LIFETIME;
    let mut other = source;
    let (at, change) = (input.below(18), input.byte());
    other[at] ^= change;
    assert!(other == source || checker.verify_mac2(&message, &other, then).is_err());
    assert_eq!(checker.verify_mac2(&message, &source, then).is_ok(), valid);
    let sent = message.clone();
    damage(&mut message, &mut input);
    assert!(message == sent || checker.verify_mac2(&message, &source, then).is_err());
}

fn short(message: &mut [u8], source: &[u8], at: Time, parties: (&mut Checker, &mut Jar, &MacKey)) {
    let (checker, jar, mac) = parties;
    let bad = Err(Error::BadLength);
    assert_eq!(mac.stamp_mac1(message), bad);
    assert_eq!(mac.verify_mac1(message), bad);
    assert_eq!(jar.stamp_mac2(message, at), bad);
    assert_eq!(checker.verify_mac2(message, source, at), bad);
    assert!(checker.make_reply(message, source, at).is_err());
    assert_eq!(jar.open_reply(&[0; REPLY], at), Err(Error::UnexpectedCookie), "nothing was sent");
}
