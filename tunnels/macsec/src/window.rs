//! Which packet numbers a receive association still takes (IEEE 802.1AE-2018, clauses 10.6.2 and 10.6.4).

use adit_replay::Window;

/// How far behind packet numbers may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Replay {
    /// Any distance: replayed frames are delivered, and counted as InPktsDelayed (replayProtect is false).
    Off,
    /// So many packet numbers behind the next one that is expected; 0 wants strict order (replayWindow). Within the window
    /// a frame may come twice: that is the standard's rule, for links that do not duplicate.
    Window(u32),
    /// As [`adit_replay::SIZE`], and each number once only. For carriers that reorder and duplicate, such as UDP.
    Bitmap,
}

impl Replay {
    /// The widest window with extended packet numbers, whose upper half could not be found again in a wider one
    /// (clause 10.7).
    pub const XPN_MAX: u32 = (1 << 30) - 1;
}

/// The packet number of an authentic frame was accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Accepted {
    InTime,
    /// Behind the window, which is not enforced.
    Delayed,
}

/// The packet number is behind the window, or was seen before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Late;

/// The packet numbers that were seen.
#[derive(Debug)]
pub(crate) struct ReceiveWindow {
    replay: Replay,
    /// What comes next, if nothing is lost. At the end of all numbers it stays there.
    next: u64,
    /// The lowest that is acceptable, where the window is enforced.
    lowest: u64,
    seen: Option<Box<Window>>,
}

impl ReceiveWindow {
    /// A window that has seen nothing, and takes nothing below `lowest`.
    pub(crate) fn new(replay: Replay, lowest: u64) -> Self {
        let seen = (replay == Replay::Bitmap).then(|| Box::new(Window::new()));
        Self { replay, next: lowest, lowest, seen }
    }

    /// The next packet number that is expected.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The lowest packet number that is acceptable.
    pub(crate) fn lowest(&self) -> u64 {
        self.lowest
    }

    /// The packet number that a received lower half is read against: of all that share it, the first that is not before.
    pub(crate) fn reference(&self) -> u64 {
        match self.replay {
            Replay::Window(_) | Replay::Bitmap => self.lowest,
            Replay::Off => self.next.saturating_sub(Replay::XPN_MAX.into()),
        }
    }

    /// Whether an authentic frame with this number, or one that nobody validates, would be in time.
    pub(crate) fn check(&self, pn: u64) -> Result<Accepted, Late> {
        match self.replay {
            _ if pn >= self.lowest => Ok(Accepted::InTime),
            Replay::Off => Ok(Accepted::Delayed),
            Replay::Window(_) | Replay::Bitmap => Err(Late),
        }
    }

    /// Takes the number of an authentic frame, and moves on.
    pub(crate) fn accept(&mut self, pn: u64) -> Result<Accepted, Late> {
        let accepted = self.check(pn)?;
        if let Some(seen) = &mut self.seen {
            seen.accept(pn).map_err(|_| Late)?;
        }
        if pn >= self.next {
            self.next = pn.saturating_add(1);
            let behind = match self.replay {
                Replay::Off => 0,
                Replay::Window(size) => size.into(),
                // The highest that was seen is one of the numbers in the window.
                Replay::Bitmap => adit_replay::SIZE,
            };
            self.lowest = self.lowest.max(self.next.saturating_sub(behind));
        }
        Ok(accepted)
    }
}

