//! Session tickets of TLS 1.3 (RFC 8446, section 4.6.1) under keys of our own.
//!
//! A ticket is the server's memory in the client's hands, so its key decides what a thief of that key can read: sessions that
//! were resumed without a new key agreement, and who the client was. Keys are therefore short-lived: the one that encrypts is
//! replaced after [`KEY_LIFE`], and one that encrypts no more is erased after [`LIFETIME`], when its last ticket is void.
//!
//! A gateway makes its keys itself, or a fleet shares them in a file ([`TicketKeys::parse`]). Under one key, a ticket is good
//! for the listener and the policy that it was issued by, and for nothing else.
//!
//! ```text
//! ticket = id (8) || salt (16) || AES-256-GCM(K, nonce 0, AAD, issued (8) || session) || tag (16)
//! K      = HMAC-SHA-256(key, "adit ticket key" || salt): each is used once, so that no number of hosts can repeat a nonce
//! id     = HMAC-SHA-256(key, "adit ticket id"), cut
//! AAD    = id || SHA-256(policy || 0 || listener)
//! ```

mod keys;

pub use keys::{KeyFileError, TicketKeys};

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;

use super::policy::Policy;
use keys::{ID, Key};

/// How long a ticket is good, in seconds.
pub const LIFETIME: u64 = 6 * 3_600;
/// How long a key of our own encrypts, in seconds.
pub const KEY_LIFE: u64 = 6 * 3_600;
/// How old the file of shared keys may be for its first key to encrypt, in seconds.
pub const FILE_LIFE: u64 = 12 * 3_600;

/// Bytes of a salt.
const SALT: usize = 16;
/// Bytes of the time of issue.
const ISSUED: usize = 8;
/// Clocks of a fleet may differ by so many seconds.
const SKEW: u64 = 60;
/// No session of ours is longer, in bytes; none is there without a client's certificate.
const LONGEST: usize = 4_096;

/// The tickets of one listener.
pub struct Tickets {
    keys: ArcSwap<TicketKeys>,
    binding: [u8; 32],
    time: Arc<dyn TimeProvider>,
}

impl Tickets {
    /// Tickets of a listener of this name, under `keys`.
    #[must_use]
    pub fn new(keys: TicketKeys, policy: Policy, listener: &str, time: Arc<dyn TimeProvider>) -> Self {
        let about = [policy.as_str().as_bytes(), &[0], listener.as_bytes()].concat();
        let mut binding = [0; 32];
        binding.copy_from_slice(digest::digest(&digest::SHA256, &about).as_ref());
        Self { keys: ArcSwap::from_pointee(keys), binding, time }
    }

    /// Takes other keys from now on: a file that was read again.
    pub fn replace(&self, keys: TicketKeys) {
        self.keys.store(Arc::new(keys));
    }

    /// Replaces and erases keys that are due. It is done when a ticket is made too; a listener that is idle needs it from
    /// elsewhere, once in a while.
    pub fn rotate(&self) {
        if let Some(now) = self.now() {
            self.rotated(now);
        }
    }

    /// Whether no ticket is issued, for the file of shared keys is older than [`FILE_LIFE`].
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.now().is_none_or(|now| self.keys.load().encrypting(now).is_none())
    }

    fn now(&self) -> Option<u64> {
        self.time.current_time().map(|now| now.as_secs())
    }

    /// The keys as they have to be by now.
    fn rotated(&self, now: u64) -> Arc<TicketKeys> {
        let keys = self.keys.load_full();
        if !keys.is_due(now) {
            return keys;
        }
        self.keys.rcu(|keys| if keys.is_due(now) { Arc::new(keys.rotated(now)) } else { keys.clone() });
        self.keys.load_full()
    }

    fn aad(&self, key: &Key) -> Aad<[u8; ID + 32]> {
        let mut aad = [0; ID + 32];
        let (id, binding) = aad.split_at_mut(ID);
        id.copy_from_slice(&key.id);
        binding.copy_from_slice(&self.binding);
        Aad::from(aad)
    }

    fn seal(&self, key: &Key, session: &[u8], now: u64) -> Option<Vec<u8>> {
        let mut salt = [0; SALT];
        aws_lc_rs::rand::fill(&mut salt).ok()?;
        let mut ticket = Vec::with_capacity(ID + SALT + ISSUED + session.len() + MAX_TAG_LEN);
        ticket.extend_from_slice(&key.id);
        ticket.extend_from_slice(&salt);
        ticket.extend_from_slice(&now.to_be_bytes());
        ticket.extend_from_slice(session);
        let sealed = ticket.get_mut(ID + SALT..)?;
        let tag = once(key, &salt)?
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key([0; 12]), self.aad(key), sealed)
            .ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn open(&self, keys: &TicketKeys, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (id, rest) = ticket.split_first_chunk::<ID>()?;
        let (salt, sealed) = rest.split_first_chunk::<SALT>()?;
        if sealed.len() > LONGEST + ISSUED + MAX_TAG_LEN {
            return None;
        }
        let key = keys.find(*id, now)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let plain = once(key, salt)?.open_in_place(nonce, self.aad(key), &mut sealed).ok()?;
        let (issued, session) = plain.split_first_chunk::<ISSUED>()?;
        let issued = u64::from_be_bytes(*issued);
        (issued <= now + SKEW && now < issued.saturating_add(LIFETIME)).then(|| session.to_vec())
    }
}

/// The key of one ticket.
fn once(key: &Key, salt: &[u8; SALT]) -> Option<LessSafeKey> {
    let derived = key.derive(b"adit ticket key", salt);
    UnboundKey::new(&AES_256_GCM, derived.as_ref()).ok().map(LessSafeKey::new)
}

/// Whether a session that rustls would remember is one of TLS 1.3. Under TLS 1.2 a ticket would break forward secrecy, so what
/// cannot be told to be of TLS 1.3 gets none. The encoding is that of rustls' `ServerSessionValue`: the server's name, if there
/// is one, behind a flag and its length; then the version.
fn is_tls13(session: &[u8]) -> bool {
    let version = match session {
        [0, rest @ ..] => Some(rest),
        [1, length, rest @ ..] => rest.get(usize::from(*length)..),
        _ => None,
    };
    version.is_some_and(|version| version.starts_with(&[3, 4]))
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME as u32
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        if !is_tls13(session) || session.len() > LONGEST {
            return None;
        }
        let now = self.now()?;
        let keys = self.rotated(now);
        self.seal(keys.encrypting(now)?, session, now)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let session = self.open(&self.keys.load(), ticket, self.now()?)?;
        is_tls13(&session).then_some(session)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").field("keys", &self.keys.load()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
