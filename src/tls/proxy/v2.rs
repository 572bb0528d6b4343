//! Version 2 (section 2.2): binary, with fields of type, length and value behind the addresses.
#![deny(clippy::indexing_slicing)]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::reader::Reader;
use super::{Header, LARGEST, Passed, ProxyError};

/// With what it begins.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes before the addresses.
const FIXED: usize = 16;
/// Version and command.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Families, with streams.
const UNSPEC: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;
/// Two addresses of sockets of the file system.
const UNIX_ADDRESSES: usize = 2 * 108;
/// Types of fields.
const TYPE_ALPN: u8 = 0x01;
const TYPE_AUTHORITY: u8 = 0x02;
const TYPE_CRC32C: u8 = 0x03;
const TYPE_SSL: u8 = 0x20;
const SUBTYPE_SSL_VERSION: u8 = 0x21;
const SUBTYPE_SSL_CN: u8 = 0x22;
const SUBTYPE_SSL_CIPHER: u8 = 0x23;
/// The client came over TLS.
const CLIENT_SSL: u8 = 0x01;
/// It showed a certificate on this connection, or in this session.
const CLIENT_CERT_CONN: u8 = 0x02;
const CLIENT_CERT_SESS: u8 = 0x04;
/// The longest value: a name may have 253 bytes, a protocol 255. What is longer is left out.
const LONGEST: usize = 512;

/// What a client has agreed on.
#[derive(Clone, Debug)]
pub struct Tls<'a> {
    /// As `TLSv1.3`.
    pub version: &'a str,
    /// As OpenSSL calls it.
    pub cipher: &'a str,
    /// Whether it showed a certificate. One that does not verify does not come so far.
    pub certificate: bool,
    /// The common name in it.
    pub common_name: Option<&'a str>,
}

pub(super) fn parse(received: &[u8]) -> Result<Option<(Header, usize)>, ProxyError> {
    let mut reader = Reader::new(received);
    if reader.bytes(SIGNATURE.len()).is_none() {
        return Ok(None);
    }
    let command = reader.u8();
    if command.is_some_and(|command| command != LOCAL && command != PROXY) {
        return Err(ProxyError::Malformed);
    }
    let (Some(command), Some(family), Some(length)) = (command, reader.u8(), reader.u16()) else {
        return Ok(None);
    };
    let length = usize::from(length);
    if FIXED + length > LARGEST {
        return Err(ProxyError::TooLong);
    }
    let Some(mut body) = reader.bytes(length).map(Reader::new) else { return Ok(None) };
    // Whatever a local connection says of itself is passed over.
    let header = if command == LOCAL { Header::Local } else { addresses(family, &mut body)? };
    let whole = received.get(..FIXED + length).unwrap_or_default();
    if command == PROXY && family != UNSPEC {
        fields(body, whole)?;
    }
    Ok(Some((header, FIXED + length)))
}

fn addresses(family: u8, body: &mut Reader<'_>) -> Result<Header, ProxyError> {
    let ends = match family {
        UNSPEC => return Ok(Header::Local),
        TCP4 => {
            let mut address =
                || body.bytes(4)?.as_array().map(|octets: &[u8; 4]| Ipv4Addr::from(*octets).into());
            (address(), address())
        }
        TCP6 => {
            let mut address =
                || body.bytes(16)?.as_array().map(|octets: &[u8; 16]| Ipv6Addr::from(*octets).into());
            (address(), address())
        }
        // The client is on the sender's own host: nothing that we could use.
        UNIX => return body.bytes(UNIX_ADDRESSES).map(|_| Header::Local).ok_or(ProxyError::Malformed),
        _ => return Err(ProxyError::Family),
    };
    match (ends, body.u16(), body.u16()) {
        ((Some(source), Some(destination)), Some(from), Some(to)) => Ok(Header::Proxied {
            source: SocketAddr::new(source, from),
            destination: SocketAddr::new(destination, to),
        }),
        _ => Err(ProxyError::Malformed),
    }
}

/// Reads the fields of the header `whole`: they have to fill it, and a checksum has to be right.
fn fields(mut fields: Reader<'_>, whole: &[u8]) -> Result<(), ProxyError> {
    while !fields.is_empty() {
        let kind = fields.u8().ok_or(ProxyError::Malformed)?;
        let value = fields.vector16().ok_or(ProxyError::Malformed)?;
        if kind == TYPE_CRC32C {
            let told: &[u8; 4] = value.as_array().ok_or(ProxyError::Malformed)?;
            // It is that of the header with zeros in its place.
            let at = whole.len() - fields.rest().len() - told.len();
            let zeroed = whole
                .iter()
                .enumerate()
                .map(|(place, byte)| if (at..at + told.len()).contains(&place) { 0 } else { *byte });
            if crc32c(zeroed) != u32::from_be_bytes(*told) {
                return Err(ProxyError::Checksum);
            }
        }
    }
    Ok(())
}

/// CRC32c (RFC 9260, appendix A), bit by bit: it comes once for a connection, if at all.
pub(super) fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1)))
    })
}

pub(super) fn emit_local(into: &mut Vec<u8>) {
    into.extend_from_slice(SIGNATURE);
    into.extend_from_slice(&[LOCAL, UNSPEC, 0, 0]);
}

pub(super) fn emit(passed: &Passed<'_>, into: &mut Vec<u8>) {
    let mut body = Vec::new();
    let (source, destination) = passed.ends();
    for end in [source, destination] {
        match end.ip() {
            std::net::IpAddr::V4(address) => body.extend_from_slice(&address.octets()),
            std::net::IpAddr::V6(address) => body.extend_from_slice(&address.octets()),
        }
    }
    for end in [source, destination] {
        body.extend_from_slice(&end.port().to_be_bytes());
    }
    if let Some(alpn) = passed.alpn {
        field(TYPE_ALPN, alpn, &mut body);
    }
    if let Some(authority) = passed.authority {
        field(TYPE_AUTHORITY, authority.as_bytes(), &mut body);
    }
    if let Some(tls) = &passed.tls {
        field(TYPE_SSL, &ssl(tls), &mut body);
    }
    let family = if source.is_ipv4() { TCP4 } else { TCP6 };
    into.extend_from_slice(SIGNATURE);
    into.extend_from_slice(&[PROXY, family]);
    into.extend_from_slice(&(body.len() as u16).to_be_bytes());
    into.extend_from_slice(&body);
}

/// The value of a field of [`TYPE_SSL`]: who it is, whether that is verified, and fields of its own.
fn ssl(tls: &Tls<'_>) -> Vec<u8> {
    let certificate = if tls.certificate { CLIENT_CERT_CONN | CLIENT_CERT_SESS } else { 0 };
    let mut value = vec![CLIENT_SSL | certificate];
    // Zero: there was a certificate, and it was verified.
    value.extend_from_slice(&u32::from(!tls.certificate).to_be_bytes());
    field(SUBTYPE_SSL_VERSION, tls.version.as_bytes(), &mut value);
    field(SUBTYPE_SSL_CIPHER, tls.cipher.as_bytes(), &mut value);
    if let Some(name) = tls.common_name {
        field(SUBTYPE_SSL_CN, name.as_bytes(), &mut value);
    }
    value
}

fn field(kind: u8, value: &[u8], into: &mut Vec<u8>) {
    if value.len() <= LONGEST {
        into.push(kind);
        into.extend_from_slice(&(value.len() as u16).to_be_bytes());
        into.extend_from_slice(value);
    }
}
