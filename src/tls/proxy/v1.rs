//! Version 1 (section 2.1): a line of text.
#![deny(clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Header, ProxyError};

/// With what it begins.
pub(super) const BEGIN: &[u8] = b"PROXY ";
/// Nothing is known.
pub(super) const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";
/// The longest line, with its end.
const LONGEST: usize = 107;

pub(super) fn parse(received: &[u8]) -> Result<Option<(Header, usize)>, ProxyError> {
    let seen = received.get(..LONGEST).unwrap_or(received);
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        return if seen.len() == LONGEST { Err(ProxyError::TooLong) } else { Ok(None) };
    };
    let line = seen.get(BEGIN.len()..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.and_then(|line| str::from_utf8(line).ok()).ok_or(ProxyError::Malformed)?;
    Ok(Some((header(line)?, end + 1)))
}

/// What stands between `PROXY ` and the end of the line.
fn header(line: &str) -> Result<Header, ProxyError> {
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    let address: fn(&str) -> Option<IpAddr> = match family {
        // Whatever follows is to be passed over.
        "UNKNOWN" => return Ok(Header::Local),
        "TCP4" => |word| word.parse::<Ipv4Addr>().ok().map(Into::into),
        "TCP6" => |word| word.parse::<Ipv6Addr>().ok().map(Into::into),
        _ => return Err(ProxyError::Family),
    };
    let mut ends = || {
        let (source, destination) = (address(words.next()?)?, address(words.next()?)?);
        let (from, to) = (port(words.next()?)?, port(words.next()?)?);
        Some((SocketAddr::new(source, from), SocketAddr::new(destination, to)))
    };
    let ends = ends().filter(|_| words.next().is_none());
    let (source, destination) = ends.ok_or(ProxyError::Malformed)?;
    Ok(Header::Proxied { source, destination })
}

/// A port in decimal, without a sign and without zeros ahead of it.
fn port(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| plain)
}

pub(super) fn emit((source, destination): (SocketAddr, SocketAddr), into: &mut Vec<u8>) {
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.port(), destination.port());
    let line = format!("PROXY {family} {} {} {from} {to}\r\n", source.ip(), destination.ip());
    into.extend_from_slice(line.as_bytes());
}
