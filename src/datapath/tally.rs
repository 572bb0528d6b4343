//! What a thread counts: drops, which can be watched, and batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adit_noise::Time;
use adit_packet::Slot;

use super::{Drops, Reason, Tracer};

/// The counters of one thread. That thread alone counts batches; anybody may read, and count drops.
#[derive(Debug, Default)]
pub struct Tally {
    drops: Drops,
    tracer: Arc<Tracer>,
    /// Batches from the device to the network.
    pub outward: Batches,
    /// Batches from the network to the device.
    pub inward: Batches,
}

impl Tally {
    /// Counters at 0. Dropped packets are shown to whoever watches `tracer`.
    #[must_use]
    pub fn new(tracer: Arc<Tracer>) -> Self {
        Self { tracer, ..Self::default() }
    }

    /// Dropped packets by reason.
    #[must_use]
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Counts a dropped packet.
    #[cold]
    pub fn drop(&self, reason: Reason, packet: &[u8], now: Time) {
        self.drop_joined(reason, 1, packet, now);
    }

    /// Counts packets that are dropped as one, such as a super-packet. `first` is what is at hand of the first: nothing, if
    /// only their number is known.
    #[cold]
    pub fn drop_joined(&self, reason: Reason, packets: u64, first: &[u8], now: Time) {
        self.drops.add(reason, packets);
        self.tracer.note(reason, packets, first, now);
    }

    /// Counts the packets of `slots`.
    #[cold]
    pub fn drop_slots(&self, reason: Reason, arena: &[u8], slots: &[Slot], now: Time) {
        self.drops.add(reason, slots.len() as u64);
        if self.tracer.is_on() {
            for slot in slots {
                self.tracer.note(reason, 1, arena.get(slot.range()).unwrap_or_default(), now);
            }
        }
    }
}

/// How large batches are: how many had 1 packet, 2 to 3, 4 to 7, and so on; and packets in all of them. One thread counts;
/// anybody may read.
#[derive(Debug, Default)]
pub struct Batches {
    packets: AtomicU64,
    sizes: [AtomicU64; Batches::BUCKETS],
}

impl Batches {
    /// How many sizes are told apart. The last has no end: 2,048 packets and more.
    pub const BUCKETS: usize = 12;

    /// Counts a batch; an empty one is none.
    pub fn count(&self, packets: usize) {
        if let Some(size) = packets.checked_ilog2() {
            // One thread writes, so nothing comes between load and store; it spares the price of an atomic addition.
            let add = |to: &AtomicU64, more| to.store(to.load(Ordering::Relaxed) + more, Ordering::Relaxed);
            add(&self.packets, packets as u64);
            add(&self.sizes[(size as usize).min(Self::BUCKETS - 1)], 1);
        }
    }

    /// Packets in all batches.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// How many batches there were of each size.
    #[must_use]
    pub fn sizes(&self) -> [u64; Self::BUCKETS] {
        std::array::from_fn(|at| self.sizes[at].load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_falls_into_the_bucket_of_its_power_of_two() {
        let batches = Batches::default();
        for packets in [0, 1, 2, 3, 4, 7, 8, 1_023, 1_024, 2_047, 2_048, 4_096, 1 << 20] {
            batches.count(packets);
        }
        assert_eq!(batches.sizes(), [1, 2, 2, 1, 0, 0, 0, 0, 0, 1, 2, 3]);
        assert_eq!(
            batches.packets(),
            1 + 2 + 3 + 4 + 7 + 8 + 1_023 + 1_024 + 2_047 + 2_048 + 4_096 + (1 << 20)
        );
    }

    #[test]
    fn slots_are_counted_together_and_shown_one_by_one() {
        let tracer = Arc::new(Tracer::default());
        let tally = Tally::new(tracer.clone());
        let slot = |start, len| Slot { start, len, ..Slot::default() };
        let drop =
            || tally.drop_slots(Reason::Expired, b"abcdef", &[slot(1, 2), slot(4, 1)], Time::from_secs(1));
        drop();
        assert!(tracer.begin());
        drop();
        let heads: Vec<_> = tracer.take().0.into_iter().map(|dropped| dropped.head).collect();
        assert_eq!(heads, [b"bc".to_vec(), b"e".to_vec()]);
        assert_eq!(tally.drops().of(Reason::Expired), 4);
    }
}
