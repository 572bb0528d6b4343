//! The time, as it is passed in.

use core::ops::Add;
use core::time::Duration;

/// Nanoseconds on a monotonic clock that goes on counting while the system sleeps. Its origin has no
/// meaning; 64 bits last for 584 years.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Time(u64);

impl Time {
    /// A stamp from nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A stamp from seconds, at most the greatest stamp there is.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// The nanoseconds of this stamp.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time that passed since `earlier`; zero if that is in fact later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Stops at the greatest stamp there is.
    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// Both clocks, read at the same moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Now {
    /// For deadlines and ages.
    pub mono: Time,
    /// Since 1970, for stamps that others read.
    pub wall: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_runs_backwards_counts_as_none() {
        assert_eq!(Time::from_secs(3).since(Time::from_secs(5)), Duration::ZERO);
        assert_eq!(Time::from_secs(5).since(Time::from_secs(3)), Duration::from_secs(2));
    }

    #[test]
    fn stamps_stop_at_the_end_of_time() {
        let end = Time::from_nanos(u64::MAX);
        assert_eq!(end + Duration::from_nanos(1), end);
        assert_eq!(Time::from_nanos(1) + Duration::MAX, end);
        assert_eq!(Time::from_secs(u64::MAX), end);
    }
}