/// The packet number whose lower half is `low`, at or after `reference` (clause 10.6.2): the upper half goes on by one
/// where the lower has passed its end, which shows by its top bit.
pub(crate) fn recover(low: u32, reference: u64) -> u64 {
    let (upper, reference) = (reference >> 32, reference as u32);
    let passed = low < reference && (low ^ reference) >> 31 == 1;
    (upper.wrapping_add(passed.into()) << 32) | u64::from(low)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_upper_half_goes_on_where_the_lower_half_has_passed_its_end() {
        assert_eq!(recover(5, 1), 5);
        assert_eq!(recover(0, 0xffff_ffff), 1 << 32);
        assert_eq!(recover(7, 0x1_8000_0000), 0x2_0000_0007);
        assert_eq!(recover(0xffff_fffe, 0x1_ffff_fff0), 0x1_ffff_fffe);
        assert_eq!(recover(0x8000_0000, 0x1_8000_0001), 0x1_8000_0000, "behind, not ahead");
        assert_eq!(recover(3, 0x1_7fff_ffff), 0x1_0000_0003, "behind, not ahead");
        assert_eq!(recover(3, u64::MAX), 3, "beyond all numbers");
    }

    #[test]
    fn a_window_of_zero_wants_strict_order() {
        let mut window = ReceiveWindow::new(Replay::Window(0), 1);
        assert_eq!(window.accept(1), Ok(Accepted::InTime));
        assert_eq!(window.accept(1), Err(Late));
        assert_eq!(window.accept(3), Ok(Accepted::InTime));
        assert_eq!(window.accept(2), Err(Late));
    }

    #[test]
    fn the_last_number_can_come_and_nothing_moves_past_it() {
        for replay in [Replay::Window(2), Replay::Bitmap, Replay::Off] {
            let mut window = ReceiveWindow::new(replay, 1);
            assert_eq!(window.accept(u64::MAX), Ok(Accepted::InTime));
            assert_eq!(window.next(), u64::MAX);
        }
    }

    /// What the window promises, from all that was accepted.
    struct Model {
        replay: Replay,
        first: u64,
        accepted: Vec<u64>,
    }

    impl Model {
        fn accept(&mut self, pn: u64) -> Result<Accepted, Late> {
            let next = self.accepted.iter().map(|pn| pn + 1).max().unwrap_or(self.first);
            let lowest = |size: u64| self.first.max(next.saturating_sub(size));
            let verdict = match self.replay {
                Replay::Off if pn < lowest(0) => Ok(Accepted::Delayed),
                Replay::Off => Ok(Accepted::InTime),
                Replay::Window(size) if pn < lowest(size.into()) => Err(Late),
                Replay::Bitmap if pn < lowest(8192) || self.accepted.contains(&pn) => Err(Late),
                Replay::Window(_) | Replay::Bitmap => Ok(Accepted::InTime),
            };
            if verdict.is_ok() {
                self.accepted.push(pn);
            }
            verdict
        }
    }

    fn replay() -> impl Strategy<Value = Replay> {
        prop_oneof![
            Just(Replay::Off),
            Just(Replay::Bitmap),
            prop::sample::select(vec![0, 1, 64, 1000, Replay::XPN_MAX]).prop_map(Replay::Window)
        ]
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_the_model(
            replay in replay(), first in prop_oneof![Just(1), 1..1_u64 << 40],
            steps in prop::collection::vec((0..5_u8, 0..9000_u64), 1..120),
        ) {
            let mut window = ReceiveWindow::new(replay, first);
            let mut model = Model { replay, first, accepted: Vec::new() };
            for (kind, distance) in steps {
                let next = window.next();
                let pn = match kind {
                    0 => next,
                    1 => next + distance % 70,
                    2 => next.saturating_sub(distance % 70),
                    3 => next.saturating_sub(distance),
                    _ => next + distance,
                };
                prop_assert_eq!(window.accept(pn), model.accept(pn), "{}", pn);
                prop_assert!(window.lowest() <= window.next());
            }
        }

        /// Whatever is in the window, or up to 2^30 ahead of it, is found again.
        #[test]
        fn the_packet_number_is_found_again(
            replay in replay(), highest in 1..u64::MAX >> 1, behind: u32, ahead in 0..1_u64 << 30,
        ) {
            let mut window = ReceiveWindow::new(replay, 1);
            window.accept(highest).unwrap();
            let (reference, next) = (window.reference(), window.next());
            let inside = reference + u64::from(behind) % (next - reference + 1);
            for pn in [inside, next + ahead] {
                prop_assert_eq!(recover(pn as u32, reference), pn);
            }
        }
    }
}
