//! Fixed keys, so that recorded messages stay valid.

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
    let key = |byte| Secret::from([byte; 32]);
    Keys { send: key(send), receive: key(receive), algorithm: Algorithm::ChaCha20Poly1305 }
}
