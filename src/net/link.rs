//! Network links by rtnetlink: what a device is set to, and what becomes of it.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink has many messages and attributes, of which we know a few"
)]

use std::io;
use std::net::IpAddr;

use adit_wireguard::Prefix;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::netlink::{self, BUFFER, Message};
use super::route;

/// Multicast groups (linux/rtnetlink.h): links, IPv4 addresses and routes, IPv6 addresses and routes.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// What a link is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Whether it is set up.
    pub up: bool,
    /// Its MTU in bytes.
    pub mtu: usize,
    /// Its MAC address, if it is an Ethernet link.
    pub mac: Option<[u8; 6]>,
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
    /// Whether it is set up.
    pub up: Option<bool>,
    /// The MTU in bytes.
    pub mtu: Option<usize>,
    /// The MAC address. The kernel refuses that of a group.
    pub mac: Option<[u8; 6]>,
    /// The length of the transmit queue, in (super-)packets.
    pub queue_len: Option<usize>,
    /// The number of the link that it is made a port of, a bridge for one; 0 for none.
    pub controller: Option<u32>,
}

/// Looks a link up by its name.
///
/// # Errors
/// What the kernel says: `NotFound` (`ENODEV`) if there is none.
pub fn find(name: &str) -> io::Result<Link> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    get(message).map(|link| describe(&link))
}

/// Looks a link up by its number.
///
/// # Errors
/// What the kernel says: `NotFound` (`ENODEV`) if there is none.
pub fn find_index(index: u32) -> io::Result<Link> {
    get_index(index).map(|link| describe(&link))
}

/// The name of a link at this moment.
///
/// # Errors
/// What the kernel says: `NotFound` (`ENODEV`) if there is none.
pub fn name(index: u32) -> io::Result<String> {
    let name = get_index(index)?.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    });
    name.ok_or_else(|| io::Error::other("the kernel did not name the link"))
}

/// The number of the link that a link is a port of, if it is a port.
///
/// # Errors
/// What the kernel says: `NotFound` (`ENODEV`) if there is no such link.
pub fn controller(index: u32) -> io::Result<Option<u32>> {
    let controller = get_index(index)?.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) => Some(index),
        _ => None,
    });
    Ok(controller.filter(|index| *index != 0))
}

fn get_index(index: u32) -> io::Result<LinkMessage> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    get(message)
}

fn get(message: LinkMessage) -> io::Result<LinkMessage> {
    match netlink::get(RouteNetlinkMessage::GetLink(message))? {
        RouteNetlinkMessage::NewLink(link) => Ok(link),
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
        settings.queue_len.map(|len| LinkAttribute::TxQueueLen(number(len))),
        settings.mac.map(|mac| LinkAttribute::Address(mac.to_vec())),
        settings.controller.map(LinkAttribute::Controller),
    ];
    message.attributes.extend(attributes.into_iter().flatten());
    if let Some(up) = settings.up {
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    }
    netlink::change(RouteNetlinkMessage::SetLink(message), 0)
}

fn describe(link: &LinkMessage) -> Link {
    let mtu = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu as usize),
        _ => None,
    });
    let ethernet = link.header.link_layer_type == LinkLayerType::Ether;
    let mac = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(address) if ethernet => address.as_slice().try_into().ok(),
        _ => None,
    });
    let up = link.header.flags.contains(LinkFlags::Up);
    Link { index: link.header.index, up, mtu: mtu.unwrap_or(0), mac }
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
        Ok(netlink::messages(&buffer).filter_map(event).collect())
    }
}

fn event(message: Message) -> Option<Event> {
    let NetlinkPayload::InnerMessage(message) = message.payload else { return None };
    match message {
        // A bridge tells of its ports: one that leaves it is deleted from there alone.
        RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link)
            if link.header.interface_family == AddressFamily::Bridge =>
        {
            None
        }
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
            route::destination(&route).map(Event::Route)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::isolated::{isolated, make_bridge, make_link};

    #[test]
    fn the_loopback_link_is_found() {
        let link = find("lo").unwrap();
        assert_eq!((link.index, link.mtu), (1, 65_536));
    }

    #[test]
    fn a_link_that_does_not_exist_is_an_error() {
        assert_eq!(find("adit-none").unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn a_link_is_set_up_and_down_and_otherwise_left() {
        isolated(|| {
            let index = make_link("wg0");
            let set = |settings: Settings| {
                set(index, &settings).unwrap();
                find("wg0").unwrap()
            };
            let down = set(Settings { up: Some(false), mtu: Some(1400), ..Settings::default() });
            assert_eq!((down.index, down.up, down.mtu), (index, false, 1400));
            assert!(set(Settings { up: Some(true), ..Settings::default() }).up);
            let left = set(Settings { mtu: Some(1300), ..Settings::default() });
            assert_eq!(left, Link { up: true, mtu: 1300, ..down });
        });
    }

    #[test]
    fn a_link_has_the_mac_address_that_it_was_given_and_never_that_of_a_group() {
        isolated(|| {
            let index = make_link("eth0");
            let set = |mac| set(index, &Settings { mac: Some(mac), ..Settings::default() });
            set([2, 0, 0, 0, 0, 7]).unwrap();
            assert_eq!(find_index(index).unwrap().mac, Some([2, 0, 0, 0, 0, 7]));
            let error = set([3, 0, 0, 0, 0, 7]).unwrap_err();
            assert_eq!(netlink::errno(&error), Some(libc::EADDRNOTAVAIL));
            assert_eq!(find("lo").unwrap().mac, None);
        });
    }

    #[test]
    fn a_link_is_made_a_port_of_a_bridge_and_let_go() {
        isolated(|| {
            let (bridge, port) = (make_bridge("br0"), make_link("eth0"));
            let set =
                |controller| set(port, &Settings { controller: Some(controller), ..Settings::default() });
            assert_eq!(controller(port).unwrap(), None);
            set(bridge).unwrap();
            assert_eq!(controller(port).unwrap(), Some(bridge));
            set(0).unwrap();
            assert_eq!(controller(port).unwrap(), None);
        });
    }

    #[test]
    fn a_port_that_leaves_its_bridge_is_not_gone() {
        isolated(|| {
            let (bridge, port) = (make_bridge("br0"), make_link("eth0"));
            let watch = Watch::new().unwrap();
            for controller in [bridge, 0] {
                set(port, &Settings { controller: Some(controller), ..Settings::default() }).unwrap();
            }
            set(port, &Settings { mtu: Some(1300), ..Settings::default() }).unwrap();
            let mut events = Vec::new();
            let last =
                |event: &Event| matches!(event, Event::Link(link) if link.index == port && link.mtu == 1300);
            while !events.iter().any(last) {
                events.extend(watch.read().unwrap());
            }
            assert!(!events.contains(&Event::Gone(port)), "{events:?}");
        });
    }

    #[test]
    fn a_link_is_named_by_its_number() {
        isolated(|| {
            assert_eq!(name(make_link("eth0")).unwrap(), "eth0");
            assert_eq!(name(99).unwrap_err().raw_os_error(), Some(libc::ENODEV));
        });
    }
}
