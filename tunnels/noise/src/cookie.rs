//! Cookies: a loaded responder makes the sender show that it receives where it says it is, before
//! it does costly work (whitepaper, sections 5.3 and 5.4.7).
//!
//! The responder holds a [`Checker`], the initiator a [`Jar`]. When a responder is under load is
//! its own judgement and not made here.

use core::fmt;
use core::time::Duration;

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use zeroize::Zeroizing;

use crate::mac::{MAC, equal, keyed, labelled, mac1};
use crate::{Error, Protocol, PublicKey, Time};

/// How long a secret makes cookies, and how long a cookie is used.
pub const LIFETIME: Duration = Duration::from_secs(120);

/// Length of what a cookie reply carries in bytes: nonce, encrypted cookie, tag.
pub const REPLY: usize = NONCE + MAC + TAG;

const NONCE: usize = 24;
const TAG: usize = 16;

/// The responder's side: checks mac2, and makes cookie replies. It keeps nothing for each sender: a
/// cookie is a MAC of the sender's address under a secret that changes every [`LIFETIME`].
pub struct Checker {
    key: [u8; 32],
    /// The secret, and when it was made; none before the first use.
    secret: Option<(Zeroizing<[u8; 32]>, Time)>,
}

impl Checker {
    /// The checker of the party with the public key `own`.
    #[must_use]
    pub fn new(protocol: &Protocol, own: &PublicKey) -> Self {
        Self { key: labelled(protocol.cookie_label, own), secret: None }
    }

    /// Checks the mac2 of a message, in constant time. `source` is where the message came from,
    /// address and port, in any form that is the same each time.
    ///
    /// # Errors
    /// [`Error::BadMac2`] if it does not verify, as when the cookie is for another source or its
    /// secret is gone; [`Error::BadLength`] if `message` is too short for both MACs;
    /// [`Error::Random`] if the system has no random bytes.
    pub fn verify_mac2(&mut self, message: &[u8], source: &[u8], now: Time) -> Result<(), Error> {
        mac1(message)?;
        let (ahead, mac2) = message.split_last_chunk::<MAC>().ok_or(Error::BadLength)?;
        // Who has no cookie says so with zeros (section 5.4.4): nothing is to be compared.
        if *mac2 == [0; MAC] {
            return Err(Error::BadMac2);
        }
        let cookie = self.cookie(source, now)?;
        equal(&keyed(&cookie, &[ahead]), mac2).then_some(()).ok_or(Error::BadMac2)
    }

    /// Makes the reply to a message, whose mac1 was verified, from `source`.
    ///
    /// # Errors
    /// [`Error::BadLength`] if `message` is too short for both MACs, [`Error::Random`] if the
    /// system has no random bytes.
    pub fn make_reply(&mut self, message: &[u8], source: &[u8], now: Time) -> Result<[u8; REPLY], Error> {
        let aad = mac1(message)?;
        let mut cookie = self.cookie(source, now)?;
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce)?;
        let tag = XChaCha20Poly1305::new(&self.key.into())
            .encrypt_in_place_detached(&nonce.into(), aad, cookie.as_mut())
            .map_err(|_| Error::BadLength)?;
        let mut reply = [0; REPLY];
        let parts = nonce.into_iter().chain(*cookie).chain(tag);
        reply.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        Ok(reply)
    }

    fn cookie(&mut self, source: &[u8], now: Time) -> Result<Zeroizing<[u8; MAC]>, Error> {
        let secret = match self.secret.take() {
            Some((secret, made)) if now.since(made) < LIFETIME => self.secret.insert((secret, made)),
            Some(_) | None => {
                let mut secret = Zeroizing::new([0; 32]);
                getrandom::fill(secret.as_mut())?;
                self.secret.insert((secret, now))
            }
        };
        Ok(Zeroizing::new(keyed(&secret.0, &[source])))
    }
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checker(..)")
    }
}

/// The initiator's side: takes the cookies of one peer, and stamps mac2 with them.
pub struct Jar {
    key: [u8; 32],
    /// The mac1 last sent: a reply that is not bound to it answers something else.
    sent: Option<[u8; MAC]>,
    /// The cookie, and when it came.
    cookie: Option<(Zeroizing<[u8; MAC]>, Time)>,
}

