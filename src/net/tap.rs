//! TAP devices: an Ethernet interface whose frames this process reads and writes.
//!
//! They differ from [TUN devices](super::tun) in what stands behind the virtio-net header: an Ethernet header, and VLAN tags
//! if the frame has any. `csum_start` and the lengths of headers in the virtio-net header count from the Ethernet header
//! on. MTU and MAC address are set as for any link ([`link::set`](super::link::set)); the kernel gives a random one.

use std::io;

use super::offload::Offloads;
use super::sys::tun::Layer;
use super::tun::{self, TunQueue};

/// A TAP device just made.
#[derive(Debug)]
pub struct Tap {
    /// Its queues, as many as were asked for.
    pub queues: Vec<TunQueue>,
    /// What it may hand over uncut: what was wanted, less what the kernel refused; and never `tun_steering`.
    pub offloads: Offloads,
}

impl Tap {
    /// Makes a device with `queues` queues. It is down.
    ///
    /// No program chooses among its queues. That of a TUN device reads IP from the first byte on; and what leaves by an
    /// encrypted link is numbered by one writer for each association, so that a link has no use for a second reader which
    /// would hold a part of its frames. Left to itself, the kernel has a flow wait where its other direction was written
    /// last.
    ///
    /// # Errors
    /// What the kernel says: that the device exists, or that we may not make one.
    pub fn create(name: &str, queues: usize, wanted: &Offloads) -> io::Result<Self> {
        let (queues, offloads) = tun::make(Layer::Ethernet, name, queues, wanted)?;
        Ok(Self { queues, offloads: Offloads { tun_steering: false, ..offloads } })
    }
}

#[cfg(test)]
mod tests;
