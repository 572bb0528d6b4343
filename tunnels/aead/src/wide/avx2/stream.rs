//! Key streams, and how the lanes are shared out among packets.

use core::arch::x86_64::{
    __m128i, __m256i, _mm_add_epi32, _mm_cvtsi32_si128, _mm_shuffle_epi32, _mm_xor_si128,
    _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_set_m128i, _mm256_xor_si256,
};

use super::super::packet::Packet;
use super::chacha::{self, BLOCKS, State, transpose_within};
use super::vector::{self, HALF, WIDTH};
use crate::TAG;

/// Bytes of a block.
const BLOCK: usize = 2 * WIDTH;

const _: () = assert!(TAG >= HALF - 1, "half a vector that begins in a text ends within its tag");

/// Which block of whose key stream. Block 0 has the key of the tag, block 1 begins the text.
#[derive(Clone, Copy, Default)]
struct Block {
    packet: usize,
    number: usize,
}

/// Hands out the blocks of the texts, one packet's after the other's.
#[derive(Default)]
pub(super) struct Lanes {
    last: Block,
}

impl Lanes {
    /// What is computed before anything is changed: blocks 0 of all packets, and in the lanes that are left the first blocks of
    /// texts.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn start(&mut self, key: &[u32; 8], packets: &[Packet]) -> Streams {
        let mut blocks = [Block::default(); BLOCKS];
        for (packet, block) in blocks.iter_mut().enumerate().take(packets.len()) {
            block.packet = packet;
        }
        self.fill(blocks.get_mut(packets.len()..).unwrap_or_default(), packets);
        Streams::new(key, packets, blocks)
    }

    /// The next blocks of texts, if there are any.
    #[inline]
    fn next(&mut self, packets: &[Packet]) -> Option<[Block; BLOCKS]> {
        let mut blocks = [Block::default(); BLOCKS];
        self.fill(&mut blocks, packets);
        blocks.first().is_some_and(|block| block.number > 0).then_some(blocks)
    }

    /// Lanes for which there are no blocks are left as they are.
    #[inline]
    fn fill(&mut self, blocks: &mut [Block], packets: &[Packet]) {
        for block in blocks {
            while packets.get(self.last.packet).is_some_and(|packet| packet.blocks() <= self.last.number) {
                self.last = Block { packet: self.last.packet + 1, number: 0 };
            }
            if self.last.packet >= packets.len() {
                return;
            }
            self.last.number += 1;
            *block = self.last;
        }
    }
}

/// Eight blocks of key streams.
pub(super) struct Streams {
    blocks: [Block; BLOCKS],
    pub(super) state: State,
}

impl Streams {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(key: &[u32; 8], packets: &[Packet], blocks: [Block; BLOCKS]) -> Self {
        let [a, b, c, d, e, f, g, h] = blocks;
        let two = |low, high| _mm256_set_m128i(last_words(packets, high), last_words(packets, low));
        let last = transpose_within([two(a, e), two(b, f), two(c, g), two(d, h)]);
        Self { blocks, state: chacha::blocks(key, last) }
    }

    /// XORs the texts with what is theirs.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn apply(&self, arena: &mut [u8], packets: &[Packet]) {
        for (block, stream) in self.blocks.iter().zip(self.state.as_chunks().0) {
            let Some(before) = block.number.checked_sub(1).map(|blocks| blocks * BLOCK) else { continue };
            let Some(packet) = packets.get(block.packet).filter(|packet| packet.len > before) else {
                continue;
            };
            if let Some(text) = packet.text_and_tag_mut(arena).get_mut(before..) {
                xor(text, packet.len - before, stream);
            }
        }
    }
}

/// The last words of a block's state: counter and nonce.
#[inline]
#[target_feature(enable = "avx2")]
fn last_words(packets: &[Packet], block: Block) -> __m128i {
    let nonce = packets.get(block.packet).map_or([0; 16], |packet| packet.nonce);
    // The fourth word, which is zero, goes to the front. No packet has as many blocks as 32 bits can count.
    let after_zero = _mm_shuffle_epi32::<0b10_01_00_11>(vector::load_half(&nonce));
    _mm_add_epi32(after_zero, _mm_cvtsi32_si128(block.number as i32))
}

/// XORs the texts with their key streams. `start` is what `lanes` began with. The packets are the same, some emptied.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn apply(key: &[u32; 8], arena: &mut [u8], packets: &[Packet], mut lanes: Lanes, start: &Streams) {
    start.apply(arena, packets);
    while let Some(blocks) = lanes.next(packets) {
        Streams::new(key, packets, blocks).apply(arena, packets);
    }
}

/// XORs the first `left` bytes with a block, or as many as the block has. A tag follows them, which stays as it is.
#[inline]
#[target_feature(enable = "avx2")]
fn xor(text: &mut [u8], left: usize, stream: &[__m256i; 2]) {
    if let ([first, second, ..], true) = (text.as_chunks_mut::<WIDTH>().0, left >= BLOCK) {
        let [a, b] = *stream;
        vector::store(_mm256_xor_si256(vector::load(first), a), first);
        vector::store(_mm256_xor_si256(vector::load(second), b), second);
        return;
    }
    let halves = stream
        .iter()
        .flat_map(|vector| [_mm256_castsi256_si128(*vector), _mm256_extracti128_si256::<1>(*vector)]);
    for ((at, place), stream) in text.as_chunks_mut::<HALF>().0.iter_mut().enumerate().zip(halves) {
        let stream = vector::first(stream, left.saturating_sub(at * HALF));
        vector::store_half(_mm_xor_si128(vector::load_half(place), stream), place);
    }
}
