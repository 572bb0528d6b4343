//! The two MACs at the end of every handshake message (whitepaper, section 5.4.4).
//!
//! A message ends in mac1 and mac2, [`MAC`] bytes each. mac1 proves knowledge of the receiver's
//! public key, and is checked before any costly work; mac2 proves possession of a cookie, and is
//! the matter of [`crate::cookie`].

use core::fmt;

use blake2::digest::consts::U16;
use blake2::digest::{FixedOutput, KeyInit, Update};
use blake2::{Blake2s256, Blake2sMac, Digest};
use subtle::ConstantTimeEq;

use crate::{Error, PublicKey};

/// Length of mac1 and of mac2 in bytes.
pub const MAC: usize = 16;

/// Makes and checks the mac1 of messages to one receiver.
#[derive(Clone)]
pub struct MacKey([u8; 32]);

impl MacKey {
    /// The key for messages to the owner of `receiver`; `label` is
    /// [`Protocol::mac1_label`](crate::Protocol::mac1_label).
    #[must_use]
    pub fn new(label: &[u8], receiver: &PublicKey) -> Self {
        Self(labelled(label, receiver))
    }

    /// Writes mac1 over what is ahead of it. mac2 stays as it is.
    ///
    /// # Errors
    /// [`Error::BadLength`] if `message` is too short for both MACs.
    pub fn stamp_mac1(&self, message: &mut [u8]) -> Result<(), Error> {
        let (ahead, _) = message.split_last_chunk_mut::<MAC>().ok_or(Error::BadLength)?;
        let (body, mac1) = ahead.split_last_chunk_mut().ok_or(Error::BadLength)?;
        *mac1 = keyed(&self.0, &[body]);
        Ok(())
    }

    /// Checks mac1, in constant time.
    ///
    /// # Errors
    /// [`Error::BadMac1`] if it does not verify, [`Error::BadLength`] if `message` is too short for
    /// both MACs.
    pub fn verify_mac1(&self, message: &[u8]) -> Result<(), Error> {
        let (ahead, _) = message.split_last_chunk::<MAC>().ok_or(Error::BadLength)?;
        let (body, mac1) = ahead.split_last_chunk::<MAC>().ok_or(Error::BadLength)?;
        equal(&keyed(&self.0, &[body]), mac1).then_some(()).ok_or(Error::BadMac1)
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(..)")
    }
}

/// The mac1 of a message that ends in both MACs.
pub(crate) fn mac1(message: &[u8]) -> Result<&[u8; MAC], Error> {
    let (ahead, _) = message.split_last_chunk::<MAC>().ok_or(Error::BadLength)?;
    ahead.last_chunk().ok_or(Error::BadLength)
}

/// A label and a public key, hashed to a key. Not a secret: public keys are not.
pub(crate) fn labelled(label: &[u8], public: &PublicKey) -> [u8; 32] {
    Blake2s256::new().chain_update(label).chain_update(public.as_bytes()).finalize().into()
}

/// Keyed BLAKE2s with 16 bytes of output (RFC 7693) over the concatenation of `parts`.
pub(crate) fn keyed<const N: usize>(key: &[u8; N], parts: &[&[u8]]) -> [u8; MAC] {
    const { assert!(N <= 32, "BLAKE2s takes no longer keys") };
    let mut mac = <Blake2sMac<U16> as KeyInit>::new_from_slice(key).expect("a key of at most 32 bytes");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize_fixed().into()
}

/// Comparison in constant time.
pub(crate) fn equal(a: &[u8; MAC], b: &[u8; MAC]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> MacKey {
        MacKey::new(b"mac1----", &PublicKey::from_bytes([byte; 32]))
    }

    #[test]
    fn mac1_covers_every_bit_ahead_of_it_and_itself_but_not_mac2() {
        let mut message = [0x5a; 64];
        key(1).stamp_mac1(&mut message).unwrap();
        assert_eq!(message[..32], [0x5a; 32]);
        assert_eq!(message[48..], [0x5a; 16]);
        for bit in 0..64 * 8 {
            let mut changed = message;
            changed[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 48 * 8 { Err(Error::BadMac1) } else { Ok(()) };
            assert_eq!(key(1).verify_mac1(&changed), expected, "bit {bit}");
        }
    }

    #[test]
    fn mac1_is_bound_to_the_receiver_and_the_label() {
        let mut message = [0; 64];
        key(1).stamp_mac1(&mut message).unwrap();
        assert_eq!(key(1).verify_mac1(&message), Ok(()));
        assert_eq!(key(2).verify_mac1(&message), Err(Error::BadMac1));
        let other = MacKey::new(b"mac1-+--", &PublicKey::from_bytes([1; 32]));
        assert_eq!(other.verify_mac1(&message), Err(Error::BadMac1));
    }

    #[test]
    fn a_message_without_room_for_both_macs_has_a_bad_length() {
        for len in 0..2 * MAC {
            assert_eq!(key(1).stamp_mac1(&mut vec![0; len]), Err(Error::BadLength));
            assert_eq!(key(1).verify_mac1(&vec![0; len]), Err(Error::BadLength));
            assert_eq!(mac1(&vec![0; len]), Err(Error::BadLength));
        }
    }
}
