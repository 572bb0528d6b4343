//! `sendmsg` and `recvmsg` with the ancillary data of UDP: segment size, congestion mark, local address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

use adit_wireguard::Local;

use super::check;

/// What goes with a datagram that is sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ancillary {
    /// Cut the bytes into datagrams of this many (`UDP_SEGMENT`).
    pub(crate) segment: Option<u16>,
    /// The ECN bits of the outer header.
    pub(crate) ecn: u8,
    /// The address to send from.
    pub(crate) local: Option<Local>,
}

/// What came with a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// Bytes written to the buffer.
    pub(crate) len: usize,
    /// Length of each datagram in it but the last, which may be shorter (`UDP_GRO`).
    pub(crate) stride: usize,
    /// Who sent it.
    pub(crate) from: SocketAddr,
    /// The outer header's TOS or traffic class.
    pub(crate) tos: u8,
    /// The address it was sent to.
    pub(crate) local: Option<Local>,
    /// The buffer was too short.
    pub(crate) truncated: bool,
    /// Datagrams that the socket's queue had no room for, since the socket was opened (`SO_RXQ_OVFL`).
    pub(crate) overflowed: u32,
}

/// Room for every control message that we send or ask for, aligned as the kernel wants it.
#[repr(C, align(8))]
struct ControlBuffer([u8; 256]);

/// Appends control messages to a buffer.
struct Writer<'a> {
    buffer: &'a mut ControlBuffer,
    used: usize,
}

impl Writer<'_> {
    fn put<T: Copy>(&mut self, level: i32, kind: i32, value: T) {
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
        let (space, len) = unsafe {
            (libc::CMSG_SPACE(size_of::<T>() as u32) as usize, libc::CMSG_LEN(size_of::<T>() as u32))
        };
        assert!(
            self.used + space <= self.buffer.0.len(),
            "the control buffer holds every message that we send"
        );
        // SAFETY: header and value lie within the buffer by the assertion above; the buffer is aligned for cmsghdr, each
        // message begins at a multiple of CMSG_ALIGN, and the value is written without asking for alignment.
        unsafe {
            let header = self.buffer.0.as_mut_ptr().add(self.used).cast::<libc::cmsghdr>();
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            (*header).cmsg_len = len as _;
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
        }
        self.used += space;
    }

    /// The route chooses the interface; only a link-local address means nothing without its own.
    fn put_local(&mut self, local: Local, v6: bool) {
        match (local.address, v6) {
            (IpAddr::V4(address), false) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from(address).to_be() },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                self.put(libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            (address, _) => {
                let address = to_v6(address);
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: address.octets() },
                    ipi6_ifindex: if address.is_unicast_link_local() { local.interface } else { 0 },
                };
                self.put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
        }
    }
}

fn to_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// An address as the kernel takes it; `v6` if the socket is one for both families.
fn to_storage(address: SocketAddr, v6: bool) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: sockaddr_storage is plain data for which all zeros is a valid value.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let to = (&raw mut storage).cast::<libc::sockaddr>();
    match (address, v6) {
        (SocketAddr::V4(v4), false) => {
            let value = libc::sockaddr_in {
                sin_family: libc::AF_INET as u16,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                sin_zero: [0; 8],
            };
            // SAFETY: sockaddr_storage is large enough and aligned for every address family.
            unsafe { to.cast::<libc::sockaddr_in>().write(value) };
            (storage, size_of::<libc::sockaddr_in>() as u32)
        }
        (address, _) => {
            let (flow, scope) = match address {
                SocketAddr::V6(v6) => (v6.flowinfo(), v6.scope_id()),
                SocketAddr::V4(_) => (0, 0),
            };
            let value = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as u16,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: flow,
                sin6_addr: libc::in6_addr { s6_addr: to_v6(address.ip()).octets() },
                sin6_scope_id: scope,
            };
            // SAFETY: as above.
            unsafe { to.cast::<libc::sockaddr_in6>().write(value) };
            (storage, size_of::<libc::sockaddr_in6>() as u32)
        }
    }
}

