//! Many packets in one call.

use adit_aead::{Algorithm, Instructions, Key, Secret, Span, TAG};

use crate::Input;

/// Packets in a batch at most: more than a cipher works on at once.
const MANY: usize = 40;

/// A batch of packets of which some are damaged: sealed and opened together as one by one, by all instructions that there are
/// for it.
pub fn aead_batch(data: &[u8]) {
    let mut input = Input::new(data);
    let algorithm = input.one(&[Algorithm::ChaCha20Poly1305, Algorithm::Aes256Gcm]);
    let secret = Secret::from(input.array());
    let wide =
        |it| Key::chacha20_poly1305(&secret, Some(it)).filter(|_| algorithm == Algorithm::ChaCha20Poly1305);
    let keys: Vec<Key> = Instructions::ALL.into_iter().filter_map(wide).collect();
    let mut spans = Vec::new();
    let mut end = 0;
    for _ in 0..input.below(MANY) {
        let (gap, aad) = (input.below(20), input.one(&[0, 0, 0, 1]));
        let len = if input.flag() { usize::from(input.word()) % 3_000 } else { input.byte().into() };
        let start = end + gap + aad;
        spans.push(Span { start, len: len + TAG, nonce: input.array(), aad });
        end = start + len + TAG;
    }
    let damage: Vec<_> = (0..input.below(4)).map(|_| (input.word(), input.byte())).collect();
    let mut arena = input.bytes(end).to_vec();
    arena.resize(end, 0);

    check(&Key::new(algorithm, &secret), &arena, &spans, &damage);
    keys.iter().for_each(|key| check(key, &arena, &spans, &damage));
}

fn check(key: &Key, arena: &[u8], spans: &[Span], damage: &[(u16, u8)]) {
    let end = arena.len();
    let (mut batch, mut single) = (arena.to_vec(), arena.to_vec());
    key.seal_batch(&mut batch, spans.iter().copied());
    for span in spans {
        let (aad, data) = parts(&mut single, span);
        assert_eq!(key.seal(span.nonce, aad, data), Ok(()));
    }
    assert!(batch == single, "sealed alike");

    for (at, mask) in damage.iter().filter(|_| end > 0) {
        batch[usize::from(*at) % end] ^= mask;
    }
    single.copy_from_slice(&batch);
    let mut verdicts = Vec::new();
    key.open_batch(&mut batch, spans.iter().copied(), |index, opened| {
        assert_eq!(index, verdicts.len());
        verdicts.push(opened);
    });
    assert_eq!(verdicts.len(), spans.len());
    for (span, opened) in spans.iter().zip(verdicts) {
        let (aad, data) = parts(&mut single, span);
        assert_eq!(opened, key.open(span.nonce, aad, data).is_ok(), "refused alike");
        let text = span.start..span.start + span.len - TAG;
        assert!(!opened || batch[text.clone()] == single[text], "opened alike");
    }
}

fn parts<'a>(arena: &'a mut [u8], span: &Span) -> (&'a [u8], &'a mut [u8]) {
    let (head, data) = arena.split_at_mut(span.start);
    (&head[span.start - span.aad..], &mut data[..span.len])
}
