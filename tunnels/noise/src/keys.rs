//! The keys that people configure.

use core::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, Zeroizing};

use crate::text::{self, KEY, ParseKeyError};

/// A party's long-term X25519 public key (RFC 7748, section 5): its name.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PublicKey([u8; KEY]);

impl PublicKey {
    /// The key of these bytes. Any are taken; one of low order fails in the handshake.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY]) -> Self {
        Self(bytes)
    }

    /// The bytes as they go over the wire.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY] {
        &self.0
    }

    /// Reads the 44 characters that `wg` prints.
    ///
    /// # Errors
    /// [`ParseKeyError`] if they are not exactly one key.
    pub fn from_base64(text: &str) -> Result<Self, ParseKeyError> {
        text::from_base64(text).map(|bytes| Self(*bytes))
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`ParseKeyError`] if they are not exactly one key.
    pub fn from_hex(text: &str) -> Result<Self, ParseKeyError> {
        text::from_hex(text).map(|bytes| Self(*bytes))
    }

    /// The 44 characters that `wg` prints; the same as [`Display`](fmt::Display).
    #[must_use]
    pub fn to_base64(&self) -> String {
        text::base64(&self.0)
    }

    /// 64 lower-case hexadecimal digits, as in the UAPI protocol.
    #[must_use]
    pub fn to_hex(&self) -> String {
        text::hex(&self.0)
    }

    /// Whether all bytes are zero, which stands for no key in the UAPI protocol.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == [0; KEY]
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_base64())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A key at one place in memory. Whoever moves or clones it moves or clones the way there: a copy of
/// the bytes would stay behind at every place that they were moved from, and only the last be wiped.
#[derive(Clone, Default)]
struct Secret(Arc<Zeroizing<[u8; KEY]>>);

impl Secret {
    fn new(bytes: &[u8; KEY]) -> Self {
        let mut secret = Self::default();
        Arc::make_mut(&mut secret.0).copy_from_slice(bytes);
        secret
    }

    fn bytes(&self) -> &[u8; KEY] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.bytes().ct_eq(other.bytes()).into()
    }
}

impl Eq for Secret {}

/// A party's long-term X25519 private key: clamped, zeroised when the last clone is dropped, redacted
/// in `Debug`, compared in constant time.
#[derive(Clone, Eq, PartialEq)]
pub struct PrivateKey(Secret);

impl PrivateKey {
    /// A new random key.
    ///
    /// # Panics
    /// If the system has no random bytes to give.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_bytes(*Zeroizing::new(StaticSecret::random().to_bytes()))
    }

    /// The key of these bytes, clamped as `wg genkey` does (RFC 7748, section 5).
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; KEY]) -> Self {
        let [first, .., last] = &mut bytes;
        *first &= 0b1111_1000;
        *last = *last & 0b0111_1111 | 0b0100_0000;
        let key = Self(Secret::new(&bytes));
        bytes.zeroize();
        key
    }

    /// The bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY] {
        self.0.bytes()
    }

    /// The public key that belongs to it: one multiplication, some 20 microseconds.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&StaticSecret::from(*self.as_bytes())).to_bytes())
    }

    /// Reads the 44 characters that `wg genkey` prints, and clamps the key.
    ///
    /// # Errors
    /// [`ParseKeyError`] if they are not exactly one key.
    pub fn from_base64(text: &str) -> Result<Self, ParseKeyError> {
        text::from_base64(text).map(|bytes| Self::from_bytes(*bytes))
    }

    /// Reads 64 hexadecimal digits, and clamps the key. In the UAPI protocol 64 zeros stand for no
    /// key; ask for that first, for once clamped they are a key like any other.
    ///
    /// # Errors
    /// [`ParseKeyError`] if they are not exactly one key.
    pub fn from_hex(text: &str) -> Result<Self, ParseKeyError> {
        text::from_hex(text).map(|bytes| Self::from_bytes(*bytes))
    }

    /// The 44 characters that `wg genkey` prints.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(text::base64(self.as_bytes()))
    }

    /// 64 lower-case hexadecimal digits, as in the UAPI protocol.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(text::hex(self.as_bytes()))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// A secret that two parties share beforehand and mix into the handshake; all zeros where they share
/// none. Zeroised when the last clone is dropped, redacted in `Debug`, compared in constant time.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct PresharedKey(Secret);

