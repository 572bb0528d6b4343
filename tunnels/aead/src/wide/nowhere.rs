//! What `avx512.rs` is on machines that do not have it: nothing.

use super::{Packet, Wide};

pub(super) fn is_there() -> bool {
    false
}

/// Never called: without the instructions there is no `Wide`.
pub(super) fn seal(_: &Wide, _: &mut [u8], packets: &mut [Packet]) {
    debug_assert!(packets.is_empty(), "{packets:?}");
}

/// Never called: without the instructions there is no `Wide`.
pub(super) fn open(_: &Wide, _: &mut [u8], packets: &mut [Packet]) -> u16 {
    debug_assert!(packets.is_empty(), "{packets:?}");
    0
}
