//! What the client tells of a tunnel.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::dns::Keeper;
use crate::store::Wall;

/// The version of this shape.
pub(super) const SCHEMA: u32 = 1;
/// A session ends after so long without a handshake (WireGuard, section 6.1, `Reject-After-Time`): the gateway may be gone.
pub(super) const ALIVE: Duration = Duration::from_secs(180);
/// A handshake without an answer for so long is told: two initiations.
pub(super) const SILENCE: Duration = Duration::from_secs(6);

/// One tunnel.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Tunnel {
    /// The version of this shape.
    pub(super) schema: u32,
    /// The profile, and the interface.
    pub(super) profile: String,
    /// How it is, in a word.
    pub(super) state: State,
    /// What is wrong, in words; the first is why it is not connected.
    pub(super) problems: Vec<String>,
    /// The process; none if nothing runs.
    pub(super) pid: Option<u32>,
    /// What carries the tunnel.
    pub(super) transport: String,
    /// The gateway as the profile has it.
    pub(super) gateway: Option<String>,
    /// Where it is: `address:port`.
    pub(super) endpoint: Option<String>,
    /// How long ago the last handshake was, in seconds.
    pub(super) handshake_age: Option<f64>,
    /// For how many seconds a handshake has been tried without an answer, if one is being tried.
    pub(super) trying_for: Option<f64>,
    /// The largest IP packet that the path outside takes, as far as the kernel knows.
    pub(super) path_mtu: Option<u32>,
    /// The MTU inside.
    pub(super) mtu: u32,
    /// Bytes received.
    pub(super) received_bytes: u64,
    /// Bytes sent.
    pub(super) sent_bytes: u64,
    /// The interface's addresses.
    pub(super) addresses: Vec<String>,
    /// What goes through the tunnel.
    pub(super) routes: Vec<String>,
    /// Whether that is everything.
    pub(super) full_tunnel: bool,
    /// Whether nothing leaves but through a tunnel.
    pub(super) kill_switch: bool,
    /// The site's name servers.
    pub(super) dns: Vec<String>,
    /// Who was told of them.
    pub(super) dns_keeper: Option<Keeper>,
    /// When the lease ends, in seconds since 1970.
    pub(super) lease_end: Option<Wall>,
}

/// How a tunnel is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// It carries traffic: there was a handshake in the last 180 seconds.
    Connected,
    /// The gateway has been asked, and may still answer.
    Connecting,
    /// No route leads to the gateway.
    NoRoute,
    /// The gateway's name has no address.
    NoAddress,
    /// The gateway does not answer.
    NoAnswer,
    /// The gateway has not been asked for as long as a session lasts: nobody sends, or the machine has slept.
    Idle,
    /// The gateway's machine, or one before it, says no.
    Refused,
    /// A firewall of this machine holds back what is sent.
    HeldBack,
    /// The lease is over.
    Expired,
    /// The gateway has forgotten us.
    Removed,
    /// This machine's clock is behind.
    Clock,
    /// The interface was set down, or is gone.
    Broken,
    /// Nothing runs.
    #[default]
    Down,
    /// Nothing runs, but what a client laid is still there.
    Left,
}

impl State {
    /// In words.
    #[must_use]
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Connecting => "connecting",
            Self::Down => "down",
            Self::Left => "down, but a client that crashed has left something",
            Self::NoRoute
            | Self::NoAddress
            | Self::NoAnswer
            | Self::Refused
            | Self::HeldBack
            | Self::Expired
            | Self::Removed
            | Self::Idle
            | Self::Clock
            | Self::Broken => "not connected",
        }
    }
}

/// A time in words, to two units.
#[must_use]
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(length, _)| whole >= *length).unwrap_or(units.len() - 1);
    let mut left = whole;
    let parts = units.iter().skip(first).take(2).filter_map(|(length, unit)| {
        let count = left / length;
        left %= length;
        (count > 0 || *length == 1 && whole == 0).then(|| format!("{count} {unit}"))
    });
    parts.collect::<Vec<_>>().join(" ")
}
