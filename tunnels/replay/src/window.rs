//! The window itself.

use core::fmt;

/// How many counters a window remembers, the highest one included: a counter up to `SIZE - 1`
/// behind the highest is accepted once, a counter `SIZE` behind is refused.
///
/// Reordering spans at most what is in flight. 8,192 packets of 1,420 bytes are 9 ms at 10 Gbit/s.
pub const SIZE: u64 = 8192;

/// Bits of one block.
const BITS: u64 = u64::BITS as u64;

/// One block more than the window has bits for. The block that holds the highest counter is only
/// partly used, so the window reaches into `SIZE / BITS + 1` blocks (RFC 6479, section 2).
const BLOCKS: u64 = SIZE / BITS + 1;

/// The counter was seen before, or lies behind the window.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("replayed")]
pub struct Replayed;

/// The counters seen under one receiving key.
///
/// 1,040 bytes, no allocation. All of `u64` is valid, `u64::MAX` too: a limit on the counter is the
/// protocol's to enforce.
#[derive(Clone)]
pub struct Window {
    highest: u64,
    /// Bit `c % BITS` of block `c / BITS % BLOCKS` stands for counter `c`, for every `c` from the
    /// oldest block in reach up to `highest`. Bits above `highest` are clear.
    seen: [u64; BLOCKS as usize],
}

impl Window {
    /// A window that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { highest: 0, seen: [0; BLOCKS as usize] }
    }

    /// Takes `counter` if it is new, and remembers it. Call it only once the packet's tag verified.
    ///
    /// # Errors
    /// [`Replayed`] if the counter was accepted before or lies [`SIZE`] or more behind the highest;
    /// the window is then unchanged.
    #[inline]
    pub fn accept(&mut self, counter: u64) -> Result<(), Replayed> {
        if counter > self.highest {
            self.advance(counter);
        } else {
            self.check(counter)?;
        }
        *self.block_mut(counter) |= bit(counter);
        Ok(())
    }

    /// Whether [`accept`](Self::accept) would take `counter`. Changes nothing, so it may be asked
    /// before the tag is verified, to spare the cipher work for an obvious replay.
    ///
    /// # Errors
    /// [`Replayed`], as for [`accept`](Self::accept).
    #[inline]
    pub fn check(&self, counter: u64) -> Result<(), Replayed> {
        match self.highest.checked_sub(counter) {
            None => Ok(()),
            Some(behind) if behind >= SIZE => Err(Replayed),
            Some(_) if self.block(counter) & bit(counter) != 0 => Err(Replayed),
            Some(_) => Ok(()),
        }
    }

    /// The highest counter accepted so far; 0 also where none was.
    #[must_use]
    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// Moves the upper edge to `counter`, which is above `highest`, and forgets what falls out.
    fn advance(&mut self, counter: u64) {
        let blocks = (counter / BITS - self.highest / BITS).min(BLOCKS);
        // The last `blocks` blocks up to the new one: all of them where the jump leaves the window.
        for back in 0..blocks {
            *self.block_mut(counter - back * BITS) = 0;
        }
        self.highest = counter;
    }

    #[expect(clippy::indexing_slicing, reason = "reduced modulo the length of the ring")]
    fn block(&self, counter: u64) -> u64 {
        self.seen[(counter / BITS % BLOCKS) as usize]
    }

    #[expect(clippy::indexing_slicing, reason = "reduced modulo the length of the ring")]
    fn block_mut(&mut self, counter: u64) -> &mut u64 {
        &mut self.seen[(counter / BITS % BLOCKS) as usize]
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").field("highest", &self.highest).finish_non_exhaustive()
    }
}

