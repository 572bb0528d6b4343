//! What the gateway tells of itself: as JSON to programs, by `aditctl status` to people, as metrics to Prometheus.
//!
//! `docs/status.schema.json` is made from these types. Fields are added, never renamed or removed, while [`SCHEMA`] stays.

pub mod macsec;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod schema_tests;
pub mod tls;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use macsec::Macsec;
pub use tls::Tls;

/// The version of this shape.
pub const SCHEMA: u32 = 1;

/// The gateway.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Status {
    /// The version of this shape.
    pub schema: u32,
    /// The daemon's version.
    pub version: String,
    /// What the gateway is called.
    pub name: String,
    /// The daemon's process.
    pub pid: u32,
    /// When it started: seconds since 1970.
    pub started: f64,
    /// When this was true: seconds since 1970.
    pub now: f64,
    /// The configuration in use.
    pub configuration: Configuration,
    /// What the daemon may do.
    pub privileges: Privileges,
    /// What is wrong, or weaker than it could be, in words.
    pub warnings: Vec<String>,
    /// WireGuard tunnels by the names of their interfaces.
    pub wireguard: BTreeMap<String, Wireguard>,
    /// Encrypted Ethernet links by their names.
    #[serde(default)]
    pub macsec: BTreeMap<String, Macsec>,
    /// Clients by the names of their tunnels.
    #[serde(default)]
    pub clients: BTreeMap<String, Clients>,
    /// Where TLS ends, by the names of the tables.
    #[serde(default)]
    pub tls: BTreeMap<String, Tls>,
}

/// The configuration in use.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Configuration {
    /// The file.
    pub file: String,
    /// When what is in use was loaded: seconds since 1970.
    pub loaded: f64,
    /// Reloads that took effect.
    pub reloads: u64,
    /// Reloads that changed nothing because something was wrong.
    pub reloads_refused: u64,
    /// What was wrong with the last reload, if anything was.
    pub error: Option<String>,
}

/// What the daemon may do.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Privileges {
    /// The user that it runs as.
    pub user: String,
    /// Its effective capabilities, as capabilities(7) names them.
    pub capabilities: Vec<String>,
}

/// How a tunnel is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It carries traffic.
    Up,
    /// Its interface is set down.
    Down,
    /// Its device, or what it is reached by, was taken away from outside; a reload makes it anew.
    #[default]
    Gone,
    /// Its control thread does not answer.
    Stuck,
}

/// A WireGuard tunnel.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Wireguard {
    /// How it is.
    pub state: State,
    /// Our public key, in base64.
    pub public_key: Option<String>,
    /// The UDP port; 0 if none is open.
    pub listen_port: u16,
    /// The firewall mark of what is sent; 0 for none.
    pub fwmark: u32,
    /// What it is secured with, as the configuration names it: `chacha20-poly1305` or `aes-256-gcm`.
    pub cipher: Option<String>,
    /// Who last began a handshake with another cipher, if anybody did in the last three minutes.
    pub other_cipher: Option<OtherCipher>,
    /// The MTU inside, in bytes.
    pub mtu: u32,
    /// Its addresses, with the lengths of their networks.
    pub addresses: Vec<String>,
    /// Whether unreachable routes stand behind the tunnel's own.
    pub fail_closed: bool,
    /// Offloads in use.
    pub offloads: Vec<String>,
    /// Workers, each with its counters.
    pub workers: Vec<Worker>,
    /// Handshake messages that wait to be looked at.
    pub handshake_queue: u64,
    /// Handshakes that were completed, with any peer.
    pub handshakes: u64,
    /// Dropped packets by reason; reasons without any are left out.
    pub drops: BTreeMap<String, u64>,
    /// Peers: those of the file first, by name, then the others.
    pub peers: Vec<Peer>,
    /// What is wrong, in words.
    pub warnings: Vec<String>,
}

/// A message that was made for our public key under another cipher. Nothing proves who sent it, or that it is new.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct OtherCipher {
    /// Where it came from: `address:port`.
    pub endpoint: String,
    /// Its cipher.
    pub cipher: String,
    /// How many seconds ago it came.
    pub age: f64,
}

impl OtherCipher {
    /// In words, for a tunnel with the cipher `ours`.
    #[must_use]
    pub fn told(&self, ours: &str) -> String {
        format!("somebody at {} speaks {}; this tunnel is set to {ours}", self.endpoint, self.cipher)
    }
}

/// A data thread.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Worker {
    /// Batches from the device to the network.
    pub outward: Batches,
    /// Batches from the network to the device.
    pub inward: Batches,
}

/// Batches of one direction.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Batches {
    /// Packets in all batches.
    pub packets: u64,
    /// How many batches had 1 packet, 2 to 3, 4 to 7, and so on: each bucket ends before twice its beginning.
    pub sizes: Vec<u64>,
}

/// The clients of a tunnel, which get their leases by the enrolment API.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Clients {
    /// Where the API answers: `address:port`.
    pub listen: Vec<String>,
    /// Leases that count now.
    pub leases: u64,
    /// How many there can be.
    pub capacity: u64,
    /// Leases granted or renewed since the start.
    pub granted: u64,
    /// Requests refused since the start.
    pub refused: u64,
    /// The same by the word that the API gives for each.
    #[serde(default)]
    pub refusals: BTreeMap<String, u64>,
    /// Connections since the start that ended without an answer, by why: `crowd`, `handshake`, `slow`, `broken`.
    #[serde(default)]
    pub lost: BTreeMap<String, u64>,
    /// Leases that ran out since the start.
    pub expired: u64,
    /// Leases that were ended since the start: by an operator, or because a certificate was revoked.
    pub ended: u64,
    /// What is wrong, in words.
    pub warnings: Vec<String>,
}

/// Who made a peer. Only the same may take it away. Who comes first has the last word.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The configuration file.
    File,
    /// A client's lease.
    Lease,
    /// `wg set` and its like.
    #[default]
    Uapi,
}

/// A peer of a WireGuard tunnel.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Peer {
    /// Its name in the configuration file.
    pub name: Option<String>,
    /// Its public key, in base64.
    pub public_key: String,
    /// Who made it.
    pub owner: Owner,
    /// Whether there is a preshared key.
    pub preshared_key: bool,
    /// Where it is reached: `address:port`.
    pub endpoint: Option<String>,
    /// The endpoint in the configuration file, if that is a name.
    pub endpoint_name: Option<String>,
    /// Addresses that it may use inside.
    pub allowed_ips: Vec<String>,
    /// The last handshake: seconds since 1970.
    pub latest_handshake: Option<f64>,
    /// How long ago that was by a clock that nobody sets, in seconds.
    pub handshake_age: Option<f64>,
    /// For how many seconds a handshake has been tried without an answer, if one is being tried.
    pub trying_for: Option<f64>,
    /// Seconds between keepalives; 0 for none.
    pub persistent_keepalive: u16,
    /// Bytes received in authentic UDP payloads.
    pub received_bytes: u64,
    /// Bytes sent in UDP payloads.
    pub sent_bytes: u64,
    /// Bytes received a second, over the last few seconds; absent while that is not known.
    pub received_rate: Option<f64>,
    /// Bytes sent a second, likewise.
    pub sent_rate: Option<f64>,
    /// The largest IP packet that the path outside takes, as far as the kernel knows.
    pub path_mtu: Option<u32>,
    /// What is wrong, in words.
    pub warnings: Vec<String>,
}
