//! The Ethernet frame of a TCP super-packet.

use adit_packet::VirtioNetHdr;

use crate::super_packet::{COUNT, super_packet};

/// Bytes of an Ethernet header.
pub(crate) const LINK: usize = 14;

/// A frame as a TAP device gives it, with room behind it.
pub(crate) fn super_frame() -> (Vec<u8>, VirtioNetHdr) {
    let (packet, header) = super_packet();
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend(packet);
    frame.resize(frame.len() + COUNT * LINK, 0);
    let (hdr_len, csum_start) = (header.hdr_len + LINK as u16, header.csum_start + LINK as u16);
    (frame, VirtioNetHdr { hdr_len, csum_start, ..header })
}
