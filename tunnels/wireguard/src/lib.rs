//! WireGuard without I/O: bytes and the time go in; bytes, sessions and deadlines come out.
//!
//! Two halves. The control half, [`Tunnel`], is `&mut`: peers, handshakes, timers. The data half, [`Session`] and
//! [`Traffic`], is shared by the workers, which seal and open packets with it and never wait for the control half.
//!
//! ```text
//!            handle_handshake, handle_unsent, handle_want, handle_confirmed, handle_timeout, change_peer, ...
//!                                             |
//!                                             v
//!   Tunnel ---- Peer ---- Handshake        initiation, response, cookie        initiator.rs, responder.rs
//!     |          |------- Keypairs         previous, current, next             keypairs.rs, transport.rs
//!     |          |------- Staging          packets that wait for a session     staging.rs
//!     |          '------- Traffic ........ what workers know of the peer       traffic.rs
//!     |---- AllowedIps                     whose an address is                 allowed_ips.rs
//!     |---- Deadlines                      when to look at which peer          deadlines.rs
//!     '---- Device                         keys, indexes, load, outputs        device.rs
//!                                             |
//!                                             v
//!            poll_output: Transmit, Peer, Session, Current, Routes, Dropped;  poll_timeout
//! ```
//!
//! Source: J. A. Donenfeld, "WireGuard: Next Generation Kernel Network Tunnel"; section numbers in this crate
//! are its own.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod message;
pub mod timers;
pub mod uapi;

mod allowed_ips;
mod cipher;
mod configure;
mod deadlines;
mod device;
mod endpoint;
mod handshake;
mod initiator;
mod keypairs;
#[cfg(all(test, loom))]
mod loom_tests;
mod output;
mod peer;
mod published;
mod refused;
mod replies;
mod responder;
mod session;
mod staging;
mod sync;
mod traffic;
mod transport;
mod tunnel;

pub use allowed_ips::{AllowedIps, InvalidPrefix, Prefix};
pub use cipher::{Cipher, UnknownCipher};
pub use configure::PeerError;
pub use endpoint::{Endpoint, Local, Udp};
pub use output::Output;
pub use peer::{PeerChange, PeerId, PeerStatus};
pub use published::{Published, View};
pub use refused::Refused;
pub use session::{Keys, Session};
pub use traffic::Traffic;
pub use tunnel::Tunnel;
