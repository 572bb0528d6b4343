//! Secrets that are sent: 256 random bits. The store knows their digests alone, so that whoever reads it can use none.

use std::fmt;

use aws_lc_rs::{digest, rand};
use base16ct::lower;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a secret and of a digest.
const SIZE: usize = 32;
/// What the text of a token begins with, so that it is known where it turns up.
const PREFIX: &str = "adit-";

/// A secret that lets somebody in once: an invitation, or the right to renew a lease.
pub struct Token([u8; SIZE]);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Token {
    /// Draws a new one.
    ///
    /// # Errors
    /// `None` if the system has no random bytes.
    #[must_use]
    pub fn random() -> Option<Self> {
        let mut token = Self([0; SIZE]);
        rand::fill(&mut token.0).ok()?;
        Some(token)
    }

    /// Reads what [`Self::to_text`] wrote; spaces around it do not count.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let digits = text.trim().strip_prefix(PREFIX)?;
        let mut token = Self([0; SIZE]);
        let read = lower::decode(digits, &mut token.0).ok()?.len();
        (read == SIZE).then_some(token)
    }

    /// The token as text, to be shown or sent once.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut digits = Zeroizing::new([0; 2 * SIZE]);
        // The room is exactly what it takes.
        let digits = lower::encode_str(&self.0, digits.as_mut()).unwrap_or_default();
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + digits.len()));
        text.push_str(PREFIX);
        text.push_str(digits);
        text
    }

    /// What the store keeps of it. SHA-256 is enough: there is nothing to guess.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut bytes = [0; SIZE];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, &self.0).as_ref());
        Digest(bytes)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// SHA-256 of a [`Token`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Digest([u8; SIZE]);

impl Digest {
    #[cfg(test)]
    pub(super) fn from_bytes(bytes: [u8; SIZE]) -> Self {
        Self(bytes)
    }

    pub(super) fn as_bytes(&self) -> &[u8; SIZE] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_written_and_not_shown_otherwise() {
        let token = Token::random().unwrap();
        let text = token.to_text();
        assert_eq!(text.len(), 69);
        assert_eq!(Token::from_text(&format!(" {}\n", *text)).unwrap().digest(), token.digest());
        assert_ne!(Token::random().unwrap().digest(), token.digest());
        assert_eq!(format!("{token:?}"), "Token(..)");
        for bad in ["", "adit-", &text[..68], &text[1..], &format!("{}0", *text), &text.to_uppercase()] {
            assert!(Token::from_text(bad).is_none(), "{bad}");
        }
    }
}
