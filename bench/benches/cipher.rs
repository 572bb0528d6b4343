//! What a packet of a batch costs: the library's ChaCha20-Poly1305 against the wide one, in turn. `cargo bench -p adit-bench
//! --bench cipher`; prints a table, medians of nanoseconds a packet. With `-- avx2` the wide one has no more than AVX2, whatever
//! the processor has, and the lengths are those between which that gains and does not.

use adit_aead::{Algorithm, Instructions, Key, Secret, has_wide};
use adit_bench::alone::{Packets, median, turn};

const LENGTHS: &[usize] = &[64, 256, 1_424];
const COUNTS: &[usize] = &[1, 2, 3, 4, 8, 16, 32, 45];
const AVX2_LENGTHS: &[usize] = &[64, 128, 256, 512, 768, 1_024, 1_424];
const AVX2_COUNTS: &[usize] = &[1, 4, 8, 16, 45];
/// Turns of each cipher.
const TURNS: usize = 25;

fn main() {
    let secret = Secret::from([7; 32]);
    let of = |wide| Key::chacha20_poly1305(&secret, wide);
    let library = of(None).expect("it is everywhere");
    let (wide, lengths, counts) = if std::env::args().any(|word| word == "avx2") {
        let Some(wide) = of(Some(Instructions::Avx2)) else {
            return println!("This processor has no AVX2.");
        };
        (wide, AVX2_LENGTHS, AVX2_COUNTS)
    } else {
        (Key::new(Algorithm::ChaCha20Poly1305, &secret), LENGTHS, COUNTS)
    };
    if !has_wide() {
        println!("This processor has neither AVX-512 with IFMA nor AVX2: both columns are the library's.");
    }
    let keys = [library, wide, Key::new(Algorithm::Aes256Gcm, &secret)];

    println!("               seal: ns a packet                 open: ns a packet");
    println!("bytes packets  library    wide  ratio AES-GCM    library    wide  ratio AES-GCM");
    for &len in lengths {
        for &count in counts {
            let packets = Packets { count, len, aad: 0 };
            let mut arena = packets.arena();
            let mut times = [const { [const { Vec::new() }; 2] }; 3];
            for _ in 0..TURNS {
                for (key, times) in keys.iter().zip(&mut times) {
                    for (times, took) in times.iter_mut().zip(turn(key, packets, &mut arena)) {
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
