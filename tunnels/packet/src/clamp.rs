//! The maximum segment size that TCP connections agree upon (RFC 9293, section 3.7.1), kept to what a link carries.
//!
//! Hosts behind a bridge do not know the MTU of a link in their way, and a bridge cannot tell them: what is too long for it
//! is lost without a word. Connections that are set up through the link learn it here.

use crate::checksum::update;
use crate::ethernet::EthernetHeader;
use crate::field::{put_u16, u16_at};
use crate::ip::{self, IpHeader, Version};
use crate::transport::{TCP_FLAGS, Transport, flag};

/// Bytes of a TCP header without options.
const TCP: usize = 20;
/// Kinds of options: the end, a filler, the maximum segment size with its length (RFC 9293, section 3.2).
const END: u8 = 0;
const FILLER: u8 = 1;
const MSS: [u8; 2] = [2, 4];

/// Lowers the maximum segment size that the SYN in an Ethernet frame offers to what an MTU of `mtu` bytes has room for,
/// and corrects the checksum. True if it was larger. Every other frame is left as it is.
pub fn clamp_mss(frame: &mut [u8], mtu: usize) -> bool {
    lower(frame, mtu).is_some()
}

fn lower(frame: &mut [u8], mtu: usize) -> Option<()> {
    let packet = EthernetHeader::parse(frame)?.packet(frame)?;
    let packet = frame.get_mut(packet)?;
    let header = IpHeader::parse(packet)
        .filter(|header| header.protocol == Transport::Tcp.protocol() && !header.fragment)?;
    let segment = packet.get_mut(header.header_len..)?;
    let end = Transport::Tcp.header_len(segment)?;
    if u16_at(segment, TCP_FLAGS)? & flag::SYN == 0 {
        return None;
    }
    let overhead = TCP + if header.version == Version::V4 { ip::V4_LEN } else { ip::V6_LEN };
    let most = u16::try_from(mtu.saturating_sub(overhead)).unwrap_or(u16::MAX);
    let at = option(segment.get(..end)?)?;
    let offered = u16_at(segment, at).filter(|offered| *offered > most)?;
    put_u16(segment, at, most)?;
    let sum = Transport::Tcp.checksum_offset();
    // Words of the checksum begin at even places.
    let words = if at % 2 == 0 { [offered, most] } else { [offered, most].map(u16::swap_bytes) };
    put_u16(segment, sum, update(u16_at(segment, sum)?, words[0], words[1]))
}

/// Where the maximum segment size lies in a TCP header.
fn option(header: &[u8]) -> Option<usize> {
    let mut at = TCP;
    loop {
        match *header.get(at)? {
            END => return None,
            FILLER => at += 1,
            kind => {
                let len = *header.get(at + 1)?;
                if [kind, len] == MSS && at + 4 <= header.len() {
                    return Some(at + 2);
                }
                // The shortest option has a kind and a length.
                at += usize::from(len).max(2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::checksum::Sum;

    /// A frame with a TCP header of these flags and options, checksums right.
    fn frame(version: Version, tags: usize, flags: u8, options: &[u8]) -> Vec<u8> {
        let mut options = options.to_vec();
        options.resize(options.len().next_multiple_of(4), END);
        let mut tcp = vec![0; TCP];
        tcp[..4].copy_from_slice(&[0x30, 0x39, 0, 80]);
        (tcp[12], tcp[13]) = ((((TCP + options.len()) / 4) << 4) as u8, flags);
        tcp.extend(options);
        let (ether_type, mut packet, addresses) = match version {
            Version::V4 => {
                let mut packet = vec![0x45, 0, 0, (20 + tcp.len()) as u8, 0, 0, 0x40, 0, 64, 6, 0, 0];
                packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
                (0x0800_u16, packet, 12..20)
            }
            Version::V6 => {
                let mut packet = vec![0x60, 0, 0, 0, 0, tcp.len() as u8, 6, 64];
                packet.extend([0xfd; 32]);
                (0x86dd, packet, 8..40)
            }
        };
        let pseudo = Sum::pseudo(&packet[addresses], 6, tcp.len() as u32);
        let checksum = (pseudo + Sum::of(&tcp)).checksum();
        tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
        packet.extend(tcp);
        let mut frame = vec![2; 12];
        (0..tags).for_each(|_| frame.extend([0x81, 0, 0, 7]));
        frame.extend(ether_type.to_be_bytes());
        frame.extend(packet);
        frame
    }

    fn is_sound(frame: &[u8]) -> bool {
        let packet = &frame[EthernetHeader::parse(frame).unwrap().packet(frame).unwrap()];
        let header = IpHeader::parse(packet).unwrap();
        let (addresses, tcp) = (ip::addresses(packet).unwrap(), &packet[header.header_len..]);
        (Sum::pseudo(addresses, 6, tcp.len() as u32) + Sum::of(tcp)).fold() == 0xffff
    }

    const SYN: u8 = 2;
    const ACK: u8 = 16;

    #[test]
    fn what_a_syn_offers_is_lowered_wherever_it_stands() {
        for (version, least) in [(Version::V4, 1_302_u16), (Version::V6, 1_282)] {
            for tags in 0..=2 {
                for fillers in 0..4 {
                    for flags in [SYN, SYN | ACK] {
                        let mut options = vec![FILLER; fillers];
                        options.extend([4, 2]);
                        let at = options.len() + 2;
                        options.extend([2, 4, 0x05, 0xb4, 3, 3, 7]);
                        let mut sent = frame(version, tags, flags, &options);
                        assert!(clamp_mss(&mut sent, 1_342) && is_sound(&sent));
                        options[at..at + 2].copy_from_slice(&least.to_be_bytes());
                        assert_eq!(sent, frame(version, tags, flags, &options));
                        assert!(!clamp_mss(&mut sent, 1_342), "it fits now");
                    }
                }
            }
        }
    }

    #[test]
    fn other_frames_are_left_as_they_are() {
        let mss = [2, 4, 0x05, 0xb4];
        let small = [2, 4, 0x02, 0x00];
        for (flags, options) in
            [(ACK, &mss[..]), (SYN, &small), (SYN, &[]), (SYN, &[0, 2, 4, 5, 0xb4]), (SYN, &[2])]
        {
            let sent = frame(Version::V4, 0, flags, options);
            let mut same = sent.clone();
            assert!(!clamp_mss(&mut same, 1_342), "{flags} {options:?}");
            assert_eq!(same, sent);
        }
        let mut fragment = frame(Version::V4, 0, SYN, &mss);
        fragment[20] = 0x20;
        assert!(!clamp_mss(&mut fragment, 1_342));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_only_sound_frames_stay_sound(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
            cut in 0_usize..120,
            mtu in 0_usize..2_000,
        ) {
            let mut sent = frame(Version::V4, 0, SYN, &bytes[..bytes.len().min(40)]);
            clamp_mss(&mut sent, mtu);
            prop_assert!(is_sound(&sent));
            sent.truncate(cut);
            clamp_mss(&mut sent, mtu);
            clamp_mss(&mut bytes, mtu);
        }
    }
}
