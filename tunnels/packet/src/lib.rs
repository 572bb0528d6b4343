//! Packets as bytes in an arena: what every framing of the data path shares.
//!
//! On the way in from a TUN device, [`segment()`] cuts a super-packet in place into the packets that
//! go on the wire. On the way out to it, [`Coalescer`] joins opened packets of one flow into the
//! super-packet that one write hands to the kernel. [`VirtioNetHdr`] is what stands before either.
//! Of a TAP device, [`segment_frame()`] and [`Coalescer::push_frame`] take the same packets behind
//! their Ethernet headers. Beside them: the Internet checksum ([`checksum`]), as much of IP ([`ip`])
//! and Ethernet ([`ethernet`]) as a tunnel needs, explicit congestion notification across a tunnel
//! ([`Ecn`]), and the segment size that TCP agrees upon across a link ([`clamp_mss`]).
//!
//! ```text
//!          read                                                    write, one writev
//!  TUN ---------> [hdr][IP TCP aaaabbbbcc]          [hdr][IP TCP aaaa] [bbbb] [cc] ---> TUN
//!                   | segment, in place                          ^ Coalescer
//!                   v                                            |
//!      [IP TCP aaaa]..[IP TCP bbbb]..[IP TCP cc]      the same packets, opened
//! ```
//!
//! All of it is pure: no I/O, no clock, no allocation for each packet, and no panic on any input.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod checksum;
pub mod ecn;
pub mod ethernet;
pub mod ip;
pub mod virtio;

mod candidate;
mod clamp;
mod coalesce;
mod field;
mod flow;
mod segment;
mod slot;
mod transport;

pub use checksum::Sum;
pub use clamp::clamp_mss;
pub use coalesce::{Coalescer, Items, Limits, Pieces, Refused};
pub use ecn::{CongestionDropped, Ecn};
pub use ethernet::EthernetHeader;
pub use ip::{IpHeader, Version};
pub use segment::{Error, MAX_SEGMENTS, Segments, segment, segment_frame};
pub use slot::Slot;
pub use virtio::VirtioNetHdr;
