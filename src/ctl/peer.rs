//! A peer as `wg show` has it, and more.

use crate::status::{Owner, Peer};

use super::paint::{Paint, escape};
use super::render::Text;
use super::units;

/// Appends a peer; `now` in seconds since 1970 is when its state was true.
pub(super) fn show(text: &mut Text, peer: &Peer, now: f64) {
    let paint = text.paint;
    text.line(&format!("{}: {}", paint.peer("peer"), paint.yellow(&escape(&peer.public_key))));
    if let Some(name) = &peer.name {
        text.field("name", &escape(name));
    }
    match peer.owner {
        Owner::File => {}
        Owner::Lease => text.field("owner", "a lease; see aditctl client list"),
        Owner::Uapi => text.field("owner", "made by wg set or the like, not by the configuration file"),
    }
    if peer.preshared_key {
        text.field("preshared key", "(hidden)");
    }
    endpoint(text, peer);
    let allowed = match peer.allowed_ips.as_slice() {
        [] => "(none)".into(),
        allowed => prefixes(allowed, paint),
    };
    text.field("allowed ips", &allowed);
    handshake(text, peer, now);
    transfer(text, peer);
    if let Some(mtu) = peer.path_mtu {
        text.field("path mtu", &mtu.to_string());
    }
    if peer.persistent_keepalive != 0 {
        let every = units::span(peer.persistent_keepalive.into(), paint);
        text.field("persistent keepalive", &format!("every {every}"));
    }
}

/// Prefixes in a row.
pub(super) fn prefixes(prefixes: &[String], paint: Paint) -> String {
    let one = |prefix: &String| match prefix.split_once('/') {
        Some((address, length)) => format!("{}{}{}", escape(address), paint.cyan("/"), escape(length)),
        None => escape(prefix).into_owned(),
    };
    prefixes.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn endpoint(text: &mut Text, peer: &Peer) {
    let name = peer.endpoint_name.as_deref().map(escape);
    match (&peer.endpoint, name) {
        (Some(address), Some(name)) => text.field("endpoint", &format!("{} ({name})", escape(address))),
        (Some(address), None) => text.field("endpoint", &escape(address)),
        (None, Some(name)) => text.field("endpoint", &format!("{name} (not resolved yet)")),
        (None, None) => {}
    }
}

fn handshake(text: &mut Text, peer: &Peer, now: f64) {
    let paint = text.paint;
    if let Some(age) = peer.handshake_age.or_else(|| Some(now - peer.latest_handshake?)) {
        text.field("latest handshake", &units::ago(age, paint));
    }
    if let Some(seconds) = peer.trying_for {
        text.field("handshake tried", &format!("for {}, no answer", units::span(seconds as u64, paint)));
    }
}

fn transfer(text: &mut Text, peer: &Peer) {
    let paint = text.paint;
    if peer.received_bytes > 0 || peer.sent_bytes > 0 {
        let (received, sent) =
            (units::bytes(peer.received_bytes, paint), units::bytes(peer.sent_bytes, paint));
        text.field("transfer", &format!("{received} received, {sent} sent"));
    }
    if let (Some(received), Some(sent)) = (peer.received_rate, peer.sent_rate) {
        let (received, sent) = (units::rate(received, paint), units::rate(sent, paint));
        text.field("rate", &format!("{received} received, {sent} sent"));
    }
}
