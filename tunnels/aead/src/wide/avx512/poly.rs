//! Poly1305 (RFC 8439, section 2.5): eight messages at a time, one in each 64-bit lane.
//!
//! Numbers have three limbs of 44, 44 and 42 bits. A product of two limbs has a low part of 52 bits and a high part, which
//! counts 2^52 = 2^8 * 2^44: shifted by 8, it belongs to the next limb. What is carried out of the third limb counts 2^130
//! and comes back as 5 to the first; products beyond the third limb count 2^132 and come back as 20.

use core::arch::x86_64::{
    __m512i, __mmask8, _mm512_add_epi64, _mm512_and_si512, _mm512_cmplt_epu64_mask, _mm512_madd52hi_epu64,
    _mm512_madd52lo_epu64, _mm512_mask_add_epi64, _mm512_mask_mov_epi64, _mm512_or_si512, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_slli_epi64, _mm512_srli_epi64, _mm512_test_epi64_mask,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi64,
};

use super::chacha::transpose_quarters;
use super::vector;

/// Messages in a vector.
pub(super) const LANES: usize = 8;
/// Bytes of a block.
pub(super) const BLOCK: usize = 16;
/// Blocks that are loaded together.
pub(super) const BLOCKS: usize = vector::WIDTH / BLOCK;

const LOW_44: u64 = (1 << 44) - 1;
const LOW_42: u64 = (1 << 42) - 1;

/// A number below 2^128 in each lane: the low and the high 64 bits.
pub(super) type Number = [__m512i; 2];

/// The sums of eight messages, each under its own key.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    sum: [__m512i; 3],
    r: [__m512i; 3],
    /// 20 times the second and the third limb of `r`.
    r20: [__m512i; 2],
    pad: Number,
}

#[inline]
#[target_feature(enable = "avx512f")]
fn all(value: u64) -> __m512i {
    _mm512_set1_epi64(value.cast_signed())
}

/// The limbs of a number below 2^128.
#[inline]
#[target_feature(enable = "avx512f")]
fn limbs([low, high]: Number) -> [__m512i; 3] {
    let middle = _mm512_or_si512(_mm512_srli_epi64::<44>(low), _mm512_slli_epi64::<20>(high));
    [_mm512_and_si512(low, all(LOW_44)), _mm512_and_si512(middle, all(LOW_44)), _mm512_srli_epi64::<24>(high)]
}

