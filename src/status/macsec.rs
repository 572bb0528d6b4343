//! Encrypted Ethernet links, in the words of IEEE 802.1AE-2018.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{State, Worker};

/// Counters by their names in the standard, as `InPktsOK` (clauses 10.5 to 10.7).
pub type Counters = BTreeMap<String, u64>;

/// An encrypted Ethernet link.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Macsec {
    /// How it is. `up`: there is a key to send with, and something that carries frames.
    pub state: State,
    /// The TAP device.
    pub tap: String,
    /// The bridge that the device is a port of.
    pub bridge: Option<String>,
    /// The MTU of the device, in bytes.
    pub mtu: u32,
    /// The Ethernet link that carries the frames, if one does.
    pub link: Option<Link>,
    /// The datagrams that carry the frames, if they do.
    pub udp: Option<Udp>,
    /// The identifier of our channel: `address/port`.
    pub sci: Option<String>,
    /// The cipher suite, as the configuration names it.
    pub cipher: String,
    /// Whether frames are only protected against change.
    pub integrity_only: bool,
    /// Octets at the beginning of each frame's data that are not encrypted.
    pub confidentiality_offset: u32,
    /// What becomes of received frames that are not authentic: `strict`, `check` or `disabled`.
    pub validate: String,
    /// So many packet numbers may frames be late; absent where each is taken once, in a window of fixed size.
    pub replay_window: Option<u32>,
    /// How receivers learn whose a frame is: `included`, `end-station`, `broadcast` or `none`.
    pub sci_encoding: String,
    /// VLAN tags that stay in clear.
    pub clear_tags: u32,
    /// How keys are agreed upon; absent if they are static.
    pub key_agreement: Option<KeyAgreement>,
    /// Our channel.
    pub transmit: Channel,
    /// Those of other stations, in the order of their identifiers.
    pub receive: Vec<Channel>,
    /// Counters of the SecY beside those of its channels.
    pub counters: Counters,
    /// Offloads in use.
    pub offloads: Vec<String>,
    /// Workers, each with its counters.
    pub workers: Vec<Worker>,
    /// Dropped frames by reason; reasons without any are left out.
    pub drops: BTreeMap<String, u64>,
    /// What is wrong or weaker than it could be, in words.
    pub warnings: Vec<String>,
}

/// An Ethernet link that carries frames.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Whether it is there, and set up.
    pub up: bool,
    /// Whether a guard holds back what is in clear.
    pub guarded: bool,
    /// Frames in clear that arrived and were held back, since the guard was laid.
    pub held_back_in: u64,
    /// Frames in clear that this host wanted to send and were held back.
    pub held_back_out: u64,
}

/// Datagrams that carry frames.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Udp {
    /// The port; 0 if none is open.
    pub listen_port: u16,
    /// The firewall mark of what is sent; 0 for none.
    pub fwmark: u32,
    /// Where the other end is reached: `address:port`.
    pub endpoint: Option<String>,
    /// The peer in the configuration file, if that is a name.
    pub endpoint_name: Option<String>,
    /// The largest IP packet that the path takes, as far as the kernel knows.
    pub path_mtu: Option<u32>,
}

/// How keys are agreed upon with the other end.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct KeyAgreement {
    /// Our public key, in base64.
    pub public_key: String,
    /// That of the other end.
    pub peer_public_key: String,
    /// Whether there is a preshared key.
    pub preshared_key: bool,
    /// Handshakes that led to keys.
    pub handshakes: u64,
    /// Messages that wait to be looked at.
    pub handshake_queue: u64,
    /// The last handshake: seconds since 1970.
    pub latest_handshake: Option<f64>,
    /// How long ago that was by a clock that nobody sets, in seconds.
    pub handshake_age: Option<f64>,
    /// For how many seconds a handshake has been tried without an answer, if one is being tried.
    pub trying_for: Option<f64>,
    /// How many seconds ago anything authentic came from the other end.
    pub heard: Option<f64>,
    /// In what both ends are configured differently, in words, if that is why there are no keys.
    pub disagreement: Option<String>,
}

/// A secure channel: one station's frames.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Channel {
    /// Its name in the configuration file.
    pub name: Option<String>,
    /// Its identifier: `address/port`.
    pub sci: String,
    /// Its associations that have a key, in the order of their numbers.
    pub associations: Vec<Association>,
    /// Counters of all of them together, also of those that are gone.
    pub counters: Counters,
}

/// A secure association: what is sent under one key.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Association {
    /// Its number, 0 to 3.
    pub an: u8,
    /// Of ours: frames are sent under it. Of others: authentic frames have come under it.
    pub in_use: bool,
    /// The next packet number.
    pub next_pn: u64,
    /// Of a receive association: the lowest packet number that is still taken.
    pub lowest_pn: Option<u64>,
    /// What its key is called, in hexadecimal digits; it tells nothing of the key, and is the same at the other end.
    pub key_id: String,
    /// The sender's short identifier, with extended packet numbers.
    pub ssci: Option<u32>,
    /// How many seconds ago it got its key.
    pub age: f64,
    /// Its counters.
    pub counters: Counters,
}
