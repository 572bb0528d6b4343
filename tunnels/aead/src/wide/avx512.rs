//! The wide cipher in AVX-512: F for ChaCha20, BW for the ends of texts, IFMA for Poly1305.
#![allow(unsafe_code)]

mod chacha;
mod poly;
mod stream;
mod tags;
mod vector;

use super::packet::{Packet, longest_first, verify, write_tags};
use super::{Limits, PACKETS, Wide};
use stream::Lanes;
use tags::TagKeys;

const _: () = assert!(PACKETS == chacha::BLOCKS && PACKETS == 2 * poly::LANES, "lanes are for packets");

pub(super) const LIMITS: Limits = Limits { packets: PACKETS, fewest: 3, longest: [1 << 20; PACKETS + 1] };

/// Whether this processor has the instructions.
pub(super) fn is_there() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512ifma")
}

pub(super) fn seal(key: &Wide, arena: &mut [u8], packets: &mut [Packet]) {
    // SAFETY: there is a `Wide` of these instructions only where the processor has them.
    unsafe { seal_some(&key.key, arena, packets) }
}

pub(super) fn open(key: &Wide, arena: &mut [u8], packets: &mut [Packet]) -> u64 {
    // SAFETY: there is a `Wide` of these instructions only where the processor has them.
    unsafe { open_some(&key.key, arena, packets) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512ifma")]
fn seal_some(key: &[u32; 8], arena: &mut [u8], packets: &mut [Packet]) {
    longest_first(packets);
    let lanes = Lanes::new(packets);
    let start = lanes.start(key);
    let keys = TagKeys::new(&start.words, lanes.each);
    stream::apply(key, arena, packets, &lanes, &start.next);
    write_tags(arena, packets, &tags::of(arena, packets, &keys));
}

#[target_feature(enable = "avx512f,avx512bw,avx512ifma")]
fn open_some(key: &[u32; 8], arena: &mut [u8], packets: &mut [Packet]) -> u64 {
    longest_first(packets);
    let lanes = Lanes::new(packets);
    let start = lanes.start(key);
    let keys = TagKeys::new(&start.words, lanes.each);
    let tags = tags::of(arena, packets, &keys);
    let authentic = verify(arena, packets, &tags);
    stream::apply(key, arena, packets, &lanes, &start.next);
    authentic
}
