//! Sealing and opening a batch of packets, by cipher and length.

use std::hint::black_box;
use std::time::Duration;

use adit_aead::{Algorithm, Key, Secret, Span, TAG};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Packets in a batch.
const BATCH: usize = 32;
/// Bytes of text. The last is a full packet of an MTU of 1420 with its padding.
const LENGTHS: [usize; 3] = [64, 256, 1424];
/// Bytes ahead of the text: WireGuard's header.
const HEADER: usize = 16;

fn spans(len: usize) -> impl Iterator<Item = Span> + Clone {
    let each = HEADER + len + TAG;
    (0..BATCH).map(move |at| {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&(at as u64).to_le_bytes());
        Span { start: at * each + HEADER, len: len + TAG, nonce, aad: 0 }
    })
}

fn batches(c: &mut Criterion) {
    for (name, algorithm) in
        [("chacha20-poly1305", Algorithm::ChaCha20Poly1305), ("aes-256-gcm", Algorithm::Aes256Gcm)]
    {
        let key = Key::new(algorithm, &Secret::from([7; 32]));
        let mut group = c.benchmark_group(name);
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
        for len in LENGTHS {
            group.throughput(Throughput::Bytes((BATCH * len) as u64));
            let mut arena = vec![0x5a; BATCH * (HEADER + len + TAG)];
            group.bench_function(BenchmarkId::new("seal", len), |b| {
                b.iter(|| key.seal_batch(black_box(&mut arena), spans(len)));
            });
            // The bench above may not have run, and opening needs what verifies.
            key.seal_batch(&mut arena, spans(len));
            group.bench_function(BenchmarkId::new("open", len), |b| {
                let open = |arena: &mut Vec<u8>| {
                    key.open_batch(arena, spans(len), |_, verified| assert!(verified));
                };
                b.iter_batched_ref(|| arena.clone(), open, BatchSize::SmallInput);
            });
        }
        group.finish();
    }
}

criterion_group!(benches, batches);
criterion_main!(benches);
