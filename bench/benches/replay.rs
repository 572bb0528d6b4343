//! The replay window, a batch of counters at a time.

use std::hint::black_box;
use std::time::Duration;

use adit_replay::Window;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Counters in a batch.
const BATCH: u64 = 64;

fn windows(c: &mut Criterion) {
    let mut group = c.benchmark_group("replay");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(BATCH));

    group.bench_function("in order", |b| {
        let (mut window, mut next) = (Window::new(), 0);
        b.iter(|| {
            for counter in next..next + BATCH {
                window.accept(black_box(counter)).expect("new");
            }
            next += BATCH;
        });
    });

    group.bench_function("backwards in each batch", |b| {
        let (mut window, mut next) = (Window::new(), 0);
        b.iter(|| {
            for counter in (next..next + BATCH).rev() {
                window.accept(black_box(counter)).expect("new");
            }
            next += BATCH;
        });
    });

    group.bench_function("replayed", |b| {
        let mut window = Window::new();
        (0..BATCH).for_each(|counter| window.accept(counter).expect("new"));
        b.iter(|| (0..BATCH).filter(|counter| window.accept(black_box(*counter)).is_err()).count());
    });
    group.finish();
}

criterion_group!(benches, windows);
criterion_main!(benches);
