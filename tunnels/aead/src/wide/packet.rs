//! Packets that the wide cipher works on.
#![cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "nobody works on them"))]

use core::cmp::Reverse;
use core::hint::black_box;

use crate::TAG;

/// A packet to be worked on. Its text and its tag lie within the arena, and no packets overlap.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Packet {
    /// Names it to the caller; below 64.
    pub(crate) index: usize,
    /// Where its text begins.
    pub(crate) start: usize,
    /// Bytes of text; the tag follows.
    pub(crate) len: usize,
    /// Its nonce, and four zeros.
    pub(crate) nonce: [u8; 16],
}

impl Packet {
    pub(super) fn text<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        debug_assert!(self.start + self.len + TAG <= arena.len(), "{self:?}");
        arena.get(self.start..self.start + self.len).unwrap_or_default()
    }

    pub(super) fn text_mut<'a>(&self, arena: &'a mut [u8]) -> &'a mut [u8] {
        arena.get_mut(self.start..self.start + self.len).unwrap_or_default()
    }

    /// Its text, and the tag behind it.
    pub(super) fn text_and_tag<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        arena.get(self.start..self.start + self.len + TAG).unwrap_or_default()
    }

    pub(super) fn text_and_tag_mut<'a>(&self, arena: &'a mut [u8]) -> &'a mut [u8] {
        arena.get_mut(self.start..self.start + self.len + TAG).unwrap_or_default()
    }

    fn tag<'a>(&self, arena: &'a mut [u8]) -> Option<&'a mut [u8; TAG]> {
        arena.get_mut(self.start + self.len..)?.first_chunk_mut()
    }

    /// Blocks of key stream that its text needs.
    pub(super) const fn blocks(&self) -> usize {
        self.len.div_ceil(64)
    }
}

/// Neighbours are alike in length then.
pub(super) fn longest_first(packets: &mut [Packet]) {
    if !packets.is_sorted_by(|a, b| a.len >= b.len) {
        packets.sort_unstable_by_key(|packet| Reverse(packet.len));
    }
}

/// Writes the tags behind the texts.
#[inline]
pub(super) fn write_tags(arena: &mut [u8], packets: &[Packet], tags: &[[u8; TAG]]) {
    for (packet, tag) in packets.iter().zip(tags) {
        if let Some(place) = packet.tag(arena) {
            *place = *tag;
        }
    }
}

/// Which packets have these tags, a bit for each index. The others are emptied.
#[inline]
pub(super) fn verify(arena: &mut [u8], packets: &mut [Packet], tags: &[[u8; TAG]]) -> u64 {
    let mut authentic = 0;
    for (packet, tag) in packets.iter_mut().zip(tags) {
        let is_right = packet.tag(arena).is_some_and(|claimed| {
            // Two registers, combined before anything is known of either: nothing to leave early from.
            black_box(u128::from_ne_bytes(*claimed) ^ u128::from_ne_bytes(*tag)) == 0
        });
        authentic |= u64::from(is_right) << packet.index;
        if !is_right {
            packet.len = 0;
        }
    }
    authentic
}
