//! Trains: which datagrams leave together, and what one receive brought.

use super::Path;
use crate::net::udp::{TRAIN_MAX, TRAIN_SEGMENTS};
use adit_packet::{Ecn, Slot};

/// What one receive brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Train {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) stride: usize,
    pub(super) path: Path,
    pub(super) ecn: Ecn,
    pub(super) truncated: bool,
}

impl Train {
    /// No train can be longer: if there was more to send, it follows.
    pub(super) fn is_full(&self) -> bool {
        let len = self.end - self.start;
        len + self.stride > TRAIN_MAX || len / self.stride >= TRAIN_SEGMENTS
    }
}

/// How many datagrams at the front of `slots` can leave as one train of at most `most`: each as long as the first but the
/// last, which may be shorter; all kept, and with one congestion mark; none apart from its neighbour in the arena.
pub(super) fn run(slots: &[Slot], most: usize) -> usize {
    let Some(first) = slots.first() else { return 0 };
    let most = most.min(TRAIN_MAX / first.len.max(1)).max(1);
    let mut count = 1;
    for pair in slots.windows(2).take(most - 1) {
        let (before, slot) = (pair[0], pair[1]);
        let alike = before.len == first.len && slot.len <= first.len && slot.ecn == first.ecn;
        if !alike || !slot.kept || slot.start != before.range().end {
            break;
        }
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_train_ends_where_length_or_mark_changes_or_the_limit_is_reached() {
        let slot = |start, len, ecn| Slot { start, len, ecn, kept: true, number: 0 };
        let equal: Vec<_> = (0..100).map(|at| slot(at * 1_000, 1_000, Ecn::NotEct)).collect();
        assert_eq!(run(&equal, 64), 64);
        assert_eq!(run(&equal, 1), 1);
        let large: Vec<_> = (0..100).map(|at| slot(at * 1_452, 1_452, Ecn::NotEct)).collect();
        assert_eq!(run(&large, 64), 45);
        let mut shorter = equal.clone();
        shorter[5].len = 500;
        assert_eq!(run(&shorter, 64), 6);
        let mut longer = equal.clone();
        longer[5].len = 1_001;
        assert_eq!(run(&longer, 64), 5);
        let mut marked = equal.clone();
        marked[7].ecn = Ecn::Ce;
        assert_eq!(run(&marked, 64), 7);
        let mut refused = equal.clone();
        refused[8].kept = false;
        assert_eq!(run(&refused, 64), 8);
        let mut apart = equal;
        apart.remove(3);
        assert_eq!(run(&apart, 64), 3);
    }
}
