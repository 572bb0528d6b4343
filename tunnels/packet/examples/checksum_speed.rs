//! Prints the time of one checksum: `cargo run --release -p adit-packet --example checksum_speed`.
#![allow(clippy::disallowed_methods)] // A measurement needs a clock.

use std::hint::black_box;
use std::time::Instant;

use adit_packet::Sum;

const ROUNDS: u32 = 1_000_000;

fn main() {
    let data: Vec<u8> = (0..65_536_u32).map(|i| (i * 7) as u8).collect();
    for len in [20, 40, 64, 576, 1400, 1500, 9000] {
        let data = data.get(..len).unwrap_or_default();
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(Sum::of(black_box(data)).checksum());
        }
        let each = start.elapsed() / ROUNDS;
        println!("{len:>6} bytes {:>6} ns", each.as_nanos());
    }
}
