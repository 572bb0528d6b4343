//! The UDP carrier: one socket for both families, with trains in one system call where the kernel can.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use adit_packet::Ecn;
use adit_wireguard::{Local, Udp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::offload::Offloads;
use super::sys::msg::{self, Ancillary};
use super::sys::option;

/// Bytes of UDP payload that one train may have: what an IPv4 datagram holds.
pub const TRAIN_MAX: usize = 65_507;
/// Datagrams that one train may have: what every kernel with `UDP_SEGMENT` takes.
pub const TRAIN_SEGMENTS: usize = 64;

/// Bytes of socket buffer asked for; the kernel doubles them for its book-keeping. It is the queue in front of a receiver
/// that is slower than its sender, and the time that a round trip takes under load: at 11 Gbit/s 1.0 ms with 1 MiB, 0.8 with
/// 700 KiB, 0.7 with 512 KiB, 0.4 with 256 KiB, where throughput is 3, 7 and 10 % less.
const BUFFER: i32 = 768 << 10;

/// What came in: one datagram or one train of them.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Bytes written to the buffer.
    pub len: usize,
    /// Length of each datagram but the last, which may be shorter.
    pub stride: usize,
    /// The path it came by.
    pub path: Udp,
    /// The congestion mark of the outer header.
    pub ecn: Ecn,
    /// The buffer was too short for it.
    pub truncated: bool,
    /// Datagrams that the socket had no room for, since the last that it had.
    pub lost: u32,
}

/// One socket of a worker. All sockets of a device share a port; the kernel spreads peers over them.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    v6: bool,
    gso: bool,
    port: u16,
    /// Datagrams that the socket had no room for so far, as far as it was heard.
    overflowed: AtomicU32,
}

impl UdpSocket {
    /// Binds `count` sockets to one port, to a free one if `port` is 0. `mark` is the firewall mark, 0 for none.
    ///
    /// # Errors
    /// What the kernel says: `AddrInUse` if anybody else has the port.
    pub fn bind(port: u16, count: usize, mark: u32, offloads: &Offloads) -> io::Result<Vec<Self>> {
        let port = Self::claim(port)?;
        (0..count.max(1)).map(|_| Self::open(port, mark, offloads)).collect()
    }

    /// Finds out whether a port is free. Sockets with `SO_REUSEPORT` would bind beside those of another process of ours.
    fn claim(port: u16) -> io::Result<u16> {
        let (socket, v6) = Self::socket()?;
        socket.bind(&any(port, v6).into())?;
        let bound = socket.local_addr()?.as_socket().map(|address| address.port());
        bound.ok_or_else(|| io::Error::other("a UDP socket without a port"))
    }

