//! Poly1305 by long multiplication, and sums at which one that is written in limbs may go wrong.
#![expect(clippy::indexing_slicing, reason = "digits of a product")]

use proptest::prelude::*;

/// How a tag is computed: of `r`, the number that is added in the end, and blocks.
type Tag = fn(u128, u128, &[u128]) -> u128;

/// The tag by long multiplication, in digits of 32 bits.
pub(super) fn tag(r: u128, pad: u128, blocks: &[u128]) -> u128 {
    let r = r & 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff;
    let digit = |number: u128, at: usize| (number >> (32 * at)) & 0xffff_ffff;
    // A sum of 128 bits, and what lies above them.
    let (mut sum, mut above) = (0_u128, 0_u128);
    for block in blocks {
        let (added, carry) = sum.overflowing_add(*block);
        let number = [digit(added, 0), digit(added, 1), digit(added, 2), digit(added, 3)];
        let top = above + u128::from(carry) + 1;
        let mut product = [0_u128; 10];
        for (i, x) in number.into_iter().chain([top]).enumerate() {
            for j in 0..4 {
                product[i + j] += x * digit(r, j);
            }
        }
        for at in 0..9 {
            product[at + 1] += product[at] >> 32;
            product[at] &= 0xffff_ffff;
        }
        let low = (0..4).map(|at| product[at] << (32 * at)).sum::<u128>();
        // What counts 2^130 counts 5.
        let over = (product[4] >> 2) + (product[5] << 30) + (product[6] << 62) + (product[7] << 94);
        let (folded, first) = low.overflowing_add(over);
        let (folded, second) = folded.overflowing_add(over << 2);
        (sum, above) = (folded, (product[4] & 3) + (over >> 126) + u128::from(first) + u128::from(second));
    }
    // Below 2^131: the prime is taken off as often as it fits.
    while above > 3 || (above == 3 && sum >= u128::MAX - 4) {
        let (less, borrow) = sum.overflowing_sub(u128::MAX - 4);
        (sum, above) = (less, above - 3 - u128::from(borrow));
    }
    sum.wrapping_add(pad)
}

const R: [u128; 3] =
    [1, 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff, 0x0806_d540_0e52_447c_036d_5554_08be_d685];

pub(super) fn sums_next_to_the_prime(tag_of: Tag) {
    const PAD: u128 = (2 << 64) - 1;
    // Three blocks count 3 * 2^128 and their values: the sum is 2^130 - 5 + k.
    for k in -2_i8..6 {
        let blocks = [u128::MAX - 15, (11 + k) as u128, 0];
        // Below the prime it stays as it is; from the prime on it is k.
        let sum = if k < 0 { (k - 5) as u128 } else { k as u128 };
        assert_eq!(tag_of(1, PAD, &blocks), sum.wrapping_add(PAD), "{k}");
        assert_eq!(tag(1, PAD, &blocks), sum.wrapping_add(PAD), "{k}");
    }
}

/// No random text meets these: what is carried round from the last limb (here of 44, 44 and 42 bits) takes the first one over
/// its end when the second has ended already.
pub(super) fn carries_through_all_limbs(tag_of: Tag) {
    let low_44 = (1_u128 << 44) - 1;
    let value = (1 << 88) | low_44 << 44 | (low_44 - 2);
    assert_eq!(tag_of(1, 7, &[value, 0, 0, 0]), value + 12);
    let [_, most, some] = R;
    for (r, blocks, sum) in [
        (
            most,
            [0x781f_9c58_d664_5fa9_e8a8_529f_035e_fa25, 0x6488_c73b_aaf6_1fd3_7274_24c0_12f0_6795],
            1 << 45,
        ),
        (
            most,
            [0x8a7d_43b5_7863_3074_b797_0386_fee2_9476, 0x738f_4fb4_f081_8cb0_937c_95ff_d354_b01c],
            (1 << 45) + 4,
        ),
        (
            most,
            [0x3b5f_3d86_268e_cc45_dc6b_f1e1_a399_f82a, 0x44ba_1cd2_61a4_fc94_63ff_ae71_e76a_e385],
            (1 << 46) + 2,
        ),
        (
            some,
            [0x03e0_a813_bdc2_ae99_63d2_e490_85ef_3430, 0xcbd0_ca6c_65d3_46e9_22d8_8ce0_49e1_9a02],
            1 << 45,
        ),
        (
            some,
            [0x28ce_6f24_1064_5d51_c6f8_da3e_abe1_9f58, 0xd84b_7b56_5d98_9e4f_7528_88b2_907f_005e],
            (1 << 45) + 4,
        ),
        (
            some,
            [0x6bd0_638b_4d10_0d8f_daf0_105b_a06c_05a1, 0x32d7_fd5e_817f_9e29_f227_9bfb_22e1_c678],
            (1 << 46) + 2,
        ),
    ] {
        assert_eq!(tag(r, 0, &blocks), sum);
        assert_eq!(tag_of(r, 0, &blocks), sum);
    }
}

pub(super) fn r() -> impl Strategy<Value = u128> {
    prop_oneof![any::<u128>(), prop::sample::select(&R[..])]
}

pub(super) fn blocks() -> impl Strategy<Value = Vec<u128>> {
    let block =
        prop_oneof![any::<u128>(), Just(0), Just(u128::MAX), (0_u128..16).prop_map(|k| u128::MAX - k)];
    prop::collection::vec(block, 0..40)
}
