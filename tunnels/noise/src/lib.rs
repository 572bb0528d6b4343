//! The Noise handshake IKpsk2 as WireGuard uses it, with everything around it that keeps a
//! responder alive under attack.
//!
//! ```text
//! <- s
//! ...
//! -> e, es, s, ss, {12-byte stamp}      Initiator::start     Responder::receive
//! <- e, ee, se, psk, {}                 Initiator::finish    Responder::respond
//! ```
//!
//! One round trip, forward secret, and only the holder of the responder's private key learns who the
//! initiator is (Noise revision 34; WireGuard whitepaper, section 5.4). A [`Protocol`] names the
//! primitives and the prologue, so that links other than WireGuard can share the machinery without
//! one ever being taken for the other.
//!
//! | module | what it does | whitepaper |
//! |---|---|---|
//! | [`mac`] | mac1: the sender knows whom it talks to | 5.4.4 |
//! | [`cookie`] | mac2: the sender receives at the address it sends from | 5.4.7 |
//! | [`ratelimit`] | how many handshakes one source may ask for | 5.3 |
//! | [`tai64n`] | the stamp in message 1 that makes a replay useless | 5.4.2 |
//!
//! Bytes and the time go in, bytes and keys come out; randomness is the kernel's. What remains in
//! memory after a handshake is told at [`Initiator`].
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod cookie;
mod error;
mod handshake;
mod keys;
pub mod mac;
mod protocol;
pub mod ratelimit;
mod resolver;
pub mod tai64n;
mod text;
mod time;

pub use error::Error;
pub use handshake::{Initiator, MESSAGE_1, MESSAGE_2, PAYLOAD, Responder, Split, message_1, message_2};
pub use keys::{PresharedKey, PrivateKey, PublicKey};
pub use protocol::{AES_256_GCM, MACSEC, Protocol, WIREGUARD};
pub use tai64n::Tai64n;
pub use text::ParseKeyError;
pub use time::{Now, Time};
