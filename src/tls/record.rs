//! Records behind the handshake, sealed and opened where they lie (RFC 8446, section 5.2; RFC 5246, section 6.2.3.3 with the
//! nonces of RFC 5288 and RFC 7905).
//!
//! rustls makes the keys; its own record layer allocates and copies for each record, and keeps 20 kB for each connection.
#![deny(clippy::indexing_slicing)]

use std::fmt;
use std::ops::Range;

use adit_aead::{Algorithm, Key, Secret, TAG};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion, SupportedCipherSuite};

/// Bytes of a record's header.
pub(super) const HEADER: usize = 5;
/// The most content of a record (RFC 8446, section 5.1).
pub(super) const CONTENT: usize = 1 << 14;
/// The most that a sealed record adds to its content (RFC 8446, section 5.2). Under TLS 1.2 our ciphers add 24 bytes.
const EXPANSION: usize = 256;
/// The longest record, header included.
pub(super) const LONGEST: usize = HEADER + CONTENT + EXPANSION;

/// The explicit half of a nonce of AES-GCM under TLS 1.2 (RFC 5288, section 3).
const EXPLICIT: usize = 8;
/// Of a nonce.
const NONCE: usize = 12;

/// Records that a key is changed ahead of its limit.
const MARGIN: u64 = 64;

/// Content types (RFC 8446, section 5.1).
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const DATA: u8 = 23;

/// Why a record was refused. Each variant is one counter.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The tag did not verify.
    #[error("a record that does not authenticate")]
    Auth,
    /// Longer or shorter than a record can be.
    #[error("a record of a length that none may have")]
    Length,
    /// Not of this connection's version, or of a type that must not come now; renegotiation among them.
    #[error("a record that must not come now")]
    Unexpected,
    /// More than 32 records in a row without data.
    #[error("too many records without data")]
    Idle,
    /// The other side gave up, with this alert (RFC 8446, section 6.2).
    #[error("alert {0}")]
    Alert(u8),
    /// The key has sealed as many records as it may, and cannot be changed under TLS 1.2.
    #[error("the key is used up")]
    UsedUp,
}

/// The length of the record that `bytes` begin with, once its header is there.
///
/// # Errors
/// It cannot be a record.
pub(super) fn record_length(bytes: &[u8]) -> Result<Option<usize>, RecordError> {
    let Some(&[_, major, _, high, low]) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    if major != 3 {
        return Err(RecordError::Unexpected);
    }
    match HEADER + usize::from(u16::from_be_bytes([high, low])) {
        length if length > LONGEST => Err(RecordError::Length),
        length => Ok(Some(length)),
    }
}

/// How a version lays out records and nonces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Layout {
    /// The type of the content is sealed behind it.
    Tls13,
    /// Half of the nonce goes ahead of the content.
    Tls12Explicit,
    /// Neither.
    Tls12,
}

impl Layout {
    /// Bytes ahead of the content.
    fn head(self) -> usize {
        match self {
            Self::Tls13 | Self::Tls12 => HEADER,
            Self::Tls12Explicit => HEADER + EXPLICIT,
        }
    }

    /// Bytes behind it.
    fn tail(self) -> usize {
        match self {
            Self::Tls13 => 1 + TAG,
            Self::Tls12 | Self::Tls12Explicit => TAG,
        }
    }
}

/// The key of one direction of one connection, and the number of the next record.
pub(super) struct Half {
    key: Key,
    iv: [u8; NONCE],
    sequence: u64,
    layout: Layout,
    /// Records that one key may seal.
    limit: u64,
}

