//! What a packet of a batch costs: the library's ChaCha20-Poly1305 against the wide one, in turn. `cargo bench -p adit-bench
//! --bench cipher`; prints a table, medians of nanoseconds a packet.

use adit_aead::{Algorithm, Key, Secret, has_wide, use_wide};
use adit_bench::alone::{Packets, median, turn};

const LENGTHS: [usize; 3] = [64, 256, 1_424];
const COUNTS: [usize; 8] = [1, 2, 3, 4, 8, 16, 32, 45];
/// Turns of each cipher.
const TURNS: usize = 25;

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
