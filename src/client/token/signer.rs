//! A private key in a token, as TLS signs with it: the token gets a hash, and nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{self, digest};
use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectHandle};
use rustls::pki_types::CertificateDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{OtherError, SignatureAlgorithm, SignatureScheme};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
};

use super::{Error, Token};

/// A key that a token holds.
#[derive(Clone, Debug)]
pub(in crate::client) struct TokenKey(Arc<Held>);

#[derive(Debug)]
struct Held {
    token: Mutex<Token>,
    handle: ObjectHandle,
    public: Public,
}

/// The public key of the certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Public {
    kind: PublicKind,
    /// The point, or the modulus and exponent in DER.
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum PublicKind {
    P256,
    P384,
    Rsa,
}

impl TokenKey {
    /// Takes the key of this handle for the certificate's.
    ///
    /// # Errors
    /// It cannot be, as far as that shows without a signature.
    pub(super) fn new(
        token: Token,
        handle: ObjectHandle,
        certificate: &CertificateDer<'_>,
    ) -> Result<Self, Error> {
        let public = Public::of(certificate)?;
        let (wanted, mechanism, name) = match public.kind {
            PublicKind::P256 | PublicKind::P384 => (KeyType::EC, MechanismType::ECDSA, "ECDSA"),
            PublicKind::Rsa => (KeyType::RSA, MechanismType::RSA_PKCS_PSS, "RSA-PSS"),
        };
        let kinds = [AttributeType::KeyType, AttributeType::AlwaysAuthenticate];
        for attribute in token.session.get_attributes(handle, &kinds)? {
            if matches!(attribute, Attribute::KeyType(found) if found != wanted) {
                return Err(Error::Mismatch);
            }
            if matches!(attribute, Attribute::AlwaysAuthenticate(true)) {
                return Err(Error::EachTime);
            }
        }
        if !token.pkcs11.get_mechanism_list(token.slot)?.contains(&mechanism) {
            return Err(Error::Mechanism(name));
        }
        Ok(Self(Arc::new(Held { token: Mutex::new(token), handle, public })))
    }
}

impl Public {
    fn of(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        let failed = |error: x509_parser::nom::Err<x509_parser::error::X509Error>| {
            Error::Certificate(error.to_string())
        };
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(failed)?;
        let (algorithm, key) = (&parsed.public_key().algorithm, &parsed.public_key().subject_public_key);
        let curve = algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        let kind = if algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
            PublicKind::Rsa
        } else if algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY {
            return Err(Error::Algorithm(algorithm.algorithm.to_id_string()));
        } else if curve == Some(OID_EC_P256) {
            PublicKind::P256
        } else if curve == Some(OID_NIST_EC_P384) {
            PublicKind::P384
        } else {
            return Err(Error::Algorithm("another curve".into()));
        };
        Ok(Self { kind, bytes: key.data.to_vec() })
    }

    /// Those that TLS 1.3 has for such a key (RFC 8446 section 4.2.3), the best first.
    fn schemes(&self) -> &'static [SignatureScheme] {
        match self.kind {
            PublicKind::P256 => &[SignatureScheme::ECDSA_NISTP256_SHA256],
            PublicKind::P384 => &[SignatureScheme::ECDSA_NISTP384_SHA384],
            PublicKind::Rsa => &[
                SignatureScheme::RSA_PSS_SHA256,
                SignatureScheme::RSA_PSS_SHA384,
                SignatureScheme::RSA_PSS_SHA512,
            ],
        }
    }
}

impl SigningKey for TokenKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = *self.0.public.schemes().iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(TokenSigner { key: self.clone(), scheme }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.public.kind {
            PublicKind::P256 | PublicKind::P384 => SignatureAlgorithm::ECDSA,
            PublicKind::Rsa => SignatureAlgorithm::RSA,
        }
    }
}

#[derive(Debug)]
struct TokenSigner {
    key: TokenKey,
    scheme: SignatureScheme,
}

/// How a scheme hashes, signs and verifies.
struct Way {
    hash: &'static digest::Algorithm,
    mechanism: Mechanism<'static>,
    verifies: &'static dyn VerificationAlgorithm,
}

