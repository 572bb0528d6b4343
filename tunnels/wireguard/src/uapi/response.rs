//! Writing an answer.

use core::fmt::Write;

use adit_noise::PrivateKey;
use zeroize::Zeroizing;

use super::error::Errno;
use crate::PeerStatus;

/// What an interface tells of itself beside its peers.
#[derive(Clone, Copy, Debug, Default)]
pub struct DeviceStatus<'a> {
    /// The private key, if there is one.
    pub private_key: Option<&'a PrivateKey>,
    /// The UDP port; 0 is not shown.
    pub listen_port: u16,
    /// The firewall mark; 0 is not shown.
    pub fwmark: u32,
}

/// Bytes that the lines of an interface never exceed.
const DEVICE_ROOM: usize = 256;
/// Bytes that the lines of a peer never exceed, apart from its ranges.
const PEER_ROOM: usize = 640;
/// Bytes that the line of a range never exceeds.
const RANGE_ROOM: usize = 64;

/// The answer to `get=1`, with its `errno=0` and its blank line.
pub fn emit_get(device: DeviceStatus<'_>, peers: impl Iterator<Item = PeerStatus>) -> Zeroizing<String> {
    let peers: Vec<_> = peers.collect();
    // The text must not grow: what it outgrows is freed without being wiped.
    let ranges: usize = peers.iter().map(|peer| peer.allowed_ips.len()).sum();
    let room = DEVICE_ROOM + PEER_ROOM * peers.len() + RANGE_ROOM * ranges;
    let mut text = Zeroizing::new(String::with_capacity(room));
    if let Some(key) = device.private_key {
        line(&mut text, "private_key", key.to_hex().as_str());
    }
    if device.listen_port != 0 {
        line(&mut text, "listen_port", device.listen_port);
    }
    if device.fwmark != 0 {
        line(&mut text, "fwmark", device.fwmark);
    }
    for peer in &peers {
        emit_peer(&mut text, peer);
    }
    debug_assert!(text.len() + 16 <= room);
    text.push_str(&emit_errno(Errno::Success));
    text
}

/// The end of an answer: `errno=N` and a blank line.
#[must_use]
pub fn emit_errno(errno: Errno) -> String {
    format!("errno={}\n\n", errno.code())
}

fn emit_peer(text: &mut String, peer: &PeerStatus) {
    line(text, "public_key", peer.public_key.to_hex());
    line(text, "preshared_key", peer.preshared_key.to_hex().as_str());
    line(text, "protocol_version", 1);
    if let Some(endpoint) = peer.endpoint {
        line(text, "endpoint", endpoint);
    }
    let last = peer.last_handshake.unwrap_or_default();
    line(text, "last_handshake_time_sec", last.as_secs());
    line(text, "last_handshake_time_nsec", last.subsec_nanos());
    line(text, "tx_bytes", peer.sent_bytes);
    line(text, "rx_bytes", peer.received_bytes);
    let interval = peer.persistent_keepalive;
    line(text, "persistent_keepalive_interval", interval);
    for prefix in &peer.allowed_ips {
        line(text, "allowed_ip", prefix);
    }
}

fn line(text: &mut String, key: &str, value: impl core::fmt::Display) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{key}={value}");
}
