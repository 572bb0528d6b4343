//! ChaCha20 (RFC 8439, section 2.3): sixteen blocks at a time, one in each 32-bit lane.

use core::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_rol_epi32, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_shuffle_i32x4, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64, _mm512_xor_si512,
};

use super::super::CONSTANTS;

/// Blocks in a vector.
pub(super) const BLOCKS: usize = 16;

pub(super) type State = [__m512i; BLOCKS];

/// Four quarter rounds (section 2.1) of each of several states. They go step by step, for what follows a step in its own
/// quarter round has to wait for it.
macro_rules! quarters {
    ($($state:ident)+; $(($a:literal $b:literal $c:literal $d:literal))+) => {
        quarters!(@ 16; [$($state)+]; $(($a $b $d))+);
        quarters!(@ 12; [$($state)+]; $(($c $d $b))+);
        quarters!(@ 8; [$($state)+]; $(($a $b $d))+);
        quarters!(@ 7; [$($state)+]; $(($c $d $b))+);
    };
    (@ $by:literal; [$($state:ident)+]; $(($sum:literal $add:literal $turn:literal))+) => {
        quarters!(# [$($state)+]; $(($sum _mm512_add_epi32 $sum $add))+);
        quarters!(# [$($state)+]; $(($turn _mm512_xor_si512 $turn $sum))+);
        quarters!(% $by; [$($state)+]; $($turn)+);
    };
    (# [$first:ident $($state:ident)*]; $(($to:literal $op:ident $x:literal $y:literal))+) => {
        $( $first[$to] = $op($first[$x], $first[$y]); )+
        quarters!(# [$($state)*]; $(($to $op $x $y))+);
    };
    (# []; $($rest:tt)*) => {};
    (% $by:literal; [$first:ident $($state:ident)*]; $($turn:literal)+) => {
        $( $first[$turn] = _mm512_rol_epi32::<$by>($first[$turn]); )+
        quarters!(% $by; [$($state)*]; $($turn)+);
    };
    (% $by:literal; []; $($rest:tt)*) => {};
}

macro_rules! twenty_rounds {
    ($($state:ident)+) => {
        for _ in 0..10 {
            quarters!($($state)+; (0 4 8 12) (1 5 9 13) (2 6 10 14) (3 7 11 15));
            quarters!($($state)+; (0 5 10 15) (1 6 11 12) (2 7 8 13) (3 4 9 14));
        }
    };
}

/// The states before the rounds: every lane with the same key, its own counter and its own nonce.
#[inline]
#[target_feature(enable = "avx512f")]
fn initial(key: &[u32; 8], counter: __m512i, nonce: &[__m512i; 3]) -> State {
    let [a, b, c, d] = CONSTANTS;
    let [e, f, g, h, i, j, k, l] = *key;
    let all = |word: u32| _mm512_set1_epi32(word.cast_signed());
    let [m, n, o] = *nonce;
    [
        all(a),
        all(b),
        all(c),
        all(d),
        all(e),
        all(f),
        all(g),
        all(h),
        all(i),
        all(j),
        all(k),
        all(l),
        counter,
        m,
        n,
        o,
    ]
}

/// The key stream of sixteen blocks: element `i` is block `i`, that of lane `i` of `counter` and `nonce`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn blocks(key: &[u32; 8], counter: __m512i, nonce: &[__m512i; 3]) -> State {
    let before = initial(key, counter, nonce);
    let mut state = before;
    twenty_rounds!(state);
    finish(state, &before)
}

/// The first eight words of sixteen blocks, vector `i` with word `i` of every lane, and the key stream of sixteen others.
pub(super) struct Start {
    pub(super) words: [__m512i; 8],
    pub(super) next: State,
}

/// As [`blocks_twice`]; of the first blocks no more than the keys of tags is wanted.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn start(key: &[u32; 8], counters: [__m512i; 2], nonce: &[__m512i; 3]) -> Start {
    let [first, second] = counters;
    let (before_a, before_b) = (initial(key, first, nonce), initial(key, second, nonce));
    let (mut a, mut b) = (before_a, before_b);
    twenty_rounds!(a b);
    let mut words = [_mm512_setzero_si512(); 8];
    for ((word, after), before) in words.iter_mut().zip(a).zip(before_a) {
        *word = _mm512_add_epi32(after, before);
    }
    Start { words, next: finish(b, &before_b) }
}

/// As [`blocks`], with two counters.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn blocks_twice(key: &[u32; 8], counters: [__m512i; 2], nonce: &[__m512i; 3]) -> [State; 2] {
    let [first, second] = counters;
    let (before_a, before_b) = (initial(key, first, nonce), initial(key, second, nonce));
    let (mut a, mut b) = (before_a, before_b);
    twenty_rounds!(a b);
    [finish(a, &before_a), finish(b, &before_b)]
}

/// Adds the state before the rounds, and turns words of blocks into blocks of words.
#[inline]
#[target_feature(enable = "avx512f")]
fn finish(mut state: State, before: &State) -> State {
    for (word, before) in state.iter_mut().zip(before) {
        *word = _mm512_add_epi32(*word, *before);
    }
    transpose(state)
}

/// Transposes 16 by 16 words: within each quarter of the vectors, then the quarters.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: State) -> State {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = rows;
    let [a, b, c, d] = transpose_within(a, b, c, d);
    let [e, f, g, h] = transpose_within(e, f, g, h);
    let [i, j, k, l] = transpose_within(i, j, k, l);
    let [m, n, o, p] = transpose_within(m, n, o, p);
    let [q0, q4, q8, q12] = transpose_quarters(a, e, i, m);
    let [q1, q5, q9, q13] = transpose_quarters(b, f, j, n);
    let [q2, q6, q10, q14] = transpose_quarters(c, g, k, o);
    let [q3, q7, q11, q15] = transpose_quarters(d, h, l, p);
    [q0, q1, q2, q3, q4, q5, q6, q7, q8, q9, q10, q11, q12, q13, q14, q15]
}

/// Within each 128-bit quarter, transposes 4 by 4 words.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transpose_within(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> [__m512i; 4] {
    let (ab, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (cd, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab, cd),
        _mm512_unpackhi_epi64(ab, cd),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// Transposes 4 by 4 quarters of 128 bits.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transpose_quarters(a: __m512i, b: __m512i, c: __m512i, d: __m512i) -> [__m512i; 4] {
    let (ab, ab_high) = (_mm512_shuffle_i32x4::<0x44>(a, b), _mm512_shuffle_i32x4::<0xee>(a, b));
    let (cd, cd_high) = (_mm512_shuffle_i32x4::<0x44>(c, d), _mm512_shuffle_i32x4::<0xee>(c, d));
    [
        _mm512_shuffle_i32x4::<0x88>(ab, cd),
        _mm512_shuffle_i32x4::<0xdd>(ab, cd),
        _mm512_shuffle_i32x4::<0x88>(ab_high, cd_high),
        _mm512_shuffle_i32x4::<0xdd>(ab_high, cd_high),
    ]
}
