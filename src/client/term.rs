//! How much of a lease is over, by the clock that goes on while the machine sleeps and that nobody sets. The clock of the day
//! counts only when a profile is read: how old the lease is by then.

use std::time::Duration;

use adit_noise::{Now, Time};

use super::lease::Lease;

/// The time of a lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    length: Duration,
    /// How old it was.
    age: Duration,
    /// When that was.
    at: Time,
}

impl Term {
    /// That of a lease as it is at `now`. One that begins later by a clock that is behind is new.
    #[must_use]
    pub(super) fn new(lease: &Lease, now: Now) -> Self {
        Self {
            length: Duration::from_secs(lease.until.saturating_sub(lease.begin)),
            age: now.wall.saturating_sub(Duration::from_secs(lease.begin)),
            at: now.mono,
        }
    }

    /// Whether it is to be prolonged: after two thirds.
    #[must_use]
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.age(now) >= self.length / 3 * 2
    }

    /// Seconds until it ends; negative once it has.
    #[must_use]
    pub(super) fn left(&self, now: Time) -> f64 {
        self.length.as_secs_f64() - self.age(now).as_secs_f64()
    }

    fn age(&self, now: Time) -> Duration {
        self.age.saturating_add(now.since(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::profile::tests::sample;

    const BOOT: Time = Time::from_nanos(5_000_000_000);

    /// A lease from 1,000 to 2,000 by the clock of the day, at that time of the day and so long after the start.
    fn at(wall: u64) -> Term {
        let now = Now { mono: BOOT, wall: Duration::from_secs(wall) };
        Term::new(&sample().lease.unwrap(), now)
    }

    fn after(seconds: u64) -> Time {
        BOOT + Duration::from_secs(seconds)
    }

    #[test]
    fn it_is_due_after_two_thirds_and_over_at_its_end() {
        let term = at(1_100);
        assert!(!term.is_due(after(565)) && term.is_due(after(567)));
        assert_eq!((term.left(after(0)), term.left(after(900)), term.left(after(960))), (900.0, 0.0, -60.0));
    }

    #[test]
    fn sleep_counts_and_a_clock_that_is_set_does_not() {
        let term = at(1_000);
        // Closed for an hour: the clock that counts suspend has gone on.
        assert!(term.is_due(after(3_600)) && term.left(after(3_600)) < 0.0);
        // Whatever the clock of the day says meanwhile, nobody asks it.
        assert!(!term.is_due(after(1)) && term.left(after(1)) == 999.0);
    }

    #[test]
    fn a_clock_that_is_behind_when_a_profile_is_read_makes_it_no_older_than_new() {
        assert_eq!(at(0).left(after(0)), 1_000.0);
        assert!(at(9_000).is_due(after(0)), "ahead: it asks at once, and the answer puts it right");
    }
}
