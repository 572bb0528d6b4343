//! The key of one direction.

use core::fmt;

use aws_lc_rs::aead::{self, AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, UnboundKey};

use crate::Secret;
use crate::wide::{Instructions, Wide};

/// Length of the tag in bytes, the same for every algorithm.
pub const TAG: usize = 16;

/// 96 bits, laid out by the protocol. Sealing two packets with one nonce under one key gives both
/// away; take it from a [`Counter`](crate::Counter).
pub type Nonce = [u8; 12];

/// The ciphers of the data path with 256-bit keys; all have 96-bit nonces and 128-bit tags.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Algorithm {
    /// ChaCha20-Poly1305 (RFC 8439): WireGuard's cipher.
    ChaCha20Poly1305,
    /// AES-256-GCM (NIST SP 800-38D): four times cheaper than the library's ChaCha20-Poly1305, and half again cheaper than the
    /// wide one in AVX-512.
    Aes256Gcm,
    /// No cipher: packets are neither encrypted nor authenticated. For measuring everything else.
    #[cfg(feature = "null")]
    Null,
}

/// Why a packet was not sealed or opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tag did not verify.
    #[error("authentication failed")]
    Auth,
    /// There is no room for a tag.
    #[error("shorter than a tag")]
    TooShort,
    /// Longer than the algorithm may seal under one nonce (64 GiB or more).
    #[error("too long to be sealed")]
    TooLong,
}

/// One key, for one direction. Shared by the workers: nothing in it changes after [`Key::new`].
///
/// # Residue
/// AWS-LC keeps the expanded key on the heap and wipes it when the `Key` is dropped; so does the wide
/// cipher. What either leaves on the stack and in registers while working (the wide cipher: words of
/// the key, key streams, keys of tags), and pages that the system swapped out before, are beyond our
/// reach.
pub struct Key {
    cipher: Cipher,
    wide: Option<Box<Wide>>,
}

enum Cipher {
    Aws(LessSafeKey),
    #[cfg(feature = "null")]
    Null,
}

impl Key {
    /// Expands `secret` for `algorithm`. The only allocations in the life of the key.
    ///
    /// # Panics
    /// If memory is exhausted: there is no other way for a key of the right length to be refused.
    #[must_use]
    pub fn new(algorithm: Algorithm, secret: &Secret) -> Self {
        let algorithm = match algorithm {
            Algorithm::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            Algorithm::Aes256Gcm => &AES_256_GCM,
            #[cfg(feature = "null")]
            Algorithm::Null => {
                return Self { cipher: Cipher::Null, wide: None };
            }
        };
        let wide = Instructions::of_new_keys().filter(|_| algorithm == &CHACHA20_POLY1305);
        Self::of_library(algorithm, secret.as_bytes(), wide.and_then(|wide| Wide::new(secret, wide)))
    }

    /// Expands `secret` for ChaCha20-Poly1305 on a processor that has no more than some instructions for the wide cipher, or
    /// none: to test and to measure one against the other. [`Key::new`] takes the best.
    ///
    /// `None` if this processor does not have them.
    ///
    /// # Panics
    /// As [`Key::new`].
    #[must_use]
    pub fn chacha20_poly1305(secret: &Secret, wide: Option<Instructions>) -> Option<Self> {
        let wide = match wide {
            Some(wide) => Some(Wide::new(secret, wide)?),
            None => None,
        };
        Some(Self::of_library(&CHACHA20_POLY1305, secret.as_bytes(), wide))
    }

    /// Expands `secret` for AES-128-GCM (NIST SP 800-38D), which MACsec has as its default.
    ///
    /// # Panics
    /// As [`Key::new`].
    #[must_use]
    pub fn aes_128_gcm(secret: &Secret<16>) -> Self {
        Self::of_library(&AES_128_GCM, secret.as_bytes(), None)
    }

