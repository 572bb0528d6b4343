//! Key streams, and how their blocks are shared out among packets.

use core::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_xor_si512,
};

use super::chacha::{self, BLOCKS};
use super::vector::{self, WIDTH};
use super::{PACKETS, Packet, TagKeys, longest_first};

/// What is computed before anything is changed.
pub(super) struct Start {
    lanes: Lanes,
    pub(super) keys: TagKeys,
    /// The key stream of blocks from 1 on, as many of each packet as it has lanes.
    next: [__m512i; BLOCKS],
}

/// The key stream of every packet's block 0 and of its next blocks.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn start(key: &[u32; 8], packets: &[Packet]) -> Start {
    let lanes = Lanes::new(packets);
    let counters = [_mm512_setzero_si512(), lanes.counters];
    let [zeroth, next] = chacha::blocks_twice(key, counters, &lanes.nonces);
    let mut keys = TagKeys([[0; PACKETS]; 4]);
    let [a, b, c, d] = &mut keys.0;
    let keys_of = a.iter_mut().zip(b).zip(c).zip(d);
    for ((((a, b), c), d), stream) in keys_of.zip(zeroth.iter().step_by(lanes.each)) {
        [*a, *b, *c, *d, ..] = vector::to_quads(*stream);
    }
    Start { lanes, keys, next }
}

/// XORs the texts with their key streams, from block 1 on. The packets are those of `start`, some emptied.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn apply(key: &[u32; 8], arena: &mut [u8], packets: &mut [Packet], start: &Start) {
    let mut done = start.lanes.each;
    xor(arena, packets, 0, done, &start.next, &[]);
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
                xor(arena, packets, done, each, &first, &second);
                done += 2 * each;
            } else {
                let first = chacha::blocks(key, after(done), &lanes.nonces);
                xor(arena, packets, done, each, &first, &[]);
                done += each;
            }
        }
    }
}

/// How the lanes of ChaCha20 are shared out among packets: the first packet has the first lanes, for blocks that follow one
/// another.
struct Lanes {
    /// How many each packet has.
    each: usize,
    /// The nonces.
    nonces: [__m512i; 3],
    /// The counters of a text's first blocks.
    counters: __m512i,
}

impl Lanes {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(packets: &[Packet]) -> Self {
        let each = BLOCKS / packets.len().next_power_of_two().min(BLOCKS);
        let (mut nonces, mut counters) = ([[0; BLOCKS]; 3], [0; BLOCKS]);
        let [a, b, c] = &mut nonces;
        for (lane, counter) in counters.iter_mut().enumerate() {
            // Both are divisions by a power of two, but the compiler does not know.
            *counter = 1 + (lane & (each - 1)) as u32;
            let nonce = packets.get(lane >> each.trailing_zeros()).map_or([0; 12], |packet| packet.nonce);
            let (words, _) = nonce.as_chunks();
            for (array, word) in [&mut *a, &mut *b, &mut *c].into_iter().zip(words) {
                if let Some(place) = array.get_mut(lane) {
                    *place = u32::from_le_bytes(*word);
                }
            }
        }
        Self {
            each,
            nonces: [vector::words(a), vector::words(b), vector::words(c)],
            counters: vector::words(&counters),
        }
    }
}

/// XORs the blocks of every text from block `done` on with the key streams of its lanes: `each` of `first`, then as many of
/// `second`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor(
    arena: &mut [u8],
    packets: &[Packet],
    done: usize,
    each: usize,
    first: &[__m512i],
    second: &[__m512i],
) {
    for (at, packet) in packets.iter().enumerate() {
        let Some(text) = packet.text_mut(arena).get_mut(done * WIDTH..) else { continue };
        let (blocks, rest) = text.as_chunks_mut::<WIDTH>();
        let lanes = at * each..(at + 1) * each;
        let (first, second) = (first.get(lanes.clone()), second.get(lanes));
        let mut streams = first.unwrap_or_default().iter().chain(second.unwrap_or_default());
        for (block, stream) in blocks.iter_mut().zip(&mut streams) {
            vector::store(_mm512_xor_si512(vector::load(block), *stream), block);
        }
        if let Some(stream) = streams.next().filter(|_| !rest.is_empty()) {
            vector::store_part(_mm512_xor_si512(vector::load_part(rest), *stream), rest);
        }
    }
}
