//! Poly1305 (RFC 8439, section 2.5): four messages at a time, one in each 64-bit lane.
//!
//! Numbers have five limbs of 26 bits, as two of them are multiplied to 64 bits. What is carried out of the fifth limb, and
//! products beyond it, count 2^130 and come back as 5.

use core::arch::x86_64::{
    __m128i, __m256i, _mm256_add_epi64, _mm256_and_si256, _mm256_blendv_epi8, _mm256_cmpgt_epi64,
    _mm256_mul_epu32, _mm256_or_si256, _mm256_set_m128i, _mm256_set1_epi64x, _mm256_setzero_si256,
    _mm256_slli_epi64, _mm256_srli_epi64, _mm256_sub_epi64, _mm256_unpackhi_epi64, _mm256_unpacklo_epi64,
    _mm256_xor_si256,
};

/// Messages in a vector.
pub(super) const LANES: usize = 4;
/// Bytes of a block.
pub(super) const BLOCK: usize = 16;

const LOW_26: u64 = (1 << 26) - 1;

/// A number below 2^128 in each lane: the low and the high 64 bits.
pub(super) type Number = [__m256i; 2];

/// The sums of four messages, each under its own key.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    sum: [__m256i; 5],
    r: [__m256i; 5],
    /// 5 times the limbs of `r` from the second on.
    r5: [__m256i; 4],
    pad: Number,
}

