//! Network links by rtnetlink: what a device is set to, and what becomes of it.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink has many messages and attributes, of which we know a few"
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_wireguard::Prefix;
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Multicast groups (linux/rtnetlink.h): links, IPv4 addresses and routes, IPv6 addresses and routes.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/// A dump or a notification fits.
const BUFFER: usize = 1 << 16;

/// What a link is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Whether it is set up.
    pub up: bool,
    /// Its MTU in bytes.
    pub mtu: usize,
}

/// What happened to the network.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// A link came or changed.
    Link(Link),
    /// The link of this number is gone.
    Gone(u32),
    /// The route to a range came, changed or went.
    Route(Prefix),
    /// This machine has an address no longer.
    AddressGone(IpAddr),
}

/// Settings of a link; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Settings {
    /// The MTU in bytes.
    pub mtu: Option<usize>,
    /// The most packets in a super-packet.
    pub gso_max_segments: Option<usize>,
    /// The length of the transmit queue, in (super-)packets.
    pub queue_len: Option<usize>,
}

/// Looks a link up by its name.
///
/// # Errors
/// What the kernel says: `NotFound` (`ENODEV`) if there is none.
pub fn find(name: &str) -> io::Result<Link> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    match request(RouteNetlinkMessage::GetLink(message), 0)? {
        Some(RouteNetlinkMessage::NewLink(link)) => Ok(describe(&link)),
        _ => Err(io::Error::other("the kernel did not describe the link")),
    }
}

/// Changes a link.
///
/// # Errors
/// What the kernel says.
pub fn set(index: u32, settings: &Settings) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let attributes = [
        settings.mtu.map(|mtu| LinkAttribute::Mtu(number(mtu))),
        settings.gso_max_segments.map(|segments| LinkAttribute::GsoMaxSegs(number(segments))),
        settings.queue_len.map(|len| LinkAttribute::TxQueueLen(number(len))),
    ];
    message.attributes.extend(attributes.into_iter().flatten());
    request(RouteNetlinkMessage::SetLink(message), NLM_F_ACK).map(drop)
}

fn describe(link: &LinkMessage) -> Link {
    let mtu = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu as usize),
        _ => None,
    });
    Link { index: link.header.index, up: link.header.flags.contains(LinkFlags::Up), mtu: mtu.unwrap_or(0) }
}

/// One request, one answer.
fn request(message: RouteNetlinkMessage, flags: u16) -> io::Result<Option<RouteNetlinkMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    match parse(&answer)?.payload {
        NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
        NetlinkPayload::Error(error) => match error.code {
            Some(code) => Err(io::Error::from_raw_os_error(code.get().saturating_neg())),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

fn parse(bytes: &[u8]) -> io::Result<NetlinkMessage<RouteNetlinkMessage>> {
    NetlinkMessage::deserialize(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

/// Hears of every change to links, addresses and routes in a network namespace: that of the thread which made it.
pub struct Watch {
    socket: Socket,
}

impl Watch {
    /// Begins to listen.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, GROUPS))?;
        Ok(Self { socket })
    }

    /// Waits for changes. Those that this program does not know are passed over.
    ///
    /// # Errors
    /// What the kernel says; `ENOBUFS` if changes were lost.
    pub fn read(&self) -> io::Result<Vec<Event>> {
        let mut buffer = Vec::with_capacity(BUFFER);
        self.socket.recv(&mut buffer, 0)?;
        let mut events = Vec::new();
        let mut rest = buffer.as_slice();
        while let Some(length) = rest.first_chunk::<4>().map(|length| u32::from_ne_bytes(*length) as usize) {
            let Some(message) = rest.get(..length).filter(|message| message.len() >= 16) else { break };
            events.extend(parse(message).ok().and_then(event));
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(events)
    }
}

fn event(message: NetlinkMessage<RouteNetlinkMessage>) -> Option<Event> {
    let NetlinkPayload::InnerMessage(message) = message.payload else { return None };
    match message {
        RouteNetlinkMessage::NewLink(link) => Some(Event::Link(describe(&link))),
        RouteNetlinkMessage::DelLink(link) => Some(Event::Gone(link.header.index)),
        RouteNetlinkMessage::DelAddress(message) => {
            message.attributes.into_iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(address) | AddressAttribute::Address(address) => {
                    Some(Event::AddressGone(address))
                }
                _ => None,
            })
        }
        RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
            destination(&route).map(Event::Route)
        }
        _ => None,
    }
}

/// The range that a route is to; a default route names none.
fn destination(route: &RouteMessage) -> Option<Prefix> {
    let named = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some((*address).into()),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some((*address).into()),
        _ => None,
    });
    let any = match route.header.address_family {
        AddressFamily::Inet => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    Prefix::new(named.unwrap_or(any), route.header.destination_prefix_length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_link_is_found() {
        let link = find("lo").unwrap();
        assert_eq!((link.index, link.mtu), (1, 65_536));
    }

    #[test]
    fn a_link_that_does_not_exist_is_an_error() {
        assert_eq!(find("adit-none").unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}
