//! What holds for every packet, key and nonce.

use adit_aead::{Algorithm, Error, Key, Nonce, Secret, Span, TAG};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(Algorithm::ChaCha20Poly1305), Just(Algorithm::Aes256Gcm)]
}

fn key() -> impl Strategy<Value = Key> {
    (algorithm(), any::<[u8; 32]>()).prop_map(|(algorithm, key)| Key::new(algorithm, &key.into()))
}

/// Plaintext with room for the tag.
fn slot(text: &[u8]) -> Vec<u8> {
    let mut data = text.to_vec();
    data.resize(text.len() + TAG, 0xee);
    data
}

/// The position of a random bit of `data`, and that bit.
fn bit(data: &[u8], index: &Index) -> (usize, u8) {
    let bit = index.index(data.len() * 8);
    (bit / 8, 1 << (bit % 8))
}

proptest! {
    #[test]
    fn what_was_sealed_opens_to_the_same(
        key in key(), nonce: Nonce, aad in vec(any::<u8>(), 0..64), text in vec(any::<u8>(), 0..2000),
    ) {
        let mut data = slot(&text);
        key.seal(nonce, &aad, &mut data).unwrap();
        prop_assert!(text.len() < 16 || data[..text.len()] != text);
        prop_assert_eq!(key.open(nonce, &aad, &mut data), Ok(()));
        prop_assert_eq!(&data[..text.len()], &text);
    }

    #[test]
    fn any_flipped_bit_is_refused(
        key in key(), nonce: Nonce, aad in vec(any::<u8>(), 1..64), text in vec(any::<u8>(), 0..300),
        at: Index,
    ) {
        let mut sealed = slot(&text);
        key.seal(nonce, &aad, &mut sealed).unwrap();

        let mut changed = sealed.clone();
        let (byte, mask) = bit(&changed, &at);
        changed[byte] ^= mask;
        prop_assert_eq!(key.open(nonce, &aad, &mut changed), Err(Error::Auth));

        let mut other = aad.clone();
        let (byte, mask) = bit(&other, &at);
        other[byte] ^= mask;
        prop_assert_eq!(key.open(nonce, &other, &mut sealed.clone()), Err(Error::Auth));

        let mut other = nonce;
        let (byte, mask) = bit(&other, &at);
        other[byte] ^= mask;
        prop_assert_eq!(key.open(other, &aad, &mut sealed.clone()), Err(Error::Auth));

        prop_assert_eq!(key.open(nonce, &aad, &mut sealed), Ok(()));
    }

    #[test]
    fn another_key_or_algorithm_opens_nothing(
        secret: [u8; 32],
        nonce: Nonce,
        text in vec(any::<u8>(), 0..300),
        at: Index,
    ) {
        let key = Key::new(Algorithm::ChaCha20Poly1305, &Secret::from(&secret));
        let mut sealed = slot(&text);
        key.seal(nonce, &[], &mut sealed).unwrap();

        let mut other = secret;
        let (byte, mask) = bit(&other, &at);
        other[byte] ^= mask;
        let other = Key::new(Algorithm::ChaCha20Poly1305, &other.into());
        prop_assert_eq!(other.open(nonce, &[], &mut sealed.clone()), Err(Error::Auth));
        let other = Key::new(Algorithm::Aes256Gcm, &secret.into());
        prop_assert_eq!(other.open(nonce, &[], &mut sealed), Err(Error::Auth));
    }

    #[test]
    fn truncated_input_is_refused(key in key(), nonce: Nonce, text in vec(any::<u8>(), 0..300), keep: Index) {
        let mut data = slot(&text);
        key.seal(nonce, &[], &mut data).unwrap();
        let kept = keep.index(data.len());
        let expected = if kept < TAG { Error::TooShort } else { Error::Auth };
        prop_assert_eq!(key.open(nonce, &[], &mut data[..kept]), Err(expected));
    }

    #[test]
    fn random_input_is_refused(
        key in key(),
        nonce: Nonce,
        aad in vec(any::<u8>(), 0..64),
        mut data in vec(any::<u8>(), 0..300),
    ) {
        let expected = if data.len() < TAG { Error::TooShort } else { Error::Auth };
        prop_assert_eq!(key.open(nonce, &aad, &mut data), Err(expected));
    }

    /// Packets of random length, each behind a random gap of which a part is authenticated.
    #[test]
    fn a_batch_is_the_same_as_its_packets_one_by_one(
        key in key(),
        packets in vec((0usize..40, any::<Index>(), 0usize..200, any::<Nonce>()), 0..20),
    ) {
        let mut end = 0;
        let spans: Vec<Span> = packets
            .iter()
            .map(|(gap, aad, text, nonce)| {
                let span = Span { start: end + gap, len: text + TAG, nonce: *nonce, aad: aad.index(gap + 1) };
                end = span.start + span.len;
                span
            })
            .collect();
        let plain: Vec<u8> = (0..end + 7).map(|i| i as u8).collect();

        let (mut batch, mut single) = (plain.clone(), plain.clone());
        key.seal_batch(&mut batch, spans.iter().copied());
        for span in &spans {
            let (head, data) = single.split_at_mut(span.start);
            key.seal(span.nonce, &head[span.start - span.aad..], &mut data[..span.len]).unwrap();
        }
        prop_assert_eq!(&batch, &single);

        let mut verdicts = Vec::new();
        key.open_batch(&mut batch, spans.iter().copied(), |index, opened| verdicts.push((index, opened)));
        prop_assert_eq!(verdicts, (0..spans.len()).map(|index| (index, true)).collect::<Vec<_>>());
        for span in &spans {
            let text = span.start..span.start + span.len - TAG;
            prop_assert_eq!(&batch[text.clone()], &plain[text]);
        }
    }
}
