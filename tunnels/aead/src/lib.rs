//! Keys that seal and open packets, and counters that never give a nonce twice.
//!
//! This is the only crate that imports a cipher for the data path. The library underneath is
//! AWS-LC; many packets of ChaCha20-Poly1305 at once are our own work where the processor has
//! AVX-512 with IFMA, or AVX2 (`wide.rs`). A [`Key`] serves one direction of one session, a [`Counter`] numbers what it seals. The
//! nonce itself is laid out by the protocol: WireGuard puts a little-endian counter behind four
//! zeros (whitepaper, section 5.4.6), MACsec mixes a packet number with a salt (IEEE 802.1AE-2018,
//! clause 14.8).
//!
//! Nothing here allocates, locks or reads a clock after [`Key::new`].
#![deny(clippy::indexing_slicing)]

mod batch;
mod counter;
mod key;
mod secret;
mod wide;

pub use batch::Span;
pub use counter::Counter;
pub use key::{Algorithm, Error, Key, Nonce, TAG};
pub use secret::Secret;
pub use wide::{Instructions, has_wide, use_wide};