fn from_storage(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let from = (&raw const *storage).cast::<libc::sockaddr>();
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which address it is; the storage is large enough and aligned for it.
            let value = unsafe { from.cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(u32::from_be(value.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(value.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let value = unsafe { from.cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(value.sin6_addr.s6_addr);
            let port = u16::from_be(value.sin6_port);
            Some(match ip.to_ipv4_mapped() {
                Some(v4) => SocketAddrV4::new(v4, port).into(),
                None => SocketAddrV6::new(ip, port, 0, value.sin6_scope_id).into(),
            })
        }
        _ => None,
    }
}

/// Sends one datagram, or one train of datagrams. `v6` if the socket is one for both families.
pub(crate) fn send(
    fd: BorrowedFd<'_>,
    v6: bool,
    to: SocketAddr,
    bytes: &[u8],
    ancillary: &Ancillary,
) -> io::Result<()> {
    let (address, address_len) = to_storage(to, v6);
    let mut control = ControlBuffer([0; 256]);
    let mut writer = Writer { buffer: &mut control, used: 0 };
    if let Some(segment) = ancillary.segment {
        writer.put(libc::SOL_UDP, libc::UDP_SEGMENT, segment);
    }
    if ancillary.ecn != 0 {
        match to {
            SocketAddr::V4(_) => writer.put(libc::IPPROTO_IP, libc::IP_TOS, i32::from(ancillary.ecn)),
            SocketAddr::V6(_) => writer.put(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, i32::from(ancillary.ecn)),
        }
    }
    if let Some(local) = ancillary.local {
        writer.put_local(local, v6);
    }
    let used = writer.used;
    let mut iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: msghdr is plain data for which all zeros is a valid value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw const address).cast_mut().cast();
    message.msg_namelen = address_len;
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    if used > 0 {
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = used as _;
    }
    // SAFETY: every pointer in the header is to memory that outlives the call, with its true length; sendmsg only reads.
    check(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) } as i64).map(drop)
}

/// Receives one datagram, or one train of datagrams, into `buffer`.
pub(crate) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    // SAFETY: both are plain data for which all zeros is a valid value.
    let (mut address, mut message): (libc::sockaddr_storage, libc::msghdr) = unsafe { std::mem::zeroed() };
    let mut control = ControlBuffer([0; 256]);
    let mut iov = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    message.msg_name = (&raw mut address).cast();
    message.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: every pointer in the header is to memory that outlives the call, with its true length.
    let len = check(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, 0) } as i64)? as usize;
    let from = from_storage(&address).ok_or_else(|| io::Error::other("a datagram without an address"))?;
    let truncated = message.msg_flags & libc::MSG_TRUNC != 0;
    let mut received = Received { len, stride: len, from, tos: 0, local: None, truncated, overflowed: 0 };
    // SAFETY: the kernel has written msg_controllen bytes of well-formed control messages into the buffer, which is aligned.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !at.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a whole message within the buffer.
        unsafe {
            read_control(&*at, libc::CMSG_DATA(at), &mut received);
            at = libc::CMSG_NXTHDR(&raw const message, at);
        }
    }
    Ok(received)
}

/// Takes what a control message says.
///
/// # Safety
/// `data` is the payload of `header`: it has as many bytes as its kind of message.
unsafe fn read_control(header: &libc::cmsghdr, data: *const u8, received: &mut Received) {
    // SAFETY: by the caller's promise; values are read without asking for alignment.
    unsafe {
        match (header.cmsg_level, header.cmsg_type) {
            (libc::SOL_UDP, libc::UDP_GRO) => {
                received.stride = data.cast::<i32>().read_unaligned().max(1) as usize;
            }
            (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                received.overflowed = data.cast::<u32>().read_unaligned()
            }
            (libc::IPPROTO_IP, libc::IP_TOS) => received.tos = data.read(),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                received.tos = data.cast::<i32>().read_unaligned() as u8
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                let address = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into();
                received.local = Some(Local { address, interface: info.ipi_ifindex as u32 });
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical();
                received.local = Some(Local { address, interface: info.ipi6_ifindex });
            }
            _ => {}
        }
    }
}
