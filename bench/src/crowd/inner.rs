//! What a crowd's members send one another: numbered UDP datagrams in IPv4.

use std::net::Ipv4Addr;

use adit_packet::Sum;

use crate::crowd::member;
use crate::message::{put, word};

/// Bytes of the headers.
pub(crate) const HEADERS: usize = 20 + 8;
/// Least bytes of UDP payload: the number.
pub const LEAST: usize = 8;
/// The port that is sent to; flow `n` comes from the `n`th above it.
const PORT: u16 = 7_100;
const UDP: u8 = 17;

/// What is told apart in a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Inner {
    /// The member that sent it.
    pub(crate) from: u32,
    pub(crate) to: Ipv4Addr,
    pub(crate) flow: u16,
    pub(crate) number: u64,
}

impl Inner {
    /// Writes a packet that fills `packet`, at least [`HEADERS`] and [`LEAST`] bytes; the rest of it is zeros.
    pub(crate) fn emit(&self, packet: &mut [u8]) {
        packet.fill(0);
        let len = packet.len() as u16;
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&len.to_be_bytes());
        // Not to be fragmented: without that, a sender with one number for all could not have its packets joined.
        packet[6] = 0x40;
        packet[8..10].copy_from_slice(&[64, UDP]);
        packet[12..16].copy_from_slice(&member::inner(self.from).octets());
        packet[16..20].copy_from_slice(&self.to.octets());
        let checksum = !Sum::of(&packet[..20]).fold();
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet[20..22].copy_from_slice(&(PORT + 1 + self.flow).to_be_bytes());
        packet[22..24].copy_from_slice(&PORT.to_be_bytes());
        packet[24..26].copy_from_slice(&(len - 20).to_be_bytes());
        put(packet, HEADERS, self.number);
        let checksum = !udp_sum(packet, len - 20);
        packet[26..28].copy_from_slice(&checksum.to_be_bytes());
    }

    /// Reads a packet; `None` if it is none of ours, or was damaged.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let head: &[u8; HEADERS] = packet.first_chunk()?;
        let half = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        if head[0] != 0x45 || head[9] != UDP || half(22) != PORT {
            return None;
        }
        let len = usize::from(half(2));
        if half(24) != half(2) - 20 || Sum::of(&head[..20]).fold() != u16::MAX {
            return None;
        }
        let packet = packet.get(..len)?;
        let from = [head[12], head[13], head[14], head[15]].into();
        let to = [head[16], head[17], head[18], head[19]].into();
        if udp_sum(packet, half(24)) != u16::MAX {
            return None;
        }
        let flow = half(20).checked_sub(PORT + 1)?;
        Some(Self { from: member::number(from)?, to, flow, number: word(packet, HEADERS)? })
    }
}

/// The sum that the UDP checksum makes all ones. Behind the number there are only zeros.
fn udp_sum(packet: &[u8], len: u16) -> u16 {
    let datagram = packet.get(20..HEADERS + LEAST).unwrap_or_default();
    (Sum::pseudo(&packet[12..20], UDP, len.into()) + Sum::of(datagram)).fold()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_reads_back_with_its_padding_and_not_when_damaged() {
        let inner = Inner { from: 300, to: member::inner(301), flow: 255, number: u64::MAX - 3 };
        let mut packet = [0xee; 112];
        inner.emit(&mut packet[..100]);
        assert_eq!(Inner::parse(&packet), Some(inner));
        for at in 0..36 {
            let mut damaged = packet;
            damaged[at] ^= 0x10;
            assert_eq!(Inner::parse(&damaged), None, "byte {at}");
        }
        assert_eq!(Inner::parse(&packet[..60]), None);
        assert_eq!(Inner::parse(&[]), None);
    }

    #[test]
    fn both_checksums_are_what_the_kernel_expects() {
        let mut packet = [0; HEADERS + LEAST];
        Inner { from: 0, to: Ipv4Addr::new(10, 9, 0, 1), flow: 0, number: 1 }.emit(&mut packet);
        let whole = |data: &[u8]| {
            let words = data.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
            let sum: u32 = words.sum();
            (sum & 0xffff) + (sum >> 16)
        };
        assert_eq!(whole(&packet[..20]), 0xffff);
        let pseudo = [&packet[12..20], &[0, UDP, 0, 16], &packet[20..]].concat();
        assert_eq!(whole(&pseudo), 0xffff);
    }
}
