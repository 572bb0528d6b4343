//! SHA-256 by AWS-LC, which wipes its state; but not the hash that it hands over: that stays on the
//! stack, as what snow copies there does.

use aws_lc_rs::digest::{Context, SHA256};
use snow::types::Hash;

/// SHA-256 (FIPS 180-4).
pub(super) struct Sha256(Context);

impl Default for Sha256 {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Hash for Sha256 {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// Every caller has room for the longest hash there is.
    fn result(&mut self, out: &mut [u8]) {
        let hash = std::mem::take(self).0.finish();
        out.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST's examples of FIPS 180-4: one block, and two.
    #[test]
    fn sha256_of_the_examples_of_the_standard() {
        let mut hash = Sha256::default();
        for (message, expected) in [
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
        ] {
            // Once from where the last one ended, once after what is to be forgotten.
            for forgotten in ["", "something else"] {
                if !forgotten.is_empty() {
                    hash.input(forgotten.as_bytes());
                    hash.reset();
                }
                let (head, tail) = message.split_at(2);
                hash.input(head.as_bytes());
                hash.input(tail.as_bytes());
                let mut out = [0; 64];
                hash.result(&mut out);
                assert_eq!(base16ct::lower::encode_string(&out[..32]), expected);
                assert_eq!(out[32..], [0; 32]);
            }
        }
    }
}
