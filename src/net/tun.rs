//! TUN devices with several queues and virtio-net headers; what [`Tap`](super::tap::Tap) devices share with them.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::offload::Offloads;
use super::steering;
use super::sys::tun::{self, Layer};

/// One queue of a TUN or TAP device: read and written by one worker. The device ends with its last queue.
#[derive(Debug)]
pub struct TunQueue {
    fd: OwnedFd,
}

/// A TUN device just made.
#[derive(Debug)]
pub struct Tun {
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
        let (queues, mut offloads) = make(Layer::Ip, name, queues, wanted)?;
        // With one queue there is nothing to choose.
        let chosen = queues.first().filter(|_| wanted.tun_steering && queues.len() > 1);
        offloads.tun_steering = chosen.is_some_and(steering::steer);
        Ok(Self { queues, offloads })
    }
}

/// Makes a device and agrees upon its super-packets. Who chooses the queue is not said yet.
pub(super) fn make(
    layer: Layer,
    name: &str,
    queues: usize,
    wanted: &Offloads,
) -> io::Result<(Vec<TunQueue>, Offloads)> {
    let queues = (0..queues.max(1)).map(|at| TunQueue::attach(layer, name, queues > 1, at > 0));
    let queues = queues.collect::<io::Result<Vec<_>>>()?;
    let offloads = queues.first().map_or(Ok(*wanted), |queue| queue.set_offloads(wanted))?;
    Ok((queues, offloads))
}

impl TunQueue {
    fn attach(layer: Layer, name: &str, multi_queue: bool, join: bool) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
        tun::attach(fd.as_fd(), layer, name, multi_queue, join)?;
        if tun::describe(fd.as_fd())?.1 & libc::IFF_VNET_HDR == 0 {
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

    /// A second hold on the device, to ask about it.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn handle(&self) -> io::Result<TunHandle> {
        Ok(TunHandle { fd: self.fd.try_clone()? })
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

/// A hold on a TUN or TAP device beside its workers'. The device does not end while there is one.
#[derive(Debug)]
pub struct TunHandle {
    fd: OwnedFd,
}

impl TunHandle {
    /// The device's name of this moment.
    ///
    /// # Errors
    /// `EBADFD` once the device is deleted.
    pub fn name(&self) -> io::Result<String> {
        tun::describe(self.fd.as_fd()).map(|(name, _)| name)
    }

    /// Takes the calling thread to the network namespace that the device is in.
    ///
    /// # Errors
    /// `EBADFD` once the device is deleted; otherwise what the kernel says.
    pub fn enter_namespace(&self) -> io::Result<()> {
        let namespace = tun::namespace(self.fd.as_fd())?;
        Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
    }
}

impl AsFd for TunQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
