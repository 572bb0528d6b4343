//! The issuer's name in what is signed, byte for byte as the authority's certificate has it.
//!
//! rcgen writes a name from its parts, each kind of part once; an authority's name can have two organizational units or
//! several domain components, as those of directory services do. So it makes a template with an empty name, which is
//! replaced here before it is signed. Certificates and revocation lists have the same frame:
//! `SEQUENCE { tbs, algorithm, BIT STRING }` (RFC 5280, sections 4.1 and 5.1).

use rcgen::{PublicKeyData, SigningKey};

use super::{Error, Key};

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
/// A name without parts.
const NOBODY: [u8; 2] = [SEQUENCE, 0];

/// Signs nothing: it stands for the authority's key while the template is made.
pub(super) struct Template<'a>(pub(super) &'a Key);

impl PublicKeyData for Template<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        PublicKeyData::algorithm(self.0)
    }
}

impl SigningKey for Template<'_> {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(Vec::new())
    }
}

/// Puts the issuer's name into a template, and signs it.
pub(super) fn sign(template: &[u8], issuer: &[u8], key: &Key) -> Result<Vec<u8>, Error> {
    let broken = || Error::make("signature")("the template is not as it should be");
    let outer = Element::read(template).ok_or_else(broken)?.0;
    let (tbs, rest) = Element::read(outer.content).ok_or_else(broken)?;
    let (algorithm, _) = Element::read(rest).ok_or_else(broken)?;
    let mut named = Vec::with_capacity(tbs.content.len() + issuer.len());
    let mut left = tbs.content;
    loop {
        let (element, rest) = Element::read(left).ok_or_else(broken)?;
        left = rest;
        if element.whole == NOBODY {
            break;
        }
        named.extend_from_slice(element.whole);
    }
    named.extend_from_slice(issuer);
    named.extend_from_slice(left);
    let mut content = wrap(SEQUENCE, &[&named]);
    let signature = key.sign(&content).map_err(Error::make("signature"))?;
    content.extend_from_slice(algorithm.whole);
    // No unused bits.
    content.extend(wrap(BIT_STRING, &[&[0], &signature]));
    Ok(wrap(SEQUENCE, &[&content]))
}

/// One element in DER (X.690, section 8.1).
struct Element<'a> {
    whole: &'a [u8],
    content: &'a [u8],
}

impl<'a> Element<'a> {
    /// The first element, and what follows it.
    fn read(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let first = usize::from(*input.get(1)?);
        let (length, header) = if first < 0x80 {
            (first, 2)
        } else {
            let bytes = input.get(2..2 + (first & 0x7f))?;
            let length =
                bytes.iter().try_fold(0_usize, |all, byte| Some(all.checked_mul(256)? | usize::from(*byte)));
            (length?, 2 + bytes.len())
        };
        let end = header.checked_add(length)?;
        let (whole, rest) = input.split_at_checked(end)?;
        Some((Self { whole, content: whole.get(header..)? }, rest))
    }
}

fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut element = vec![tag];
    if length < 0x80 {
        element.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let bytes = bytes.get(length.leading_zeros() as usize / 8..).unwrap_or_default();
        element.push(0x80 | bytes.len() as u8);
        element.extend_from_slice(bytes);
    }
    parts.iter().for_each(|part| element.extend_from_slice(part));
    element
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_in_as_few_bytes_as_can_be_and_read_again() {
        for (length, header) in [
            (0, &[0x30, 0][..]),
            (0x7f, &[0x30, 0x7f]),
            (0x80, &[0x30, 0x81, 0x80]),
            (0x100, &[0x30, 0x82, 1, 0]),
            (0x1_0000, &[0x30, 0x83, 1, 0, 0]),
        ] {
            let content = vec![7; length];
            let mut bytes = wrap(SEQUENCE, &[&content]);
            assert_eq!(bytes.get(..header.len()), Some(header));
            bytes.push(9);
            let (element, rest) = Element::read(&bytes).unwrap();
            assert_eq!((element.content, rest), (&*content, &[9][..]));
        }
    }

    #[test]
    fn half_an_element_is_none() {
        for bytes in
            [&[][..], &[0x30], &[0x30, 1], &[0x30, 0x82, 1], &[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1]]
        {
            assert!(Element::read(bytes).is_none(), "{bytes:?}");
        }
    }
}
