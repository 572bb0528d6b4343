//! Ethernet frames, mostly around IP packets.

use std::ops::Range;

use crate::{Input, packet};

/// Bytes ahead of the EtherType: few addresses, so that frames have them in common, and no tag to three.
pub(crate) fn link(input: &mut Input<'_>) -> Vec<u8> {
    let shape = input.byte();
    // A group now and then.
    let first = if shape & 0x0f == 0x0f { 0x33 } else { 2 };
    let mut link = vec![first, 0, 0, 0, 0, shape >> 7, 2, 0, 0, 0, 0, shape >> 6 & 1];
    for at in 0..shape >> 4 & 3 {
        link.extend(if shape >> at & 1 == 0 { [0x81, 0] } else { [0x88, 0xa8] });
        link.extend([0x20, input.byte() & 3]);
    }
    link
}

/// A frame of what [`link`] gave and a packet, mostly under the packet's own EtherType.
pub(crate) fn around(link: &[u8], packet: &[u8], input: &mut Input<'_>) -> Vec<u8> {
    let own = match packet.first().map(|first| first >> 4) {
        Some(4) => 0x0800,
        Some(6) => 0x86dd,
        _ => 0x0806,
    };
    let ether_type: u16 = if input.byte() == 0xff { input.word() } else { own };
    [link, &ether_type.to_be_bytes(), packet].concat()
}

/// Pads a frame, as a wire does or too much.
pub(crate) fn pad(frame: &mut Vec<u8>, input: &mut Input<'_>) {
    let len = match input.byte() & 7 {
        0 => frame.len(),
        1 => frame.len() + input.below(9),
        _ => 60,
    };
    frame.resize(frame.len().max(len), 0xbb);
}

/// The frame that follows `before` in its flow, padded to the minimum; now and then for another station, or for a group.
pub(crate) fn follow(before: &[u8], len: usize, input: &mut Input<'_>) -> Vec<u8> {
    let Some(at) = place(before) else { return before.to_vec() };
    let mut frame = before[..at.start].to_vec();
    match input.byte() & 15 {
        1 => frame[5] ^= 1,
        2 => frame[0] ^= 1,
        _ => {}
    }
    frame.extend(packet::follow(&before[at], len));
    frame.resize(frame.len().max(60), 0xcc);
    frame
}

/// Where the IP packet of a frame lies, without padding.
pub(crate) fn place(frame: &[u8]) -> Option<Range<usize>> {
    let mut at = 12;
    while at < 20 && matches!(frame.get(at..at + 2)?, [0x81, 0] | [0x88, 0xa8]) {
        at += 4;
    }
    let (ether_type, rest) = frame.get(at..)?.split_first_chunk::<2>()?;
    let version = match ether_type {
        [0x08, 0] => 4,
        [0x86, 0xdd] => 6,
        _ => return None,
    };
    let whole = adit_packet::ip::trim(rest).filter(|_| rest[0] >> 4 == version)?;
    Some(at + 2..at + 2 + whole)
}

/// Bytes behind the IP packet that no padding can be.
pub(crate) fn trailer<'a>(frame: &'a [u8], place: &Range<usize>) -> &'a [u8] {
    // Tags may have been added to a padded frame of 60.
    if frame.len() > 60 + place.start - 14 { &frame[place.end..] } else { &[] }
}