impl Way {
    fn of(scheme: SignatureScheme) -> Option<Self> {
        let known = [
            (
                SignatureScheme::ECDSA_NISTP256_SHA256,
                Self::ec(&digest::SHA256, &signature::ECDSA_P256_SHA256_ASN1),
            ),
            (
                SignatureScheme::ECDSA_NISTP384_SHA384,
                Self::ec(&digest::SHA384, &signature::ECDSA_P384_SHA384_ASN1),
            ),
            (
                SignatureScheme::RSA_PSS_SHA256,
                Self::pss(
                    &digest::SHA256,
                    (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
                    &signature::RSA_PSS_2048_8192_SHA256,
                ),
            ),
            (
                SignatureScheme::RSA_PSS_SHA384,
                Self::pss(
                    &digest::SHA384,
                    (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
                    &signature::RSA_PSS_2048_8192_SHA384,
                ),
            ),
            (
                SignatureScheme::RSA_PSS_SHA512,
                Self::pss(
                    &digest::SHA512,
                    (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
                    &signature::RSA_PSS_2048_8192_SHA512,
                ),
            ),
        ];
        known.into_iter().find(|(known, _)| *known == scheme).map(|(_, way)| way)
    }

    fn ec(hash: &'static digest::Algorithm, verifies: &'static dyn VerificationAlgorithm) -> Self {
        Self { hash, mechanism: Mechanism::Ecdsa, verifies }
    }

    /// The salt is as long as the hash (RFC 8446 section 4.2.3).
    fn pss(
        hash: &'static digest::Algorithm,
        (hash_alg, mgf): (MechanismType, PkcsMgfType),
        verifies: &'static dyn VerificationAlgorithm,
    ) -> Self {
        let s_len = u64::try_from(hash.output_len()).unwrap_or_default().into();
        Self { hash, mechanism: Mechanism::RsaPkcsPss(PkcsPssParams { hash_alg, mgf, s_len }), verifies }
    }
}

impl TokenSigner {
    fn signed(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let Held { token, handle, public } = &*self.key.0;
        let way = Way::of(self.scheme).ok_or(Error::Mechanism("this scheme"))?;
        let hash = digest(way.hash, message);
        let token = token.lock().unwrap_or_else(PoisonError::into_inner);
        let signed = token.session.sign(&way.mechanism, *handle, hash.as_ref())?;
        let signed = match public.kind {
            PublicKind::P256 | PublicKind::P384 => sequence(&signed).ok_or(Error::Mismatch)?,
            PublicKind::Rsa => signed,
        };
        // A token tells little of its keys: whether this one is the certificate's shows here, before the gateway sees it.
        let verified = UnparsedPublicKey::new(way.verifies, &public.bytes).verify(message, &signed);
        verified.map_err(|_| Error::Mismatch)?;
        Ok(signed)
    }
}

impl Signer for TokenSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.signed(message).map_err(|error| rustls::Error::Other(OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// The two numbers of a signature, which a token gives one behind the other, as TLS has them (RFC 3279 section 2.2.3).
fn sequence(pair: &[u8]) -> Option<Vec<u8>> {
    let (r, s) =
        pair.split_at_checked(pair.len() / 2).filter(|(r, s)| r.len() == s.len() && !r.is_empty())?;
    let mut content = Vec::with_capacity(pair.len() + 6);
    for number in [r, s] {
        let from = number.iter().position(|byte| *byte != 0).unwrap_or(number.len() - 1);
        let number = number.get(from..).unwrap_or_default();
        // Without it the number would be negative.
        let zero = number.first().is_some_and(|byte| byte & 0x80 != 0);
        content.extend([2, u8::try_from(number.len() + usize::from(zero)).ok()?]);
        content.extend(zero.then_some(0));
        content.extend(number);
    }
    // The short form of a length is enough for both curves.
    let length = u8::try_from(content.len()).ok().filter(|length| *length < 0x80)?;
    Some([&[0x30, length][..], &content].concat())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _};
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn what_a_token_gives_is_what_tls_verifies() {
        let kinds = [
            (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, SignatureScheme::ECDSA_NISTP256_SHA256),
            (&signature::ECDSA_P384_SHA384_FIXED_SIGNING, SignatureScheme::ECDSA_NISTP384_SHA384),
        ];
        for (fixed, scheme) in kinds {
            let key = EcdsaKeyPair::generate(fixed).unwrap();
            let verifier = UnparsedPublicKey::new(Way::of(scheme).unwrap().verifies, key.public_key());
            // Enough for numbers that begin with a one, and with a zero byte.
            for message in 0..600_u32 {
                let signed = key.sign(&SystemRandom::new(), &message.to_be_bytes()).unwrap();
                verifier.verify(&message.to_be_bytes(), &sequence(signed.as_ref()).unwrap()).unwrap();
            }
        }
    }

    #[test]
    fn numbers_are_as_short_as_they_can_be_and_never_negative() {
        assert_eq!(sequence(&[0, 1, 0, 0x80]), Some(vec![0x30, 7, 2, 1, 1, 2, 2, 0, 0x80]));
        assert_eq!(sequence(&[0, 0]), Some(vec![0x30, 6, 2, 1, 0, 2, 1, 0]));
        for wrong in [&[][..], &[1], &[1, 2, 3], &[1; 132]] {
            assert_eq!(sequence(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn of_a_certificate_the_kind_of_key_is_known_and_others_are_refused() {
        let certificate = |algorithm| {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let made = CertificateParams::new(vec!["alice".to_owned()]).unwrap().self_signed(&key).unwrap();
            made.der().clone()
        };
        let kind = |algorithm| Public::of(&certificate(algorithm)).map(|public| public.kind);
        assert_eq!(kind(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap(), PublicKind::P256);
        assert_eq!(kind(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap(), PublicKind::P384);
        assert_eq!(kind(&rcgen::PKCS_RSA_SHA256).unwrap(), PublicKind::Rsa);
        let refused = kind(&rcgen::PKCS_ED25519).unwrap_err().to_string();
        assert!(refused.contains("1.3.101.112") && refused.contains("P-384"), "{refused}");
        assert!(matches!(Public::of(&CertificateDer::from(&b"x"[..])), Err(Error::Certificate(_))));
    }

    proptest! {
        #[test]
        fn whatever_a_token_gives_is_a_sequence_or_none(pair in prop::collection::vec(any::<u8>(), 0..140)) {
            if let Some(made) = sequence(&pair) {
                prop_assert_eq!(usize::from(made[1]) + 2, made.len());
            }
        }
    }
}
