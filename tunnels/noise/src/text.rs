//! 32-byte keys as text, in time that depends on nothing but the length.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

/// Length of a key in bytes.
pub(crate) const KEY: usize = 32;
/// Length of a key in base64, with its one `=`.
const BASE64: usize = 44;

/// A text is not a key. What it says is not repeated: it may be a secret with one letter wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseKeyError {
    /// Neither 44 characters of base64 nor 64 of hex, whichever was expected.
    #[error("a key has 44 characters in base64, or 64 in hex")]
    Length,
    /// A character that does not belong there, or bits behind the last byte that are not zero.
    #[error("not a key in base64 or hex")]
    Character,
}

/// Reads 44 characters of base64 with padding (RFC 4648, section 4), as `wg` prints them.
pub(crate) fn from_base64(text: &str) -> Result<Zeroizing<[u8; KEY]>, ParseKeyError> {
    if text.len() != BASE64 {
        return Err(ParseKeyError::Length);
    }
    // One byte more than a key: 44 characters without padding are 33 bytes.
    let mut bytes = Zeroizing::new([0; KEY + 1]);
    let decoded = Base64::decode(text, bytes.as_mut()).map_err(|_| ParseKeyError::Character)?;
    decoded.try_into().map(Zeroizing::new).map_err(|_| ParseKeyError::Length)
}

/// Reads 64 hexadecimal digits of either case, as the UAPI protocol sends them.
pub(crate) fn from_hex(text: &str) -> Result<Zeroizing<[u8; KEY]>, ParseKeyError> {
    if text.len() != 2 * KEY {
        return Err(ParseKeyError::Length);
    }
    let mut bytes = Zeroizing::new([0; KEY]);
    base16ct::mixed::decode(text, bytes.as_mut()).map_err(|_| ParseKeyError::Character)?;
    Ok(bytes)
}

/// The 44 characters that `wg` prints.
pub(crate) fn base64(bytes: &[u8; KEY]) -> String {
    Base64::encode_string(bytes)
}

/// 64 lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8; KEY]) -> String {
    base16ct::lower::encode_string(bytes)
}
