//! Packets that wait for a session (WireGuard paper, section 6.4).

use std::collections::VecDeque;

use adit_packet::Slot;

use crate::{Refused, Session};

/// Most packets that wait for one peer; then the oldest is dropped. As in the kernel.
const PACKETS: usize = 128;
/// Most bytes that wait in all queues of a tunnel.
const BUDGET: usize = 16 << 20;

/// How many bytes wait in all queues together.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    used: usize,
}

/// The packets of one peer, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Staging(VecDeque<Vec<u8>>);

impl Staging {
    /// Appends a packet. Returns how many were dropped: oldest ones to make room, at last the packet itself.
    pub(crate) fn push(&mut self, packet: &[u8], budget: &mut Budget) -> usize {
        let mut dropped = 0;
        while self.0.len() >= PACKETS || budget.used + packet.len() > BUDGET {
            dropped += 1;
            if self.pop(budget).is_none() {
                return dropped;
            }
        }
        budget.used += packet.len();
        self.0.push_back(packet.to_vec());
        dropped
    }

    /// Takes the oldest away.
    pub(crate) fn pop(&mut self, budget: &mut Budget) -> Option<Vec<u8>> {
        let packet = self.0.pop_front()?;
        budget.used = budget.used.saturating_sub(packet.len());
        Some(packet)
    }

    /// Drops all, and says how many there were.
    pub(crate) fn clear(&mut self, budget: &mut Budget) -> usize {
        let count = self.0.len();
        while self.pop(budget).is_some() {}
        count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The datagram that carries `packet`.
pub(crate) fn seal(session: &Session, packet: &[u8], mtu: usize) -> Result<Vec<u8>, Refused> {
    let mut slots = [Slot { start: Session::HEAD, len: packet.len(), ..Slot::default() }];
    let mut arena = Vec::with_capacity(Session::HEAD + packet.len() + Session::TAIL);
    arena.resize(Session::HEAD, 0);
    arena.extend_from_slice(packet);
    arena.resize(arena.capacity(), 0);
    session.seal(&mut arena, &mut slots, mtu)?;
    let [slot] = slots;
    arena.truncate(slot.range().end);
    Ok(arena)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_too_many_is_dropped() {
        let (mut staging, mut budget) = (Staging::default(), Budget::default());
        for number in 0..PACKETS {
            assert_eq!(staging.push(&number.to_le_bytes(), &mut budget), 0);
        }
        assert_eq!(staging.push(b"last", &mut budget), 1);
        assert_eq!(staging.pop(&mut budget), Some(1_usize.to_le_bytes().into()));
        assert_eq!(staging.clear(&mut budget), PACKETS - 1);
        assert_eq!(budget.used, 0);
    }

    #[test]
    fn the_budget_is_everyones() {
        let mut budget = Budget::default();
        let mut peers: Vec<_> = (0..20).map(|_| Staging::default()).collect();
        let packet = [0; 65535];
        let mut dropped = 0;
        for staging in &mut peers {
            for _ in 0..PACKETS {
                dropped += staging.push(&packet, &mut budget);
                assert!(budget.used <= BUDGET);
            }
        }
        assert!(dropped > 0);
        let kept: usize = peers.iter_mut().map(|peer| peer.clear(&mut budget)).sum();
        assert_eq!(kept + dropped, 20 * PACKETS);
        assert_eq!(budget.used, 0);
    }
}
