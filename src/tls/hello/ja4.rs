//! JA4, the fingerprint of a TLS client (FoxIO, technical_details/JA4.md): which client it is, whatever it says of itself.
#![deny(clippy::indexing_slicing)]

use std::fmt;
use std::io::Write;

use aws_lc_rs::digest::{SHA256, digest};

use super::{ALPN, ClientHello, SERVER_NAME};

/// Characters of a hash that are kept.
const KEPT: usize = 12;
/// The hash of an empty list.
const NOTHING: [u8; KEPT] = [b'0'; KEPT];
/// The largest count with two digits.
const MOST: usize = 99;

/// A fingerprint, as `t13d1516h2_8daaf6152771_e5627efa2ab1`.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ja4([u8; 36]);

impl Ja4 {
    pub(super) fn of(hello: &ClientHello<'_>) -> Self {
        let mut suites: Vec<_> = hello.cipher_suites().filter(is_meant).collect();
        let mut extensions: Vec<_> = hello.extensions().filter(is_meant).collect();
        let (suite_count, extension_count) = (suites.len().min(MOST), extensions.len().min(MOST));
        extensions.retain(|kind| *kind != SERVER_NAME && *kind != ALPN);
        suites.sort_unstable();
        extensions.sort_unstable();
        let schemes: Vec<_> = hello.signature_schemes().filter(is_meant).collect();
        let (name, alpn) = (if hello.has_server_name() { 'd' } else { 'i' }, alpn(hello));
        let mut text = [0; 36];
        let mut room = text.as_mut_slice();
        let written = write!(room, "t{}{name}{suite_count:02}{extension_count:02}", version(hello))
            .and_then(|()| room.write_all(&alpn))
            .and_then(|()| write!(room, "_"))
            .and_then(|()| room.write_all(&hash(&suites, &[])))
            .and_then(|()| write!(room, "_"))
            .and_then(|()| room.write_all(&hash(&extensions, &schemes)));
        debug_assert!(written.is_ok() && room.is_empty(), "36 characters");
        Self(text)
    }

    /// Its 36 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a value is no GREASE (RFC 8701, section 2).
fn is_meant(value: &u16) -> bool {
    let [upper, lower] = value.to_be_bytes();
    upper != lower || upper & 0x0f != 0x0a
}

fn version(hello: &ClientHello<'_>) -> &'static str {
    let legacy = hello.legacy_version();
    match hello.versions().filter(is_meant).max().unwrap_or(legacy) {
        0x0304 => "13",
        0x0303 => "12",
        0x0302 => "11",
        0x0301 => "10",
        0x0300 => "s3",
        0x0002 => "s2",
        _ => "00",
    }
}

/// The first and the last character of the first protocol, or those of its bytes in hex if one of them is no letter or digit.
fn alpn(hello: &ClientHello<'_>) -> [u8; 2] {
    let first = hello.alpn().next().unwrap_or_default();
    let (Some(begin), Some(end)) = (first.first(), first.last()) else { return *b"00" };
    if begin.is_ascii_alphanumeric() && end.is_ascii_alphanumeric() {
        return [*begin, *end];
    }
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).map_or(b'0', |digit| digit as u8);
    [digit(begin >> 4), digit(end & 0x0f)]
}

/// The hash of a list and of what stands behind it, if anything.
fn hash(list: &[u16], behind: &[u16]) -> [u8; KEPT] {
    if list.is_empty() {
        return NOTHING;
    }
    let mut text = Vec::with_capacity((list.len() + behind.len()) * 5);
    for (values, separator) in [(list, b','), (behind, b'_')] {
        for (at, value) in values.iter().enumerate() {
            if !text.is_empty() {
                text.push(if at == 0 { separator } else { b',' });
            }
            // Writing to a vector does not fail.
            let _ = write!(text, "{value:04x}");
        }
    }
    let digest = digest(&SHA256, &text);
    let mut kept = NOTHING;
    let mut room = kept.as_mut_slice();
    for byte in digest.as_ref().iter().take(KEPT / 2) {
        let _ = write!(room, "{byte:02x}");
    }
    kept
}