impl Half {
    /// From what rustls calls secrets: a number and the key. `None` if the suite is none of ours.
    pub(super) fn new(
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
        suite: SupportedCipherSuite,
    ) -> Option<Self> {
        let (common, tls13) = match suite {
            SupportedCipherSuite::Tls13(suite) => (&suite.common, true),
            SupportedCipherSuite::Tls12(suite) => (&suite.common, false),
        };
        let gcm = if tls13 { Layout::Tls13 } else { Layout::Tls12Explicit };
        let chacha = if tls13 { Layout::Tls13 } else { Layout::Tls12 };
        let (key, iv, layout) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => {
                (Key::aes_128_gcm(&Secret::from(<&[u8; 16]>::try_from(key.as_ref()).ok()?)), iv, gcm)
            }
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (
                Key::new(Algorithm::Aes256Gcm, &Secret::from(<&[u8; 32]>::try_from(key.as_ref()).ok()?)),
                iv,
                gcm,
            ),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                let secret = Secret::from(<&[u8; 32]>::try_from(key.as_ref()).ok()?);
                (Key::new(Algorithm::ChaCha20Poly1305, &secret), iv, chacha)
            }
            _ => return None,
        };
        let iv = iv.as_ref().try_into().ok()?;
        // ChaCha20-Poly1305 has no limit below that of the sequence number, which must not wrap.
        let limit = common.confidentiality_limit.min(u64::MAX - 1);
        Some(Self { key, iv, sequence, layout, limit })
    }

    /// Bytes that a record has ahead of its content.
    pub(super) fn head(&self) -> usize {
        self.layout.head()
    }

    /// And behind it.
    pub(super) fn tail(&self) -> usize {
        self.layout.tail()
    }

    /// Has it used up early.
    #[cfg(test)]
    pub(super) fn limit_to(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Whether this key must not seal another record.
    pub(super) fn is_used_up(&self) -> bool {
        self.sequence >= self.limit
    }

    /// Whether it is time for another: the records of one large write still fit.
    pub(super) fn is_nearly_used_up(&self) -> bool {
        self.sequence >= self.limit.saturating_sub(MARGIN)
    }

    fn nonce(&self) -> [u8; NONCE] {
        let mut nonce = self.iv;
        let number = self.sequence.to_be_bytes();
        for (byte, mask) in nonce.iter_mut().skip(NONCE - number.len()).zip(number) {
            *byte ^= mask;
        }
        nonce
    }

    /// What TLS 1.2 authenticates beside the content (RFC 5246, section 6.2.3.3).
    fn additional(&self, kind: u8, content: usize) -> [u8; 13] {
        let mut data = [0; 13];
        let [high, low] = u16::try_from(content).unwrap_or(u16::MAX).to_be_bytes();
        for (byte, value) in
            data.iter_mut().zip(self.sequence.to_be_bytes().into_iter().chain([kind, 3, 3, high, low]))
        {
            *byte = value;
        }
        data
    }

    /// Seals the content that stands in `record` between [`head`](Self::head) and [`tail`](Self::tail) bytes of room.
    ///
    /// # Errors
    /// [`RecordError::UsedUp`], [`RecordError::Length`]. Nothing of it may be sent then.
    pub(super) fn seal(&mut self, kind: u8, record: &mut [u8]) -> Result<(), RecordError> {
        if self.is_used_up() {
            return Err(RecordError::UsedUp);
        }
        let (head, tail) = (self.head(), self.tail());
        let content = record.len().checked_sub(head + tail).filter(|content| *content <= CONTENT);
        let content = content.ok_or(RecordError::Length)?;
        let outer = if self.layout == Layout::Tls13 { DATA } else { kind };
        let [high, low] =
            u16::try_from(record.len() - HEADER).map_err(|_| RecordError::Length)?.to_be_bytes();
        let header = [outer, 3, 3, high, low];
        let nonce = self.nonce();
        let (start, body) = record.split_at_mut_checked(head).ok_or(RecordError::Length)?;
        let explicit = nonce.get(NONCE - (head - HEADER)..).unwrap_or_default();
        for (byte, value) in start.iter_mut().zip(header.iter().chain(explicit)) {
            *byte = *value;
        }
        match self.layout {
            Layout::Tls13 => {
                if let Some(byte) = body.get_mut(content) {
                    *byte = kind;
                }
                self.key.seal(nonce, &header, body)
            }
            Layout::Tls12 | Layout::Tls12Explicit => {
                self.key.seal(nonce, &self.additional(kind, content), body)
            }
        }
        .map_err(|_| RecordError::Length)?;
        self.sequence += 1;
        Ok(())
    }

    /// Opens `record`, a whole one with its header: the type of its content, and where in `record` that is.
    ///
    /// # Errors
    /// What is wrong with it; the connection is over then.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<(u8, Range<usize>), RecordError> {
        // No key lasts that long: to wrap is to use a nonce again.
        let next = self.sequence.checked_add(1).ok_or(RecordError::UsedUp)?;
        let head = self.head();
        let header = *record.first_chunk::<HEADER>().ok_or(RecordError::Length)?;
        let [kind, ..] = header;
        if self.layout == Layout::Tls13 && kind != DATA {
            return Err(RecordError::Unexpected);
        }
        let (start, body) = record.split_at_mut_checked(head).ok_or(RecordError::Length)?;
        let sealed = body.len().checked_sub(TAG).ok_or(RecordError::Length)?;
        let mut nonce = self.nonce();
        match self.layout {
            Layout::Tls13 => {
                self.key.open(nonce, &header, body).map_err(|_| RecordError::Auth)?;
                self.sequence = next;
                // The type is the last byte that is not padding.
                let text = body.get(..sealed).unwrap_or_default();
                let end = text.iter().rposition(|byte| *byte != 0).ok_or(RecordError::Unexpected)?;
                let kind = *text.get(end).ok_or(RecordError::Unexpected)?;
                bounded(kind, head..head + end)
            }
            Layout::Tls12 | Layout::Tls12Explicit => {
                let theirs = start.get(HEADER..).unwrap_or_default();
                // The salt is the key's, the rest is said; without an explicit part the number decides.
                for (byte, value) in nonce.iter_mut().skip(NONCE - theirs.len()).zip(theirs) {
                    *byte = *value;
                }
                let additional = self.additional(kind, sealed);
                self.key.open(nonce, &additional, body).map_err(|_| RecordError::Auth)?;
                self.sequence = next;
                bounded(kind, head..head + sealed)
            }
        }
    }
}

/// Refuses more content than a record may have.
fn bounded(kind: u8, content: Range<usize>) -> Result<(u8, Range<usize>), RecordError> {
    if content.len() > CONTENT { Err(RecordError::Length) } else { Ok((kind, content)) }
}

impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Half")
            .field("sequence", &self.sequence)
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

/// A fatal alert in clear, for whoever has no keys yet (RFC 8446, section 6).
pub(super) fn clear_alert(version: ProtocolVersion, description: u8) -> [u8; 7] {
    let [major, minor] = u16::from(version).to_be_bytes();
    [ALERT, major, minor, 0, 2, 2, description]
}