impl Sums {
    /// Keys as the first 32 bytes of their key streams: `r`, still to be clamped, then the number added in the end.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(r: Number, pad: Number) -> Self {
        let [low, high] = r;
        let low = _mm512_and_si512(low, all(0x0fff_fffc_0fff_ffff));
        let high = _mm512_and_si512(high, all(0x0fff_fffc_0fff_fffc));
        let r = limbs([low, high]);
        let [_, r1, r2] = r;
        Self { sum: [_mm512_setzero_si512(); 3], r, r20: [times_20(r1), times_20(r2)], pad }
    }

    /// Takes one block of every message.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn block(&mut self, block: Number) {
        let [m0, m1, m2] = limbs(block);
        let [h0, h1, h2] = self.sum;
        // Every block is whole, and has a 1 behind its last bit.
        let m2 = _mm512_or_si512(m2, all(1 << 40));
        self.sum = [_mm512_add_epi64(h0, m0), _mm512_add_epi64(h1, m1), _mm512_add_epi64(h2, m2)];
        self.multiply();
    }

    /// Takes one block of the messages in `lanes`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn block_of(&mut self, lanes: __mmask8, block: Number) {
        let before = self.sum;
        self.block(block);
        for (sum, before) in self.sum.iter_mut().zip(before) {
            *sum = _mm512_mask_mov_epi64(before, lanes, *sum);
        }
    }

    /// Multiplies by `r`, and reduces to limbs of 44, 44 (and a little) and 42 bits.
    ///
    /// No sum overflows, and no factor has more than the 52 bits that are multiplied. At most, in bits:
    ///
    /// | value | limbs 0, 1, 2 |
    /// |---|---|
    /// | `r`, `r20` | 44, 44, 36; 48.4, 40.4 |
    /// | `h`, a block added | 45.0, 45.0, 42.6 |
    /// | `low`, with what is carried up | 53.6, 53.7, 53.6 |
    /// | `high`; shifted | 39.3, 38.1, 37.3; 47.3 |
    /// | `over`, 5 times that | 47.3, 49.6 |
    /// | `h0` before it is carried | 49.7 |
    /// | the result | 44, 2^44 + 48, 42 |
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn multiply(&mut self) {
        let ([h0, h1, h2], [r0, r1, r2], [s1, s2]) = (self.sum, self.r, self.r20);
        let sum_of = |products: [(__m512i, __m512i); 3]| {
            let (mut low, mut high) = (_mm512_setzero_si512(), _mm512_setzero_si512());
            for (a, b) in products {
                low = _mm512_madd52lo_epu64(low, a, b);
                high = _mm512_madd52hi_epu64(high, a, b);
            }
            (low, high)
        };
        let (low0, high0) = sum_of([(h0, r0), (h1, s2), (h2, s1)]);
        let (low1, high1) = sum_of([(h0, r1), (h1, r0), (h2, s2)]);
        let (low2, high2) = sum_of([(h0, r2), (h1, r1), (h2, r0)]);

        let low1 = _mm512_add_epi64(low1, _mm512_slli_epi64::<8>(high0));
        let low2 = _mm512_add_epi64(low2, _mm512_slli_epi64::<8>(high1));
        let low1 = _mm512_add_epi64(low1, _mm512_srli_epi64::<44>(low0));
        let low2 = _mm512_add_epi64(low2, _mm512_srli_epi64::<44>(low1));
        let over = _mm512_add_epi64(_mm512_srli_epi64::<42>(low2), _mm512_slli_epi64::<10>(high2));
        let h0 = _mm512_add_epi64(_mm512_and_si512(low0, all(LOW_44)), times_5(over));
        let h1 = _mm512_add_epi64(_mm512_and_si512(low1, all(LOW_44)), _mm512_srli_epi64::<44>(h0));
        self.sum = [_mm512_and_si512(h0, all(LOW_44)), h1, _mm512_and_si512(low2, all(LOW_42))];
    }

    /// The tags.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn tags(self) -> Number {
        // The first round may take h2 to 2^42, and the 5 that comes back h0 to 2^44: then h1 is below 49, and the second round
        // ends it.
        let [h0, h1, h2] = carry(carry(self.sum));
        // The sum is below 2^130. It is at least 2^130 - 5 if 5 more take it to 2^130: then that is taken off.
        let [g0, g1, g2] = carry_up([_mm512_add_epi64(h0, all(5)), h1, h2]);
        let beyond = _mm512_test_epi64_mask(g2, all(1 << 42));
        let h0 = _mm512_mask_mov_epi64(h0, beyond, g0);
        let h1 = _mm512_mask_mov_epi64(h1, beyond, g1);
        let h2 = _mm512_mask_mov_epi64(h2, beyond, g2);
        let low = _mm512_or_si512(h0, _mm512_slli_epi64::<44>(h1));
        let high = _mm512_or_si512(_mm512_srli_epi64::<20>(h1), _mm512_slli_epi64::<24>(h2));
        let [pad_low, pad_high] = self.pad;
        let low = _mm512_add_epi64(low, pad_low);
        let high = _mm512_add_epi64(high, pad_high);
        let carried = _mm512_cmplt_epu64_mask(low, pad_low);
        [low, _mm512_mask_add_epi64(high, carried, high, all(1))]
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn times_5(value: __m512i) -> __m512i {
    _mm512_add_epi64(value, _mm512_slli_epi64::<2>(value))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn times_20(value: __m512i) -> __m512i {
    _mm512_slli_epi64::<2>(times_5(value))
}

/// Carries from limb to limb; the third may have more than 42 bits then.
#[inline]
#[target_feature(enable = "avx512f")]
fn carry_up([h0, h1, h2]: [__m512i; 3]) -> [__m512i; 3] {
    let h1 = _mm512_add_epi64(h1, _mm512_srli_epi64::<44>(h0));
    let h2 = _mm512_add_epi64(h2, _mm512_srli_epi64::<44>(h1));
    [_mm512_and_si512(h0, all(LOW_44)), _mm512_and_si512(h1, all(LOW_44)), h2]
}

/// Carries from limb to limb, and from the third back to the first.
#[inline]
#[target_feature(enable = "avx512f")]
fn carry(sum: [__m512i; 3]) -> [__m512i; 3] {
    let [h0, h1, h2] = carry_up(sum);
    let h0 = _mm512_add_epi64(h0, times_5(_mm512_srli_epi64::<42>(h2)));
    [h0, h1, _mm512_and_si512(h2, all(LOW_42))]
}

/// From 64 bytes of each of eight messages their four blocks.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn blocks(rows: [__m512i; LANES]) -> [Number; BLOCKS] {
    let [a, b, c, d, e, f, g, h] = rows;
    // Quarter `i` of each is block `i` of two messages, its low or its high half.
    let low = |a, b| _mm512_unpacklo_epi64(a, b);
    let high = |a, b| _mm512_unpackhi_epi64(a, b);
    let [low0, low1, low2, low3] = transpose_quarters(low(a, b), low(c, d), low(e, f), low(g, h));
    let [high0, high1, high2, high3] = transpose_quarters(high(a, b), high(c, d), high(e, f), high(g, h));
    [[low0, high0], [low1, high1], [low2, high2], [low3, high3]]
}

#[cfg(test)]
mod tests {
    use core::arch::x86_64::{_mm_cvtsi128_si64, _mm512_castsi512_si128};

    use proptest::prelude::*;

    use super::super::super::long;
    use super::super::is_there;
    use super::*;

    /// The tag of some blocks.
    fn tag(r: u128, pad: u128, blocks: &[u128]) -> u128 {
        #[target_feature(enable = "avx512f,avx512ifma")]
        fn tag(r: u128, pad: u128, blocks: &[u128]) -> u128 {
            let number = |value: u128| [all(value as u64), all((value >> 64) as u64)];
            let mut sums = Sums::new(number(r), number(pad));
            blocks.iter().for_each(|block| sums.block(number(*block)));
            let [low, high] = sums.tags();
            let first = |numbers| _mm_cvtsi128_si64(_mm512_castsi512_si128(numbers)).cast_unsigned();
            u128::from(first(high)) << 64 | u128::from(first(low))
        }
        assert!(is_there(), "only called where it is");
        // SAFETY: the processor has the instructions.
        unsafe { tag(r, pad, blocks) }
    }

    #[test]
    fn sums_next_to_the_prime_are_reduced() {
        if !is_there() {
            return println!("not on this processor");
        }
        long::sums_next_to_the_prime(tag);
    }

    #[test]
    fn a_carry_through_all_limbs_is_not_lost() {
        if !is_there() {
            return println!("not on this processor");
        }
        long::carries_through_all_limbs(tag);
    }

    proptest! {
        #[test]
        fn tags_are_those_of_long_multiplication(r in long::r(), pad: u128, blocks in long::blocks()) {
            if is_there() {
                prop_assert_eq!(tag(r, pad, &blocks), long::tag(r, pad, &blocks));
            }
        }
    }
}
