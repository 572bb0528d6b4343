//! The tags of many ciphertexts (RFC 8439, section 2.8), without additional data.

use core::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_cmplt_epu64_mask, _mm512_or_si512, _mm512_permutex2var_epi32,
    _mm512_permutex2var_epi64, _mm512_set1_epi64, _mm512_setr_epi64, _mm512_setzero_si512, _mm512_slli_epi64,
    _mm512_sllv_epi64,
};

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::poly::{self, Number, Sums};
use super::vector::{self, WIDTH};
use super::{PACKETS, Packet};
use crate::TAG;

/// For each packet the first 32 bytes of its key stream: of a group the two halves of `r`, then those of the number that is
/// added in the end.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct TagKeys([[Number; 2]; 2]);

impl TagKeys {
    /// From the words of blocks 0. A packet has `each` lanes; what is made of lanes without a packet is not used.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(words: &[__m512i; 8], each: usize) -> Self {
        let mut keys = [[[_mm512_setzero_si512(); 2]; 2]; 2];
        let shift = _mm512_set1_epi64(each.trailing_zeros().into());
        let mut packet = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
        for group in &mut keys {
            // The low half of 64 bits is from the lane of an even word, the high half from that of the next.
            let lane = _mm512_sllv_epi64(packet, shift);
            let odd = _mm512_slli_epi64::<32>(_mm512_or_si512(lane, _mm512_set1_epi64(PACKETS as i64)));
            let from = _mm512_or_si512(lane, odd);
            for (half, [even, odd]) in group.as_flattened_mut().iter_mut().zip(words.as_chunks().0) {
                *half = _mm512_permutex2var_epi32(*even, from, *odd);
            }
            packet = _mm512_add_epi64(packet, _mm512_set1_epi64(poly::LANES as i64));
        }
        Self(keys)
    }
}

/// The tags of ciphertexts. The packets are in order, the longest first.
#[target_feature(enable = "avx512f,avx512bw,avx512ifma")]
pub(super) fn of(arena: &[u8], packets: &[Packet], keys: &TagKeys) -> [[u8; TAG]; PACKETS] {
    let TagKeys([first_keys, second_keys]) = keys;
    let (first, second) = packets.split_at_checked(poly::LANES).unwrap_or((packets, &[]));
    let mut long = Group::new(arena, first, first_keys);
    let mut tags = [[0; TAG]; PACKETS];
    let (first_tags, second_tags) = tags.split_at_mut(poly::LANES);
    if second.is_empty() {
        long.take_from(0);
    } else {
        let mut short = Group::new(arena, second, second_keys);
        let mut step = 0;
        while let Some((a, b)) = long.rows(step).zip(short.rows(step)) {
            for (a, b) in poly::blocks(a).into_iter().zip(poly::blocks(b)) {
                long.sums.block(a);
                short.sums.block(b);
            }
            step += 1;
        }
        long.take_from(step);
        short.take_from(step);
        short.emit(second_tags);
    }
    long.emit(first_tags);
    tags
}

/// Eight texts of which the tags are computed together.
struct Group<'a> {
    texts: [&'a [u8]; poly::LANES],
    /// The lengths of the texts.
    lens: __m512i,
    sums: Sums,
}

/// The texts of some packets; where there is no packet, that of the first.
///
/// It stays a function of its own: where the vectors are, the compiler would gather starts and lengths, which takes longer.
#[inline(never)]
fn texts<'a>(arena: &'a [u8], packets: &[Packet]) -> [&'a [u8]; poly::LANES] {
    let first: &[u8] = packets.first().map_or(&[], |packet| packet.text(arena));
    let mut texts = [first; poly::LANES];
    for (text, packet) in texts.iter_mut().zip(packets) {
        *text = packet.text(arena);
    }
    texts
}

impl<'a> Group<'a> {
    /// The group of some packets. The tag of a lane without a packet is not used.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(arena: &'a [u8], packets: &[Packet], keys: &[Number; 2]) -> Self {
        let texts = texts(arena, packets);
        let mut lens = [0; poly::LANES];
        for (len, text) in lens.iter_mut().zip(texts) {
            *len = text.len() as u64;
        }
        let [r, pad] = *keys;
        Self { texts, lens: vector::quads(&lens), sums: Sums::new(r, pad) }
    }

    /// Vector `step` of every text, if all of them have it whole.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn rows(&self, step: usize) -> Option<[__m512i; poly::LANES]> {
        let [a, b, c, d, e, f, g, h] = self.texts;
        let row = |text: &[u8]| Some(vector::load(text.as_chunks().0.get(step)?));
        Some([row(a)?, row(b)?, row(c)?, row(d)?, row(e)?, row(f)?, row(g)?, row(h)?])
    }

    /// Takes everything from vector `step` on, and the block that tells the lengths (section 2.8).
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512ifma")]
    fn take_from(&mut self, mut step: usize) {
        while let Some(rows) = self.rows(step) {
            for block in poly::blocks(rows) {
                self.sums.block(block);
            }
            step += 1;
        }
        let longest = self.texts.iter().map(|text| text.len()).max().unwrap_or(0);
        for start in (step * WIDTH..longest).step_by(WIDTH) {
            let mut rows = [_mm512_setzero_si512(); poly::LANES];
            for (row, text) in rows.iter_mut().zip(self.texts) {
                let rest = text.get(start..).unwrap_or_default();
                *row = vector::load_part(rest.get(..WIDTH).unwrap_or(rest));
            }
            let begins = (start..longest).step_by(poly::BLOCK);
            for (begins, block) in begins.zip(poly::blocks(rows)) {
                let begins = _mm512_set1_epi64(begins as i64);
                self.sums.block_of(_mm512_cmplt_epu64_mask(begins, self.lens), block);
            }
        }
        self.sums.block([_mm512_setzero_si512(), self.lens]);
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn emit(self, tags: &mut [[u8; TAG]]) {
        let [low, high] = self.sums.tags();
        let first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
        let second = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
        let halves = [first, second];
        for (place, from) in tags.as_flattened_mut().as_chunks_mut().0.iter_mut().zip(halves) {
            vector::store(_mm512_permutex2var_epi64(low, from, high), place);
        }
    }
}
