//! Reading a request.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::str::FromStr;

use adit_noise::{PresharedKey, PrivateKey, PublicKey};

use super::error::{Error, Reason};
use crate::{Cipher, PeerChange, Prefix};

/// Longest line, in bytes without its end. The longest that means anything has less than 100.
pub const MAX_LINE: usize = 1024;
/// Longest request, in bytes: tens of thousands of peers.
pub const MAX_REQUEST: usize = 16 << 20;

/// The number of the interface of this name, if there is one.
pub type Scope<'a> = dyn Fn(&str) -> Option<u32> + 'a;

/// What is asked for.
#[derive(Debug)]
pub enum Request {
    /// To show everything.
    Get,
    /// To change something, in this order.
    Set(Vec<Change>),
}

/// One thing to change.
#[derive(Debug)]
pub enum Change {
    /// The private key; `None` takes it away.
    PrivateKey(Option<PrivateKey>),
    /// The cipher. No request asks for it, only a configuration file does.
    Cipher(Cipher),
    /// The UDP port to listen on; 0 lets the system choose.
    ListenPort(u16),
    /// The firewall mark of what is sent; 0 is none.
    Fwmark(u32),
    /// Remove all peers.
    ReplacePeers,
    /// Create or change a peer.
    Peer(PublicKey, PeerChange),
    /// Remove a peer.
    RemovePeer(PublicKey),
}

/// The peer that lines are about.
struct Section {
    key: PublicKey,
    remove: bool,
    change: PeerChange,
}

impl Request {
    /// The length of the first whole request in `bytes`, through its first blank line; `None` while that is still to
    /// come. What follows is the next request.
    ///
    /// More bytes need not be searched from the start: the search may begin at the last byte of those searched before.
    #[must_use]
    pub fn split(bytes: &[u8]) -> Option<usize> {
        bytes.windows(2).position(|pair| pair == b"\n\n").map(|at| at + 2)
    }

    /// Reads a whole request, its blank line included. Link-local endpoints name their interface by number.
    ///
    /// # Errors
    /// The first line that is wrong, and why.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        Self::parse_scoped(bytes, &|_| None)
    }

    /// Like [`Self::parse`], but an endpoint may also name its interface as `[fe80::1%eth0]:51820`, as `wg` sends it:
    /// `scope` knows the numbers of interfaces by their names.
    ///
    /// # Errors
    /// The first line that is wrong, and why.
    pub fn parse_scoped(bytes: &[u8], scope: &Scope<'_>) -> Result<Self, Error> {
        if bytes.len() > MAX_REQUEST {
            return Err(Error { line: 1, reason: Reason::RequestTooLong });
        }
        let mut lines = Lines { rest: bytes, number: 0 };
        match lines.next()? {
            "get=1" => match lines.next()? {
                "" => lines.finish().map(|()| Self::Get),
                _ => Err(lines.error(Reason::Trailing)),
            },
            "set=1" => parse_set(&mut lines, scope).map(Self::Set),
            _ => Err(lines.error(Reason::UnknownOperation)),
        }
    }
}

/// The lines of a request.
struct Lines<'a> {
    rest: &'a [u8],
    /// Of the line last read, from 1.
    number: usize,
}

impl<'a> Lines<'a> {
    /// The next line, without its end.
    fn next(&mut self) -> Result<&'a str, Error> {
        self.number += 1;
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or(self.error(Reason::Unfinished))?;
        if end > MAX_LINE {
            return Err(self.error(Reason::LineTooLong));
        }
        let (line, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        self.rest = rest.get(1..).unwrap_or_default();
        str::from_utf8(line).map_err(|_| self.error(Reason::NotText))
    }

    /// The line last read must have been the last there is.
    fn finish(&mut self) -> Result<(), Error> {
        if self.rest.is_empty() {
            return Ok(());
        }
        self.number += 1;
        Err(self.error(Reason::Trailing))
    }

    /// Something is wrong with the line last read.
    fn error(&self, reason: Reason) -> Error {
        Error { line: self.number, reason }
    }
}

fn parse_set(lines: &mut Lines<'_>, scope: &Scope<'_>) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    let mut section: Option<Section> = None;
    loop {
        let text = lines.next()?;
        if text.is_empty() {
            changes.extend(section.take().map(Section::into_change));
            return lines.finish().map(|()| changes);
        }
        let (key, value) = text.split_once('=').ok_or(lines.error(Reason::NotKeyValue))?;
        let parsed = match (key, &mut section) {
            ("public_key", _) => PublicKey::from_hex(value)
                .map_err(|_| Reason::BadKey)
                .map(|key| section.replace(Section::new(key)))
                .map(|before| changes.extend(before.map(Section::into_change))),
            (_, None) => device(key, value).map(|change| changes.push(change)),
            (_, Some(section)) => section.set(key, value, scope),
        };
        parsed.map_err(|reason| lines.error(reason))?;
    }
}

