//! The PROXY protocol (HAProxy, doc/proxy-protocol.txt, versions 1 and 2): who the client was, told by whoever passes its
//! connection on. Bytes in, bytes out.
#![deny(clippy::indexing_slicing)]

mod v1;
mod v2;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

pub use v2::Tls;

/// More than this is refused: bytes of a header. A sender that says all it can needs some hundred.
pub const LARGEST: usize = 4096;

/// Which form is sent. Both are taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary, with what is known of TLS.
    V2,
}

impl FromStr for Version {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(()),
        }
    }
}

/// What was read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Header {
    /// Nothing is said of a client: the connection is what it seems, such as a check of the sender's own.
    Local,
    /// A connection that was passed on.
    Proxied {
        /// The client's address.
        source: SocketAddr,
        /// The one that it came to.
        destination: SocketAddr,
    },
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// Neither version begins so.
    #[error("no PROXY header")]
    NoHeader,
    /// A line without an end, or more than [`LARGEST`] bytes.
    #[error("a PROXY header that is too long")]
    TooLong,
    /// A line that is none, a version, a command or lengths that cannot be.
    #[error("a malformed PROXY header")]
    Malformed,
    /// Another family than IPv4, IPv6 and unix, or datagrams.
    #[error("a PROXY header of another protocol")]
    Family,
    /// What it says of itself does not add up.
    #[error("a PROXY header with a wrong checksum")]
    Checksum,
}

impl Header {
    /// Reads a header from the front of what came: with the number of its bytes, or `None` if it is not all there.
    ///
    /// # Errors
    /// Nothing that may yet come can make it one.
    pub fn parse(received: &[u8]) -> Result<Option<(Self, usize)>, ProxyError> {
        if begins(received, v2::SIGNATURE) {
            return v2::parse(received);
        }
        if begins(received, v1::BEGIN) { v1::parse(received) } else { Err(ProxyError::NoHeader) }
    }
}

/// Whether these bytes are the beginning of `of`, or begin with it.
fn begins(bytes: &[u8], of: &[u8]) -> bool {
    bytes.iter().zip(of).all(|(one, other)| one == other)
}

/// What is told of a connection that is passed on.
#[derive(Clone, Debug)]
pub struct Passed<'a> {
    /// The client's address.
    pub source: SocketAddr,
    /// The one that it came to.
    pub destination: SocketAddr,
    /// What it has agreed on with us, if TLS ends here.
    pub tls: Option<Tls<'a>>,
    /// The protocol inside that was agreed.
    pub alpn: Option<&'a [u8]>,
    /// The server's name that it asked for.
    pub authority: Option<&'a str>,
}

impl Passed<'_> {
    /// Appends a header.
    pub fn emit(&self, version: Version, into: &mut Vec<u8>) {
        match version {
            Version::V1 => v1::emit(self.ends(), into),
            Version::V2 => v2::emit(self, into),
        }
    }

    /// Both addresses, of one family.
    fn ends(&self) -> (SocketAddr, SocketAddr) {
        let (source, destination) = (canonical(self.source), canonical(self.destination));
        if source.is_ipv4() == destination.is_ipv4() {
            return (source, destination);
        }
        (mapped(source), mapped(destination))
    }
}

/// Appends a header that says nothing of a client: for connections of our own.
pub fn emit_local(version: Version, into: &mut Vec<u8>) {
    match version {
        Version::V1 => into.extend_from_slice(v1::UNKNOWN),
        Version::V2 => v2::emit_local(into),
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

#[cfg(test)]
mod tests;
