//! A ClientHello from its records. With a post-quantum key share it spans several TCP segments, and it may span several
//! records at that.
#![deny(clippy::indexing_slicing)]

use super::{CLIENT_HELLO, HelloError, Reader};

/// More than this is refused: bytes, headers of records included.
pub const LARGEST: usize = 64 << 10;

/// Content type `handshake`.
const HANDSHAKE: u8 = 22;
/// The upper half of every version of TLS in a record's header.
const MAJOR: u8 = 3;
/// Bytes before a record's content.
const RECORD_HEADER: usize = 5;
/// The longest content of a record in clear (RFC 8446, section 5.1).
const LONGEST_RECORD: usize = 1 << 14;
/// Bytes before a handshake message's body.
const MESSAGE_HEADER: usize = 4;

/// How far the records of one connection have been read. Each byte is looked at once, however few come at a time.
#[derive(Clone, Debug, Default)]
pub struct Assembly {
    /// Bytes of whole records that were read.
    taken: usize,
    /// What they held.
    message: Vec<u8>,
}

impl Assembly {
    /// Nothing read.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The message, once `received` has all of it. `received` is everything that came on this connection, and grows from call
    /// to call. A message in one record is borrowed from there.
    ///
    /// # Errors
    /// Nothing that may yet come can make it a ClientHello.
    pub fn message<'a>(&'a mut self, received: &'a [u8]) -> Result<Option<&'a [u8]>, HelloError> {
        loop {
            let rest = received.get(self.taken..).unwrap_or_default();
            let Some(fragment) = record(rest)? else {
                // A first byte is judged before its record is whole.
                if self.message.is_empty() {
                    begins(rest.get(RECORD_HEADER..).unwrap_or_default())?;
                }
                let hopeless = received.len() >= LARGEST;
                return if hopeless { Err(HelloError::TooLarge) } else { Ok(None) };
            };
            let taken = self.taken + RECORD_HEADER + fragment.len();
            if taken > LARGEST {
                return Err(HelloError::TooLarge);
            }
            if self.message.is_empty() && whole(fragment)? {
                return Ok(Some(fragment));
            }
            self.message.extend_from_slice(fragment);
            self.taken = taken;
            if whole(&self.message)? {
                return Ok(Some(&self.message));
            }
        }
    }
}

/// The content of the record that bytes begin with, if all of it is there.
fn record(bytes: &[u8]) -> Result<Option<&[u8]>, HelloError> {
    let mut reader = Reader::new(bytes);
    let (kind, major) = (reader.u8(), reader.u8());
    if kind.is_some_and(|kind| kind != HANDSHAKE) || major.is_some_and(|major| major != MAJOR) {
        return Err(HelloError::NotTls);
    }
    // The lower half says nothing (RFC 8446, section 5.1).
    let (_minor, length) = (reader.u8(), reader.u16());
    match length.map(usize::from) {
        None => Ok(None),
        Some(length) if length == 0 || length > LONGEST_RECORD => Err(HelloError::Record),
        Some(length) => Ok(reader.bytes(length)),
    }
}

/// Refuses another message than a ClientHello.
fn begins(message: &[u8]) -> Result<(), HelloError> {
    match message.first() {
        Some(&CLIENT_HELLO) | None => Ok(()),
        Some(_) => Err(HelloError::NotHello),
    }
}

/// Whether this is a whole message. Nothing may come behind it before it is answered (RFC 8446, section 5.1).
fn whole(message: &[u8]) -> Result<bool, HelloError> {
    begins(message)?;
    let mut reader = Reader::new(message);
    let _kind = reader.u8();
    let Some(length) = reader.u24() else { return Ok(false) };
    match MESSAGE_HEADER + length {
        // Its last record has a header too.
        needed if needed + RECORD_HEADER > LARGEST => Err(HelloError::TooLarge),
        needed if needed < message.len() => Err(HelloError::Malformed),
        needed => Ok(needed == message.len()),
    }
}
