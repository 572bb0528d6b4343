//! Addresses of interfaces, as `ip address` sees them.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink has many messages and attributes, of which we know a few"
)]

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink;
use crate::config::InterfaceAddress;

/// Gives an address to the interface of this number. False if that very address was there before, so that whoever undoes
/// his doings leaves it. As with `ip address add`, the kernel makes a route to its network.
///
/// # Errors
/// What the kernel says. `EEXIST` if an IPv6 address is there with another length: that one has to be removed first.
pub fn add(index: u32, address: InterfaceAddress) -> io::Result<bool> {
    let request = RouteNetlinkMessage::NewAddress(message(index, address));
    match netlink::change(request, NLM_F_CREATE | NLM_F_EXCL) {
        Ok(()) => Ok(true),
        Err(error) if netlink::errno(&error) == Some(libc::EEXIST) && list(index)?.contains(&address) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Takes an address away. False if it was not there.
///
/// # Errors
/// What the kernel says.
pub fn remove(index: u32, address: InterfaceAddress) -> io::Result<bool> {
    match netlink::change(RouteNetlinkMessage::DelAddress(message(index, address)), 0) {
        Ok(()) => Ok(true),
        Err(error) if netlink::errno(&error) == Some(libc::EADDRNOTAVAIL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// All addresses of an interface, also those that the kernel made (`fe80::`).
///
/// # Errors
/// What the kernel says.
pub fn list(index: u32) -> io::Result<Vec<InterfaceAddress>> {
    let mut request = AddressMessage::default();
    request.header.index = index;
    netlink::dump(&RouteNetlinkMessage::GetAddress(request), |entry| match entry {
        RouteNetlinkMessage::NewAddress(entry) if entry.header.index == index => describe(&entry),
        _ => None,
    })
}

fn message(index: u32, address: InterfaceAddress) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = address.prefix_len;
    message.header.family = match address.address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    if address.address.is_ipv6() {
        // Nobody else is on a point-to-point link who could have it, and until that is found out it cannot be used.
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    message.attributes =
        vec![AddressAttribute::Local(address.address), AddressAttribute::Address(address.address)];
    message
}

fn describe(message: &AddressMessage) -> Option<InterfaceAddress> {
    // With a remote end, `Address` is that and `Local` is ours; IPv6 without one has no `Local`.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    Some(InterfaceAddress { address: local.or(address)?, prefix_len: message.header.prefix_len })
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, UdpSocket};

    use super::*;
    use crate::net::isolated::{isolated, make_link};

    fn address(address: &str, prefix_len: u8) -> InterfaceAddress {
        InterfaceAddress { address: address.parse().unwrap(), prefix_len }
    }

    #[test]
    fn addresses_come_are_listed_and_go() {
        isolated(|| {
            let index = make_link("wg0");
            for address in [address("10.20.0.1", 24), address("fd20::1", 64)] {
                assert!(add(index, address).unwrap());
                assert!(!add(index, address).unwrap(), "it was there");
                // IPv6 too is of use at once: nobody is asked whether he has it.
                UdpSocket::bind(SocketAddr::new(address.address, 0)).unwrap();
                assert!(list(index).unwrap().contains(&address));
                assert!(!list(1).unwrap().contains(&address));
                assert!(remove(index, address).unwrap());
                assert!(!remove(index, address).unwrap(), "it is gone");
                assert!(!list(index).unwrap().contains(&address));
            }
        });
    }

    #[test]
    fn an_address_with_another_length_is_another() {
        isolated(|| {
            let index = make_link("wg0");
            add(index, address("10.20.0.1", 24)).unwrap();
            assert!(add(index, address("10.20.0.1", 16)).unwrap());
            add(index, address("fd20::1", 64)).unwrap();
            assert_eq!(netlink::errno(&add(index, address("fd20::1", 48)).unwrap_err()), Some(libc::EEXIST));
            assert!(!remove(index, address("fd20::1", 48)).unwrap());
            assert!(list(index).unwrap().contains(&address("fd20::1", 64)));
        });
    }

    #[test]
    fn an_interface_that_is_gone_has_no_addresses() {
        isolated(|| {
            assert_eq!(netlink::errno(&add(99, address("10.20.0.1", 24)).unwrap_err()), Some(libc::ENODEV));
            assert_eq!(netlink::errno(&list(99).unwrap_err()), Some(libc::ENODEV));
        });
    }
}