impl PresharedKey {
    /// The key of these bytes.
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; KEY]) -> Self {
        let key = Self(Secret::new(&bytes));
        bytes.zeroize();
        key
    }

    /// A new random key.
    ///
    /// # Panics
    /// If the system has no random bytes to give.
    #[must_use]
    pub fn generate() -> Self {
        Self(Secret::new(&Zeroizing::new(StaticSecret::random().to_bytes())))
    }

    /// The bytes of the key.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY] {
        self.0.bytes()
    }

    /// Whether it is all zeros, that is, there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.as_bytes().ct_eq(&[0; KEY]).into()
    }

    /// Reads the 44 characters that `wg genpsk` prints.
    ///
    /// # Errors
    /// [`ParseKeyError`] if they are not exactly one key.
    pub fn from_base64(text: &str) -> Result<Self, ParseKeyError> {
        text::from_base64(text).map(|bytes| Self(Secret::new(&bytes)))
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`ParseKeyError`] if they are not exactly one key.
    pub fn from_hex(text: &str) -> Result<Self, ParseKeyError> {
        text::from_hex(text).map(|bytes| Self(Secret::new(&bytes)))
    }

    /// The 44 characters that `wg genpsk` prints.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(text::base64(self.as_bytes()))
    }

    /// 64 lower-case hexadecimal digits, as in the UAPI protocol.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(text::hex(self.as_bytes()))
    }
}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn private_keys_are_clamped_and_others_are_not() {
        let key = PrivateKey::from_bytes([0xff; 32]);
        let ends = |key: &PrivateKey| [0, 1, 31].map(|at| key.as_bytes()[at]);
        assert_eq!(ends(&key), [0xf8, 0xff, 0x7f]);
        let key = PrivateKey::from_hex(&"0".repeat(64)).unwrap();
        assert_eq!(ends(&key), [0, 0, 0x40]);
        assert_eq!(PresharedKey::from_hex(&"f".repeat(64)).unwrap().as_bytes(), &[0xff; 32]);
        assert_eq!(PublicKey::from_hex(&"f".repeat(64)).unwrap().0, [0xff; 32]);
    }

    #[test]
    fn generated_keys_differ_and_are_clamped() {
        let (a, b) = (PrivateKey::generate(), PrivateKey::generate());
        assert_ne!(a, b);
        assert_eq!(a, PrivateKey::from_bytes(*a.as_bytes()));
        assert_ne!(PresharedKey::generate(), PresharedKey::generate());
    }

    #[test]
    fn a_key_stays_where_it_is_wherever_it_is_moved() {
        let key = PrivateKey::generate();
        let place = key.as_bytes().as_ptr();
        let moved = [(0_u8, key.clone()), (1, key)];
        assert!(moved.iter().all(|(_, key)| key.as_bytes().as_ptr() == place));
    }

    #[test]
    fn debug_shows_public_keys_only() {
        let key = PrivateKey::generate();
        assert_eq!(format!("{key:?}"), "PrivateKey(..)");
        assert_eq!(format!("{:?}", PresharedKey::generate()), "PresharedKey(..)");
        assert_eq!(format!("{:?}", key.public()), format!("PublicKey({})", key.public()));
    }

    #[test]
    fn all_zeros_stand_for_no_key() {
        assert!(PresharedKey::default().is_none());
        assert!(!PresharedKey::generate().is_none());
        assert!(PublicKey([0; 32]).is_zero());
        assert!(!PrivateKey::generate().public().is_zero());
    }

    #[test]
    fn text_that_is_not_exactly_one_key_is_refused() {
        use ParseKeyError::{Character, Length};
        let good = PublicKey([0xff; 32]).to_base64();
        assert_eq!(good, "//////////////////////////////////////////8=");
        let cases = [
            (good[..43].to_string(), Length),
            (format!("{good}\n"), Length),
            (String::new(), Length),
            ("A".repeat(44), Length),
            (format!("{}==", "A".repeat(42)), Length),
            (good.replace("8=", "9="), Character),
            (good.replacen('/', "_", 1), Character),
            (good.replacen('/', " ", 1), Character),
            (good.replacen("//", "é", 1), Character),
        ];
        for (text, error) in cases {
            assert_eq!(PublicKey::from_base64(&text), Err(error), "{text:?}");
        }
        for (text, error) in [("0".repeat(63), Length), ("0".repeat(66), Length), ("g".repeat(64), Character)]
        {
            assert_eq!(PublicKey::from_hex(&text), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn keys_survive_the_way_through_text(bytes: [u8; 32]) {
            let public = PublicKey(bytes);
            prop_assert_eq!(PublicKey::from_base64(&public.to_string()), Ok(public));
            prop_assert_eq!(PublicKey::from_hex(&public.to_hex()), Ok(public));
            prop_assert_eq!(PublicKey::from_hex(&public.to_hex().to_uppercase()), Ok(public));

            let private = PrivateKey::from_bytes(bytes);
            prop_assert_eq!(PrivateKey::from_base64(&private.to_base64()), Ok(private.clone()));
            prop_assert_eq!(PrivateKey::from_hex(&private.to_hex()), Ok(private));

            let shared = PresharedKey::from_bytes(bytes);
            prop_assert_eq!(PresharedKey::from_base64(&shared.to_base64()), Ok(shared.clone()));
            prop_assert_eq!(PresharedKey::from_hex(&shared.to_hex()), Ok(shared));
        }

        #[test]
        fn any_text_is_taken_or_refused_without_a_panic(text in ".{0,80}") {
            let _ = PublicKey::from_base64(&text);
            let _ = PublicKey::from_hex(&text);
        }
    }
}
