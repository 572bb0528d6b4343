//! The tags of many ciphertexts (RFC 8439, section 2.8), without additional data.

use core::arch::x86_64::{
    __m128i, __m256i, _mm_setzero_si128, _mm256_castsi256_si128, _mm256_cmpgt_epi64,
    _mm256_extracti128_si256, _mm256_permute2x128_si256, _mm256_set_epi64x, _mm256_set1_epi64x,
    _mm256_setzero_si256, _mm256_unpackhi_epi64, _mm256_unpacklo_epi64,
};

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::super::packet::Packet;
use super::PACKETS;
use super::chacha::State;
use super::poly::{self, BLOCK, LANES, Number, Sums};
use super::vector;
use crate::TAG;

/// For each packet the first 32 bytes of its key stream: of a group the halves of `r`, then those of the number that is added
/// in the end.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct TagKeys([[Number; 2]; 2]);

impl TagKeys {
    /// From blocks 0 of all packets, and whatever is in the other lanes: what is made of that is not used.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn new(state: &State) -> Self {
        let [a, _, b, _, c, _, d, _, e, _, f, _, g, _, h, _] = *state;
        let group = |firsts: [__m256i; LANES]| {
            let mut low = [_mm_setzero_si128(); LANES];
            let mut high = low;
            for ((low, high), first) in low.iter_mut().zip(&mut high).zip(firsts) {
                (*low, *high) = (_mm256_castsi256_si128(first), _mm256_extracti128_si256::<1>(first));
            }
            [poly::number(low), poly::number(high)]
        };
        Self([group([a, b, c, d]), group([e, f, g, h])])
    }
}

/// The tags of ciphertexts. The packets are in order, the longest first.
#[target_feature(enable = "avx2")]
pub(super) fn of(arena: &[u8], packets: &[Packet], keys: &TagKeys) -> [[u8; TAG]; PACKETS] {
    let TagKeys([first_keys, second_keys]) = keys;
    let (first, second) = packets.split_at_checked(LANES).unwrap_or((packets, &[]));
    let mut long = Group::new(arena, first, first_keys);
    let mut tags = [[0; TAG]; PACKETS];
    let (first_tags, second_tags) = tags.split_at_mut(LANES);
    if second.is_empty() {
        long.take_from(0);
    } else {
        let mut short = Group::new(arena, second, second_keys);
        let mut step = 0;
        while let Some((a, b)) = long.whole(step).zip(short.whole(step)) {
            long.sums.block(a);
            short.sums.block(b);
            step += 1;
        }
        long.take_from(step);
        short.take_from(step);
        short.emit(second_tags);
    }
    long.emit(first_tags);
    tags
}

/// Four texts of which the tags are computed together.
struct Group<'a> {
    /// In blocks; behind those that are whole comes one with the end, and with some of the tag.
    texts: [&'a [[u8; BLOCK]]; LANES],
    /// How many blocks all of them have whole.
    whole: usize,
    lens: [usize; LANES],
    sums: Sums,
}

impl<'a> Group<'a> {
    /// The group of some packets; where there is no packet, one of them again. The tag of such a lane is not used.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(arena: &'a [u8], packets: &[Packet], keys: &[Number; 2]) -> Self {
        let [r, pad] = *keys;
        let mut group = Self { texts: [&[]; LANES], lens: [0; LANES], whole: 0, sums: Sums::new(r, pad) };
        for ((text, len), packet) in group.texts.iter_mut().zip(&mut group.lens).zip(packets.iter().cycle()) {
            (*text, *len) = (packet.text_and_tag(arena).as_chunks().0, packet.len);
        }
        group.whole = group.lens.into_iter().min().unwrap_or(0) / BLOCK;
        group
    }

    /// Block `step` of every text, if all of them have it whole.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn whole(&self, step: usize) -> Option<Number> {
        let [a, b, c, d] = if step < self.whole { self.texts } else { return None };
        let block = |text: &[[u8; BLOCK]]| Some(vector::load_half(text.get(step)?));
        Some(poly::number([block(a)?, block(b)?, block(c)?, block(d)?]))
    }

    /// Takes everything from block `step` on, and the block that tells the lengths (section 2.8).
    #[inline]
    #[target_feature(enable = "avx2")]
    fn take_from(&mut self, mut step: usize) {
        while let Some(block) = self.whole(step) {
            self.sums.block(block);
            step += 1;
        }
        let [a, b, c, d] = self.lens.map(|len| len as i64);
        let lens = _mm256_set_epi64x(d, c, b, a);
        let longest = self.lens.into_iter().max().unwrap_or(0);
        for begins in (step * BLOCK..longest).step_by(BLOCK) {
            let mut parts = [_mm_setzero_si128(); LANES];
            for ((part, text), len) in parts.iter_mut().zip(self.texts).zip(self.lens) {
                *part = part_of(text, begins / BLOCK, len);
            }
            let has_it = _mm256_cmpgt_epi64(lens, _mm256_set1_epi64x(begins as i64));
            self.sums.block_of(has_it, poly::number(parts));
        }
        self.sums.block([_mm256_setzero_si256(), lens]);
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn emit(self, tags: &mut [[u8; TAG]]) {
        let [low, high] = self.sums.tags();
        let (even, odd) = (_mm256_unpacklo_epi64(low, high), _mm256_unpackhi_epi64(low, high));
        let first = _mm256_permute2x128_si256::<0x20>(even, odd);
        let second = _mm256_permute2x128_si256::<0x31>(even, odd);
        for (place, two) in tags.as_flattened_mut().as_chunks_mut().0.iter_mut().zip([first, second]) {
            vector::store(two, place);
        }
    }
}

/// Block `step` of a text, with zeros behind its end.
#[inline]
#[target_feature(enable = "avx2")]
fn part_of(text: &[[u8; BLOCK]], step: usize, len: usize) -> __m128i {
    let block = text.get(step).map_or(_mm_setzero_si128(), |block| vector::load_half(block));
    vector::first(block, len.saturating_sub(step * BLOCK))
}
