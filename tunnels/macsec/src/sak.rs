//! Secure Association Keys and the nonces that are made with them (IEEE 802.1AE-2018, clauses 14.5 to 14.8).

use core::fmt;

use adit_aead::{Key, Nonce, Secret};
use zeroize::Zeroizing;

use crate::{CipherSuite, Offset, Protection, Sci, Ssci};

/// Names a key: of MKA the key server's member identifier and the key number (IEEE 802.1X-2020, clause 9.8), elsewhere any
/// 16 octets that no other key has. Associations are retired by it, since their numbers come back.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct KeyId(pub [u8; 16]);

/// What extended packet numbering mixes into nonces (clause 14.7).
pub type Salt = [u8; 12];

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SakError {
    /// Not as long as the suite's keys are.
    #[error("a key of {found} octets for {suite}, whose keys have {}", suite.key_len())]
    KeyLength {
        /// The suite.
        suite: CipherSuite,
        /// Octets of the key that was given.
        found: usize,
    },
    /// A salt was given for a suite that has none, or none for one that needs it.
    #[error("a salt belongs to gcm-aes-xpn-128 and gcm-aes-xpn-256, which need it, and to no other suite")]
    Salt,
    /// Extended packet numbering has no confidentiality offsets (clause 14.7).
    #[error("a confidentiality offset of {0} with extended packet numbers: only 0 is allowed")]
    Offset(usize),
}

/// A Secure Association Key, ready for use: one for all channels that MKA gave it to, or for one alone.
///
/// Immutable. The secret is expanded at once, and kept only if it [may be told](Self::new_disclosed); whoever passed it wipes it. The key and its salt are zeroised when the last
/// association that has them goes.
pub struct Sak {
    id: KeyId,
    suite: CipherSuite,
    protection: Protection,
    key: Key,
    salt: Zeroizing<Salt>,
    /// Only of a key that may be told.
    secret: Option<Zeroizing<Vec<u8>>>,
}

impl Sak {
    /// The key `secret` of `suite`, for frames with this protection.
    ///
    /// # Errors
    /// [`SakError`] if these do not belong together.
    pub fn new(
        id: KeyId,
        suite: CipherSuite,
        protection: Protection,
        secret: &[u8],
        salt: Option<&Salt>,
    ) -> Result<Self, SakError> {
        if suite.is_xpn() != salt.is_some() {
            return Err(SakError::Salt);
        }
        if let Protection::Confidentiality(offset @ (Offset::Thirty | Offset::Fifty)) = protection
            && suite.is_xpn()
        {
            return Err(SakError::Offset(offset.octets()));
        }
        let key = expand(suite, secret).ok_or(SakError::KeyLength { suite, found: secret.len() })?;
        let salt = Zeroizing::new(salt.copied().unwrap_or_default());
        Ok(Self { id, suite, protection, key, salt, secret: None })
    }

    /// As [`Self::new`]; the secret is kept, so that [`Self::disclosed`] tells it to who writes a log of keys.
    ///
    /// # Errors
    /// [`SakError`] if these do not belong together.
    pub fn new_disclosed(
        id: KeyId,
        suite: CipherSuite,
        protection: Protection,
        secret: &[u8],
        salt: Option<&Salt>,
    ) -> Result<Self, SakError> {
        let sak = Self::new(id, suite, protection, secret, salt)?;
        Ok(Self { secret: Some(Zeroizing::new(secret.to_vec())), ..sak })
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Its suite.
    #[must_use]
    pub fn suite(&self) -> CipherSuite {
        self.suite
    }

    /// What is done to frames that are sent with it.
    #[must_use]
    pub fn protection(&self) -> Protection {
        self.protection
    }

    /// The secret and, with extended packet numbers, the salt; of a key that may be told.
    #[must_use]
    pub fn disclosed(&self) -> Option<(&[u8], Option<&Salt>)> {
        let salt = self.suite.is_xpn().then_some(&*self.salt);
        Some((self.secret.as_deref()?, salt))
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Octets at the beginning of encrypted data that are not.
    pub(crate) fn offset(&self) -> usize {
        match self.protection {
            Protection::IntegrityOnly => 0,
            Protection::Confidentiality(offset) => offset.octets(),
        }
    }

    /// The nonces of a channel under this key; `None` if it has no short identifier where one is needed.
    pub(crate) fn nonces(&self, sci: Sci, ssci: Option<Ssci>) -> Option<Nonces> {
        let mut base = [0; 12];
        if self.suite.is_xpn() {
            let Ssci(ssci) = ssci?;
            base = *self.salt;
            xor(&mut base, 0, &ssci.to_be_bytes());
        } else {
            xor(&mut base, 0, &sci.to_bytes());
        }
        Some(Nonces { base })
    }
}

impl fmt::Debug for Sak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, suite, protection, .. } = self;
        write!(f, "Sak({id:?}, {suite}, {protection:?}, ..)")
    }
}

/// `None` if the secret has another length than the suite's keys.
fn expand(suite: CipherSuite, secret: &[u8]) -> Option<Key> {
    #[cfg(feature = "null")]
    return (secret.len() == suite.key_len())
        .then(|| Key::new(adit_aead::Algorithm::Null, &Secret::from([0; 32])));
    #[cfg(not(feature = "null"))]
    match suite.key_len() {
        16 => Some(Key::aes_128_gcm(&Secret::from(<&[u8; 16]>::try_from(secret).ok()?))),
        _ => {
            let secret = Secret::from(<&[u8; 32]>::try_from(secret).ok()?);
            Some(Key::new(adit_aead::Algorithm::Aes256Gcm, &secret))
        }
    }
}

