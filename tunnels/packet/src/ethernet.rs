//! As much of Ethernet (IEEE 802.3, clause 3) and its VLAN tags (IEEE 802.1Q, clause 9) as stands ahead of an IP
//! packet.
//!
//! ```text
//!  destination 6 | source 6 | [TPID 2, TCI 2] at most twice | EtherType 2 | IP packet | padding
//! ```
//!
//! The frame check sequence is no part of a frame here: a TAP device neither gives nor takes it.

use core::ops::Range;

use crate::field::u16_at;
use crate::ip::{self, Version};

/// Bytes of a header without tags.
pub const LEN: usize = 14;
/// Bytes of a tag.
pub const TAG_LEN: usize = 4;
/// Tags that are looked behind: a service tag and a customer tag. A frame with more of them is no IP packet here.
pub const MAX_TAGS: usize = 2;
/// Bytes of the shortest frame on a wire, to which shorter ones are padded: 64 (802.3, clause 4.4.2) without the frame
/// check sequence.
pub const MIN_FRAME: usize = 60;

/// TPID of a customer VLAN tag (802.1Q, table 9-1).
const C_TAG: u16 = 0x8100;
/// TPID of a service VLAN tag.
const S_TAG: u16 = 0x88a8;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// How an Ethernet frame begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EthernetHeader {
    /// Bytes ahead of what `ether_type` names: addresses, tags, EtherType.
    pub header_len: usize,
    /// The EtherType behind at most [`MAX_TAGS`] tags; below 1,536 it is a length (802.3, clause 3.2.6).
    pub ether_type: u16,
    /// Whether the destination is a group of stations, or all of them.
    pub group: bool,
}

impl EthernetHeader {
    /// Reads the header at the start of `frame`; `None` if it is not whole.
    #[inline]
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let mut header_len = LEN;
        let mut ether_type = u16_at(frame, 12)?;
        for _ in 0..MAX_TAGS {
            if ether_type != C_TAG && ether_type != S_TAG {
                break;
            }
            ether_type = u16_at(frame, header_len + 2)?;
            header_len += TAG_LEN;
        }
        Some(Self { header_len, ether_type, group: frame.first()? & 1 != 0 })
    }

    /// The version of IP that the EtherType names.
    pub const fn version(&self) -> Option<Version> {
        match self.ether_type {
            IPV4 => Some(Version::V4),
            IPV6 => Some(Version::V6),
            _ => None,
        }
    }

    /// Where the IP packet of `frame` lies, without the padding behind it; `None` if there is none, or it is not whole,
    /// or of another version than the EtherType says.
    #[inline]
    pub fn packet(&self, frame: &[u8]) -> Option<Range<usize>> {
        let rest = frame.get(self.header_len..)?;
        let version = self.version()?;
        let len = ip::trim(rest).filter(|_| Version::of(rest) == Some(version))?;
        Some(self.header_len..self.header_len + len)
    }

    /// Whether what lies behind the IP packet of a frame of `frame_len` bytes can only be padding: tags may have been
    /// added to a padded frame (802.1Q, clause 6.9), but nothing longer was ever padded.
    pub(crate) const fn is_padded(&self, frame_len: usize) -> bool {
        frame_len <= MIN_FRAME + self.header_len - LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of `tags`, `ether_type` and `rest`.
    fn frame(tags: &[u16], ether_type: u16, rest: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for tpid in tags {
            frame.extend(tpid.to_be_bytes());
            frame.extend([0x20, 7]);
        }
        frame.extend(ether_type.to_be_bytes());
        frame.extend(rest);
        frame
    }

    #[test]
    fn at_most_two_tags_of_either_kind_are_looked_behind() {
        for (tags, header_len) in
            [(&[][..], 14), (&[C_TAG], 18), (&[S_TAG, C_TAG], 22), (&[S_TAG, S_TAG], 22)]
        {
            let frame = frame(tags, IPV6, &[]);
            let header = EthernetHeader::parse(&frame);
            assert_eq!(header, Some(EthernetHeader { header_len, ether_type: IPV6, group: false }));
            for len in 0..header_len {
                assert_eq!(EthernetHeader::parse(&frame[..len]), None, "{len} bytes of {header_len}");
            }
        }
        let header = EthernetHeader::parse(&frame(&[S_TAG, C_TAG, C_TAG], IPV4, &[])).unwrap();
        assert_eq!((header.header_len, header.ether_type, header.version()), (22, C_TAG, None));
        let header = EthernetHeader::parse(&frame(&[0x9100], IPV4, &[])).unwrap();
        assert_eq!((header.header_len, header.version()), (14, None));
    }

    #[test]
    fn group_addresses_are_known_by_the_first_bit() {
        for (first, group) in [(0x00, false), (0x02, false), (0x01, true), (0x33, true), (0xff, true)] {
            let mut frame = frame(&[], 0x0806, &[]);
            frame[0] = first;
            assert_eq!(EthernetHeader::parse(&frame).unwrap().group, group);
        }
    }

    #[test]
    fn an_ip_packet_lies_between_header_and_padding() {
        let mut v4 = vec![0; 60];
        (v4[0], v4[3]) = (0x45, 28);
        let mut v6 = vec![0; 60];
        (v6[0], v6[5]) = (0x60, 8);
        for (packet, ether_type, len) in [(&v4, IPV4, 28), (&v6, IPV6, 48)] {
            for tags in [&[][..], &[C_TAG], &[S_TAG, C_TAG]] {
                let at = 14 + 4 * tags.len();
                let place = |bytes: &[u8]| EthernetHeader::parse(bytes).unwrap().packet(bytes);
                let whole = frame(tags, ether_type, packet);
                assert_eq!(place(&whole), Some(at..at + len));
                assert_eq!(place(&whole[..at + len]), Some(at..at + len));
                assert_eq!(place(&whole[..at + len - 1]), None, "not whole");
                assert_eq!(place(&frame(tags, 0x0806, packet)), None, "ARP");
                assert_eq!(place(&frame(tags, 60, packet)), None, "a length");
                assert_eq!(place(&frame(tags, ether_type ^ IPV4 ^ IPV6, packet)), None, "the other version");
            }
        }
    }

    #[test]
    fn only_frames_of_the_minimum_are_padded() {
        for (tags, longest) in [(&[][..], 60), (&[C_TAG], 64), (&[S_TAG, C_TAG], 68)] {
            let header = EthernetHeader::parse(&frame(tags, IPV4, &[])).unwrap();
            assert!(header.is_padded(longest) && !header.is_padded(longest + 1));
        }
    }
}
