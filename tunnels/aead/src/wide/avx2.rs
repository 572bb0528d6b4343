//! The wide cipher in AVX2.
#![allow(unsafe_code)]

mod chacha;
mod poly;
mod stream;
mod tags;
mod vector;

use super::packet::{Packet, longest_first, verify, write_tags};
use super::{Limits, Wide};
use stream::Lanes;
use tags::TagKeys;

/// Packets that are worked on at once.
const PACKETS: usize = 8;

const _: () = assert!(PACKETS == chacha::BLOCKS && PACKETS == 2 * poly::LANES, "lanes are for packets");

/// Measured on an Intel Xeon held to AVX2: so many packets with so long texts are a tenth or so faster than the library, and with
/// one such text among short ones as fast. Longer ones, one by one, are as fast or faster with the library.
pub(super) const LIMITS: Limits = Limits {
    packets: PACKETS,
    fewest: 2,
    longest: [0, 0, 128, 128, 384, 384, 384, 512, 768, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Whether this processor has the instructions.
pub(super) fn is_there() -> bool {
    is_x86_feature_detected!("avx2")
}

pub(super) fn seal(key: &Wide, arena: &mut [u8], packets: &mut [Packet]) {
    // SAFETY: there is a `Wide` of these instructions only where the processor has them.
    unsafe { seal_some(&key.key, arena, packets) }
}

pub(super) fn open(key: &Wide, arena: &mut [u8], packets: &mut [Packet]) -> u64 {
    // SAFETY: there is a `Wide` of these instructions only where the processor has them.
    unsafe { open_some(&key.key, arena, packets) }
}

#[target_feature(enable = "avx2")]
fn seal_some(key: &[u32; 8], arena: &mut [u8], packets: &mut [Packet]) {
    longest_first(packets);
    let mut lanes = Lanes::default();
    let start = lanes.start(key, packets);
    let keys = TagKeys::new(&start.state);
    stream::apply(key, arena, packets, lanes, &start);
    write_tags(arena, packets, &tags::of(arena, packets, &keys));
}

#[target_feature(enable = "avx2")]
fn open_some(key: &[u32; 8], arena: &mut [u8], packets: &mut [Packet]) -> u64 {
    longest_first(packets);
    let mut lanes = Lanes::default();
    let start = lanes.start(key, packets);
    let keys = TagKeys::new(&start.state);
    let tags = tags::of(arena, packets, &keys);
    let authentic = verify(arena, packets, &tags);
    stream::apply(key, arena, packets, lanes, &start);
    authentic
}
