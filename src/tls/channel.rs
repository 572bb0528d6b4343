//! A connection's keys behind the handshake: what comes in a record, what the other side may still ask for (RFC 8446,
//! sections 4.6.3 and 6), and how a connection ends so that nobody can cut it short unseen.
#![deny(clippy::indexing_slicing)]

use std::ops::Range;

use rustls::kernel::KernelConnection;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{ExtractedSecrets, ProtocolVersion};

use super::record::{ALERT, CONTENT, DATA, HANDSHAKE, Half, RecordError, record_length};

/// Records without data that may come in a row: alerts that say nothing, changes of keys, empty ones.
const PATIENCE: u8 = 32;
/// Alerts (RFC 8446, section 6).
const CLOSE_NOTIFY: u8 = 0;
const UNEXPECTED_MESSAGE: u8 = 10;
const BAD_RECORD_MAC: u8 = 20;
const RECORD_OVERFLOW: u8 = 22;
const USER_CANCELED: u8 = 90;
/// Under TLS 1.2, beside `close_notify` and `user_canceled`, the one that is no end.
const NO_RENEGOTIATION: u8 = 100;
/// A `KeyUpdate` without its last byte: type, length.
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];

/// What came in one or more records.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Opened {
    /// Where the plaintext is.
    pub(super) text: Range<usize>,
    /// Bytes of whole records; what is behind them is the beginning of one.
    pub(super) taken: usize,
    /// `close_notify`: all was said. Whatever follows it is not read.
    pub(super) closed: bool,
}

/// Both directions of a connection.
pub(super) struct Channel {
    sealing: Half,
    opening: Half,
    /// Makes the keys that follow.
    keys: KernelConnection<ServerConnectionData>,
    /// Records without data, one after the other.
    quiet: u8,
    /// The other side asked for a new key of ours: it comes ahead of the next data.
    owes_update: bool,
}

impl Channel {
    /// What a connection becomes when its handshake is done. `None` if rustls has no keys to give.
    pub(super) fn new(connection: UnbufferedServerConnection) -> Option<Self> {
        let (ExtractedSecrets { tx, rx }, keys) = connection.dangerous_into_kernel_connection().ok()?;
        let suite = keys.negotiated_cipher_suite();
        let (sealing, opening) = (Half::new(tx, suite)?, Half::new(rx, suite)?);
        Some(Self { sealing, opening, keys, quiet: 0, owes_update: false })
    }

    fn is_tls13(&self) -> bool {
        self.keys.protocol_version() == ProtocolVersion::TLSv1_3
    }

    /// Opens all whole records in `bytes` and moves their plaintext together.
    ///
    /// # Errors
    /// What is wrong; the connection is over then, and nothing of `bytes` may be used.
    pub(super) fn open(&mut self, bytes: &mut [u8]) -> Result<Opened, RecordError> {
        let mut opened = Opened::default();
        while !opened.closed {
            let rest = bytes.get_mut(opened.taken..).unwrap_or_default();
            let Some(length) = record_length(rest)? else { break };
            let Some(record) = rest.get_mut(..length) else { break };
            let (kind, content) = self.opening.open(record)?;
            let inner = record.get(content.clone()).unwrap_or_default();
            match kind {
                DATA if inner.is_empty() => self.quiet()?,
                DATA => {
                    self.quiet = 0;
                    let from = opened.taken + content.start..opened.taken + content.end;
                    if opened.text.is_empty() {
                        opened.text = from;
                    } else {
                        let to = opened.text.end;
                        opened.text.end += from.len();
                        bytes.copy_within(from, to);
                    }
                }
                ALERT => opened.closed = self.alert(*inner.as_array().ok_or(RecordError::Unexpected)?)?,
                HANDSHAKE => self.key_update(*inner.as_array().ok_or(RecordError::Unexpected)?)?,
                _ => return Err(RecordError::Unexpected),
            }
            opened.taken += length;
        }
        Ok(opened)
    }

    fn quiet(&mut self) -> Result<(), RecordError> {
        self.quiet += 1;
        if self.quiet > PATIENCE { Err(RecordError::Idle) } else { Ok(()) }
    }

