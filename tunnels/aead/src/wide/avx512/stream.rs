//! Key streams, and how their blocks are shared out among packets.

use core::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_and_si512, _mm512_or_si512, _mm512_permutexvar_epi32,
    _mm512_set1_epi32, _mm512_setr_epi32, _mm512_setzero_si512, _mm512_slli_epi32, _mm512_srli_epi32,
    _mm512_srlv_epi32, _mm512_xor_si512,
};

use super::chacha::{self, BLOCKS, State, transpose_within};
use super::vector::{self, WIDTH};
use super::{PACKETS, Packet, longest_first};

/// XORs the texts with their key streams, from block 1 on. `next` has the first blocks, as many of each packet as it has lanes.
/// The packets are those of `lanes`, some emptied.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn apply(key: &[u32; 8], arena: &mut [u8], packets: &mut [Packet], lanes: &Lanes, next: &State) {
    let mut done = lanes.each;
    xor(arena, packets, 0, done, [next, &[]]);
    longest_first(packets);
    loop {
        let count = packets.iter().take_while(|packet| packet.blocks() > done).count();
        let Some(packets) = packets.get(..count).filter(|packets| !packets.is_empty()) else { return };
        let lanes = Lanes::new(packets);
        let each = lanes.each;
        // From where on half of the lanes would do.
        let until = packets.get(count.next_power_of_two() / 2).or(packets.first()).map_or(0, Packet::blocks);
        while done < until {
            // No packet has as many blocks as 32 bits can count.
            let after = |blocks: usize| _mm512_add_epi32(lanes.counters, _mm512_set1_epi32(blocks as i32));
            if until - done > each {
                let counters = [after(done), after(done + each)];
                let [first, second] = chacha::blocks_twice(key, counters, &lanes.nonces);
                xor(arena, packets, done, each, [&first, &second]);
                done += 2 * each;
            } else {
                let first = chacha::blocks(key, after(done), &lanes.nonces);
                xor(arena, packets, done, each, [&first, &[]]);
                done += each;
            }
        }
    }
}

/// How the lanes of ChaCha20 are shared out among packets: the first packet has the first lanes, for blocks that follow one
/// another.
pub(super) struct Lanes {
    /// How many each packet has; a power of two.
    pub(super) each: usize,
    /// The nonces.
    pub(super) nonces: [__m512i; 3],
    /// The counters of a text's first blocks.
    pub(super) counters: __m512i,
}

impl Lanes {
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(packets: &[Packet]) -> Self {
        let each = BLOCKS / packets.len().next_power_of_two().min(BLOCKS);
        let mut nonces = [[0; 16]; PACKETS];
        for (place, packet) in nonces.iter_mut().zip(packets) {
            *place = packet.nonce;
        }
        let mut rows = [_mm512_setzero_si512(); 4];
        for (row, nonces) in rows.iter_mut().zip(nonces.as_flattened().as_chunks().0) {
            *row = vector::load(nonces);
        }
        let [a, b, c, d] = rows;
        let [a, b, c, _] = transpose_within(a, b, c, d);
        // The words of packet 4 i + j are in lane i + 4 j now.
        let lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let packet = _mm512_srlv_epi32(lane, _mm512_set1_epi32(each.trailing_zeros() as i32));
        let from = _mm512_or_si512(_mm512_srli_epi32::<2>(packet), _mm512_slli_epi32::<2>(packet));
        let within = _mm512_and_si512(lane, _mm512_set1_epi32(each as i32 - 1));
        Self {
            each,
            nonces: [
                _mm512_permutexvar_epi32(from, a),
                _mm512_permutexvar_epi32(from, b),
                _mm512_permutexvar_epi32(from, c),
            ],
            counters: _mm512_add_epi32(within, _mm512_set1_epi32(1)),
        }
    }

    /// What is computed before anything is changed: of every packet the key of its tag, and as many blocks as it has lanes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn start(&self, key: &[u32; 8]) -> chacha::Start {
        chacha::start(key, [_mm512_setzero_si512(), self.counters], &self.nonces)
    }
}

/// XORs the blocks of every text from block `done` on with the key streams of its lanes: `each` of the first, then as many of
/// the second.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor(arena: &mut [u8], packets: &[Packet], done: usize, each: usize, streams: [&[__m512i]; 2]) {
    let [mut first, mut second] = streams;
    for packet in packets {
        let (these, those);
        (these, first) = first.split_at_checked(each).unwrap_or_default();
        (those, second) = second.split_at_checked(each).unwrap_or_default();
        if let Some(text) = packet.text_mut(arena).get_mut(done * WIDTH..) {
            xor_text(xor_text(text, these), those);
        }
    }
}

/// XORs the beginning of a text with a key stream. What is left of the text comes back.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor_text<'a>(mut text: &'a mut [u8], streams: &[__m512i]) -> &'a mut [u8] {
    for stream in streams {
        let (these, rest) = text.split_at_mut(text.len().min(WIDTH));
        if let Some(block) = these.first_chunk_mut() {
            vector::store(_mm512_xor_si512(vector::load(block), *stream), block);
        } else if !these.is_empty() {
            vector::store_part(_mm512_xor_si512(vector::load_part(these), *stream), these);
        }
        text = rest;
    }
    text
}
