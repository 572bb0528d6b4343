//! 512-bit vectors in and out of slices: the only unsafe loads and stores.

use core::arch::x86_64::{
    __m512i, _mm512_loadu_si512, _mm512_mask_storeu_epi8, _mm512_maskz_loadu_epi8, _mm512_storeu_si512,
};

/// Bytes in a vector.
pub(super) const WIDTH: usize = 64;

/// The first `bytes.len()` lanes, which are at most [`WIDTH`], as a mask of bytes.
fn mask(bytes: &[u8]) -> u64 {
    u64::MAX.checked_shr((WIDTH - bytes.len().min(WIDTH)) as u32).unwrap_or(0)
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(bytes: &[u8; WIDTH]) -> __m512i {
    // SAFETY: the array has the 64 bytes that are read; no alignment is asked for.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Loads at most [`WIDTH`] bytes, with zeros behind them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn load_part(bytes: &[u8]) -> __m512i {
    // SAFETY: the mask selects no byte beyond the slice, and bytes that are not selected are not accessed.
    unsafe { _mm512_maskz_loadu_epi8(mask(bytes), bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(vector: __m512i, bytes: &mut [u8; WIDTH]) {
    // SAFETY: the array has the 64 bytes that are written; no alignment is asked for.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), vector) }
}

/// Stores as many bytes of the vector as the slice has, at most [`WIDTH`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn store_part(vector: __m512i, bytes: &mut [u8]) {
    // SAFETY: the mask selects no byte beyond the slice, and bytes that are not selected are not accessed.
    unsafe { _mm512_mask_storeu_epi8(bytes.as_mut_ptr().cast(), mask(bytes), vector) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn quads(quads: &[u64; 8]) -> __m512i {
    // SAFETY: the array has the 64 bytes that are read; no alignment is asked for.
    unsafe { _mm512_loadu_si512(quads.as_ptr().cast()) }
}
