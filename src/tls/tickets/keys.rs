//! Keys for tickets: made here, or shared by a fleet in a file.

use std::fmt;

use aws_lc_rs::hmac;
use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::{FILE_LIFE, KEY_LIFE, LIFETIME};

/// Bytes of a key's id.
pub(super) const ID: usize = 8;
/// Bytes of a key.
const KEY: usize = 32;
/// A file has at most so many keys.
const MOST: usize = 16;

/// Keys by which tickets are made and read.
#[derive(Clone)]
pub struct TicketKeys {
    /// The first encrypts, all decrypt. There is at least one.
    keys: Vec<Key>,
    origin: Origin,
}

/// Where keys come from.
#[derive(Clone, Copy, Debug)]
enum Origin {
    /// Made here.
    Own,
    /// Of a file that was written then, in seconds since 1970.
    File(u64),
}

/// A key. aws-lc erases it when the last copy of it goes.
#[derive(Clone)]
pub(super) struct Key {
    name: String,
    pub(super) id: [u8; ID],
    secret: hmac::Key,
    /// When it was made, in seconds since 1970; of no meaning in a file.
    made: u64,
}

/// Why a file has no keys for tickets. Keys are not repeated in it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// A line is not `NAME KEY`.
    #[error(
        "line {0}: expected a name and a key of 32 bytes in base64, as `openssl rand -base64 32` prints it"
    )]
    Line(usize),
    /// A name or a key that is in the file already.
    #[error("line {0}: the same name or key as in a line before")]
    Twice(usize),
    /// There are none, or too many.
    #[error("{0} keys; there may be 1 to {MOST}")]
    Count(usize),
    /// It is no text.
    #[error("not text")]
    Text,
}

impl TicketKeys {
    /// A key of our own, and a new one after each [`KEY_LIFE`].
    #[must_use]
    pub fn generate(now: u64) -> Self {
        Self { keys: vec![Key::generate(now)], origin: Origin::Own }
    }

    /// Reads a file of keys that was last written at `written`, in seconds since 1970.
    ///
    /// A line is a name and the key, 32 bytes in base64, with spaces between; empty lines and lines that begin with `#`
    /// say nothing. The first key encrypts, the others decrypt: those of before, and the next one, so that each host knows
    /// it before the first ticket comes. Whoever writes the file puts the next key first every 12 hours at most; when
    /// the file is older, no ticket is issued until it is written again.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &[u8], written: u64) -> Result<Self, KeyFileError> {
        let text = str::from_utf8(text).map_err(|_| KeyFileError::Text)?;
        let mut keys: Vec<Key> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = Key::parse(line).ok_or(KeyFileError::Line(at + 1))?;
            if keys.iter().any(|other| other.name == key.name || other.id == key.id) {
                return Err(KeyFileError::Twice(at + 1));
            }
            keys.push(key);
        }
        match keys.len() {
            1..=MOST => Ok(Self { keys, origin: Origin::File(written) }),
            count => Err(KeyFileError::Count(count)),
        }
    }

    /// The names of the keys; the first encrypts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.name.as_str())
    }

    /// The key for new tickets, unless it did so for too long.
    pub(super) fn encrypting(&self, now: u64) -> Option<&Key> {
        let fresh = match self.origin {
            Origin::Own => true,
            Origin::File(written) => now < written.saturating_add(FILE_LIFE),
        };
        self.keys.first().filter(|_| fresh)
    }

    /// The key that made a ticket.
    pub(super) fn find(&self, id: [u8; ID], now: u64) -> Option<&Key> {
        let known = |key: &&Key| match self.origin {
            Origin::Own => now < key.made.saturating_add(KEY_LIFE + LIFETIME),
            Origin::File(_) => true,
        };
        self.keys.iter().filter(known).find(|key| key.id == id)
    }

    /// Whether a key has to be made or erased.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let at = |at: usize, age| self.keys.get(at).is_some_and(|key| now >= key.made.saturating_add(age));
        match self.origin {
            Origin::Own => at(0, KEY_LIFE) || at(self.keys.len() - 1, KEY_LIFE + LIFETIME),
            Origin::File(_) => false,
        }
    }

    /// The same with a new key if it is time, and without those whose tickets are all void.
    pub(super) fn rotated(&self, now: u64) -> Self {
        let live = |key: &&Key| now < key.made.saturating_add(KEY_LIFE + LIFETIME);
        let mut keys: Vec<_> = self.keys.iter().filter(live).cloned().collect();
        if keys.first().is_none_or(|key| now >= key.made.saturating_add(KEY_LIFE)) {
            keys.insert(0, Key::generate(now));
        }
        Self { keys, origin: self.origin }
    }
}

impl Key {
    fn generate(now: u64) -> Self {
        let mut bytes = Zeroizing::new([0; KEY]);
        // aws-lc ends the process before it gives bytes that are not random.
        let _ = aws_lc_rs::rand::fill(&mut *bytes);
        Self::new(format!("own-{now}"), &bytes, now)
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, key) = line.split_once(char::is_whitespace)?;
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
        let mut bytes = Zeroizing::new([0; KEY]);
        let decoded = Base64::decode(key.trim(), &mut *bytes).ok()?.len();
        let sound = decoded == KEY && name.len() <= 64 && name.bytes().all(inner);
        sound.then(|| Self::new(name.to_owned(), &bytes, 0))
    }

    fn new(name: String, bytes: &[u8; KEY], made: u64) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let mut key = Self { name, id: [0; ID], secret, made };
        let id = key.derive(b"adit ticket id", &[]);
        key.id.copy_from_slice(id.get(..ID).unwrap_or(&[0; ID]));
        key
    }

    /// What the key makes of a purpose and more.
    pub(super) fn derive(&self, purpose: &[u8], more: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(purpose);
        context.update(more);
        let mut derived = Zeroizing::new([0; 32]);
        derived.copy_from_slice(context.sign().as_ref());
        derived
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("names", &self.names().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}
