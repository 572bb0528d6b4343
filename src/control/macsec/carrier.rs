//! What carries a link's frames, and the messages of its key agreement.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use adit_packet::{Ecn, ethernet};
use adit_wireguard::Udp;

use super::listener::{Heard, Listener};
use crate::config::macsec as config;
use crate::datapath::macsec::Whereabouts;
use crate::datapath::{self, Path};
use crate::net::link::Link;
use crate::net::offload::Offloads;
use crate::net::packet::{self, EtherType, Options, PAE_GROUP, PacketSocket};
use crate::net::path;
use crate::net::udp::{TRAIN_MAX, UdpSocket};

/// All stations of a link.
const EVERYBODY: [u8; 6] = [0xff; 6];
/// Octets of a VLAN tag.
const VLAN_TAG: usize = ethernet::TAG_LEN;
/// What an Ethernet link carries where nobody knows better.
const ETHERNET_MTU: usize = 1_500;
/// The largest MTU of a TAP device.
const TAP_MTU: usize = 65_535 - ethernet::LEN;
/// Octets of the headers of IPv4 and IPv6, and of UDP and what a frame has before it in a datagram.
const IPV4: usize = 20;
const IPV6: usize = 40;
const DATAGRAM: usize = 8 + 4;

/// The sockets of a link, and what they are to be opened with.
#[derive(Debug)]
pub(super) enum Carrier {
    Udp(OverUdp),
    Link(OverLink),
}

/// Datagrams.
#[derive(Debug)]
pub(super) struct OverUdp {
    socket: Arc<UdpSocket>,
    pub(super) mark: u32,
    /// Where the other end is.
    pub(super) remote: Whereabouts,
}

/// Frames of an Ethernet link.
#[derive(Debug)]
pub(super) struct OverLink {
    pub(super) name: String,
    /// What it is now, if it is there.
    pub(super) link: Option<Link>,
    /// Our address in messages of the key agreement.
    address: [u8; 6],
    outer_tag: bool,
    /// Whether frames are to be sent past the queue of the device.
    direct: bool,
    socket: Option<Arc<PacketSocket>>,
    listener: Option<Listener>,
    /// The other station, once it was heard.
    station: Option<[u8; 6]>,
    /// Messages since then that were sent to whoever is there.
    tries: usize,
}

impl Carrier {
    /// Binds the port.
    pub(super) fn over_udp(udp: &config::Udp, remote: Whereabouts, offloads: &Offloads) -> io::Result<Self> {
        let mut sockets = UdpSocket::bind(udp.listen, 1, udp.fwmark, offloads)?;
        let socket = sockets.pop().ok_or(ErrorKind::NotConnected)?;
        Ok(Self::Udp(OverUdp { socket: Arc::new(socket), mark: udp.fwmark, remote }))
    }

    /// A link that is there, without sockets yet.
    pub(super) fn over_link(name: &str, link: Link, address: [u8; 6], outer_tag: bool, direct: bool) -> Self {
        let (name, link) = (name.to_owned(), Some(link));
        Self::Link(OverLink {
            name,
            link,
            address,
            outer_tag,
            direct,
            socket: None,
            listener: None,
            station: None,
            tries: 0,
        })
    }

    /// What the worker is to have; none while there is no link.
    pub(super) fn socket(&self) -> Option<datapath::Carrier> {
        match self {
            Self::Udp(udp) => Some(datapath::Carrier::Udp(udp.socket.clone())),
            Self::Link(link) => {
                let socket = link.socket.clone()?;
                Some(datapath::Carrier::Link { socket, longest: self.longest() })
            }
        }
    }

    /// Octets that a protected frame may have.
    pub(super) fn longest(&self) -> usize {
        match self {
            Self::Udp(_) => TRAIN_MAX - (DATAGRAM - 8),
            Self::Link(link) => {
                link.link.map_or(ETHERNET_MTU, |link| link.mtu)
                    + ethernet::LEN
                    + if link.outer_tag { VLAN_TAG } else { 0 }
            }
        }
    }

    /// The MTU that it leaves to the TAP device, with so many octets that MACsec adds to each frame.
    pub(super) fn inner_mtu(&self, overhead: usize) -> usize {
        let inner = match self {
            Self::Link(link) => link.link.map_or(ETHERNET_MTU, |link| link.mtu).saturating_sub(overhead),
            Self::Udp(udp) => {
                let remote = udp.remote.get().map(|udp| udp.remote);
                let known = remote.and_then(|remote| path::mtu(remote, udp.mark).ok());
                let path = known.map_or(ETHERNET_MTU, |mtu| mtu as usize);
                let is_ipv4 = remote.is_some_and(|remote| remote.ip().to_canonical().is_ipv4());
                let outer = if is_ipv4 { IPV4 } else { IPV6 } + DATAGRAM + ethernet::LEN + overhead;
                path.min(TRAIN_MAX + 28).saturating_sub(outer)
            }
        };
        inner.min(TAP_MTU)
    }