/// A line ahead of all peers.
fn device(key: &str, value: &str) -> Result<Change, Reason> {
    Ok(match key {
        "private_key" => {
            // Clamping would turn the zeros into a key, so they are looked for first.
            let none = value.len() == 64 && value.bytes().all(|digit| digit == b'0');
            let key = PrivateKey::from_hex(value).map_err(|_| Reason::BadKey)?;
            Change::PrivateKey((!none).then_some(key))
        }
        "listen_port" => Change::ListenPort(number(value)?),
        "fwmark" => Change::Fwmark(number(value)?),
        "replace_peers" => yes(value).map(|()| Change::ReplacePeers)?,
        _ => return Err(Reason::UnknownDeviceKey),
    })
}

impl Section {
    fn new(key: PublicKey) -> Self {
        Self { key, remove: false, change: PeerChange::default() }
    }

    /// A line about this peer.
    fn set(&mut self, key: &str, value: &str, scope: &Scope<'_>) -> Result<(), Reason> {
        let change = &mut self.change;
        match key {
            "remove" => yes(value).map(|()| self.remove = true),
            "update_only" => yes(value).map(|()| change.update_only = true),
            "preshared_key" => PresharedKey::from_hex(value)
                .map_err(|_| Reason::BadKey)
                .map(|key| change.preshared_key = Some(key)),
            "endpoint" => endpoint(value, scope).map(|endpoint| change.endpoint = Some(endpoint)),
            "persistent_keepalive_interval" => {
                number(value).map(|seconds| change.persistent_keepalive = Some(seconds))
            }
            "replace_allowed_ips" => yes(value).map(|()| {
                change.replace_allowed_ips = true;
                change.allowed_ips.clear();
            }),
            "allowed_ip" => {
                let (add, prefix) = match value.strip_prefix('-') {
                    Some(prefix) => (false, prefix),
                    None => (true, value.strip_prefix('+').unwrap_or(value)),
                };
                // An address without a length is a mistake, though it has a meaning elsewhere.
                let prefix =
                    Some(prefix).filter(|prefix| prefix.contains('/')).ok_or(Reason::BadAllowedIp)?;
                Prefix::from_str(prefix)
                    .map_err(|_| Reason::BadAllowedIp)
                    .map(|prefix| change.allowed_ips.push((add, prefix)))
            }
            "protocol_version" if value == "1" => Ok(()),
            "protocol_version" => Err(Reason::BadVersion),
            _ => Err(Reason::UnknownPeerKey),
        }
    }

    fn into_change(self) -> Change {
        if self.remove { Change::RemovePeer(self.key) } else { Change::Peer(self.key, self.change) }
    }
}

fn yes(value: &str) -> Result<(), Reason> {
    if value == "true" { Ok(()) } else { Err(Reason::NotTrue) }
}

/// A decimal number, without the sign that `from_str` would take.
fn number<T: FromStr>(value: &str) -> Result<T, Reason> {
    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Reason::BadNumber);
    }
    value.parse().map_err(|_| Reason::BadNumber)
}

/// `address:port`, `[address]:port` or `[address%interface]:port` with the interface's number or name.
fn endpoint(value: &str, scope: &Scope<'_>) -> Result<SocketAddr, Reason> {
    let refused = Reason::BadEndpoint;
    let (host, port) = value.rsplit_once(':').ok_or(refused)?;
    let port = number(port).map_err(|_| refused)?;
    let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) else {
        let address: Ipv4Addr = host.parse().map_err(|_| refused)?;
        return Ok(SocketAddr::new(address.into(), port));
    };
    let (address, zone) = match inner.split_once('%') {
        Some((address, zone)) => (address, number(zone).ok().or_else(|| scope(zone)).ok_or(refused)?),
        None => (inner, 0),
    };
    let address: Ipv6Addr = address.parse().map_err(|_| refused)?;
    Ok(match address.to_ipv4_mapped() {
        Some(v4) => SocketAddr::new(v4.into(), port),
        None => SocketAddrV6::new(address, port, 0, zone).into(),
    })
}
