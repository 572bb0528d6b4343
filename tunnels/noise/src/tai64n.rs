//! The stamp in message 1: a replayed message carries an old one.

use core::time::Duration;

use crate::PAYLOAD;

/// 1970 in TAI64, with the ten seconds by which TAI was then ahead. WireGuard ignores leap seconds.
const EPOCH: u64 = (1 << 62) + 10;

/// The low 24 bits of the nanoseconds are always clear, as in the kernel: a stamp tells a peer no
/// more than the 17 ms that it has to. There are also at most 50 handshakes a second.
const STEP: u32 = 1 << 24;

const SECOND: u32 = 1_000_000_000;

/// A TAI64N label: seconds and nanoseconds, both big-endian, so that the order of the bytes is the
/// order in time (whitepaper, section 5.4.2).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Tai64n(pub [u8; PAYLOAD]);

impl Tai64n {
    /// The stamp of a moment, given as the time since 1970.
    #[must_use]
    pub fn from_wall(wall: Duration) -> Self {
        Self::new(EPOCH.saturating_add(wall.as_secs()), wall.subsec_nanos() & !(STEP - 1))
    }

    /// The stamp to send after `previous`: this one if it is later, otherwise the next after
    /// `previous`. So stamps grow even within one step, or when the clock was set back.
    #[must_use]
    pub fn next_after(self, previous: Self) -> Self {
        self.max(previous.step())
    }

    fn new(secs: u64, nanos: u32) -> Self {
        let (mut label, secs, nanos) = ([0; PAYLOAD], secs.to_be_bytes(), nanos.to_be_bytes());
        label.iter_mut().zip(secs.into_iter().chain(nanos)).for_each(|(to, from)| *to = from);
        Self(label)
    }

    /// The least stamp that is greater and has its low bits clear.
    fn step(self) -> Self {
        let [a, b, c, d, e, f, g, h, nanos @ ..] = self.0;
        let secs = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        match (u32::from_be_bytes(nanos) & !(STEP - 1)).checked_add(STEP) {
            Some(nanos) if nanos < SECOND => Self::new(secs, nanos),
            Some(_) | None => Self::new(secs.saturating_add(1), 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stamp_is_what_the_kernel_makes_of_the_same_moment() {
        let wall = Duration::new(0x6b02_08ab - 10, 0x29ab_cdef);
        let kernel = [0x40, 0, 0, 0, 0x6b, 0x02, 0x08, 0xab, 0x29, 0, 0, 0];
        assert_eq!(Tai64n::from_wall(wall), Tai64n(kernel));
    }

    #[test]
    fn the_step_over_a_second_carries() {
        let last = Tai64n::new(7, 59 * STEP);
        assert_eq!(last.next_after(last), Tai64n::new(8, 0));
        let first = Tai64n::new(8, 0);
        assert_eq!(first.next_after(first), Tai64n::new(8, STEP));
    }

    #[test]
    fn a_later_moment_is_its_own_stamp() {
        let (earlier, later) = (Tai64n::new(7, STEP), Tai64n::new(9, 0));
        assert_eq!(later.next_after(earlier), later);
        assert_eq!(earlier.next_after(later), Tai64n::new(9, STEP));
    }

    proptest! {
        #[test]
        fn stamps_follow_the_clock(a in 0..u64::MAX / 8, b in 0..u64::MAX / 8) {
            let stamp = |nanos| Tai64n::from_wall(Duration::from_nanos(nanos));
            prop_assert!(a.max(b) - a.min(b) < u64::from(STEP) || stamp(a).cmp(&stamp(b)) == a.cmp(&b));
        }

        #[test]
        fn the_next_stamp_is_greater_whatever_the_clock_says(wall: u32, nanos in 0..SECOND, clock in 0..1u64 << 40) {
            let previous = Tai64n::from_wall(Duration::new(wall.into(), nanos));
            let next = Tai64n::from_wall(Duration::from_nanos(clock)).next_after(previous);
            prop_assert!(next > previous);
            prop_assert_eq!(&next.0[9..], &[0; 3]);
        }
    }
}
