//! Where a peer is reached, and the addresses of an interface, as text.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use adit_wireguard::Prefix;

use super::{EndpointName, InterfaceAddress};

/// What an endpoint may be.
pub(super) const ENDPOINT: &str =
    "HOST:PORT, as 198.51.100.7:51820, [2001:db8::7]:51820 or gate.example.org:51820";
/// What an address of an interface may be.
pub(super) const ADDRESS: &str = "an address with the length of its network, as 10.20.0.1/24 or fd20::1/64";
/// What a range of addresses may be.
pub(super) const PREFIX: &str = "an IPv4 or IPv6 prefix such as 10.30.0.0/16";

/// A text is not what it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected {0}")]
pub struct Unreadable(&'static str);

impl FromStr for EndpointName {
    type Err = Unreadable;

    /// Reads `ADDRESS:PORT`, `[ADDRESS]:PORT` or `NAME:PORT`, whose port is not 0.
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let wrong = Unreadable(ENDPOINT);
        if let Ok(address) = text.parse::<SocketAddr>() {
            let nobody = address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast();
            return if nobody { Err(wrong) } else { Ok(Self::Address(address)) };
        }
        let (host, port) = text.rsplit_once(':').ok_or(wrong)?;
        // `u16::from_str` takes a sign, a port has none.
        let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        let port = port.and_then(|port| port.parse().ok()).filter(|port| *port != 0).ok_or(wrong)?;
        if !is_name(host) {
            return Err(wrong);
        }
        Ok(Self::Dns { host: host.to_owned(), port })
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Dns { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Whether a text is a host's name (RFC 1123, section 2.1), perhaps with underscores, and not a wrong address: its last
/// label has a letter.
fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.split('.').all(label)
        && last.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !last.starts_with("0x")
}

impl FromStr for InterfaceAddress {
    type Err = Unreadable;

    /// Reads `ADDRESS/LENGTH`, or an address alone, whose network is itself. The bits behind the length are kept.
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let wrong = Unreadable(ADDRESS);
        let prefix = text.parse::<Prefix>().map_err(|_| wrong)?;
        let address = text.split('/').next().unwrap_or_default().parse::<IpAddr>().map_err(|_| wrong)?;
        if address.is_unspecified() || address.is_multicast() {
            return Err(wrong);
        }
        Ok(Self { address, prefix_len: prefix.length() })
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}
