//! The tags of many ciphertexts (RFC 8439, section 2.8), without additional data.

use core::arch::x86_64::{__m512i, _mm512_cmplt_epu64_mask, _mm512_set1_epi64, _mm512_setzero_si512};

use zeroize::Zeroize;

use super::poly::{self, Sums};
use super::vector::{self, WIDTH};
use super::{PACKETS, Packet, TagKeys};
use crate::TAG;

/// The tags of ciphertexts. The packets are in order, the longest first.
#[target_feature(enable = "avx512f,avx512bw,avx512ifma")]
pub(super) fn of(arena: &[u8], packets: &[Packet], keys: &TagKeys) -> [[u8; TAG]; PACKETS] {
    let mut tags = [[0; TAG]; PACKETS];
    let (first, second) = packets.split_at_checked(poly::LANES).unwrap_or((packets, &[]));
    let mut groups = [Group::new(arena, first, keys, 0), Group::new(arena, second, keys, 1)];
    let [long, short] = &mut groups;
    let together = if second.is_empty() { 0 } else { long.whole.min(short.whole) };
    for step in 0..together {
        let (a, b) = (long.blocks(step), short.blocks(step));
        for (a, b) in a.into_iter().zip(b) {
            long.sums.block(a);
            short.sums.block(b);
        }
    }
    long.take_from(together);
    if !second.is_empty() {
        short.take_from(together);
    }
    for (group, tags) in groups.into_iter().zip(tags.chunks_exact_mut(poly::LANES)) {
        let [low, high] = group.sums.tags();
        for ((tag, low), high) in tags.iter_mut().zip(vector::to_quads(low)).zip(vector::to_quads(high)) {
            *tag = (u128::from(high) << 64 | u128::from(low)).to_le_bytes();
        }
    }
    tags
}

/// Eight texts of which the tags are computed together.
struct Group<'a> {
    texts: [&'a [u8]; poly::LANES],
    /// Vectors of which every text has all bytes.
    whole: usize,
    /// The lengths of the texts.
    lens: __m512i,
    sums: Sums,
}

impl<'a> Group<'a> {
    /// The group that begins with packet `number * LANES`. A lane without a packet has the first one's
    /// text; its tag is not used.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new(arena: &'a [u8], packets: &[Packet], keys: &TagKeys, number: usize) -> Self {
        let mut texts: [&[u8]; poly::LANES] =
            [packets.first().map_or(&[], |packet| packet.text(arena)); poly::LANES];
        let mut lens = [0; poly::LANES];
        let whole = packets.last().map_or(0, |packet| packet.len / WIDTH);
        for ((text, len), packet) in texts.iter_mut().zip(&mut lens).zip(packets) {
            *text = packet.text(arena);
            *len = text.len() as u64;
        }
        let mut quads = [[0; poly::LANES]; 4];
        for (quads, all) in quads.iter_mut().zip(&keys.0) {
            if let Some(these) = all.as_chunks().0.get(number) {
                *quads = *these;
            }
        }
        let [r_low, r_high, pad_low, pad_high] = &quads;
        let r = [vector::quads(r_low), vector::quads(r_high)];
        let pad = [vector::quads(pad_low), vector::quads(pad_high)];
        quads.zeroize();
        Self { texts, whole, lens: vector::quads(&lens), sums: Sums::new(r, pad) }
    }

    /// The blocks of vector `step` of every text, all of which have it whole.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn blocks(&self, step: usize) -> [poly::Number; poly::BLOCKS] {
        let mut rows = [_mm512_setzero_si512(); poly::LANES];
        for (row, text) in rows.iter_mut().zip(self.texts) {
            if let Some(bytes) = text.as_chunks().0.get(step) {
                *row = vector::load(bytes);
            }
        }
        poly::blocks(rows)
    }

    /// Takes everything from vector `step` on, and the block that tells the lengths (section 2.8).
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512ifma")]
    fn take_from(&mut self, step: usize) {
        for step in step..self.whole {
            for block in self.blocks(step) {
                self.sums.block(block);
            }
        }
        let longest = self.texts.iter().map(|text| text.len()).max().unwrap_or(0);
        for start in (self.whole * WIDTH..longest).step_by(WIDTH) {
            let mut rows = [_mm512_setzero_si512(); poly::LANES];
            for (row, text) in rows.iter_mut().zip(self.texts) {
                let rest = text.get(start..).unwrap_or_default();
                *row = vector::load_part(rest.get(..WIDTH).unwrap_or(rest));
            }
            for (at, block) in poly::blocks(rows).into_iter().enumerate() {
                let begins = _mm512_set1_epi64((start + at * poly::BLOCK) as i64);
                self.sums.block_of(_mm512_cmplt_epu64_mask(begins, self.lens), block);
            }
        }
        self.sums.block([_mm512_setzero_si512(), self.lens]);
    }
}
