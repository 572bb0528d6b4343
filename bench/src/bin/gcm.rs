//! What AES-256-GCM takes for a packet of a batch, alone.

use adit_aead::{Algorithm, Key, Secret};
use adit_bench::alone::{Packets, median, turn};
use clap::Parser;
use serde_json::json;

/// Packets of a batch: a super-packet's.
const BATCH: usize = 45;
/// Turns, of which the middle one counts.
const TURNS: usize = 9;

/// Times sealing and opening of packets that are in the cache. The answer is one JSON object.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Bytes of text in a packet.
    len: usize,
    /// Bytes ahead of it that are authenticated only.
    #[arg(long, default_value_t = 0)]
    aad: usize,
}

fn main() {
    let Arguments { len, aad } = Arguments::parse();
    let packets = Packets { count: BATCH, len, aad };
    let key = Key::new(Algorithm::Aes256Gcm, &Secret::from([7; 32]));
    let mut arena = packets.arena();
    let turns: Vec<_> = (0..TURNS).map(|_| turn(&key, packets, &mut arena)).collect();
    let [seal, open] = [0, 1].map(|which| median(turns.iter().map(|turn| turn[which]).collect()));
    println!("{}", json!({ "len": len, "aad": aad, "batch": BATCH, "seal_ns": seal, "open_ns": open }));
}
