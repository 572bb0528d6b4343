//! What a batch needs beside its own memory.

use adit_noise::Time;
use adit_packet::Slot;

use super::{Framing, Inbox, Reason, Tally};

/// What both directions need for a batch.
pub struct Context<'a, F: Framing, C> {
    /// What the worker knows.
    pub framing: &'a mut F,
    /// The worker's counters.
    pub tally: &'a Tally,
    /// Where handshakes and notes go.
    pub inbox: &'a Inbox<F::Note, C>,
    /// The device's MTU in bytes.
    pub mtu: usize,
    /// The time of the batch.
    pub now: Time,
}

impl<F: Framing, C> Context<'_, F, C> {
    /// A packet goes no further.
    pub(super) fn drop(&self, reason: Reason, packet: &[u8]) {
        self.tally.drop(reason, packet, self.now);
    }

    /// Packets go no further, of which the first is at hand, or none.
    pub(super) fn drop_joined(&self, reason: Reason, packets: usize, first: &[u8]) {
        self.tally.drop_joined(reason, packets as u64, first, self.now);
    }

    /// The packets of `slots` go no further.
    pub(super) fn drop_slots(&self, reason: Reason, arena: &[u8], slots: &[Slot]) {
        self.tally.drop_slots(reason, arena, slots, self.now);
    }

    /// Those of `slots` that are kept go no further.
    #[cold]
    pub(super) fn drop_kept(&self, reason: Reason, arena: &[u8], slots: &[Slot]) {
        for slot in slots.iter().filter(|slot| slot.kept) {
            self.drop(reason, arena.get(slot.range()).unwrap_or_default());
        }
    }
}
