//! The UDP sockets of an interface: one for each worker, all on one port.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use adit_packet::Ecn;
use adit_wireguard::Endpoint;

use crate::net::offload::Offloads;
use crate::net::udp::UdpSocket;

/// The sockets, and what they are to be opened with.
#[derive(Debug)]
pub(super) struct Carrier {
    sockets: Vec<Arc<UdpSocket>>,
    workers: usize,
    offloads: Offloads,
    port: u16,
    mark: u32,
    /// Sockets that wait for their port to be chosen.
    reserved: Vec<Arc<UdpSocket>>,
}

impl Carrier {
    /// No sockets yet, for so many workers.
    pub(super) fn new(workers: usize, offloads: Offloads) -> Self {
        Self { sockets: Vec::new(), workers, offloads, port: 0, mark: 0, reserved: Vec::new() }
    }

    /// The port, 0 while none was chosen.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Whether there are sockets: not while the interface is down, or its port somebody else's.
    pub(super) fn is_open(&self) -> bool {
        !self.sockets.is_empty()
    }

    /// The firewall mark, 0 for none.
    pub(super) fn mark(&self) -> u32 {
        self.mark
    }

    /// Offloads that its sockets use, and the device.
    pub(super) fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// A worker's socket, if they are open.
    pub(super) fn socket(&self, worker: usize) -> Option<Arc<UdpSocket>> {
        self.sockets.get(worker).cloned()
    }

    /// Opens the sockets on the port, or on a free one if none was chosen.
    pub(super) fn open(&mut self) -> io::Result<()> {
        self.bind(self.port)
    }

    /// Closes them once the workers let go of theirs.
    pub(super) fn close(&mut self) {
        self.sockets.clear();
    }

    /// Chooses the port, 0 for a free one; what was open stays if that fails. `up` if the sockets should be open; otherwise
    /// it is only found out whether the port is free. True if the sockets are others now.
    pub(super) fn listen(&mut self, port: u16, up: bool) -> io::Result<bool> {
        if port == self.port && port != 0 && !self.sockets.is_empty() {
            return Ok(false);
        }
        if up {
            self.bind(port).map(|()| true)
        } else {
            // What is held waits for the sockets to be opened.
            if port == 0 || !self.holds(port) {
                UdpSocket::bind(port, 1, 0, &self.offloads)?;
            }
            self.port = port;
            Ok(false)
        }
    }

    /// Takes hold of a port, so that to choose it cannot fail any more; `None` lets go of what was held.
    pub(super) fn reserve(&mut self, port: Option<u16>) -> io::Result<()> {
        self.reserved.clear();
        match port {
            // Our own is ours already.
            Some(port) if port != self.port || self.sockets.is_empty() => {
                self.reserved = self.sockets_on(port)?;
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    fn holds(&self, port: u16) -> bool {
        self.reserved.first().is_some_and(|socket| socket.port() == port)
    }

    fn bind(&mut self, port: u16) -> io::Result<()> {
        let held = self.holds(port);
        let reserved = std::mem::take(&mut self.reserved);
        let sockets = if held { reserved } else { self.sockets_on(port)? };
        self.port = sockets.first().map_or(port, |socket| socket.port());
        self.sockets = sockets;
        Ok(())
    }

    fn sockets_on(&self, port: u16) -> io::Result<Vec<Arc<UdpSocket>>> {
        let sockets = UdpSocket::bind(port, self.workers, self.mark, &self.offloads)?;
        Ok(sockets.into_iter().map(Arc::new).collect())
    }

    /// Sets the firewall mark of what is sent from now on.
    pub(super) fn set_mark(&mut self, mark: u32) -> io::Result<()> {
        self.sockets.iter().chain(&self.reserved).try_for_each(|socket| socket.set_mark(mark))?;
        self.mark = mark;
        Ok(())
    }

    /// Sends one datagram of the control thread's, as [`UdpSocket::send_alone`] does.
    ///
    /// # Errors
    /// `NotConnected` without sockets; otherwise what the kernel says.
    pub(super) fn send(&self, to: Endpoint, datagram: &[u8], ecn: Ecn) -> io::Result<()> {
        let (Some(socket), Endpoint::Udp(path)) = (self.sockets.first(), to) else {
            return Err(ErrorKind::NotConnected.into());
        };
        socket.send_alone(path, datagram, ecn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_open_only_while_the_port_is_its_own() {
        let other = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let mut carrier = Carrier::new(1, Offloads::default());
        carrier.listen(port, false).unwrap_err();
        carrier.port = port;
        carrier.open().unwrap_err();
        assert!(!carrier.is_open() && carrier.port() == port);
        drop(other);
        carrier.open().unwrap();
        assert!(carrier.is_open() && carrier.port() == port);
        carrier.close();
        assert!(!carrier.is_open());
    }
}
