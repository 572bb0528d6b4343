//! From the keys that a handshake ends in to those of the SecY.
//!
//! For each direction, octet for octet: the key of 32 octets into which the handshake was split for that direction is the
//! pseudorandom key of HKDF-SHA-256 (RFC 5869, of which the first step is left out as section 3.3 allows). Three
//! outputs are expanded from it, each with its label followed by the same context:
//!
//! | output | octets | label |
//! |---|---|---|
//! | SAK | 16 or 32, as the suite wants | `adit v1 macsec sak` |
//! | salt, with extended packet numbers | 12 | `adit v1 macsec salt` |
//! | key identifier | 16 | `adit v1 macsec key id` |
//!
//! The context: identifier of the cipher suite (8), SCI of the sender (8), SCI of the receiver (8), AN (1), protection (1),
//! as they stand in the terms. Between label and context there is nothing. The greater SCI has SSCI 1, the other 2.

use std::sync::Arc;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use zeroize::Zeroizing;

use super::terms::code;
use crate::{An, CipherSuite, KeyId, Protection, Sak, Sci, Ssci};

const SAK: &[u8] = b"adit v1 macsec sak";
const SALT: &[u8] = b"adit v1 macsec salt";
const KEY_ID: &[u8] = b"adit v1 macsec key id";

/// One direction of a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direction {
    pub(crate) suite: CipherSuite,
    pub(crate) protection: Protection,
    pub(crate) from: Sci,
    pub(crate) to: Sci,
    pub(crate) an: An,
}

impl Direction {
    /// The key of this direction, which can be told if it is `disclosed`; `None` if suite and protection do not go together.
    pub(crate) fn sak(&self, secret: &[u8; 32], disclosed: bool) -> Option<Arc<Sak>> {
        let Material { id, key, salt } = self.material(secret)?;
        let salt = self.suite.is_xpn().then_some(&*salt);
        let new = if disclosed { Sak::new_disclosed } else { Sak::new };
        new(id, self.suite, self.protection, &key, salt).ok().map(Arc::new)
    }

    /// The sender's short SCI.
    pub(crate) fn ssci(&self) -> Option<Ssci> {
        let ssci = if self.from > self.to { 1 } else { 2 };
        self.suite.is_xpn().then_some(Ssci(ssci))
    }

    fn material(&self, secret: &[u8; 32]) -> Option<Material> {
        let prk = Prk::new_less_safe(HKDF_SHA256, secret);
        let (from, to) = (self.from.to_bytes(), self.to.to_bytes());
        let context = [&self.suite.id()[..], &from, &to, &[self.an.number(), code(self.protection)]].concat();
        let expand = |label: &[u8], out: &mut [u8]| {
            prk.expand(&[label, &context], Length(out.len())).and_then(|okm| okm.fill(out)).ok()
        };
        let mut key = Zeroizing::new(vec![0; self.suite.key_len()]);
        let (mut salt, mut id) = (Zeroizing::new([0; 12]), [0; 16]);
        expand(SAK, &mut key)?;
        expand(SALT, salt.as_mut())?;
        expand(KEY_ID, &mut id)?;
        Some(Material { id: KeyId(id), key, salt })
    }
}

struct Material {
    id: KeyId,
    key: Zeroizing<Vec<u8>>,
    salt: Zeroizing<[u8; 12]>,
}

#[derive(Clone, Copy)]
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::Offset;

    fn direction(fields: &HashMap<&str, &str>) -> Direction {
        let sci = |name| Sci::from(u64::from_str_radix(fields[name], 16).unwrap().to_be_bytes());
        let protection = match fields["protection"] {
            "0" => Protection::IntegrityOnly,
            "1" => Protection::Confidentiality(Offset::Zero),
            "2" => Protection::Confidentiality(Offset::Thirty),
            _ => Protection::Confidentiality(Offset::Fifty),
        };
        Direction {
            suite: fields["suite"].parse().unwrap(),
            protection,
            from: sci("from"),
            to: sci("to"),
            an: An::new(fields["an"].parse().unwrap()).unwrap(),
        }
    }

    /// `vectors/derivation.txt` is what `vectors/derivation.py` writes, with Python's own HMAC and SHA-256.
    #[test]
    fn keys_are_those_that_an_independent_derivation_finds() {
        let text = include_str!("../../vectors/derivation.txt");
        let mut seen = 0;
        for section in text.split("\n\n").filter(|section| section.contains("sak = ")) {
            let fields: HashMap<_, _> = section.lines().filter_map(|line| line.split_once(" = ")).collect();
            let secret: [u8; 32] = base16ct::lower::decode_vec(fields["secret"]).unwrap().try_into().unwrap();
            let direction = direction(&fields);
            let found = direction.material(&secret).unwrap();
            assert_eq!(base16ct::lower::encode_string(&found.key), fields["sak"]);
            assert_eq!(base16ct::lower::encode_string(&found.id.0), fields["key_id"]);
            assert_eq!(
                direction.ssci().map(|Ssci(ssci)| ssci.to_string()),
                fields.get("ssci").map(|ssci| (*ssci).to_owned())
            );
            if let Some(salt) = fields.get("salt") {
                assert_eq!(base16ct::lower::encode_string(&*found.salt), **salt);
            }
            assert_eq!(direction.sak(&secret, false).unwrap().id(), found.id);
            seen += 1;
        }
        assert_eq!(seen, 8);
    }
}