    /// Sends a message of the key agreement: to where it is told, else to where the other end was last. False if that is not
    /// known, or there is no link: another message follows.
    pub(super) fn send(&mut self, to: Option<Path>, message: &[u8]) -> Result<bool, packet::Error> {
        match self {
            Self::Udp(udp) => {
                let told = match to {
                    Some(Path::Udp(path)) => Some(path),
                    Some(Path::Link | Path::Station(_)) | None => None,
                };
                let Some(path) = told.or_else(|| udp.remote.get()) else { return Ok(false) };
                Ok(udp.socket.send_alone(path, message, Ecn::NotEct).map(|()| true)?)
            }
            Self::Link(link) => {
                let station = match to {
                    Some(Path::Station(station)) => station,
                    Some(Path::Udp(_) | Path::Link) | None => link.next_station(),
                };
                let Some(listener) = &mut link.listener else { return Ok(false) };
                listener.send(link.address, station, message).map(|()| true)
            }
        }
    }

    /// The other end is there now. True if that is somewhere else.
    pub(super) fn moved(&mut self, to: Option<Path>) -> bool {
        match (self, to) {
            (Self::Link(link), Some(Path::Station(station))) => {
                link.station = Some(station);
                link.tries = 0;
                false
            }
            (Self::Udp(udp), Some(Path::Udp(path))) if udp.remote.get() != Some(path) => {
                udp.remote.set(Some(path));
                true
            }
            _ => false,
        }
    }

    /// The other end is said to be there.
    pub(super) fn set_endpoint(&mut self, remote: SocketAddr) -> bool {
        self.moved(Some(Path::Udp(Udp { remote, local: None })))
    }

    /// Forgets the local address of the path that this is true of: routes choose anew.
    pub(super) fn forget_local(&self, of: impl Fn(&Udp) -> bool) {
        if let Self::Udp(udp) = self {
            udp.remote
                .update(|now| now.map(|path| if of(&path) { Udp { local: None, ..path } } else { path }));
        }
    }

    /// The port, for a carrier that has one.
    pub(super) fn port(&self) -> Option<u16> {
        match self {
            Self::Udp(udp) => Some(udp.socket.port()),
            Self::Link(_) => None,
        }
    }

    /// Whether frames are sent past the queue of the device.
    pub(super) fn is_direct(&self) -> bool {
        match self {
            Self::Link(OverLink { socket: Some(socket), .. }) => socket.bypasses_queue(),
            Self::Link(_) | Self::Udp(_) => false,
        }
    }

    /// Frames that the socket had no room for since this was asked last.
    pub(super) fn take_lost(&self) -> u64 {
        match self {
            Self::Link(OverLink { socket: Some(socket), .. }) => socket.take_lost().unwrap_or(0).into(),
            Self::Link(_) | Self::Udp(_) => 0,
        }
    }
}

impl OverLink {
    /// Whom the next message goes to: the station that was heard last, then all that key agreement is for, then everybody,
    /// since there are bridges that forward nothing to that group.
    fn next_station(&mut self) -> [u8; 6] {
        self.tries += 1;
        match (self.tries, self.station) {
            (1, Some(station)) => station,
            (tries, _) if tries % 3 == 0 => EVERYBODY,
            _ => PAE_GROUP,
        }
    }

    /// The link is this now, or is gone. `tell` is for messages of the key agreement, if there is one. True if the socket is
    /// another now.
    ///
    /// # Errors
    /// What the system says. There are no sockets then.
    pub(super) fn take(
        &mut self,
        now: Option<Link>,
        tell: Option<impl Fn(Heard<'_>) + Send + 'static>,
    ) -> Result<bool, packet::Error> {
        let before = std::mem::replace(&mut self.link, now);
        let same = before.map(|link| link.index) == now.map(|link| link.index);
        if same && (self.socket.is_some() || now.is_none()) {
            return Ok(false);
        }
        (self.socket, self.listener) = (None, None);
        let Some(link) = now else { return Ok(true) };
        let (outer_tag, promiscuous) = (self.outer_tag, true);
        let options = Options { outer_tag, promiscuous, bypass_queue: self.direct, ..Options::default() };
        let socket = PacketSocket::open(link.index, EtherType::Macsec, &options)?;
        self.listener = tell.map(|tell| Listener::start(link.index, outer_tag, tell)).transpose()?;
        self.socket = Some(Arc::new(socket));
        Ok(true)
    }
}
