//! Fixed keys, so that recorded messages stay valid.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use adit_aead::{Algorithm, Secret};
use adit_noise::{PrivateKey, PublicKey};
use adit_wireguard::Keys;

/// How many parties have a key.
pub(crate) const PARTIES: usize = 4;

static PUBLIC: LazyLock<[PublicKey; PARTIES]> =
    LazyLock::new(|| std::array::from_fn(|at| private(at).public()));

/// The private key of a party.
pub(crate) fn private(party: usize) -> PrivateKey {
    PrivateKey::from_bytes([party as u8 + 1; 32])
}

/// The public key of a party.
pub(crate) fn public(party: usize) -> PublicKey {
    PUBLIC[party]
}

/// The keys of a session, from the side that sends with `send`.
pub(crate) fn session(send: u8, receive: u8) -> Keys {
    session_of(0, send, receive)
}

/// The keys of a session of its own for each `seed`.
pub(crate) fn session_of(seed: u64, send: u8, receive: u8) -> Keys {
    let key = |byte| {
        let mut key = [byte; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Secret::from(key)
    };
    Keys { send: key(send), receive: key(receive), algorithm: Algorithm::ChaCha20Poly1305 }
}

/// Another number for each input. Keys that come from it keep a fuzzer, which sees what is compared, from putting into one
/// input what was sealed in the run of another.
pub(crate) fn seed(data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}
