//! As much of IPv4 (RFC 791) and IPv6 (RFC 8200) as a tunnel needs of the packets it carries.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::field::u16_at;

/// Bytes of an IPv4 header without options.
pub const V4_LEN: usize = 20;
/// Bytes of an IPv6 header without extension headers.
pub const V6_LEN: usize = 40;

/// IPv6 extension headers walked through at most. RFC 8200, section 4.1, has three before the
/// transport that [`IpHeader::parse`] knows; more than that is not worth the time.
const MAX_EXTENSIONS: usize = 4;

const HOP_BY_HOP: u8 = 0;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// The version of an IP packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// RFC 791.
    V4,
    /// RFC 8200.
    V6,
}

impl Version {
    /// The version of `packet`; `None` if it is empty or of another one.
    pub fn of(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Some(Self::V4),
            6 => Some(Self::V6),
            _ => None,
        }
    }
}

/// How an IP packet is laid out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IpHeader {
    /// 4 or 6.
    pub version: Version,
    /// Bytes ahead of what `protocol` names: the header with its options or extension headers.
    pub header_len: usize,
    /// Bytes of the whole packet by its own account. At least `header_len`, at most what was given.
    pub total_len: usize,
    /// The transport protocol; in IPv6 the first next-header value that is neither hop-by-hop nor
    /// destination options. A routing header ends the walk, as the addresses in the packet are then
    /// not those of the transport's checksum.
    pub protocol: u8,
    /// Whether this is a piece of a packet, or has a fragment header.
    pub fragment: bool,
    /// Whether there are IPv4 options or IPv6 extension headers.
    pub options: bool,
}

impl IpHeader {
    /// Reads the header at the start of `packet`, which may be longer than the IP packet (padding).
    ///
    /// `None` if the packet is shorter than it says, or its lengths contradict each other. The IPv4
    /// header checksum is not verified.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        match Version::of(packet)? {
            Version::V4 => Self::parse_v4(packet),
            Version::V6 => Self::parse_v6(packet),
        }
    }

    fn parse_v4(packet: &[u8]) -> Option<Self> {
        let header: &[u8; V4_LEN] = packet.first_chunk()?;
        let total_len = trim(packet)?;
        let header_len = v4_header_len(packet)?;
        Some(Self {
            version: Version::V4,
            header_len,
            total_len,
            protocol: *header.get(9)?,
            // Everything but "reserved" and "don't fragment".
            fragment: u16_at(header, 6)? & 0x3fff != 0,
            options: header_len > V4_LEN,
        })
    }

    fn parse_v6(packet: &[u8]) -> Option<Self> {
        let total_len = trim(packet)?;
        let packet = packet.get(..total_len)?;
        let mut protocol = *packet.get(6)?;
        let mut header_len = V6_LEN;
        for _ in 0..MAX_EXTENSIONS {
            if protocol != HOP_BY_HOP && protocol != DESTINATION_OPTIONS {
                break;
            }
            let &[next, len] = packet.get(header_len..)?.first_chunk()?;
            protocol = next;
            header_len += 8 * (usize::from(len) + 1);
        }
        Some(Self {
            version: Version::V6,
            header_len: (header_len <= total_len).then_some(header_len)?,
            total_len,
            protocol,
            fragment: protocol == FRAGMENT,
            options: header_len > V6_LEN || protocol == FRAGMENT,
        })
    }
}

/// The true length of the IP packet at the start of a padded buffer; `None` if the buffer holds no
/// whole packet.
pub fn trim(packet: &[u8]) -> Option<usize> {
    let total_len = match Version::of(packet)? {
        Version::V4 => {
            let total_len = usize::from(u16_at(packet, 2)?);
            (total_len >= v4_header_len(packet)?).then_some(total_len)?
        }
        Version::V6 => usize::from(u16_at(packet, 4)?) + V6_LEN,
    };
    (total_len <= packet.len()).then_some(total_len)
}

/// The source address; `None` if `packet` is too short or neither IPv4 nor IPv6.
pub fn source(packet: &[u8]) -> Option<IpAddr> {
    address(packet, 12, 8)
}

/// The destination address; `None` if `packet` is too short or neither IPv4 nor IPv6.
pub fn destination(packet: &[u8]) -> Option<IpAddr> {
    address(packet, 16, 24)
}

