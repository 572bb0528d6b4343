//! Keys from files, as `ip macsec` takes them.

use std::fmt;

use adit_macsec::KeyId;
use blake2::{Blake2s256, Digest};
use zeroize::Zeroizing;

/// What a key's name is made from beside the key.
const LABEL: &[u8] = b"adit macsec static key";

/// A key of 16 or 32 octets. Zeroised when it is dropped, redacted in `Debug`, and compared by what it is [called](Self::id).
pub struct StaticKey {
    id: KeyId,
    secret: Zeroizing<Vec<u8>>,
}

impl StaticKey {
    /// Reads 32 or 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let octets = Some(text.len() / 2).filter(|octets| matches!(octets, 16 | 32))?;
        let mut secret = Zeroizing::new(vec![0; octets]);
        base16ct::mixed::decode(text, &mut secret).ok().filter(|read| read.len() == octets)?;
        let mut hash = Blake2s256::new();
        hash.update(LABEL);
        hash.update(&*secret);
        let id = *hash.finalize().first_chunk()?;
        Some(Self { id: KeyId(id), secret })
    }

    /// What it is called: a hash of it, the same on every station that has it and of no use to any other.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The key itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.secret
    }
}

impl PartialEq for StaticKey {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for StaticKey {}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_32_or_64_digits() {
        for digits in [0, 30, 31, 32, 33, 34, 48, 62, 63, 64, 65, 66, 128] {
            let key = StaticKey::from_hex(&"0".repeat(digits));
            assert_eq!(key.map(|key| key.as_bytes().len()), [32, 64].contains(&digits).then_some(digits / 2));
        }
        let key = StaticKey::from_hex("000102030405060708090A0b0C0d0E0f").unwrap();
        assert!(key.as_bytes().iter().copied().eq(0..16));
        assert!(StaticKey::from_hex("0x0102030405060708090A0b0C0d0E0f").is_none());
    }

    #[test]
    fn another_key_has_another_name() {
        let key = |text: &str| StaticKey::from_hex(text).unwrap();
        let (zeros, others) = (key(&"0".repeat(32)), key(&"0".repeat(64)));
        assert_ne!(zeros, others);
        assert_ne!(zeros, key(&format!("{}1", "0".repeat(31))));
        assert_eq!(zeros, key(&"0".repeat(32)));
        assert_eq!(key(&"ab".repeat(16)), key(&"AB".repeat(16)));
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        assert_eq!(format!("{:?}", StaticKey::from_hex(&"ab".repeat(16)).unwrap()), "StaticKey(..)");
    }
}
