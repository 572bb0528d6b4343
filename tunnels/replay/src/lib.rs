//! Replay protection for counters that arrive out of order.
//!
//! [`Window`] is the sliding window of RFC 6479: a ring of bit blocks in which moving forward clears
//! whole blocks and never shifts a bit. WireGuard (whitepaper, section 5.4.6), ESP (RFC 4303,
//! section 3.4.3) and MACsec (IEEE 802.1AE-2018, clause 10.6.2) all ask the same question of it.
//!
//! The crate knows nothing of keys. A counter may be shown to [`Window::accept`] only after the tag
//! of its packet verified; otherwise a forger could move the window past honest packets.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

mod window;

pub use window::{Replayed, SIZE, Window};