impl Jar {
    /// The jar for cookies from the peer with the public key `remote`.
    #[must_use]
    pub fn new(protocol: &Protocol, remote: &PublicKey) -> Self {
        Self { key: labelled(protocol.cookie_label, remote), sent: None, cookie: None }
    }

    /// Writes mac2 at the end of `message`, whose mac1 is already stamped: zeros without a cookie
    /// younger than [`LIFETIME`]. Remembers mac1, so that a reply to this message can be opened.
    ///
    /// # Errors
    /// [`Error::BadLength`] if `message` is too short for both MACs.
    pub fn stamp_mac2(&mut self, message: &mut [u8], now: Time) -> Result<(), Error> {
        self.sent = Some(*mac1(message)?);
        self.cookie.take_if(|(_, came)| now.since(*came) >= LIFETIME);
        let (ahead, mac2) = message.split_last_chunk_mut().ok_or(Error::BadLength)?;
        *mac2 = match &self.cookie {
            Some((cookie, _)) => keyed(cookie, &[ahead]),
            None => [0; MAC],
        };
        Ok(())
    }

    /// Opens what a cookie reply carries, [`REPLY`] bytes, and keeps the cookie. One message gets
    /// at most one: a reply is taken once.
    ///
    /// # Errors
    /// [`Error::BadLength`] if it has another length, [`Error::UnexpectedCookie`] if no message
    /// waits for one, [`Error::Decrypt`] if it does not answer the message last stamped. Nothing
    /// changes then.
    pub fn open_reply(&mut self, reply: &[u8], now: Time) -> Result<(), Error> {
        let reply: &[u8; REPLY] = reply.try_into().map_err(|_| Error::BadLength)?;
        let sent = self.sent.as_ref().ok_or(Error::UnexpectedCookie)?;
        let (nonce, sealed) = reply.split_first_chunk::<NONCE>().ok_or(Error::BadLength)?;
        let (sealed, tag) = sealed.split_last_chunk::<TAG>().ok_or(Error::BadLength)?;
        let mut cookie = Zeroizing::new([0; MAC]);
        cookie.copy_from_slice(sealed);
        XChaCha20Poly1305::new(&self.key.into())
            .decrypt_in_place_detached(nonce.into(), sent, cookie.as_mut(), tag.into())
            .map_err(|_| Error::Decrypt)?;
        self.cookie = Some((cookie, now));
        self.sent = None;
        Ok(())
    }
}

impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jar(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WIREGUARD;

    const SOURCE: &[u8] = &[192, 0, 2, 1, 0xca, 0x6c];
    const OTHER_PORT: &[u8] = &[192, 0, 2, 1, 0xca, 0x6d];
    const OTHER_ADDRESS: &[u8] = &[192, 0, 2, 2, 0xca, 0x6c];

    fn public(byte: u8) -> PublicKey {
        PublicKey::from_bytes([byte; 32])
    }

    fn parties() -> (Checker, Jar) {
        (Checker::new(&WIREGUARD, &public(1)), Jar::new(&WIREGUARD, &public(1)))
    }

    fn at(secs: u64) -> Time {
        Time::from_secs(1000 + secs)
    }

    /// A message with some mac1, stamped by `jar`.
    fn message(jar: &mut Jar, byte: u8, now: Time) -> [u8; 148] {
        let mut message = [byte; 148];
        jar.stamp_mac2(&mut message, now).unwrap();
        message
    }

    #[test]
    fn a_cookie_lets_its_source_through_and_no_other() {
        let (mut checker, mut jar) = parties();
        let first = message(&mut jar, 1, at(0));
        assert_eq!(first[132..], [0; 16], "no cookie yet");
        assert_eq!(checker.verify_mac2(&first, SOURCE, at(0)), Err(Error::BadMac2));

        let reply = checker.make_reply(&first, SOURCE, at(0)).unwrap();
        jar.open_reply(&reply, at(1)).unwrap();
        let second = message(&mut jar, 2, at(2));
        assert_eq!(second[..132], [2; 132]);
        assert_eq!(checker.verify_mac2(&second, SOURCE, at(3)), Ok(()));
        assert_eq!(checker.verify_mac2(&second, OTHER_PORT, at(3)), Err(Error::BadMac2));
        assert_eq!(checker.verify_mac2(&second, OTHER_ADDRESS, at(3)), Err(Error::BadMac2));
    }

    #[test]
    fn mac2_covers_every_bit_of_the_message() {
        let (mut checker, mut jar) = parties();
        let reply = checker.make_reply(&message(&mut jar, 1, at(0)), SOURCE, at(0)).unwrap();
        jar.open_reply(&reply, at(0)).unwrap();
        let good = message(&mut jar, 2, at(0));
        assert_eq!(checker.verify_mac2(&good, SOURCE, at(0)), Ok(()));
        for bit in 0..148 * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(checker.verify_mac2(&bad, SOURCE, at(0)), Err(Error::BadMac2), "bit {bit}");
        }
    }

    #[test]
    fn the_secret_changes_after_its_lifetime_and_not_before() {
        let (mut checker, mut jar) = parties();
        let reply = checker.make_reply(&message(&mut jar, 1, at(0)), SOURCE, at(0)).unwrap();
        jar.open_reply(&reply, at(100)).unwrap();
        let message = message(&mut jar, 2, at(119));
        assert_eq!(checker.verify_mac2(&message, SOURCE, at(119)), Ok(()));
        assert_eq!(checker.verify_mac2(&message, SOURCE, at(120)), Err(Error::BadMac2));
        assert_eq!(checker.verify_mac2(&message, SOURCE, at(121)), Err(Error::BadMac2));
    }

    #[test]
    fn a_cookie_is_used_until_its_lifetime_ends() {
        let (mut checker, mut jar) = parties();
        let reply = checker.make_reply(&message(&mut jar, 1, at(0)), SOURCE, at(0)).unwrap();
        jar.open_reply(&reply, at(0)).unwrap();
        assert_ne!(message(&mut jar, 2, at(119))[132..], [0; 16]);
        assert_eq!(message(&mut jar, 2, at(120))[132..], [0; 16]);
        assert_eq!(message(&mut jar, 2, at(0))[132..], [0; 16], "and never again");
    }

    #[test]
    fn a_reply_is_taken_only_for_the_message_it_answers_and_once() {
        let (mut checker, mut jar) = parties();
        assert_eq!(jar.open_reply(&[0; REPLY], at(0)), Err(Error::UnexpectedCookie));

        let stale = checker.make_reply(&message(&mut jar, 1, at(0)), SOURCE, at(0)).unwrap();
        let reply = checker.make_reply(&message(&mut jar, 2, at(0)), SOURCE, at(0)).unwrap();
        assert_eq!(jar.open_reply(&stale, at(0)), Err(Error::Decrypt));
        for bit in 0..REPLY * 8 {
            let mut forged = reply;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(jar.open_reply(&forged, at(0)), Err(Error::Decrypt), "bit {bit}");
        }
        assert_eq!(jar.open_reply(&reply, at(0)), Ok(()));
        assert_eq!(jar.open_reply(&reply, at(0)), Err(Error::UnexpectedCookie));
    }

    #[test]
    fn a_reply_from_another_party_is_refused() {
        let (_, mut jar) = parties();
        let mut other = Checker::new(&WIREGUARD, &public(2));
        let reply = other.make_reply(&message(&mut jar, 1, at(0)), SOURCE, at(0)).unwrap();
        assert_eq!(jar.open_reply(&reply, at(0)), Err(Error::Decrypt));
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let (mut checker, mut jar) = parties();
        for len in 0..2 * MAC {
            let mut short = vec![0; len];
            assert_eq!(checker.verify_mac2(&short, SOURCE, at(0)), Err(Error::BadLength));
            assert_eq!(checker.make_reply(&short, SOURCE, at(0)), Err(Error::BadLength));
            assert_eq!(jar.stamp_mac2(&mut short, at(0)), Err(Error::BadLength));
        }
        message(&mut jar, 1, at(0));
        for len in [0, REPLY - 1, REPLY + 1] {
            assert_eq!(jar.open_reply(&vec![0; len], at(0)), Err(Error::BadLength));
        }
    }
}
