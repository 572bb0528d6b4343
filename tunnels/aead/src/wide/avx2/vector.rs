//! 256-bit vectors, and halves of them, in and out of slices: the only unsafe loads and stores.

use core::arch::x86_64::{
    __m128i, __m256i, _mm_and_si128, _mm_loadu_si128, _mm_setzero_si128, _mm_storeu_si128,
    _mm256_loadu_si256, _mm256_storeu_si256,
};

/// Bytes in a vector.
pub(super) const WIDTH: usize = 32;
/// Bytes in half a vector.
pub(super) const HALF: usize = WIDTH / 2;

/// From place `HALF - n` on it begins with n bytes of ones, and zeros follow.
const ONES: [u8; WIDTH] = {
    let mut ones = [0; WIDTH];
    *ones.first_chunk_mut::<HALF>().expect("it is half of it") = [0xff; HALF];
    ones
};

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load(bytes: &[u8; WIDTH]) -> __m256i {
    // SAFETY: the array has the 32 bytes that are read; no alignment is asked for.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store(vector: __m256i, bytes: &mut [u8; WIDTH]) {
    // SAFETY: the array has the 32 bytes that are written; no alignment is asked for.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn load_half(bytes: &[u8; HALF]) -> __m128i {
    // SAFETY: the array has the 16 bytes that are read; no alignment is asked for.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn store_half(half: __m128i, bytes: &mut [u8; HALF]) {
    // SAFETY: the array has the 16 bytes that are written; no alignment is asked for.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), half) }
}

/// The first `count` bytes of half a vector, and zeros; all of it if it has no more.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn first(half: __m128i, count: usize) -> __m128i {
    let ones = ONES.get(HALF - count.min(HALF)..).and_then(|ones| ones.first_chunk());
    ones.map_or(_mm_setzero_si128(), |ones| _mm_and_si128(half, load_half(ones)))
}
