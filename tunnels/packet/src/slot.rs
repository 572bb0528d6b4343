//! A packet's place in an arena.

use crate::Ecn;

/// One packet in an arena of bytes. The framing's header goes ahead of `start`, its tag behind `start + len`:
/// whoever fills the arena leaves that room.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Slot {
    /// Offset of the first byte in the arena.
    pub start: usize,
    /// Length in bytes.
    pub len: usize,
    /// The packet number that the framing gave it, or read from it.
    pub number: u64,
    /// Congestion mark: of the inner packet on the way out, of the outer one on the way in.
    pub ecn: Ecn,
    /// False once the packet is refused; its bytes mean nothing then.
    pub kept: bool,
}

impl Slot {
    /// The packet's bytes as a range of the arena.
    pub fn range(&self) -> core::ops::Range<usize> {
        self.start..self.start.saturating_add(self.len)
    }
}