/// Source and destination as they adjoin in the header, 8 or 32 bytes, for
/// [`Sum::pseudo`](crate::Sum::pseudo).
pub fn addresses(packet: &[u8]) -> Option<&[u8]> {
    match Version::of(packet)? {
        Version::V4 => packet.get(12..20),
        Version::V6 => packet.get(8..40),
    }
}

fn address(packet: &[u8], v4: usize, v6: usize) -> Option<IpAddr> {
    Some(match Version::of(packet)? {
        Version::V4 => Ipv4Addr::from(*packet.get(v4..)?.first_chunk::<4>()?).into(),
        Version::V6 => Ipv6Addr::from(*packet.get(v6..)?.first_chunk::<16>()?).into(),
    })
}

fn v4_header_len(packet: &[u8]) -> Option<usize> {
    let len = usize::from(packet.first()? & 0x0f) * 4;
    (len >= V4_LEN).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(len: u16) -> Vec<u8> {
        let mut packet = vec![0; usize::from(len)];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        packet[9] = 17;
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet
    }

    fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; V6_LEN];
        packet[0] = 0x60;
        packet[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
        packet[6] = next;
        packet[23] = 1;
        packet[39] = 2;
        packet.extend(payload);
        packet
    }

    #[test]
    fn reads_both_families() {
        let packet = v4(60);
        let header = IpHeader::parse(&packet).unwrap();
        assert_eq!((header.version, header.header_len), (Version::V4, 20));
        assert_eq!((header.total_len, header.protocol), (60, 17));
        assert!(!header.fragment && !header.options);
        assert_eq!(source(&packet), "10.0.0.1".parse().ok());
        assert_eq!(destination(&packet), "10.0.0.2".parse().ok());

        let packet = v6(6, &[0; 30]);
        let header = IpHeader::parse(&packet).unwrap();
        assert_eq!((header.version, header.header_len), (Version::V6, 40));
        assert_eq!((header.total_len, header.protocol), (70, 6));
        assert!(!header.fragment && !header.options);
        assert_eq!(source(&packet), "::1".parse().ok());
        assert_eq!(destination(&packet), "::2".parse().ok());
        assert_eq!(addresses(&packet).map(<[u8]>::len), Some(32));
    }

    #[test]
    fn padding_is_trimmed_and_truncation_refused() {
        for packet in [v4(60), v6(17, &[0; 20])] {
            let mut padded = packet.clone();
            padded.resize(64, 0);
            assert_eq!(trim(&padded), Some(60));
            assert_eq!(trim(&packet[..59]), None);
            assert_eq!(IpHeader::parse(&packet[..59]), None);
        }
    }

    #[test]
    fn contradictory_lengths_are_refused() {
        let mut packet = v4(60);
        packet[0] = 0x44;
        assert_eq!(IpHeader::parse(&packet), None, "header below 20 bytes");
        packet[0] = 0x4f;
        packet[3] = 59;
        assert_eq!(IpHeader::parse(&packet), None, "total below the header");
        packet[0] = 0x55;
        assert_eq!(IpHeader::parse(&packet), None, "version 5");
        assert_eq!(trim(&[]), None);
    }

    #[test]
    fn fragments_are_seen_and_dont_fragment_is_none() {
        for (field, fragment) in [(0x4000_u16, false), (0x2000, true), (0x0001, true)] {
            let mut packet = v4(40);
            packet[6..8].copy_from_slice(&field.to_be_bytes());
            assert_eq!(IpHeader::parse(&packet).unwrap().fragment, fragment);
        }
        assert!(IpHeader::parse(&v6(44, &[0; 16])).unwrap().fragment);
    }

    #[test]
    fn extension_headers_are_walked_up_to_a_routing_header() {
        let mut payload = [0; 40];
        payload[0] = 60; // hop-by-hop of 8 bytes, then destination options of 16
        payload[8] = 6;
        payload[9] = 1;
        let header = IpHeader::parse(&v6(0, &payload)).unwrap();
        assert_eq!((header.protocol, header.header_len), (6, 64));
        assert!(header.options);
        payload[0] = 43;
        let header = IpHeader::parse(&v6(0, &payload)).unwrap();
        assert_eq!((header.protocol, header.header_len), (43, 48));
        payload[0] = 60;
        payload[9] = 200;
        assert_eq!(IpHeader::parse(&v6(0, &payload)), None, "beyond the packet");
    }
}
