//! What the modules of instructions are on machines that do not have them: nothing.

use super::{Limits, PACKETS, Packet, Wide};

pub(super) const LIMITS: Limits = Limits { packets: 0, fewest: usize::MAX, longest: [0; PACKETS + 1] };

pub(super) fn is_there() -> bool {
    false
}

/// Never called: without the instructions there is no `Wide`.
pub(super) fn seal(_: &Wide, _: &mut [u8], packets: &mut [Packet]) {
    debug_assert!(packets.is_empty(), "{packets:?}");
}

/// Never called: without the instructions there is no `Wide`.
pub(super) fn open(_: &Wide, _: &mut [u8], packets: &mut [Packet]) -> u64 {
    debug_assert!(packets.is_empty(), "{packets:?}");
    0
}
