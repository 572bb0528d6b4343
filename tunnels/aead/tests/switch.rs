//! The switch of the wide cipher. It is the whole process's, so it is alone in this program.

use adit_aead::{Algorithm, Key, Secret, Span, TAG, has_wide, use_wide};

#[test]
fn packets_are_the_same_with_the_wide_cipher_and_without() {
    let sealed = || {
        let key = Key::new(Algorithm::ChaCha20Poly1305, &Secret::from([3; 32]));
        let mut arena = vec![0x5a; 20 * 100];
        let spans = (0..20).map(|at| Span { start: at * 100, len: 84 + TAG, nonce: [at as u8; 12], aad: 0 });
        key.seal_batch(&mut arena, spans.clone());
        let copy = arena.clone();
        key.open_batch(&mut arena, spans, |at, opened| assert!(opened, "{at}"));
        copy
    };
    // The library decrypts while it verifies.
    let leaves_what_is_refused = || {
        let key = Key::new(Algorithm::ChaCha20Poly1305, &Secret::from([3; 32]));
        let mut arena = vec![0x5a; 16 * 100];
        let spans = (0..16).map(|at| Span { start: at * 100, len: 100, nonce: [0; 12], aad: 0 });
        key.open_batch(&mut arena, spans, |at, opened| assert!(!opened, "{at}"));
        arena.iter().all(|byte| *byte == 0x5a)
    };
    let had = has_wide();
    let with = sealed();
    assert_eq!(leaves_what_is_refused(), had);
    use_wide(false);
    assert!(!has_wide());
    assert_eq!(sealed(), with);
    assert!(!leaves_what_is_refused());
    use_wide(true);
    assert_eq!(has_wide(), had);
}