    /// Whether it was the last of all.
    fn alert(&mut self, [_level, description]: [u8; 2]) -> Result<bool, RecordError> {
        match description {
            CLOSE_NOTIFY => Ok(true),
            USER_CANCELED => self.quiet().map(|()| false),
            NO_RENEGOTIATION if !self.is_tls13() => self.quiet().map(|()| false),
            other => Err(RecordError::Alert(other)),
        }
    }

    /// The one handshake message that may come now. It ends its record, for what follows has another key.
    fn key_update(&mut self, message: [u8; 5]) -> Result<(), RecordError> {
        let [head @ .., asks] = message;
        if !self.is_tls13() || head != KEY_UPDATE || asks > 1 {
            return Err(RecordError::Unexpected);
        }
        self.quiet()?;
        self.owes_update |= asks == 1;
        let secrets = self.keys.update_rx_secret().map_err(|_| RecordError::Unexpected)?;
        self.opening =
            Half::new(secrets, self.keys.negotiated_cipher_suite()).ok_or(RecordError::Unexpected)?;
        Ok(())
    }

    /// Bytes of room that a record needs ahead of its content, and behind it.
    pub(super) fn room(&self) -> (usize, usize) {
        (self.sealing.head(), self.sealing.tail())
    }

    /// Whether [`renew`](Self::renew) has to come before the next data.
    pub(super) fn wants_update(&self) -> bool {
        self.owes_update || (self.sealing.is_nearly_used_up() && self.is_tls13())
    }

    /// Writes a `KeyUpdate` and changes the key. The number of bytes written.
    ///
    /// # Errors
    /// There is no new key.
    pub(super) fn renew(&mut self, into: &mut [u8]) -> Result<usize, RecordError> {
        let [a, b, c, d] = KEY_UPDATE;
        let written = self.write(HANDSHAKE, &[a, b, c, d, 0], into)?;
        let secrets = self.keys.update_tx_secret().map_err(|_| RecordError::UsedUp)?;
        self.sealing = Half::new(secrets, self.keys.negotiated_cipher_suite()).ok_or(RecordError::UsedUp)?;
        self.owes_update = false;
        Ok(written)
    }

    /// Seals `length` bytes of data. They stand in `slots` as if each slot were the room of one full record, with its content
    /// behind its head. The bytes to be sent, from the beginning of `slots`.
    ///
    /// # Errors
    /// The key is used up.
    pub(super) fn seal(&mut self, slots: &mut [u8], length: usize) -> Result<usize, RecordError> {
        let (head, tail) = self.room();
        let (mut rest, mut at) = (length, 0);
        while rest > 0 {
            let content = rest.min(CONTENT);
            let end = at + head + content + tail;
            self.sealing.seal(DATA, slots.get_mut(at..end).ok_or(RecordError::Length)?)?;
            (rest, at) = (rest - content, end);
        }
        Ok(at)
    }

    /// Writes `close_notify`. The number of bytes written.
    ///
    /// # Errors
    /// The key is used up.
    pub(super) fn close(&mut self, into: &mut [u8]) -> Result<usize, RecordError> {
        self.write(ALERT, &[1, CLOSE_NOTIFY], into)
    }

    /// Writes the alert that `error` deserves, if any.
    pub(super) fn complain(&mut self, error: RecordError, into: &mut [u8]) -> Option<usize> {
        let description = match error {
            RecordError::Auth => BAD_RECORD_MAC,
            RecordError::Length => RECORD_OVERFLOW,
            RecordError::Unexpected | RecordError::Idle => UNEXPECTED_MESSAGE,
            RecordError::Alert(_) | RecordError::UsedUp => return None,
        };
        self.refuse(description, into).ok()
    }

    /// Writes a fatal alert.
    ///
    /// # Errors
    /// The key is used up.
    pub(super) fn refuse(&mut self, description: u8, into: &mut [u8]) -> Result<usize, RecordError> {
        self.write(ALERT, &[2, description], into)
    }

    fn write(&mut self, kind: u8, content: &[u8], into: &mut [u8]) -> Result<usize, RecordError> {
        let (head, tail) = self.room();
        let length = head + content.len() + tail;
        let record = into.get_mut(..length).ok_or(RecordError::Length)?;
        for (byte, value) in record.iter_mut().skip(head).zip(content) {
            *byte = *value;
        }
        self.sealing.seal(kind, record)?;
        Ok(length)
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
