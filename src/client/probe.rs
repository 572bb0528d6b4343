//! What the network says of datagrams to the gateway. The tunnel's own socket serves many peers and hears no ICMP; this one
//! is connected to the gateway alone.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::SockRef;

use super::facts::Verdict;
use super::network::MARK;

/// One byte, which no implementation of WireGuard takes for a message.
const NOTHING: &[u8] = b"\0";

/// A question to the network.
#[derive(Debug)]
pub(super) struct Probe {
    to: SocketAddr,
    socket: UdpSocket,
    verdict: Verdict,
}

impl Probe {
    /// A socket that passes by the tunnel.
    ///
    /// # Errors
    /// What the system says: no route, for one.
    pub(super) fn new(to: SocketAddr) -> io::Result<Self> {
        let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        SockRef::from(&socket).set_mark(MARK)?;
        socket.set_nonblocking(true)?;
        socket.connect(to)?;
        Ok(Self { to, socket, verdict: Verdict::default() })
    }

    /// Whom it asks.
    #[must_use]
    pub(super) fn to(&self) -> SocketAddr {
        self.to
    }

    /// Asks again, and tells what has come back so far.
    pub(super) fn ask(&mut self) -> Verdict {
        // An answer to the last question is told by the next call, whichever that is.
        let heard = self.hear();
        let sent = self.socket.send(NOTHING).err().as_ref().and_then(verdict);
        self.verdict = heard.or(sent).unwrap_or_default();
        self.verdict
    }

    /// What has come back meanwhile; what was told before, if nothing has.
    pub(super) fn look(&mut self) -> Verdict {
        self.verdict = self.hear().unwrap_or(self.verdict);
        self.verdict
    }

    fn hear(&self) -> Option<Verdict> {
        self.socket.take_error().ok().flatten().as_ref().and_then(verdict)
    }
}

fn verdict(error: &io::Error) -> Option<Verdict> {
    match error.raw_os_error()? {
        libc::ECONNREFUSED => Some(Verdict::Refused),
        libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN => Some(Verdict::Unreachable),
        libc::EPERM | libc::EACCES => Some(Verdict::HeldBack),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::isolated::isolated;
    use crate::net::kill_switch;

    #[test]
    fn a_port_where_nothing_listens_refuses_and_one_where_something_does_is_silent() {
        isolated(|| {
            let there = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut probe = Probe::new(there.local_addr().unwrap()).unwrap();
            probe.ask();
            assert_eq!(probe.look(), Verdict::Silence);
            let nobody = there.local_addr().unwrap();
            drop(there);
            let mut probe = Probe::new(nobody).unwrap();
            probe.ask();
            assert_eq!((probe.look(), probe.look()), (Verdict::Refused, Verdict::Refused));
        });
    }

    #[test]
    fn where_nothing_leads_there_is_no_socket() {
        isolated(|| {
            let error = Probe::new("198.51.100.1:1".parse().unwrap()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENETUNREACH));
        });
    }

    #[test]
    fn what_this_machine_holds_back_is_told() {
        isolated(|| {
            // A kill switch with another mark; the port of this machine is behind no loopback link then.
            let index = crate::net::isolated::make_link("wire");
            let address =
                crate::config::InterfaceAddress { address: "192.0.2.1".parse().unwrap(), prefix_len: 24 };
            crate::net::address::add(index, address).unwrap();
            kill_switch::lay("office", MARK + 1).unwrap();
            let mut probe = Probe::new("192.0.2.2:1".parse().unwrap()).unwrap();
            assert_eq!(probe.ask(), Verdict::HeldBack);
        });
    }
}
