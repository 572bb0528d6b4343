//! The wide cipher in AVX-512: F for ChaCha20, BW for the ends of texts, IFMA for Poly1305.
#![allow(unsafe_code)]

mod chacha;
mod poly;
mod stream;
mod tags;
mod vector;

use core::cmp::Reverse;
use core::hint::black_box;

use super::{PACKETS, Packet, Wide};
use crate::TAG;
use stream::Lanes;
use tags::TagKeys;
use vector::WIDTH;

const _: () = assert!(PACKETS == chacha::BLOCKS && PACKETS == 2 * poly::LANES, "lanes are for packets");

/// Whether this processor has the instructions.
pub(super) fn is_there() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512ifma")
}

pub(super) fn seal(key: &Wide, arena: &mut [u8], packets: &mut [Packet]) {
    if !packets.is_empty() {
        // SAFETY: there is a `Wide` only where the processor has the instructions.
        unsafe { seal_some(&key.key, arena, packets) }
    }
}

pub(super) fn open(key: &Wide, arena: &mut [u8], packets: &mut [Packet]) -> u16 {
    if packets.is_empty() {
        return 0;
    }
    // SAFETY: there is a `Wide` only where the processor has the instructions.
    unsafe { open_some(&key.key, arena, packets) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512ifma")]
fn seal_some(key: &[u32; 8], arena: &mut [u8], packets: &mut [Packet]) {
    longest_first(packets);
    let lanes = Lanes::new(packets);
    let start = lanes.start(key);
    let keys = TagKeys::new(&start.words, lanes.each);
    stream::apply(key, arena, packets, &lanes, &start.next);
    for (packet, tag) in packets.iter().zip(tags::of(arena, packets, &keys)) {
        if let Some(place) = packet.tag(arena) {
            *place = tag;
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512ifma")]
fn open_some(key: &[u32; 8], arena: &mut [u8], packets: &mut [Packet]) -> u16 {
    longest_first(packets);
    let lanes = Lanes::new(packets);
    let start = lanes.start(key);
    let keys = TagKeys::new(&start.words, lanes.each);
    let mut authentic = 0;
    let tags = tags::of(arena, packets, &keys);
    for (packet, tag) in packets.iter_mut().zip(tags) {
        let is_right = packet.tag(arena).is_some_and(|claimed| {
            // Two registers, combined before anything is known of either: nothing to leave early from.
            black_box(u128::from_ne_bytes(*claimed) ^ u128::from_ne_bytes(tag)) == 0
        });
        authentic |= u16::from(is_right) << packet.index;
        if !is_right {
            packet.len = 0;
        }
    }
    stream::apply(key, arena, packets, &lanes, &start.next);
    authentic
}

/// Neighbours are alike in length then.
fn longest_first(packets: &mut [Packet]) {
    if !packets.is_sorted_by(|a, b| a.len >= b.len) {
        packets.sort_unstable_by_key(|packet| Reverse(packet.len));
    }
}

impl Packet {
    fn text<'a>(&self, arena: &'a [u8]) -> &'a [u8] {
        debug_assert!(self.start + self.len + TAG <= arena.len(), "{self:?}");
        arena.get(self.start..self.start + self.len).unwrap_or_default()
    }

    fn text_mut<'a>(&self, arena: &'a mut [u8]) -> &'a mut [u8] {
        arena.get_mut(self.start..self.start + self.len).unwrap_or_default()
    }

    fn tag<'a>(&self, arena: &'a mut [u8]) -> Option<&'a mut [u8; TAG]> {
        arena.get_mut(self.start + self.len..)?.first_chunk_mut()
    }

    /// Blocks of key stream that its text needs.
    const fn blocks(&self) -> usize {
        self.len.div_ceil(WIDTH)
    }
}
