//! ChaCha20 (RFC 8439, section 2.3): eight blocks at a time, one in each 32-bit lane.

use core::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set1_epi32,
    _mm256_setr_epi8, _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_srli_epi32, _mm256_unpackhi_epi32,
    _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm256_xor_si256,
};
use core::hint::black_box;

use super::super::CONSTANTS;

/// Blocks in a vector.
pub(super) const BLOCKS: usize = 8;

/// The words of eight blocks, vector `i` with word `i` of every lane; or their key streams, block `i` in vectors `2 i` and
/// `2 i + 1`.
pub(super) type State = [__m256i; 2 * BLOCKS];

/// Where the bytes of words come from that are turned left by 16 bits, and by 8: one instruction in place of three.
///
/// The compiler is not to know them: it would turn before it XORs, which is two instructions in place of one.
#[inline]
#[target_feature(enable = "avx2")]
fn turns() -> [__m256i; 2] {
    black_box([
        _mm256_setr_epi8(
            2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14,
            15, 12, 13,
        ),
        _mm256_setr_epi8(
            3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15,
            12, 13, 14,
        ),
    ])
}

/// Four quarter rounds (section 2.1), each step of all of them at once: what follows it in its own quarter round has to wait for
/// it. `$by` turn words left.
macro_rules! quarters {
    ($state:ident, [$by_16:ident $by_12:ident $by_8:ident $by_7:ident]; $(($a:literal $b:literal $c:literal $d:literal))+) => {
        quarters!(@ $state, $by_16; $(($a $b $d))+);
        quarters!(@ $state, $by_12; $(($c $d $b))+);
        quarters!(@ $state, $by_8; $(($a $b $d))+);
        quarters!(@ $state, $by_7; $(($c $d $b))+);
    };
    (@ $state:ident, $by:ident; $(($sum:literal $add:literal $turned:literal))+) => {
        $( $state[$sum] = _mm256_add_epi32($state[$sum], $state[$add]); )+
        $( $state[$turned] = _mm256_xor_si256($state[$turned], $state[$sum]); )+
        $( $state[$turned] = $by($state[$turned]); )+
    };
}

/// The key stream of eight blocks. `last` has the last words of each state: counters and nonces.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn blocks(key: &[u32; 8], last: [__m256i; 4]) -> State {
    let all = |word: u32| _mm256_set1_epi32(word.cast_signed());
    let [a, b, c, d] = CONSTANTS.map(all);
    let [e, f, g, h, i, j, k, l] = key.map(all);
    let [m, n, o, p] = last;
    let before = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p];
    let [two_bytes, one_byte] = turns();
    let by_16 = |words| _mm256_shuffle_epi8(words, two_bytes);
    let by_12 = |words| _mm256_or_si256(_mm256_slli_epi32::<12>(words), _mm256_srli_epi32::<20>(words));
    let by_8 = |words| _mm256_shuffle_epi8(words, one_byte);
    let by_7 = |words| _mm256_or_si256(_mm256_slli_epi32::<7>(words), _mm256_srli_epi32::<25>(words));
    let mut state = before;
    for _ in 0..10 {
        quarters!(state, [by_16 by_12 by_8 by_7]; (0 4 8 12) (1 5 9 13) (2 6 10 14) (3 7 11 15));
        quarters!(state, [by_16 by_12 by_8 by_7]; (0 5 10 15) (1 6 11 12) (2 7 8 13) (3 4 9 14));
    }
    for (word, before) in state.iter_mut().zip(before) {
        *word = _mm256_add_epi32(*word, before);
    }
    transpose(state)
}

/// Turns words of blocks into blocks of words: within the halves of the vectors, then the halves.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(rows: State) -> State {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = rows;
    let [a, b, c, d] = transpose_within([a, b, c, d]);
    let [e, f, g, h] = transpose_within([e, f, g, h]);
    let [i, j, k, l] = transpose_within([i, j, k, l]);
    let [m, n, o, p] = transpose_within([m, n, o, p]);
    let low = |x, y| _mm256_permute2x128_si256::<0x20>(x, y);
    let high = |x, y| _mm256_permute2x128_si256::<0x31>(x, y);
    [
        low(a, e),
        low(i, m),
        low(b, f),
        low(j, n),
        low(c, g),
        low(k, o),
        low(d, h),
        low(l, p),
        high(a, e),
        high(i, m),
        high(b, f),
        high(j, n),
        high(c, g),
        high(k, o),
        high(d, h),
        high(l, p),
    ]
}

/// Within each 128-bit half, transposes 4 by 4 words.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn transpose_within([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
    let (ab, ab_high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let (cd, cd_high) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    [
        _mm256_unpacklo_epi64(ab, cd),
        _mm256_unpackhi_epi64(ab, cd),
        _mm256_unpacklo_epi64(ab_high, cd_high),
        _mm256_unpackhi_epi64(ab_high, cd_high),
    ]
}
