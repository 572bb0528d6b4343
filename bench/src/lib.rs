//! A generator and a sink of UDP for measurements, spoken to by `udpload`; the peers of `crowd`; the pace of `flood`; what
//! `forwarder` does; what a cipher costs alone; the connections of `tlsload`.
//!
//! ```text
//! udpload send ---- numbered datagrams, queries ----> udpload sink
//!              <--- reports, answered pings ---------
//! ```
//! Both use the library's own socket, so that trains leave by `UDP_SEGMENT` and arrive by `UDP_GRO`.

pub mod alone;
pub mod crowd;
pub mod forward;
pub mod leases;
pub mod tls;

mod alarm;
mod load;
mod message;
mod pace;
mod ping;
mod port;
mod search;
mod sink;
mod sizes;
mod tally;

pub use load::{Load, Outcome};
pub use message::HEADER;
pub use pace::{Pace, Rate};
pub use ping::{Ping, RoundTrips};
pub use port::Port;
pub use search::{LOSS_LIMIT, Search, highest};
pub use sink::sink;
pub use sizes::Sizes;
