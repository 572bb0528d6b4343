//! What the kernel knows of the path to a peer.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};

/// The largest IP packet in bytes that the kernel believes to reach `remote`: the MTU of the link, or less if the network
/// said so. `mark` is the firewall mark of what is sent there, 0 for none. No packet is sent.
///
/// # Errors
/// What the kernel says: `EHOSTUNREACH` or `ENETUNREACH` if no route leads there.
pub fn mtu(remote: SocketAddr, mark: u32) -> io::Result<u32> {
    let ip = remote.ip().to_canonical();
    let remote = match remote {
        SocketAddr::V6(v6) if ip.is_ipv6() => SocketAddr::V6(v6),
        SocketAddr::V4(_) | SocketAddr::V6(_) => SocketAddr::new(ip, remote.port()),
    };
    let (domain, any) = match remote {
        SocketAddr::V4(_) => (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into()),
        SocketAddr::V6(_) => (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into()),
    };
    let socket = Socket::new(domain, Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
    if mark != 0 {
        socket.set_mark(mark)?;
    }
    socket.bind(&SocketAddr::new(any, 0).into())?;
    socket.connect(&remote.into())?;
    Ok(if remote.is_ipv4() { sockopt::ip_mtu(&socket)? } else { sockopt::ipv6_mtu(&socket)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::isolated::isolated;

    #[test]
    fn the_path_to_this_machine_is_as_wide_as_its_loopback_link() {
        isolated(|| {
            // An IPv6 socket would refuse addresses of IPv4.
            std::fs::write("/proc/sys/net/ipv6/bindv6only", "1").unwrap();
            // IPv4 cannot say more than 65,535.
            for (remote, width) in
                [("127.0.0.1:1", 65_535), ("[::ffff:127.0.0.1]:1", 65_535), ("[::1]:1", 65_536)]
            {
                assert_eq!(mtu(remote.parse().unwrap(), 0).unwrap(), width, "{remote}");
            }
        });
    }

    #[test]
    fn without_a_route_there_is_no_path() {
        isolated(|| {
            for remote in ["198.51.100.1:1", "[2001:db8::1]:1"] {
                let error = mtu(remote.parse().unwrap(), 0).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::ENETUNREACH), "{remote}");
            }
        });
    }
}
