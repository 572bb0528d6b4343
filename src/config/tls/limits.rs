//! `timeouts`, `max_…` and `accept_proxy`.

use std::time::Duration;

use adit_wireguard::Prefix;

use super::super::endpoint::PREFIX;
use super::super::table::Table;
use super::duration::{DAY, duration};
use crate::tls::choice::Timeouts;
use crate::tls::limits::Settings;

/// The shortest time that a phase may have.
const LEAST: Duration = Duration::from_millis(100);
/// How long a handshake may take unless that is said.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// As much as the system has files.
const MOST: i128 = 10_000_000;
/// What wrong keys were probably meant to be.
const HINTS: &[(&str, &str)] = &[("tls", "did you mean handshake?"), ("client", "did you mean idle?")];

/// `timeouts`: that of handshakes, and the others.
pub(super) fn timeouts(table: &mut Table<'_>) -> (Duration, Timeouts) {
    let defaults = Timeouts::default();
    let Some(mut table) = table.value("timeouts").and_then(|value| value.entries()) else {
        return (HANDSHAKE, defaults);
    };
    let mut time = |key: &'static str| table.value(key).and_then(|value| duration(&value, LEAST, DAY));
    let (handshake, connect) = (time("handshake"), time("connect"));
    let (idle, half_closed) = (time("idle"), time("half_closed"));
    table.end(HINTS);
    let timeouts = Timeouts {
        connect: connect.unwrap_or(defaults.connect),
        idle: idle.unwrap_or(defaults.idle),
        half_closed: half_closed.unwrap_or(defaults.half_closed),
    };
    (handshake.unwrap_or(HANDSHAKE), timeouts)
}

/// `max_connections`, `max_connections_per_address` and `max_handshakes_per_address`
pub(super) fn limits(table: &mut Table<'_>) -> Settings {
    Settings {
        connections: table.value("max_connections").and_then(|value| value.integer(1..=MOST)),
        per_address: table.value("max_connections_per_address").and_then(|value| value.integer(1..=MOST)),
        handshakes: table.value("max_handshakes_per_address").and_then(|value| value.integer(1..=100_000)),
    }
}

/// `accept_proxy`
pub(super) fn accept_proxy(table: &mut Table<'_>) -> Vec<Prefix> {
    let Some(value) = table.value("accept_proxy") else { return Vec::new() };
    if value.is_empty_list() {
        value.refused("an empty list", format!("a list of {PREFIX}; or no accept_proxy"));
    }
    value.list(PREFIX, |element| element.parsed(PREFIX, |text| text.parse().ok()))
}