/// The nonces of one channel under one key: the SCI and the packet number (clause 14.5); with extended packet numbers the
/// short SCI and the packet number, mixed with the salt (clause 14.7).
#[derive(Clone, Copy)]
pub(crate) struct Nonces {
    /// The nonce of packet number zero, so that both layouts differ no more.
    base: Nonce,
}

impl Nonces {
    #[inline]
    pub(crate) fn of(&self, pn: u64) -> Nonce {
        let mut nonce = self.base;
        xor(&mut nonce, 4, &pn.to_be_bytes());
        nonce
    }
}

/// The base holds a salt.
impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces(..)")
    }
}

#[inline]
fn xor(nonce: &mut Nonce, at: usize, with: &[u8]) {
    nonce.iter_mut().skip(at).zip(with).for_each(|(octet, with)| *octet ^= with);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCI: Sci = Sci::new([1, 2, 3, 4, 5, 6], 0x0708);

    fn sak(suite: CipherSuite, salt: Option<&Salt>) -> Sak {
        let secret = [0xab; 32];
        Sak::new(KeyId([0; 16]), suite, Protection::IntegrityOnly, &secret[..suite.key_len()], salt).unwrap()
    }

    #[test]
    fn a_nonce_is_the_sci_and_the_packet_number() {
        let nonces = sak(CipherSuite::GcmAes128, None).nonces(SCI, None).unwrap();
        assert_eq!(nonces.of(0xa1b2_c3d4), [1, 2, 3, 4, 5, 6, 7, 8, 0xa1, 0xb2, 0xc3, 0xd4]);
    }

    /// Clause C.1.3.
    #[test]
    fn an_extended_nonce_is_the_short_sci_and_the_packet_number_mixed_with_the_salt() {
        let salt = [0xe6, 0x30, 0xe8, 0x1a, 0x48, 0xde, 0x86, 0xa2, 0x1c, 0x66, 0xfa, 0x6d];
        let sak = sak(CipherSuite::GcmAesXpn256, Some(&salt));
        let nonces = sak.nonces(SCI, Some(Ssci(0x7a30_c118))).unwrap();
        let expected = [0x9c, 0x00, 0x29, 0x02, 0xf8, 0x01, 0xc3, 0x3e, 0xae, 0xa4, 0x7e, 0x08];
        assert_eq!(nonces.of(0xb0df_459c_b2c2_8465), expected);
        assert!(sak.nonces(SCI, None).is_none(), "there is no nonce without a short SCI");
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let new = |suite, protection, secret: &[u8], salt| {
            Sak::new(KeyId([0; 16]), suite, protection, secret, salt).map(|_| ())
        };
        for suite in CipherSuite::ALL {
            let (good, other) = (Some(&[0; 12]).filter(|_| suite.is_xpn()), Some(&[0; 12]));
            let encrypted = |offset| Protection::Confidentiality(offset);
            for found in [0, 15, 16, 17, 31, 32, 33] {
                let expected =
                    if found == suite.key_len() { Ok(()) } else { Err(SakError::KeyLength { suite, found }) };
                assert_eq!(new(suite, Protection::IntegrityOnly, &[0; 40][..found], good), expected);
            }
            let secret = &[0; 32][..suite.key_len()];
            let bad = if suite.is_xpn() { None } else { other };
            assert_eq!(new(suite, encrypted(Offset::Zero), secret, bad), Err(SakError::Salt));
            for offset in [Offset::Zero, Offset::Thirty, Offset::Fifty] {
                let refused = suite.is_xpn() && offset != Offset::Zero;
                let expected = if refused { Err(SakError::Offset(offset.octets())) } else { Ok(()) };
                assert_eq!(new(suite, encrypted(offset), secret, good), expected);
            }
        }
    }

    #[test]
    fn a_secret_is_told_only_if_that_was_asked_for() {
        let (secret, salt) = ([0xab; 16], [0xcd; 12]);
        let new =
            |suite, salt| Sak::new_disclosed(KeyId([0; 16]), suite, Protection::IntegrityOnly, &secret, salt);
        let told = new(CipherSuite::GcmAesXpn128, Some(&salt)).unwrap();
        assert_eq!(told.disclosed(), Some((&secret[..], Some(&salt))));
        assert_eq!(new(CipherSuite::GcmAes128, None).unwrap().disclosed(), Some((&secret[..], None)));
        assert!(new(CipherSuite::GcmAes256, None).is_err());
        assert_eq!(sak(CipherSuite::GcmAes128, None).disclosed(), None);
    }

    #[test]
    fn debug_shows_nothing_of_key_or_salt() {
        let (id, secret, salt) = (KeyId([0; 16]), [0xab; 16], Some(&[0xcd; 12]));
        let suite = CipherSuite::GcmAesXpn128;
        let sak = Sak::new_disclosed(id, suite, Protection::IntegrityOnly, &secret, salt).unwrap();
        let nonces = sak.nonces(SCI, Some(Ssci(1)));
        let text = format!("{sak:?} {nonces:?}");
        assert!(!text.contains("cd") && !text.contains("205") && !text.contains("171"), "{text}");
    }
}
