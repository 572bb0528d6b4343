//! What a cipher costs a packet of a batch, by itself and on data that is in the cache.

use std::hint::black_box;
use std::time::Instant;

use adit_aead::{Key, Span, TAG};

/// Bytes ahead of the text, at least: WireGuard's header.
const HEADER: usize = 16;
/// Packets in a turn, about.
const PACKETS: usize = 10_000;

/// A batch of packets that are alike.
#[derive(Clone, Copy, Debug)]
pub struct Packets {
    /// How many.
    pub count: usize,
    /// Bytes of text in each.
    pub len: usize,
    /// Bytes ahead of the text that are authenticated only.
    pub aad: usize,
}

impl Packets {
    /// Memory for all of them.
    #[must_use]
    pub fn arena(self) -> Vec<u8> {
        vec![0x5a; self.count * self.each()]
    }

    fn head(self) -> usize {
        self.aad.max(HEADER)
    }

    fn each(self) -> usize {
        self.head() + self.len + TAG
    }

    fn spans(self) -> impl Iterator<Item = Span> + Clone {
        (0..self.count).map(move |at| {
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&(at as u64).to_le_bytes());
            Span { start: at * self.each() + self.head(), len: self.len + TAG, nonce, aad: self.aad }
        })
    }

    /// Nanoseconds a packet.
    fn time(self, mut work: impl FnMut()) -> f64 {
        let rounds = PACKETS / self.count;
        let start = Instant::now();
        for _ in 0..rounds {
            work();
        }
        start.elapsed().as_nanos() as f64 / (rounds * self.count) as f64
    }
}

/// Nanoseconds a packet of sealing and of opening.
pub fn turn(key: &Key, packets: Packets, arena: &mut Vec<u8>) -> [f64; 2] {
    let seal = packets.time(|| key.seal_batch(black_box(arena), packets.spans()));
    key.seal_batch(arena, packets.spans());
    let sealed = arena.clone();
    let copy = packets.time(|| black_box(&mut *arena).copy_from_slice(black_box(&sealed)));
    let open = packets.time(|| {
        arena.copy_from_slice(&sealed);
        key.open_batch(black_box(arena), packets.spans(), |_, verified| assert!(verified));
    });
    [seal, open - copy]
}

/// The middle of all.
#[must_use]
pub fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
