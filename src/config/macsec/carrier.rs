//! What carries the frames of a link, and the device that hosts see.

use super::super::across::Across;
use super::super::endpoint::ENDPOINT;
use super::super::table::{Table, Value};
use super::super::tunnel::{INTERFACE, fwmark};
use super::{Carrier, Udp};
use crate::control::interface_name;

/// What carries the frames.
const CARRIER: &str = "link = \"INTERFACE\" or udp = { listen = PORT, peer = \"HOST:PORT\" }";

/// `link` or `udp`; `None` if neither is right.
pub(super) fn carrier<'a>(table: &mut Table<'a>, across: &mut Across<'a>) -> Option<Carrier> {
    let (link, whole, udp) = (table.value("link"), table.value("udp"), table.optional_table("udp"));
    match (link, whole) {
        (Some(_), Some(value)) => {
            value.refused("udp beside link", "one of them");
            // What is in it is not judged, nor what follows from either.
            None
        }
        (Some(value), None) => {
            let name = interface(&value)?;
            across.link(&name, &value);
            Some(Carrier::Link(name))
        }
        (None, Some(value)) => udp.and_then(|table| datagrams(&value, table, across)).map(Carrier::Udp),
        (None, None) => {
            table.missing("link", CARRIER);
            None
        }
    }
}

fn datagrams<'a>(whole: &Value<'a>, mut table: Table<'a>, across: &mut Across<'a>) -> Option<Udp> {
    let port = table.value("listen");
    let listen = port.as_ref().map(|value| value.integer(0..=65_535));
    if let (Some(value), Some(Some(listen))) = (&port, listen) {
        across.port(listen, value);
    }
    let peer = table.value("peer").map(|value| value.parsed(ENDPOINT, |text| text.parse().ok()));
    let mark = table.value("fwmark").and_then(|value| fwmark(&value));
    table.end(&[
        ("port", "did you mean listen?"),
        ("listen_port", "did you mean listen?"),
        ("endpoint", "did you mean peer?"),
    ]);
    if peer.is_none() && matches!(listen, None | Some(Some(0))) {
        whole.refused(
            "neither a port nor a peer",
            "listen = PORT, for the other end to begin, or peer = \"HOST:PORT\", or both",
        );
    }
    // A wrong one is none, and was told of.
    Some(Udp { listen: listen.flatten().unwrap_or(0), peer: peer.flatten(), fwmark: mark.unwrap_or(0) })
}

/// The TAP device, and the bridge that it is a port of.
pub(super) fn device<'a>(
    name: &str,
    table: &mut Table<'a>,
    across: &mut Across<'a>,
) -> (String, Option<String>) {
    let whole = table.whole();
    let tap = table.value("tap").and_then(|value| Some((interface(&value)?, value)));
    let tap = match (tap, whole) {
        (Some((tap, value)), whole) => {
            across.interface(&tap, &value);
            if let Some(whole) = whole.filter(|_| tap != name) {
                across.name(name, &whole);
            }
            tap
        }
        (None, whole) => {
            if let Some(whole) = whole {
                across.interface(name, &whole);
            }
            name.to_owned()
        }
    };
    let bridge = table.value("bridge").and_then(|value| {
        let bridge = interface(&value)?;
        across.bridge(&bridge, &value);
        Some(bridge)
    });
    (tap, bridge)
}

fn interface(value: &Value<'_>) -> Option<String> {
    value.parsed(INTERFACE, |text| interface_name(text).ok())
}
