//! A cipher of the handshake with its key, as snow wants it.

use core::marker::PhantomData;

use snow::types::Cipher;
use zeroize::Zeroizing;

/// What Noise calls TAGLEN.
pub(super) const TAG: usize = 16;

/// An authenticated cipher with a key of 32 bytes, and the nonce that Noise prescribes for it.
pub(super) trait Aead: Send + Sync {
    /// Its name in Noise (revision 34, section 8).
    const NAME: &'static str;

    /// Encrypts `text` in place; the tag, or `None` if that failed.
    fn seal(key: &[u8; 32], counter: u64, authtext: &[u8], text: &mut [u8]) -> Option<[u8; TAG]>;

    /// Decrypts to `out`, which is as long as `text`; `None` if the tag does not verify.
    fn open(
        key: &[u8; 32],
        counter: u64,
        authtext: &[u8],
        text: &[u8],
        tag: &[u8; TAG],
        out: &mut [u8],
    ) -> Option<()>;
}

/// The key.
pub(super) struct Keyed<A> {
    key: Zeroizing<[u8; 32]>,
    of: PhantomData<A>,
}

impl<A> Default for Keyed<A> {
    fn default() -> Self {
        Self { key: Zeroizing::default(), of: PhantomData }
    }
}

impl<A: Aead> Cipher for Keyed<A> {
    fn name(&self) -> &'static str {
        A::NAME
    }

    fn set(&mut self, key: &[u8; 32]) {
        *self.key = *key;
    }

    /// Returns 0 where `out` is too short; the caller compares the length of the whole message.
    fn encrypt(&self, counter: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let Some((text, rest)) = out.split_at_mut_checked(plaintext.len()) else { return 0 };
        let Some(tag) = rest.first_chunk_mut::<TAG>() else { return 0 };
        text.copy_from_slice(plaintext);
        match A::seal(&self.key, counter, authtext, text) {
            Some(sealed) => {
                *tag = sealed;
                plaintext.len() + TAG
            }
            None => {
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
        let (text, tag) = ciphertext.split_last_chunk().ok_or(snow::Error::Decrypt)?;
        let out = out.get_mut(..text.len()).ok_or(snow::Error::Decrypt)?;
        A::open(&self.key, counter, authtext, text, tag, out).ok_or(snow::Error::Decrypt)?;
        Ok(text.len())
    }
}
