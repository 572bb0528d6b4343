//! AES-256-GCM by AWS-LC, which has it in constant time on every processor, wipes its states, and is the library of the
//! data path already.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::keyed::{Aead, TAG};

/// AES-256-GCM with the nonce of Noise revision 34, section 12.4.
pub(super) struct AesGcm;

/// Four zeros, then the counter in big-endian order.
fn nonce(counter: u64) -> Nonce {
    let [a, b, c, d, e, f, g, h] = counter.to_be_bytes();
    Nonce::assume_unique_for_key([0, 0, 0, 0, a, b, c, d, e, f, g, h])
}

/// `None` only if memory is exhausted.
fn cipher(key: &[u8; 32]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).ok()?))
}

impl Aead for AesGcm {
    const NAME: &'static str = "AESGCM";

    fn seal(key: &[u8; 32], counter: u64, authtext: &[u8], text: &mut [u8]) -> Option<[u8; TAG]> {
        let tag = cipher(key)?.seal_in_place_separate_tag(nonce(counter), Aad::from(authtext), text).ok()?;
        tag.as_ref().try_into().ok()
    }

    fn open(
        key: &[u8; 32],
        counter: u64,
        authtext: &[u8],
        text: &[u8],
        tag: &[u8; TAG],
        out: &mut [u8],
    ) -> Option<()> {
        cipher(key)?.open_separate_gather(nonce(counter), Aad::from(authtext), text, tag, out).ok()
    }
}
