//! `[wireguard.NAME]`

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;

use adit_noise::PrivateKey;
use adit_wireguard::Prefix;

use super::across::Across;
use super::endpoint::ADDRESS;
use super::file::{Context, path};
use super::peer::{self, Routed};
use super::table::{Table, Value};
use super::unique::Unique;
use super::{Hooks, InterfaceAddress, MARK as DEFAULT_MARK, Table as RoutingTable, Wireguard, key_file};
use crate::control::interface_name;
use crate::net::route::MAIN;

/// What an interface's name may be.
pub(super) const INTERFACE: &str =
    "an interface's name of 1 to 15 visible bytes, none of them '/', '%' or ':'";
/// What `table` may be.
const TABLE: &str = "\"auto\", \"off\" or a number from 1 to 4294967295";
/// What `cipher` may be.
const CIPHER: &str = "\"chacha20-poly1305\" or \"aes-256-gcm\"";
/// What `fwmark` may be.
const MARK: &str = "a number from 0 to 4294967295, or a string as \"0xca6c\"";
/// What `fwmark` may be with a default route.
const TABLE_MARK: &str = "another number: with table = \"auto\" it is also the number of the default route's table, and 253 to 255 are the system's own";
/// What wrong keys were probably meant to be.
const HINTS: &[(&str, &str)] = &[
    (
        "private_key",
        "no keys in this file: write it to a file of mode 0600 and name that as private_key_file",
    ),
    ("address", "did you mean addresses?"),
    ("peers", "did you mean peer? Each peer is a table of its own: [wireguard.NAME.peer.PEER]"),
    ("port", "did you mean listen_port?"),
    ("dns", "adit sets no DNS servers; a hook can"),
];
/// Tables that the system fills itself: default, main and local (linux/rtnetlink.h, `RT_TABLE_*`).
const SYSTEM: RangeInclusive<u32> = 253..=255;

/// Every `[wireguard.NAME]`.
pub(super) fn tunnels<'a>(
    root: &mut Table<'a>,
    context: &mut Context<'_>,
    across: &mut Across<'a>,
) -> BTreeMap<String, Wireguard> {
    let named = root.named("wireguard", INTERFACE, |name| interface_name(name).is_ok());
    let mut between = Between::default();
    let mut tunnels = BTreeMap::new();
    for (name, table) in named {
        if let Some(value) = table.whole() {
            across.interface(name, &value);
        }
        if let Some(tunnel) = tunnel(table, context, across, &mut between) {
            tunnels.insert(name.to_owned(), tunnel);
        }
    }
    between.end();
    tunnels
}

/// What tunnels must not have in common, though a link may.
#[derive(Default)]
struct Between<'a> {
    /// Routes by their tables.
    routes: Unique<'a, (u32, Prefix)>,
    /// The first default route of each tunnel that gets a table of its own.
    defaults: Unique<'a, ()>,
}

impl<'a> Between<'a> {
    fn routes(&mut self, table: RoutingTable, fwmark: u32, routed: &[Routed<'a>]) {
        let mut once = HashSet::new();
        let default = |prefix: &Prefix| table == RoutingTable::Auto && prefix.length() == 0;
        let second = !self.defaults.is_empty();
        if let Some((_, value)) = routed.iter().find(|(prefix, _)| default(prefix)) {
            self.defaults.add((), value);
        }
        // What two peers of one tunnel claim is told there, and a second default route as such: neither is told again here.
        for (prefix, value) in routed.iter().filter(|(prefix, _)| once.insert(*prefix)) {
            if let Some(table) = table.of(*prefix, fwmark).filter(|_| !(second && default(prefix))) {
                self.routes.add((table, *prefix), value);
            }
        }
    }

    fn end(self) {
        let found = Value::found;
        self.routes.end(|(table, _), value| format!("{} in table {table}", found(value)), "a prefix that no other tunnel routes in the same table; table = \"off\" or another table avoids it");
        self.defaults.end(
            |(), value| found(value),
            "one tunnel with a default route and table = \"auto\"; give the others another table, or \"off\"",
        );
    }
}

fn tunnel<'a>(
    mut table: Table<'a>,
    context: &mut Context<'_>,
    across: &mut Across<'a>,
    between: &mut Between<'a>,
) -> Option<Wireguard> {
    let private_key = private_key(&mut table, context).map(|(key, value)| {
        across.tunnel_key(key.public(), &value);
        key
    });
    let port = table.value("listen_port");
    let listen_port = port.as_ref().and_then(|value| value.integer(0..=65_535)).unwrap_or(0);
    if let Some(value) = port {
        across.port(listen_port, &value);
    }
    let mark = table.value("fwmark");
    let fwmark = mark.as_ref().and_then(fwmark).unwrap_or(0);
    let addresses = table.value("addresses").map(|value| addresses(&value)).unwrap_or_default();
    let mtu_value = table.value("mtu");
    let cipher = table.value("cipher").and_then(|value| value.parsed(CIPHER, |text| text.parse().ok()));
    let routing = table.value("table").and_then(|value| routing_table(&value)).unwrap_or(RoutingTable::Auto);
    let allow_fail_open = table.value("allow_fail_open").and_then(|value| value.switch()).unwrap_or(false);
    let hooks = hooks(table.table("hooks"));
    let (peers, routed) = peer::peers(&mut table, context, private_key.as_ref());
    let ipv6 = addresses.iter().any(|address| address.address.is_ipv6())
        || (routing != RoutingTable::Off && routed.iter().any(|(prefix, _)| prefix.address().is_ipv6()));
    let mtu = mtu_value.and_then(|value| mtu(&value, ipv6)).unwrap_or(MTU);
    let default = routing == RoutingTable::Auto && routed.iter().any(|(prefix, _)| prefix.length() == 0);
    if let Some(mark) = mark.filter(|_| default && SYSTEM.contains(&fwmark)) {
        mark.wrong(TABLE_MARK);
    }
    between.routes(routing, fwmark, &routed);
    table.end(HINTS);
    let table = routing;
    private_key.map(|private_key| Wireguard {
        private_key,
        listen_port,
        fwmark,
        mtu,
        cipher: cipher.unwrap_or_default(),
        addresses,
        table,
        allow_fail_open,
        hooks,
        peers,
    })
}

