//! What a packet of a batch costs: the library's ChaCha20-Poly1305 against the wide one, in turn. `cargo bench -p adit-bench
//! --bench cipher`; prints a table, medians of nanoseconds a packet.

use std::hint::black_box;
use std::time::Instant;

use adit_aead::{Algorithm, Key, Secret, Span, TAG, has_wide, use_wide};

const LENGTHS: [usize; 3] = [64, 256, 1_424];
const COUNTS: [usize; 8] = [1, 2, 3, 4, 8, 16, 32, 45];
/// Bytes ahead of the text: WireGuard's header.
const HEADER: usize = 16;
/// Turns of each cipher.
const TURNS: usize = 25;
/// Packets in a turn, about.
const PACKETS: usize = 10_000;

fn spans(count: usize, len: usize) -> impl Iterator<Item = Span> + Clone {
    let each = HEADER + len + TAG;
    (0..count).map(move |at| {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&(at as u64).to_le_bytes());
        Span { start: at * each + HEADER, len: len + TAG, nonce, aad: 0 }
    })
}

/// Nanoseconds a packet.
fn time(count: usize, mut work: impl FnMut()) -> f64 {
    let rounds = PACKETS / count;
    let start = Instant::now();
    for _ in 0..rounds {
        work();
    }
    start.elapsed().as_nanos() as f64 / (rounds * count) as f64
}

/// Times of sealing and of opening.
fn turn(key: &Key, count: usize, len: usize, arena: &mut Vec<u8>) -> [f64; 2] {
    let seal = time(count, || key.seal_batch(black_box(arena), spans(count, len)));
    key.seal_batch(arena, spans(count, len));
    let sealed = arena.clone();
    let copy = time(count, || black_box(&mut *arena).copy_from_slice(black_box(&sealed)));
    let open = time(count, || {
        arena.copy_from_slice(&sealed);
        key.open_batch(black_box(arena), spans(count, len), |_, verified| assert!(verified));
    });
    [seal, open - copy]
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let key = |algorithm| Key::new(algorithm, &Secret::from([7; 32]));
    use_wide(false);
    let library = key(Algorithm::ChaCha20Poly1305);
    use_wide(true);
    let wide = key(Algorithm::ChaCha20Poly1305);
    if !has_wide() {
        println!("This processor has no AVX-512 with IFMA: both columns are the library's.");
    }
    let keys = [library, wide, key(Algorithm::Aes256Gcm)];

    println!("               seal: ns a packet                 open: ns a packet");
    println!("bytes packets  library    wide  ratio AES-GCM    library    wide  ratio AES-GCM");
    for len in LENGTHS {
        for count in COUNTS {
            let mut arena = vec![0x5a; count * (HEADER + len + TAG)];
            let mut times = [const { [const { Vec::new() }; 2] }; 3];
            for _ in 0..TURNS {
                for (key, times) in keys.iter().zip(&mut times) {
                    for (times, took) in times.iter_mut().zip(turn(key, count, len, &mut arena)) {
                        times.push(took);
                    }
                }
            }
            let [[ls, lo], [ws, wo], [gs, go]] = times.map(|times| times.map(median));
            print!("{len:5} {count:7} {ls:8.1} {ws:7.1} {:6.2} {gs:7.1} ", ls / ws);
            println!("  {lo:8.1} {wo:7.1} {:6.2} {go:7.1}", lo / wo);
        }
    }
}
