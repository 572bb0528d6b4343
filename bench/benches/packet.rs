//! Cutting a TCP super-packet into segments and joining them again.

use std::hint::black_box;
use std::time::Duration;

use adit_packet::{Coalescer, Limits, segment};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

#[path = "../instructions/src/super_packet.rs"]
mod super_packet;

use super_packet::{COUNT, GAP, HEADERS, LEN, super_packet};

fn packets(c: &mut Criterion) {
    let (packet, header) = super_packet();
    let mut group = c.benchmark_group("packet");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Bytes(LEN as u64));

    group.bench_function(format!("segment into {COUNT}"), |b| {
        let cut = |packet: &mut Vec<u8>| segment(packet, LEN, &header, |size| size + GAP);
        b.iter_batched_ref(|| packet.clone(), cut, BatchSize::SmallInput);
    });

    let mut arena = packet.clone();
    let segments = segment(&mut arena, LEN, &header, |size| size + GAP).expect("a sound super-packet");
    assert_eq!(segments.count, COUNT);
    // Joining rewrites nothing but the first headers.
    let first = arena[..HEADERS].to_vec();
    let mut coalescer = Coalescer::new(Limits::default());
    group.bench_function(format!("coalesce {COUNT}"), |b| {
        b.iter(|| {
            arena[..HEADERS].copy_from_slice(&first);
            for (at, len) in segments.iter() {
                coalescer.push(black_box(&arena), at..at + len).expect("room");
            }
            coalescer.finish(&mut arena);
            assert_eq!(coalescer.items().len(), 1);
            coalescer.clear();
        });
    });
    group.finish();
}

criterion_group!(benches, packets);
criterion_main!(benches);