/// The MTU of a tunnel that nobody has set one for: what fits 1,500 bytes with IPv6 outside, as everywhere in WireGuard.
const MTU: usize = 1_420;
/// What an interface with IPv6 needs (RFC 8200, section 5).
const MTU_IPV6: usize = 1_280;

/// `private_key_file`
pub(super) fn private_key<'a>(
    table: &mut Table<'a>,
    context: &mut Context<'_>,
) -> Option<(PrivateKey, Value<'a>)> {
    let Some(value) = table.value("private_key_file") else {
        table.missing("private_key_file", key_file::ALLOWED);
        return None;
    };
    let path = path(&value, context.folder)?;
    let key =
        key_file::key(&value, &path, context, key_file::ALLOWED, |text| PrivateKey::from_base64(text).ok());
    key.map(|key| (key, value))
}

/// `ipv6`: whether the interface has an address or a route of it, which the kernel refuses below its least MTU.
fn mtu(value: &Value<'_>, ipv6: bool) -> Option<usize> {
    let mtu = value.integer(576..=65_535)?;
    if mtu < MTU_IPV6 && ipv6 {
        value.wrong(format!("{MTU_IPV6} to 65535, for the interface has an IPv6 address or route"));
        return None;
    }
    Some(mtu)
}

fn addresses(value: &Value<'_>) -> Vec<InterfaceAddress> {
    let mut once = Unique::default();
    let addresses = value.list(ADDRESS, |element| {
        let address: InterfaceAddress = element.parsed(ADDRESS, |text| text.parse().ok())?;
        once.add(address.address, &element);
        Some(address)
    });
    once.end(|_, value| value.found(), "each address once");
    addresses
}

/// `fwmark`
pub(super) fn fwmark(value: &Value<'_>) -> Option<u32> {
    match value.number() {
        Some(number) => match u32::try_from(number) {
            Ok(mark) => Some(mark),
            Err(_) => {
                value.wrong(MARK);
                None
            }
        },
        None => value.parsed(MARK, |text| u32::from_str_radix(hexadecimal(text)?, 16).ok()),
    }
}

/// The digits behind `0x`.
fn hexadecimal(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(digits)
}

impl RoutingTable {
    /// The number of the table that a route of a tunnel with this `fwmark` is in, if it is in any.
    pub fn of(self, destination: Prefix, fwmark: u32) -> Option<u32> {
        match self {
            Self::Off => None,
            Self::Number(number) => Some(number),
            Self::Auto if destination.length() > 0 => Some(MAIN),
            Self::Auto if fwmark == 0 => Some(DEFAULT_MARK),
            Self::Auto => Some(fwmark),
        }
    }
}

fn routing_table(value: &Value<'_>) -> Option<RoutingTable> {
    let table = match value.text() {
        Some("auto") => Some(RoutingTable::Auto),
        Some("off") => Some(RoutingTable::Off),
        Some(_) => None,
        None => {
            let number = value.number().and_then(|number| u32::try_from(number).ok());
            number.filter(|number| *number != 0).map(RoutingTable::Number)
        }
    };
    if table.is_none() {
        value.wrong(TABLE);
    }
    table
}

/// `hooks`
pub(super) fn hooks(mut table: Table<'_>) -> Hooks {
    let allowed = "a command for /bin/sh -c";
    let mut commands = |key| {
        let command = |element: Value<'_>| {
            element.parsed(allowed, |text| {
                (!text.trim().is_empty() && !text.contains('\0')).then(|| text.to_owned())
            })
        };
        table.value(key).map(|value| value.list(allowed, command)).unwrap_or_default()
    };
    let hooks = Hooks {
        pre_up: commands("pre_up"),
        post_up: commands("post_up"),
        pre_down: commands("pre_down"),
        post_down: commands("post_down"),
    };
    table.end(&[]);
    hooks
}
