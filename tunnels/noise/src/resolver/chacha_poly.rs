//! ChaCha20-Poly1305 by RustCrypto, which cookies need anyhow.

use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};

use super::keyed::{Aead, TAG};

/// ChaCha20-Poly1305 with the nonce of Noise revision 34, section 12.3.
pub(super) struct ChaChaPoly;

/// Four zeros, then the counter in little-endian order.
fn nonce(counter: u64) -> Nonce {
    let [a, b, c, d, e, f, g, h] = counter.to_le_bytes();
    [0, 0, 0, 0, a, b, c, d, e, f, g, h].into()
}

impl Aead for ChaChaPoly {
    const NAME: &'static str = "ChaChaPoly";

    fn seal(key: &[u8; 32], counter: u64, authtext: &[u8], text: &mut [u8]) -> Option<[u8; TAG]> {
        let cipher = ChaCha20Poly1305::new(key.into());
        Some(cipher.encrypt_in_place_detached(&nonce(counter), authtext, text).ok()?.into())
    }

    fn open(
        key: &[u8; 32],
        counter: u64,
        authtext: &[u8],
        text: &[u8],
        tag: &[u8; TAG],
        out: &mut [u8],
    ) -> Option<()> {
        out.copy_from_slice(text);
        let cipher = ChaCha20Poly1305::new(key.into());
        cipher.decrypt_in_place_detached(&nonce(counter), authtext, out, tag.into()).ok()
    }
}
