//! Whether more messages come than can be looked at.

use std::time::Duration;

use adit_noise::Time;

use crate::datapath::UNDER_LOAD;

/// How long a load is believed to last after it was last seen, as in the kernel.
const LASTS: Duration = Duration::from_secs(1);

/// The load of a queue of handshakes.
#[derive(Debug, Default)]
pub(super) struct Load {
    seen: Option<Time>,
}

impl Load {
    /// Judges by the depth of the queue.
    pub(super) fn is_high(&mut self, depth: usize, now: Time) -> bool {
        if depth >= UNDER_LOAD {
            self.seen = Some(now);
        }
        self.seen.is_some_and(|at| now.since(at) < LASTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_believed_for_a_second() {
        let (mut load, start) = (Load::default(), Time::from_secs(9));
        assert!(!load.is_high(UNDER_LOAD - 1, start));
        assert!(load.is_high(UNDER_LOAD, start));
        assert!(load.is_high(0, start + LASTS.mul_f64(0.9)));
        assert!(!load.is_high(0, start + LASTS));
    }
}
