//! Policy rules for default routes into tunnels, as wg-quick makes them.
//!
//! What a tunnel sends to its peers has a mark and passes by; everything else looks into the tunnel's own table. Before
//! that comes the main table without its default routes, so that the local network and routes of its kind stay in use.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink has many messages and attributes, of which we know a few"
)]

use std::io;

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink;
use super::route::{MAIN, PROTOCOL};

/// A rule of ours.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Rule {
    /// Which packets it is for.
    pub family: Family,
    /// What it says.
    pub kind: Kind,
}

/// Rules of one family do not touch packets of the other.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// `table main suppress_prefixlength 0`: the main table, but for its default routes.
    Specific,
    /// `not fwmark MARK table TABLE`: what does not have the mark looks into the table.
    Unmarked {
        /// The mark of what tunnels send.
        mark: u32,
        /// Where the default route into the tunnel is.
        table: u32,
    },
}

/// Adds a rule. False if it was there before, so that whoever undoes his doings leaves it.
///
/// The kernel puts a new rule before all others, so [`Kind::Specific`] is added last, as by wg-quick. Where it is already,
/// an [`Kind::Unmarked`] gets its preference, and comes behind it: rules of equal preference go by age.
///
/// # Errors
/// What the kernel says.
pub fn add(rule: Rule) -> io::Result<bool> {
    let rules = dump()?;
    if rules.iter().any(|(known, _)| *known == rule) {
        return Ok(false);
    }
    let specific = Rule { kind: Kind::Specific, ..rule };
    let preference = rules.iter().find(|(known, _)| *known == specific).map(|(_, preference)| *preference);
    // Without NLM_F_EXCL: the same rule of another's does not do, since the other takes it away again.
    netlink::change(RouteNetlinkMessage::NewRule(message(rule, preference)), NLM_F_CREATE)?;
    Ok(true)
}

/// Takes away a rule of ours ([`PROTOCOL`]). False if there is none; those that others made are left.
///
/// # Errors
/// What the kernel says.
pub fn remove(rule: Rule) -> io::Result<bool> {
    let mut removed = false;
    for (_, preference) in dump()?.into_iter().filter(|(known, _)| *known == rule) {
        match netlink::change(RouteNetlinkMessage::DelRule(message(rule, Some(preference))), 0) {
            Ok(()) => removed = true,
            Err(error) if netlink::errno(&error) == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

/// All rules of ours ([`PROTOCOL`]), those of each family in the order in which they apply.
///
/// # Errors
/// What the kernel says.
pub fn list() -> io::Result<Vec<Rule>> {
    Ok(dump()?.into_iter().map(|(rule, _)| rule).collect())
}

/// Has the kernel look up the way back to a sender by the mark of what came in, as wg-quick does for IPv4 (the `sysctl`
/// `net.ipv4.conf.all.src_valid_mark`). True if it was off. It needs `CAP_NET_ADMIN`, and a `/proc/sys` that can be
/// written.
///
/// Only a strict `rp_filter` (1) makes it necessary: it drops a peer's datagrams, since the way to the peer would be the
/// tunnel. A mark on what comes in is up to the firewall (`meta mark set ct mark`): without such a rule this changes
/// nothing. A loose `rp_filter` (2) or none needs neither.
///
/// # Errors
/// What the system says.
pub fn set_src_valid_mark() -> io::Result<bool> {
    let path = "/proc/sys/net/ipv4/conf/all/src_valid_mark";
    if std::fs::read_to_string(path)?.trim() == "1" {
        return Ok(false);
    }
    std::fs::write(path, "1")?;
    Ok(true)
}

/// Our rules with their preferences.
fn dump() -> io::Result<Vec<(Rule, u32)>> {
    let mut rules = Vec::new();
    for family in [Family::V4, Family::V6] {
        let mut request = RuleMessage::default();
        request.header.family = family.into();
        rules.extend(netlink::dump(&RouteNetlinkMessage::GetRule(request), |entry| match entry {
            RouteNetlinkMessage::NewRule(entry) => describe(&entry).filter(|(rule, _)| rule.family == family),
            _ => None,
        })?);
    }
    Ok(rules)
}

fn message(rule: Rule, preference: Option<u32>) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = rule.family.into();
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL))];
    message.attributes.extend(preference.map(RuleAttribute::Priority));
    match rule.kind {
        Kind::Specific => {
            message.attributes.extend([RuleAttribute::Table(MAIN), RuleAttribute::SuppressPrefixLen(0)]);
        }
        Kind::Unmarked { mark, table } => {
            message.header.flags = RuleFlags::Invert;
            message.attributes.extend([RuleAttribute::Table(table), RuleAttribute::FwMark(mark)]);
        }
    }
    message
}

/// `None` for what is not ours or says something else.
fn describe(message: &RuleMessage) -> Option<(Rule, u32)> {
    let family = Family::try_from(message.header.family).ok()?;
    let (mut table, mut preference, mut mark, mut suppressed, mut ours) = (0, 0, 0, None, false);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Priority(number) => preference = *number,
            RuleAttribute::FwMark(number) => mark = *number,
            RuleAttribute::SuppressPrefixLen(length) if *length != u32::MAX => suppressed = Some(*length),
            RuleAttribute::Protocol(protocol) => ours = *protocol == RouteProtocol::from(PROTOCOL),
            _ => {}
        }
    }
    let inverted = message.header.flags.contains(RuleFlags::Invert);
    let kind = match (inverted, mark, suppressed) {
        (false, 0, Some(0)) if table == MAIN => Kind::Specific,
        (true, mark, None) if mark != 0 => Kind::Unmarked { mark, table },
        _ => return None,
    };
    ours.then_some((Rule { family, kind }, preference))
}

impl From<Family> for AddressFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => Self::Inet,
            Family::V6 => Self::Inet6,
        }
    }
}

impl TryFrom<AddressFamily> for Family {
    type Error = ();

    fn try_from(family: AddressFamily) -> Result<Self, ()> {
        match family {
            AddressFamily::Inet => Ok(Self::V4),
            AddressFamily::Inet6 => Ok(Self::V6),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests;
