//! Key material on its way into a cipher.

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Secret bytes: 32, or as many as an algorithm's key has. Zeroised when dropped, redacted in `Debug`, never compared.
///
/// Moving a `Secret` copies its bytes, as any move in Rust does, and the place it left is not
/// wiped. Make it where it is used and lend it out.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret<const N: usize = 32>([u8; N]);

impl<const N: usize> Secret<N> {
    pub(crate) const fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> From<[u8; N]> for Secret<N> {
    /// The caller's array is `Copy` and stays as it is; wiping it is the caller's part.
    fn from(bytes: [u8; N]) -> Self {
        Self(bytes)
    }
}

impl<const N: usize> From<&[u8; N]> for Secret<N> {
    fn from(bytes: &[u8; N]) -> Self {
        Self(*bytes)
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_secret() {
        assert_eq!(format!("{:?}", Secret::from([0xab; 32])), "Secret(..)");
    }

    #[test]
    fn zeroising_clears_every_byte() {
        let mut secret = Secret::from([0xab; 32]);
        secret.zeroize();
        assert_eq!(secret.as_bytes(), &[0; 32]);
    }
}
