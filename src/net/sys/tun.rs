//! TUN and TAP devices: the ioctls of linux/if_tun.h.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

/// Checksums may be left to us, and are left by us.
pub(crate) const TUN_F_CSUM: u32 = 0x01;
/// TCP over IPv4 may come uncut.
pub(crate) const TUN_F_TSO4: u32 = 0x02;
/// TCP over IPv6 may come uncut.
pub(crate) const TUN_F_TSO6: u32 = 0x04;
/// UDP over IPv4 may come uncut (Linux 6.2).
pub(crate) const TUN_F_USO4: u32 = 0x20;
/// UDP over IPv6 may come uncut (Linux 6.2); only together with [`TUN_F_USO4`].
pub(crate) const TUN_F_USO6: u32 = 0x40;

fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is plain data for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains('\0') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an interface name has 1 to 15 bytes"));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

/// What the packets of a device begin with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Layer {
    /// With their IP header: a TUN device.
    Ip,
    /// With their Ethernet header: a TAP device.
    Ethernet,
}

/// Makes this descriptor of `/dev/net/tun` a queue of the device `name`, which comes into being with its first queue.
/// Packets are preceded by a virtio-net header. A device that exists already is refused unless `join`.
pub(crate) fn attach(
    fd: BorrowedFd<'_>,
    layer: Layer,
    name: &str,
    multi_queue: bool,
    join: bool,
) -> io::Result<()> {
    let mut request = request(name)?;
    let kind = match layer {
        Layer::Ip => libc::IFF_TUN,
        Layer::Ethernet => libc::IFF_TAP,
    };
    let mut flags = kind | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    if multi_queue {
        flags |= libc::IFF_MULTI_QUEUE;
    }
    if !join {
        flags |= libc::IFF_TUN_EXCL;
    }
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) }).map(drop)
}

/// Says which packets the device may hand over uncut.
pub(crate) fn set_offload(fd: BorrowedFd<'_>, flags: u32) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(flags)) }).map(drop)
}

/// Has a program choose the queue for each packet (linux/if_tun.h, Linux 4.16).
const TUNSETSTEERINGEBPF: libc::c_ulong = 0x8004_54e0;

/// Has the socket filter `program` choose the queue: what it returns, modulo their number. It needs no privilege.
pub(crate) fn set_steering(fd: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let program = program.as_raw_fd();
    // SAFETY: TUNSETSTEERINGEBPF reads one int, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETSTEERINGEBPF, &raw const program) }).map(drop)
}

/// Asks for a descriptor of the network namespace that a device is in (linux/if_tun.h, Linux 5.2).
const TUNGETDEVNETNS: libc::c_ulong = 0x54e3;

/// The network namespace that the device is in.
pub(crate) fn namespace(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: TUNGETDEVNETNS takes no argument.
    let namespace = check(unsafe { libc::ioctl(fd.as_raw_fd(), TUNGETDEVNETNS, 0) })?;
    // SAFETY: the call returned a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(namespace as i32) })
}

/// The device's name and its flags, read back from the kernel (`TUNGETIFF`).
pub(crate) fn describe(fd: BorrowedFd<'_>) -> io::Result<(String, i32)> {
    // SAFETY: ifreq is plain data for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: TUNGETIFF writes one ifreq, which outlives the call.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNGETIFF, &raw mut request) })?;
    let name = request.ifr_name.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0).collect();
    let name = String::from_utf8(name).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: TUNGETIFF fills in the flags member of the union; every bit pattern is a valid short.
    Ok((name, i32::from(unsafe { request.ifr_ifru.ifru_flags }) & 0xffff))
}