#[inline]
#[target_feature(enable = "avx2")]
fn all(value: u64) -> __m256i {
    _mm256_set1_epi64x(value.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn low_26(value: __m256i) -> __m256i {
    _mm256_and_si256(value, all(LOW_26))
}

/// The limbs of a number below 2^128.
#[inline]
#[target_feature(enable = "avx2")]
fn limbs([low, high]: Number) -> [__m256i; 5] {
    let middle = _mm256_or_si256(_mm256_srli_epi64::<52>(low), _mm256_slli_epi64::<12>(high));
    [
        low_26(low),
        low_26(_mm256_srli_epi64::<26>(low)),
        low_26(middle),
        low_26(_mm256_srli_epi64::<14>(high)),
        _mm256_srli_epi64::<40>(high),
    ]
}

impl Sums {
    /// Keys as the first 32 bytes of their key streams: `r`, still to be clamped, then the number added in the end.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn new(r: Number, pad: Number) -> Self {
        let [low, high] = r;
        let low = _mm256_and_si256(low, all(0x0fff_fffc_0fff_ffff));
        let high = _mm256_and_si256(high, all(0x0fff_fffc_0fff_fffc));
        let r = limbs([low, high]);
        let [_, r1, r2, r3, r4] = r;
        let r5 = [times_5(r1), times_5(r2), times_5(r3), times_5(r4)];
        Self { sum: [_mm256_setzero_si256(); 5], r, r5, pad }
    }

    /// Takes one block of every message.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn block(&mut self, block: Number) {
        let [m0, m1, m2, m3, m4] = limbs(block);
        // Every block is whole, and has a 1 behind its last bit.
        let m4 = _mm256_or_si256(m4, all(1 << 24));
        for (sum, limb) in self.sum.iter_mut().zip([m0, m1, m2, m3, m4]) {
            *sum = _mm256_add_epi64(*sum, limb);
        }
        self.multiply();
    }

    /// Takes one block of the messages in `lanes`, which are all ones.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn block_of(&mut self, lanes: __m256i, block: Number) {
        let before = self.sum;
        self.block(block);
        for (sum, before) in self.sum.iter_mut().zip(before) {
            *sum = _mm256_blendv_epi8(before, *sum, lanes);
        }
    }

    /// Multiplies by `r`, and reduces to limbs of 26 bits and a little.
    ///
    /// No sum overflows, and no factor has more than the 32 bits that are multiplied. At most, in bits:
    ///
    /// | value | limbs 0 to 4 |
    /// |---|---|
    /// | `r`, `r5` | 26, 26, 26, 26, 20; 28.3, 28.3, 28.3, 22.3 |
    /// | `h`, a block added | 27, 27.1, 27, 27, 26.6 |
    /// | `d`, with what is carried up | 56.9, 56.5, 55.8, 55.1, 55.0 |
    /// | what is carried round, 5 times | 31.3 |
    /// | the result | 26, 2^26 + 37, 26, 26, 2^26 + 13 |
    #[inline]
    #[target_feature(enable = "avx2")]
    fn multiply(&mut self) {
        let ([h0, h1, h2, h3, h4], [r0, r1, r2, r3, r4]) = (self.sum, self.r);
        let [s1, s2, s3, s4] = self.r5;
        let sum_of = |products: [(__m256i, __m256i); 5]| {
            let [(a, b), (c, d), (e, f), (g, h), (i, j)] = products;
            let first = _mm256_add_epi64(_mm256_mul_epu32(a, b), _mm256_mul_epu32(c, d));
            let second = _mm256_add_epi64(_mm256_mul_epu32(e, f), _mm256_mul_epu32(g, h));
            _mm256_add_epi64(_mm256_add_epi64(first, second), _mm256_mul_epu32(i, j))
        };
        let d0 = sum_of([(h0, r0), (h1, s4), (h2, s3), (h3, s2), (h4, s1)]);
        let d1 = sum_of([(h0, r1), (h1, r0), (h2, s4), (h3, s3), (h4, s2)]);
        let d2 = sum_of([(h0, r2), (h1, r1), (h2, r0), (h3, s4), (h4, s3)]);
        let d3 = sum_of([(h0, r3), (h1, r2), (h2, r1), (h3, r0), (h4, s4)]);
        let d4 = sum_of([(h0, r4), (h1, r3), (h2, r2), (h3, r1), (h4, r0)]);

        // Two carries at a time, for each has to wait for the one before.
        let (d0, d1) = carry(d0, d1);
        let (d3, d4) = carry(d3, d4);
        let (d1, d2) = carry(d1, d2);
        let (d4, d0) = carry_round(d4, d0);
        let (d2, d3) = carry(d2, d3);
        let (d0, d1) = carry(d0, d1);
        let (d3, d4) = carry(d3, d4);
        self.sum = [d0, d1, d2, d3, d4];
    }

    /// The tags.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn tags(self) -> Number {
        // If the first round takes h4 to 2^26 and brings 5 back, h4 is below 15 then: the second round ends it.
        let [h0, h1, h2, h3, h4] = reduce(reduce(self.sum));
        // The sum is below 2^130. It is at least 2^130 - 5 if 5 more take it to 2^130: then that is taken off.
        let [g0, g1, g2, g3, g4] = carry_up([_mm256_add_epi64(h0, all(5)), h1, h2, h3, h4]);
        let beyond = _mm256_cmpgt_epi64(g4, all(LOW_26));
        let [h0, h1, h2, h3, h4] =
            [(h0, g0), (h1, g1), (h2, g2), (h3, g3), (h4, g4)].map(|(h, g)| _mm256_blendv_epi8(h, g, beyond));
        let low = _mm256_or_si256(h0, _mm256_slli_epi64::<26>(h1));
        let low = _mm256_or_si256(low, _mm256_slli_epi64::<52>(h2));
        let high = _mm256_or_si256(_mm256_srli_epi64::<12>(h2), _mm256_slli_epi64::<14>(h3));
        let high = _mm256_or_si256(high, _mm256_slli_epi64::<40>(h4));
        let [pad_low, pad_high] = self.pad;
        let low = _mm256_add_epi64(low, pad_low);
        let high = _mm256_add_epi64(high, pad_high);
        // Numbers are compared with their signs; ones are minus one.
        let sign = all(1 << 63);
        let carried = _mm256_cmpgt_epi64(_mm256_xor_si256(pad_low, sign), _mm256_xor_si256(low, sign));
        [low, _mm256_sub_epi64(high, carried)]
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn times_5(value: __m256i) -> __m256i {
    _mm256_add_epi64(value, _mm256_slli_epi64::<2>(value))
}