    fn socket() -> io::Result<(Socket, bool)> {
        match Socket::new(Domain::IPV6, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP)) {
            Ok(socket) => {
                socket.set_only_v6(false)?;
                Ok((socket, true))
            }
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                let kind = Type::DGRAM.nonblocking().cloexec();
                Ok((Socket::new(Domain::IPV4, kind, Some(Protocol::UDP))?, false))
            }
            Err(error) => Err(error),
        }
    }

    fn open(port: u16, mark: u32, offloads: &Offloads) -> io::Result<Self> {
        let (socket, v6) = Self::socket()?;
        socket.set_reuse_port(true)?;
        if mark != 0 {
            socket.set_mark(mark)?;
        }
        let fd = socket.as_fd();
        option::set_buffers(fd, BUFFER)?;
        // As the kernel's WireGuard: outer packets may be fragmented on the way, since the inner MTU is the operator's word.
        option::set(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)?;
        option::set(fd, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
        option::set(fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
        if v6 {
            option::set(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)?;
            option::set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
            option::set(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
        } else {
            option::set(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        }
        if offloads.udp_gro {
            option::set(fd, libc::SOL_UDP, libc::UDP_GRO, 1)?;
        }
        socket.bind(&any(port, v6).into())?;
        Ok(Self { socket, v6, gso: offloads.udp_gso, port, overflowed: AtomicU32::new(0) })
    }

    /// The local port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether trains may be sent.
    #[must_use]
    pub fn sends_trains(&self) -> bool {
        self.gso
    }

    /// Waits a few milliseconds for room to send. False if there is none then.
    #[must_use]
    pub fn wait_for_room(&self) -> bool {
        ready(self, PollFlags::OUT, 5)
    }

    /// Sets the firewall mark of what is sent.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_mark(&self, mark: u32) -> io::Result<()> {
        self.socket.set_mark(mark)
    }

    /// Sends `bytes` as datagrams of `stride` bytes, the last of which may be shorter; as one if `stride` is their length.
    ///
    /// # Errors
    /// What the kernel says: `WouldBlock`, or that the local address is gone.
    pub fn send(&self, path: &Udp, bytes: &[u8], stride: usize, ecn: Ecn) -> io::Result<()> {
        let segment = if stride < bytes.len() { u16::try_from(stride).ok() } else { None };
        let ancillary = Ancillary { segment, ecn: ecn as u8, local: path.local };
        msg::send(self.socket.as_fd(), self.v6, path.remote, bytes, &ancillary)
    }

    /// Sends one datagram that is worth more than the data which fills the socket: waits a little for room, and goes from
    /// another address if its own is gone.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send_alone(&self, mut path: Udp, datagram: &[u8], ecn: Ecn) -> io::Result<()> {
        loop {
            match self.send(&path, datagram, datagram.len(), ecn) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.wait_for_room() => {}
                Err(_) if path.local.is_some() => path.local = None,
                sent => return sent,
            }
        }
    }

    /// Receives one datagram, or one train, into `buffer`, which should have room for 64 KiB.
    ///
    /// # Errors
    /// What the kernel says: `WouldBlock`, or an ICMP error of an earlier datagram.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let msg::Received { len, stride, from, tos, local, truncated, overflowed } =
            msg::receive(self.socket.as_fd(), buffer)?;
        // The kernel's count wraps.
        let lost = overflowed.wrapping_sub(self.overflowed.swap(overflowed, Ordering::Relaxed));
        let local = local.filter(|local: &Local| !local.address.is_unspecified());
        let path = Udp { remote: from, local };
        Ok(Received { len, stride, path, ecn: Ecn::from_tos(tos), truncated, lost })
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What the kernel says of a local address that it does not have, or that has no route to there.
#[must_use]
pub fn is_no_address(error: &io::Error) -> bool {
    [libc::EINVAL, libc::EADDRNOTAVAIL, libc::ENETUNREACH, libc::EHOSTUNREACH]
        .contains(&error.raw_os_error().unwrap_or(0))
}

fn any(port: u16, v6: bool) -> SocketAddr {
    if v6 { (Ipv6Addr::UNSPECIFIED, port).into() } else { (Ipv4Addr::UNSPECIFIED, port).into() }
}

/// Tries trains over the loopback interface and looks at what arrives: a kernel can take the options and get the bytes wrong.
/// Where the loopback interface is down nothing can be sent, and the options' acceptance has to do.
#[must_use]
pub fn self_test(wanted: &Offloads) -> Offloads {
    let refused = Offloads { udp_gso: false, udp_gro: false, ..*wanted };
    let Ok((sender, receiver)) = pair(wanted) else { return refused };
    if wanted.udp_gso && option::set(sender.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_err() {
        return refused;
    }
    let bytes: Vec<u8> = (0..2_500_u32).map(|at| ((at * 7) >> 3) as u8).collect();
    let stride = if wanted.udp_gso { 1_000 } else { bytes.len() };
    let path = Udp { remote: (Ipv4Addr::LOCALHOST, receiver.port).into(), local: None };
    match sender.send(&path, &bytes, stride, Ecn::NotEct) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NetworkUnreachable => return *wanted,
        Err(_) => return refused,
    }
    let mut arrived = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    while arrived.len() < bytes.len() && readable(&receiver) {
        let Ok(received) = receiver.receive(&mut buffer) else { break };
        arrived.extend_from_slice(buffer.get(..received.len).unwrap_or_default());
    }
    if arrived == bytes { *wanted } else { refused }
}

/// Waits a little for something to receive: on a busy machine even the loopback interface takes its time.
fn readable(socket: &UdpSocket) -> bool {
    ready(socket, PollFlags::IN, 300)
}

fn ready(socket: &UdpSocket, what: PollFlags, milliseconds: i64) -> bool {
    let patience = Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
    let mut fds = [PollFd::new(socket, what)];
    poll(&mut fds, Some(&patience)).is_ok_and(|ready| ready > 0)
}

fn pair(wanted: &Offloads) -> io::Result<(UdpSocket, UdpSocket)> {
    let one = || UdpSocket::open(UdpSocket::claim(0)?, 0, wanted);
    Ok((one()?, one()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_train_arrives_whole_and_with_its_stride() {
        let offloads = Offloads::default();
        assert_eq!(self_test(&offloads), offloads);
        let (sender, receiver) = pair(&offloads).unwrap();
        for remote in ["127.0.0.1", "::1"] {
            let path = Udp {
                remote: (remote.parse::<std::net::IpAddr>().unwrap(), receiver.port).into(),
                local: None,
            };
            sender.send(&path, &[9; 2_500], 1_000, Ecn::Ect0).unwrap();
            assert!(readable(&receiver));
            let received = receiver.receive(&mut vec![0; 1 << 16]).unwrap();
            assert_eq!((received.len, received.stride, received.ecn), (2_500, 1_000, Ecn::Ect0));
            assert_eq!(received.path.remote.port(), sender.port);
            assert_eq!(received.path.local.unwrap().address, path.remote.ip());
            assert!(!received.truncated);
        }
    }

    #[test]
    fn an_answer_leaves_from_the_address_that_was_spoken_to() {
        let (sender, receiver) = pair(&Offloads::default()).unwrap();
        let local = Some(Local { address: "127.0.0.77".parse().unwrap(), interface: 1 });
        let path = Udp { remote: (Ipv4Addr::LOCALHOST, receiver.port).into(), local };
        sender.send(&path, b"x", 1, Ecn::NotEct).unwrap();
        assert!(readable(&receiver));
        let received = receiver.receive(&mut [0; 2_000]).unwrap();
        assert_eq!(received.path.remote.ip().to_string(), "127.0.0.77");
    }

    #[test]
    fn a_port_in_use_is_refused_although_ports_are_shared() {
        let first = UdpSocket::bind(0, 2, 0, &Offloads::default()).unwrap();
        let error = UdpSocket::bind(first[0].port(), 1, 0, &Offloads::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_datagram_longer_than_the_buffer_says_so() {
        let (sender, receiver) = pair(&Offloads::default()).unwrap();
        let path = Udp { remote: (Ipv4Addr::LOCALHOST, receiver.port).into(), local: None };
        sender.send(&path, &[0; 3_000], 3_000, Ecn::NotEct).unwrap();
        assert!(readable(&receiver));
        assert!(receiver.receive(&mut [0; 1_000]).unwrap().truncated);
    }
}