/// The bit of `counter` in its block.
const fn bit(counter: u64) -> u64 {
    1 << (counter % BITS)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_counter_is_accepted_exactly_once() {
        let mut window = Window::new();
        for counter in 0..3 * SIZE {
            assert_eq!(window.accept(counter), Ok(()), "{counter}");
            assert_eq!(window.accept(counter), Err(Replayed), "{counter}");
            assert_eq!(window.highest(), counter);
        }
    }

    #[test]
    fn zero_is_accepted_once_by_a_new_window() {
        let mut window = Window::new();
        assert_eq!(window.check(0), Ok(()));
        assert_eq!(window.accept(0), Ok(()));
        assert_eq!(window.accept(0), Err(Replayed));
    }

    /// At every alignment of the highest counter within its block.
    #[test]
    fn the_last_counter_of_the_window_is_accepted_once_and_the_one_behind_it_never() {
        for highest in 10 * SIZE..10 * SIZE + BITS {
            let mut window = Window::new();
            window.accept(highest).unwrap();
            assert_eq!(window.accept(highest - SIZE), Err(Replayed), "{highest}");
            assert_eq!(window.accept(highest - (SIZE - 1)), Ok(()), "{highest}");
            assert_eq!(window.accept(highest - (SIZE - 1)), Err(Replayed), "{highest}");
        }
    }

    #[test]
    fn a_jump_beyond_the_window_clears_it() {
        let mut window = Window::new();
        for counter in 0..SIZE {
            window.accept(counter).unwrap();
        }
        let far = 1000 * SIZE + 17;
        window.accept(far).unwrap();
        for counter in far - (SIZE - 1)..far {
            assert_eq!(window.accept(counter), Ok(()), "{counter}");
        }
        assert_eq!(window.accept(SIZE - 1), Err(Replayed));
    }

    #[test]
    fn the_greatest_counter_is_an_ordinary_one() {
        let mut window = Window::new();
        window.accept(0).unwrap();
        assert_eq!(window.accept(u64::MAX), Ok(()));
        assert_eq!(window.accept(u64::MAX), Err(Replayed));
        assert_eq!(window.accept(u64::MAX - (SIZE - 1)), Ok(()));
        assert_eq!(window.accept(u64::MAX - SIZE), Err(Replayed));
        assert_eq!(window.accept(0), Err(Replayed));
    }

    #[test]
    fn a_refused_counter_changes_nothing() {
        let mut window = Window::new();
        window.accept(5 * SIZE).unwrap();
        let before = window.seen;
        assert_eq!(window.accept(7), Err(Replayed));
        assert_eq!(window.accept(5 * SIZE), Err(Replayed));
        assert_eq!((window.highest(), window.seen), (5 * SIZE, before));
    }

    /// What the window promises, kept without bound.
    #[derive(Default)]
    struct Model {
        highest: u64,
        seen: HashSet<u64>,
    }

    impl Model {
        fn accept(&mut self, counter: u64) -> Result<(), Replayed> {
            let behind = u128::from(self.highest).saturating_sub(u128::from(counter));
            if behind >= u128::from(SIZE) || !self.seen.insert(counter) {
                return Err(Replayed);
            }
            self.highest = self.highest.max(counter);
            Ok(())
        }
    }

    /// The next counter, seen from the highest one so far.
    #[derive(Clone, Debug)]
    enum Step {
        Behind(u64),
        Ahead(u64),
        Absolute(u64),
    }

    impl Step {
        fn from(&self, highest: u64) -> u64 {
            match *self {
                Step::Behind(n) => highest.saturating_sub(n),
                Step::Ahead(n) => highest.saturating_add(n),
                Step::Absolute(n) => n,
            }
        }
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..2 * BITS).prop_map(Step::Behind),
            4 => (SIZE - 2 * BITS..SIZE + 2 * BITS).prop_map(Step::Behind),
            2 => (0..2 * SIZE).prop_map(Step::Behind),
            6 => (0..2 * BITS).prop_map(Step::Ahead),
            2 => (SIZE - 2 * BITS..SIZE + 4 * BITS).prop_map(Step::Ahead),
            1 => (0..u64::MAX / 4).prop_map(Step::Ahead),
            1 => any::<u64>().prop_map(Step::Absolute),
            1 => (0..4u64).prop_map(Step::Absolute),
        ]
    }

    fn start() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), 0..4 * SIZE, any::<u64>(), (0..4 * SIZE).prop_map(|n| u64::MAX - n),]
    }

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set(first in start(), steps in prop::collection::vec(step(), 1..400)) {
            let (mut window, mut model) = (Window::new(), Model::default());
            prop_assert_eq!(window.accept(first), model.accept(first));
            for step in steps {
                let counter = step.from(model.highest);
                let expected = model.accept(counter);
                prop_assert_eq!(window.check(counter), expected, "check {}", counter);
                prop_assert_eq!(window.accept(counter), expected, "accept {}", counter);
                prop_assert_eq!(window.highest(), model.highest);
            }
        }
    }
}