/// Carries from one limb to the next.
#[inline]
#[target_feature(enable = "avx2")]
fn carry(from: __m256i, to: __m256i) -> (__m256i, __m256i) {
    (low_26(from), _mm256_add_epi64(to, _mm256_srli_epi64::<26>(from)))
}

/// Carries from the fifth limb to the first.
#[inline]
#[target_feature(enable = "avx2")]
fn carry_round(from: __m256i, to: __m256i) -> (__m256i, __m256i) {
    (low_26(from), _mm256_add_epi64(to, times_5(_mm256_srli_epi64::<26>(from))))
}

/// Carries from limb to limb; the fifth may have more than 26 bits then.
#[inline]
#[target_feature(enable = "avx2")]
fn carry_up([h0, h1, h2, h3, h4]: [__m256i; 5]) -> [__m256i; 5] {
    let (h0, h1) = carry(h0, h1);
    let (h1, h2) = carry(h1, h2);
    let (h2, h3) = carry(h2, h3);
    let (h3, h4) = carry(h3, h4);
    [h0, h1, h2, h3, h4]
}

/// Carries from limb to limb, and from the fifth back to the first.
#[inline]
#[target_feature(enable = "avx2")]
fn reduce(sum: [__m256i; 5]) -> [__m256i; 5] {
    let [h0, h1, h2, h3, h4] = carry_up(sum);
    let (h4, h0) = carry_round(h4, h0);
    [h0, h1, h2, h3, h4]
}

/// From 16 bytes of each of four messages their numbers.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn number([a, b, c, d]: [__m128i; LANES]) -> Number {
    let (even, odd) = (_mm256_set_m128i(c, a), _mm256_set_m128i(d, b));
    [_mm256_unpacklo_epi64(even, odd), _mm256_unpackhi_epi64(even, odd)]
}

#[cfg(test)]
mod tests {
    use core::arch::x86_64::{_mm_cvtsi128_si64, _mm256_castsi256_si128};

    use proptest::prelude::*;

    use super::super::super::long;
    use super::super::is_there;
    use super::*;

    /// The tag of some blocks.
    fn tag(r: u128, pad: u128, blocks: &[u128]) -> u128 {
        #[target_feature(enable = "avx2")]
        fn tag(r: u128, pad: u128, blocks: &[u128]) -> u128 {
            let number = |value: u128| [all(value as u64), all((value >> 64) as u64)];
            let mut sums = Sums::new(number(r), number(pad));
            blocks.iter().for_each(|block| sums.block(number(*block)));
            let [low, high] = sums.tags();
            let first = |numbers| _mm_cvtsi128_si64(_mm256_castsi256_si128(numbers)).cast_unsigned();
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

    /// No random text meets these: limbs that are full, or full but for a little, at the very end.
    #[test]
    fn a_carry_out_of_each_limb_is_not_lost() {
        if !is_there() {
            return println!("not on this processor");
        }
        const FULL: u128 = LOW_26 as u128;
        let ends = [0, 1, FULL - 4, FULL];
        let limb = |number: usize, at: u32| ends[number / 4_usize.pow(at) % 4];
        for number in 0..4_usize.pow(5) {
            let low = limb(number, 0) | limb(number, 1) << 26 | limb(number, 2) << 52 | limb(number, 3) << 78;
            let value = low | limb(number, 4) << 104;
            for last in [0, 1, 5, 1 << 26, FULL << 78, u128::MAX] {
                for zeros in 0..4 {
                    let blocks = [&[value, last][..], &[0; 4][..zeros]].concat();
                    assert_eq!(tag(1, 3, &blocks), long::tag(1, 3, &blocks), "{blocks:x?}");
                }
            }
        }
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
