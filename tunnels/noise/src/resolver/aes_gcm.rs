//! AES-256-GCM and SHA-256 by AWS-LC, which has them in constant time on every processor, wipes
//! their states, and is the library of the data path already.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::error::Unspecified;
use snow::types::{Cipher, Hash};
use zeroize::Zeroizing;

use super::{TAG, room};

/// AES-256-GCM with the nonce that Noise prescribes (revision 34, section 12.4).
#[derive(Default)]
pub(super) struct AesGcm {
    key: Zeroizing<[u8; 32]>,
}

impl AesGcm {
    /// Fails only if memory is exhausted.
    fn cipher(&self) -> Result<LessSafeKey, Unspecified> {
        Ok(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, self.key.as_ref())?))
    }

    fn seal(&self, counter: u64, authtext: &[u8], text: &mut [u8]) -> Result<[u8; TAG], Unspecified> {
        let sealed = self.cipher()?.seal_in_place_separate_tag(nonce(counter), Aad::from(authtext), text)?;
        sealed.as_ref().try_into().map_err(|_| Unspecified)
    }
}

/// Four zeros, then the counter in big-endian order.
fn nonce(counter: u64) -> Nonce {
    let [a, b, c, d, e, f, g, h] = counter.to_be_bytes();
    Nonce::assume_unique_for_key([0, 0, 0, 0, a, b, c, d, e, f, g, h])
}

impl Cipher for AesGcm {
    fn name(&self) -> &'static str {
        "AESGCM"
    }

    fn set(&mut self, key: &[u8; 32]) {
        *self.key = *key;
    }

    /// Returns 0 where `out` is too short; the caller compares the length of the whole message.
    fn encrypt(&self, counter: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let Some((text, tag)) = room(plaintext, out) else { return 0 };
        match self.seal(counter, authtext, text) {
            Ok(sealed) => {
                *tag = sealed;
                plaintext.len() + TAG
            }
            Err(_) => {
                text.fill(0);
                0
            }
        }
    }

    fn decrypt(
        &self,
        counter: u64,
        authtext: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, snow::Error> {
        let (text, tag) = ciphertext.split_last_chunk::<TAG>().ok_or(snow::Error::Decrypt)?;
        let out = out.get_mut(..text.len()).ok_or(snow::Error::Decrypt)?;
        self.cipher()
            .and_then(|cipher| {
                cipher.open_separate_gather(nonce(counter), Aad::from(authtext), text, tag, out)
            })
            .map_err(|_| snow::Error::Decrypt)?;
        Ok(text.len())
    }
}

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
