//! Routes into tunnels, and the unreachable routes that stand behind them.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink has many messages and attributes, of which we know a few"
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_wireguard::Prefix;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink;

/// Who made a route or a rule: `ip route show table all proto 173` and `ip rule show proto 173` show ours. The number is
/// unassigned in linux/rtnetlink.h and in iproute2's `rt_protos`.
pub const PROTOCOL: u8 = 173;
/// The main table (linux/rtnetlink.h, `RT_TABLE_MAIN`).
pub const MAIN: u32 = 254;
/// The metric of a guard: the highest that there is, in both families, so that any other route to the same range goes first.
///
/// The kernel removes routes with the device that they lead to, but an unreachable route stays, and is all that is left.
/// Setting `lo` down removes those of IPv6.
pub const GUARD_METRIC: u32 = u32::MAX;

/// What the kernel makes of metric 0 in IPv6 (`IP6_RT_PRIO_USER`).
const DEFAULT_METRIC_V6: u32 = 1024;
/// `lo` in every network namespace (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

/// A route.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Route {
    /// The range it leads to.
    pub destination: Prefix,
    /// The table it is in.
    pub table: u32,
    /// Of several to the same range the lowest wins. In IPv6 0 means 1024, and is listed as that.
    pub metric: u32,
    /// Where it leads.
    pub to: Target,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Target {
    /// To the link of this number.
    Link(u32),
    /// Nowhere: who sends there is told so.
    Unreachable,
}

impl Route {
    /// A route to a link, of the default metric.
    #[must_use]
    pub fn link(destination: Prefix, table: u32, index: u32) -> Self {
        Self { destination, table, metric: 0, to: Target::Link(index) }.normal()
    }

    /// What keeps a range from leaving elsewhere once the route into the tunnel is gone.
    #[must_use]
    pub fn guard(destination: Prefix, table: u32) -> Self {
        Self { destination, table, metric: GUARD_METRIC, to: Target::Unreachable }
    }

    /// With the metric that the kernel tells.
    fn normal(self) -> Self {
        let v6 = self.destination.address().is_ipv6();
        Self { metric: if v6 && self.metric == 0 { DEFAULT_METRIC_V6 } else { self.metric }, ..self }
    }
}

/// Adds a route. False if that very route was there before, ours or, as the kernel's to a network of the interface,
/// somebody else's: who undoes his doings leaves it.
///
/// To find out what was there the table is read, so that who adds thousands after a restart had better [`list`] them before.
///
/// # Errors
/// What the kernel says. `EEXIST` if another route to the same range has the same metric in the same table.
pub fn add(route: Route) -> io::Result<bool> {
    match netlink::change(RouteNetlinkMessage::NewRoute(message(route)), NLM_F_CREATE | NLM_F_EXCL) {
        Ok(()) => Ok(true),
        Err(error) if netlink::errno(&error) == Some(libc::EEXIST) && exists(route)? => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes away a route of ours ([`PROTOCOL`]). False if there is none; those that others made are left.
///
/// # Errors
/// What the kernel says.
pub fn remove(route: Route) -> io::Result<bool> {
    let mut message = message(route);
    if route.to == Target::Unreachable && route.destination.address().is_ipv6() {
        // The kernel compares the device, but not the kind: this spares a route to a link with the same metric.
        message.attributes.push(RouteAttribute::Oif(LOOPBACK));
    }
    match netlink::change(RouteNetlinkMessage::DelRoute(message), 0) {
        Ok(()) => Ok(true),
        Err(error) if matches!(netlink::errno(&error), Some(libc::ESRCH | libc::ENODEV)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The routes of all tables that a protocol made, ours with [`PROTOCOL`]. Those that lead elsewhere than a [`Target`] can
/// say are left out.
///
/// # Errors
/// What the kernel says.
pub fn list(protocol: u8) -> io::Result<Vec<Route>> {
    let protocol = RouteProtocol::from(protocol);
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        request.header.protocol = protocol;
        routes.extend(dump(request, |header| header.protocol == protocol)?);
    }
    Ok(routes)
}

/// Whether there is such a route, whoever made it.
fn exists(route: Route) -> io::Result<bool> {
    let mut request = RouteMessage::default();
    request.header.address_family = family(route.destination);
    request.attributes.push(RouteAttribute::Table(route.table));
    match route.to {
        Target::Link(index) => request.attributes.push(RouteAttribute::Oif(index)),
        Target::Unreachable => request.header.kind = RouteType::Unreachable,
    }
    Ok(dump(request, |_| true)?.contains(&route.normal()))
}

/// Routes of one family. Kernels before 4.20 answer with more than was asked for.
fn dump(request: RouteMessage, wanted: impl Fn(&RouteHeader) -> bool) -> io::Result<Vec<Route>> {
    let family = request.header.address_family;
    netlink::dump(&RouteNetlinkMessage::GetRoute(request), |entry| match entry {
        RouteNetlinkMessage::NewRoute(entry) if entry.header.address_family == family => {
            describe(&entry).filter(|_| wanted(&entry.header))
        }
        _ => None,
    })
}

fn family(prefix: Prefix) -> AddressFamily {
    if prefix.address().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn message(route: Route) -> RouteMessage {
    let route = route.normal();
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(route.destination);
    header.destination_prefix_length = route.destination.length();
    header.protocol = RouteProtocol::from(PROTOCOL);
    (header.kind, header.scope) = match route.to {
        Target::Link(_) => (RouteType::Unicast, RouteScope::Link),
        Target::Unreachable => (RouteType::Unreachable, RouteScope::Universe),
    };
    message.attributes = vec![
        RouteAttribute::Destination(route.destination.address().into()),
        RouteAttribute::Priority(route.metric),
        RouteAttribute::Table(route.table),
    ];
    if let Target::Link(index) = route.to {
        message.attributes.push(RouteAttribute::Oif(index));
    }
    message
}

/// `None` for what a [`Route`] cannot say: gateways, several paths, other kinds.
fn describe(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    let (mut table, mut metric, mut link) = (u32::from(header.table), 0, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) | RouteAttribute::MultiPath(_) => {
                return None;
            }
            _ => {}
        }
    }
    let to = match header.kind {
        RouteType::Unicast => Target::Link(link?),
        RouteType::Unreachable => Target::Unreachable,
        _ => return None,
    };
    Some(Route { destination: destination(message)?, table, metric, to })
}

/// The range that a route is to; a default route names none.
pub(super) fn destination(route: &RouteMessage) -> Option<Prefix> {
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
mod tests;