    fn of_library(algorithm: &'static aead::Algorithm, secret: &[u8], wide: Option<Box<Wide>>) -> Self {
        let key = UnboundKey::new(algorithm, secret).expect("memory for a key");
        Self { cipher: Cipher::Aws(LessSafeKey::new(key)), wide }
    }

    /// The same key for many packets at once, if this processor can.
    pub(crate) fn wide(&self) -> Option<&Wide> {
        self.wide.as_deref()
    }

    /// Encrypts `data[..data.len() - TAG]` in place and writes the tag over the last [`TAG`] bytes,
    /// whose content does not matter before. `aad` is authenticated with it and not changed.
    ///
    /// # Errors
    /// [`Error::TooShort`] if `data` is shorter than a tag, [`Error::TooLong`] beyond the limit of
    /// the algorithm. `data` is then unchanged and must not be sent.
    #[inline]
    pub fn seal(&self, nonce: Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), Error> {
        let body = data.len().checked_sub(TAG).ok_or(Error::TooShort)?;
        let (text, tag) = data.split_at_mut_checked(body).ok_or(Error::TooShort)?;
        match &self.cipher {
            Cipher::Aws(key) => key
                .seal_in_place_scatter(
                    aead::Nonce::assume_unique_for_key(nonce),
                    Aad::from(aad),
                    text,
                    &[],
                    tag,
                )
                .map_err(|_| Error::TooLong),
            #[cfg(feature = "null")]
            Cipher::Null => Ok(()),
        }
    }

    /// Verifies and decrypts `data`, ciphertext and then tag, in place. The plaintext is
    /// `data[..data.len() - TAG]`; the tag stays behind it.
    ///
    /// # Errors
    /// [`Error::TooShort`] if `data` is shorter than a tag, [`Error::Auth`] if the tag does not
    /// verify. The content of `data` is then unspecified and must not be used.
    #[inline]
    pub fn open(&self, nonce: Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), Error> {
        if data.len() < TAG {
            return Err(Error::TooShort);
        }
        match &self.cipher {
            Cipher::Aws(key) => key
                .open_in_place(aead::Nonce::assume_unique_for_key(nonce), Aad::from(aad), data)
                .map(|_| ())
                .map_err(|_| Error::Auth),
            #[cfg(feature = "null")]
            Cipher::Null => Ok(()),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(algorithm: Algorithm) -> Key {
        Key::new(algorithm, &Secret::from([7; 32]))
    }

    #[test]
    fn a_key_can_be_shared_by_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Key>();
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        assert_eq!(format!("{:?}", key(Algorithm::ChaCha20Poly1305)), "Key(..)");
    }

    #[test]
    fn what_cannot_hold_a_tag_is_too_short_and_left_alone() {
        for len in 0..TAG {
            let mut data = vec![0x5a; len];
            let key = key(Algorithm::ChaCha20Poly1305);
            assert_eq!(key.seal([0; 12], &[], &mut data), Err(Error::TooShort));
            assert_eq!(key.open([0; 12], &[], &mut data), Err(Error::TooShort));
            assert_eq!(data, vec![0x5a; len]);
        }
    }

    #[test]
    fn an_empty_packet_is_sealed_to_a_tag_alone() {
        for algorithm in [Algorithm::ChaCha20Poly1305, Algorithm::Aes256Gcm] {
            let mut data = [0; TAG];
            key(algorithm).seal([1; 12], b"header", &mut data).unwrap();
            assert_ne!(data, [0; TAG]);
            assert_eq!(key(algorithm).open([1; 12], b"header", &mut data), Ok(()));
        }
    }

    #[cfg(feature = "null")]
    #[test]
    fn the_null_cipher_changes_and_checks_nothing() {
        let mut data = [0x5a; 40];
        let key = key(Algorithm::Null);
        assert_eq!(key.seal([0; 12], &[], &mut data), Ok(()));
        assert_eq!(key.open([1; 12], b"other", &mut data), Ok(()));
        assert_eq!(data, [0x5a; 40]);
        assert_eq!(key.seal([0; 12], &[], &mut [0; TAG - 1]), Err(Error::TooShort));
    }
}
