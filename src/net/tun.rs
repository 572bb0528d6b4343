//! TUN devices with several queues and virtio-net headers.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use super::offload::Offloads;
use super::sys::tun;

/// One queue of a TUN device: read and written by one worker. The device ends with its last queue.
#[derive(Debug)]
pub struct TunQueue {
    fd: OwnedFd,
}

/// A TUN device just made.
#[derive(Debug)]
pub struct Tun {
    /// The name, which the kernel chose if it was a pattern as `wg%d`.
    pub name: String,
    /// Its queues, as many as were asked for.
    pub queues: Vec<TunQueue>,
    /// What it may hand over uncut: what was wanted, less what the kernel refused.
    pub offloads: Offloads,
}

impl Tun {
    /// Makes a device with `queues` queues. It is down and has no address.
    ///
    /// # Errors
    /// What the kernel says: that the device exists, or that we may not make one.
    pub fn create(name: &str, queues: usize, wanted: &Offloads) -> io::Result<Self> {
        let queues = (0..queues.max(1)).map(|at| TunQueue::attach(name, queues > 1, at > 0));
        let queues = queues.collect::<io::Result<Vec<_>>>()?;
        let offloads = queues.first().map_or(Ok(*wanted), |queue| queue.set_offloads(wanted))?;
        Ok(Self { name: name.to_owned(), queues, offloads })
    }
}

impl TunQueue {
    fn attach(name: &str, multi_queue: bool, join: bool) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
        tun::attach(fd.as_fd(), name, multi_queue, join)?;
        if tun::flags(fd.as_fd())? & libc::IFF_VNET_HDR == 0 {
            return Err(io::Error::other("the TUN driver has no virtio-net headers (IFF_VNET_HDR)"));
        }
        Ok(Self { fd })
    }

    /// Asks for offloads and returns those that the kernel granted: they hold for the whole device.
    fn set_offloads(&self, wanted: &Offloads) -> io::Result<Offloads> {
        let tso = tun::TUN_F_CSUM | tun::TUN_F_TSO4 | tun::TUN_F_TSO6;
        let uso = tun::TUN_F_CSUM | tun::TUN_F_USO4 | tun::TUN_F_USO6;
        let mut granted = Offloads { tun_tso: false, tun_uso: false, ..*wanted };
        tun::set_offload(self.fd.as_fd(), 0)?;
        if wanted.tun_tso && tun::set_offload(self.fd.as_fd(), tso).is_ok() {
            granted.tun_tso = true;
        }
        let base = if granted.tun_tso { tso } else { 0 };
        if wanted.tun_uso && tun::set_offload(self.fd.as_fd(), base | uso).is_ok() {
            granted.tun_uso = true;
        }
        Ok(granted)
    }

    /// Reads one packet, or super-packet, behind its virtio-net header.
    ///
    /// # Errors
    /// What the kernel says: `WouldBlock`, or `EBADFD` once the device is deleted.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.fd, buffer)?)
    }

    /// Writes one packet, or super-packet, whose pieces follow one another; the first is the virtio-net header.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        rustix::io::writev(&self.fd, pieces)?;
        Ok(())
    }
}

impl AsFd for TunQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
