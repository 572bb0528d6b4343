//! What a batch needs beside its own memory.

use adit_noise::Time;
use adit_packet::Slot;

use super::{Inbox, Reason, Table, Tally};

/// What both directions need for a batch.
pub struct Context<'a, C> {
    /// The worker's table.
    pub table: &'a mut Table,
    /// The worker's counters.
    pub tally: &'a Tally,
    /// Where handshakes and packets without a session go.
    pub inbox: &'a Inbox<C>,
    /// The TUN device's MTU in bytes.
    pub mtu: usize,
    /// The time of the batch.
    pub now: Time,
}

impl<C> Context<'_, C> {
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
}
