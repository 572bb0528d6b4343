//! Ethernet headers as fields, and frames of them, written out plainly.

use adit_packet::VirtioNetHdr;
use proptest::prelude::*;

use crate::model::{Checksum, Family, Packet};

pub(crate) const C_TAG: u16 = 0x8100;
pub(crate) const S_TAG: u16 = 0x88a8;

#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) destination: [u8; 6],
    pub(crate) source: [u8; 6],
    /// TPID and TCI of each.
    pub(crate) tags: Vec<[u16; 2]>,
}

impl Link {
    pub(crate) fn len(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    pub(crate) fn header(&self, ether_type: u16) -> Vec<u8> {
        let mut header = [self.destination, self.source].concat();
        for word in self.tags.iter().flatten().chain([&ether_type]) {
            header.extend(word.to_be_bytes());
        }
        header
    }

    /// A frame without padding around the bytes of a packet.
    pub(crate) fn around(&self, family: Family, packet: &[u8]) -> Vec<u8> {
        let ether_type = match family {
            Family::V4 => 0x0800,
            Family::V6 => 0x86dd,
        };
        [&self.header(ether_type)[..], packet].concat()
    }

    pub(crate) fn frame(&self, packet: &Packet, checksum: Checksum) -> Vec<u8> {
        self.around(packet.family, &packet.bytes(checksum))
    }

    /// A whole frame as it comes from a wire, which pads with whatever it likes.
    pub(crate) fn padded(&self, packet: &Packet) -> Vec<u8> {
        let mut frame = self.frame(packet, Checksum::Whole);
        frame.resize(frame.len().max(60), 0xbb);
        frame
    }

    /// The header that the kernel gives with this frame around a super-packet.
    pub(crate) fn virtio(&self, packet: &Packet, gso_size: u16) -> VirtioNetHdr {
        let inner = packet.virtio(gso_size);
        let len = self.len() as u16;
        VirtioNetHdr { hdr_len: inner.hdr_len + len, csum_start: inner.csum_start + len, ..inner }
    }
}

/// A header of a frame for one station.
pub(crate) fn any_link() -> impl Strategy<Value = Link> {
    let tag = (prop_oneof![Just(C_TAG), Just(S_TAG)], any::<u16>()).prop_map(|(tpid, tci)| [tpid, tci]);
    (any::<([u8; 6], [u8; 6])>(), proptest::collection::vec(tag, 0..=2)).prop_map(
        |((mut destination, source), tags)| {
            destination[0] &= !1;
            Link { destination, source, tags }
        },
    )
}
