//! Where a peer is reached.

use core::net::{IpAddr, SocketAddr};

/// Where a peer's datagrams come from and go to. Today a UDP address; a tunnel that rides on another carrier adds its
/// own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Endpoint {
    /// A UDP address, with the local address that the peer spoke to.
    Udp(Udp),
}

/// A UDP path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Udp {
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// Our own address on this path, learned from what the peer sent; answers leave from it ("sticky" source).
    pub local: Option<Local>,
}

/// A local address and the interface that has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Local {
    /// The address.
    pub address: IpAddr,
    /// The interface's index, 0 for any.
    pub interface: u32,
}

impl Endpoint {
    /// An endpoint from configuration: no local address is known yet.
    #[must_use]
    pub fn udp(remote: SocketAddr) -> Self {
        Self::Udp(Udp { remote, local: None })
    }

    /// The peer's UDP address.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        match self {
            Self::Udp(udp) => udp.remote,
        }
    }

    /// The same endpoint without its local address, for when that address is gone.
    #[must_use]
    pub fn without_local(self) -> Self {
        match self {
            Self::Udp(udp) => Self::Udp(Udp { local: None, ..udp }),
        }
    }
}
