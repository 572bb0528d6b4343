//! How many datagrams are due.

use std::str::FromStr;
use std::time::Duration;

/// Datagrams a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// So many.
    PerSecond(f64),
    /// As many as the sender can.
    Unlimited,
}

impl FromStr for Rate {
    type Err = String;

    /// Reads a number, or `max`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            _ if text == "max" => Ok(Self::Unlimited),
            Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(Self::PerSecond(rate)),
            _ => Err("expected datagrams a second, or \"max\"".into()),
        }
    }
}

/// What was missed for longer than this is not made up for: a burst of it would overflow queues that the asked rate does not.
const DEBT: f64 = 0.002;

/// Says when to send. Time is given to it.
#[derive(Debug)]
pub struct Pace {
    rate: Rate,
    together: u64,
    sent: u64,
    forgiven: u64,
}

impl Pace {
    /// Nothing sent yet. `together` datagrams are sent at a time.
    #[must_use]
    pub fn new(rate: Rate, together: usize) -> Self {
        Self { rate, together: together as u64, sent: 0, forgiven: 0 }
    }

    /// How many datagrams are due, this long after the start: as many as are sent together, or more, or none.
    pub fn due(&mut self, elapsed: Duration) -> u64 {
        let Rate::PerSecond(rate) = self.rate else { return u64::MAX };
        // The first is due at once.
        let due = (elapsed.as_secs_f64() * rate) as u64 + 1;
        let owed = due.saturating_sub(self.sent + self.forgiven);
        let most = ((rate * DEBT) as u64).max(self.together);
        self.forgiven += owed.saturating_sub(most);
        if owed < self.together { 0 } else { owed.min(most) }
    }

    /// So many were sent.
    pub fn note_sent(&mut self, count: u64) {
        self.sent += count;
    }

    /// How many were sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_as_many_as_the_rate_says() {
        let mut pace = Pace::new(Rate::PerSecond(12_345.0), 1);
        for tick in 0..10_000 {
            let due = pace.due(Duration::from_micros(100 * tick));
            pace.note_sent(due);
        }
        assert!((12_343..=12_346).contains(&pace.sent()), "{}", pace.sent());
    }

    #[test]
    fn what_is_sent_together_is_due_together() {
        let mut pace = Pace::new(Rate::PerSecond(1_000.0), 64);
        assert_eq!(pace.due(Duration::from_millis(62)), 0);
        assert_eq!(pace.due(Duration::from_millis(63)), 64);
        pace.note_sent(64);
        assert_eq!(pace.due(Duration::from_millis(63)), 0);
    }

    #[test]
    fn a_long_pause_is_followed_by_no_long_burst() {
        let mut pace = Pace::new(Rate::PerSecond(10_000.0), 1);
        assert_eq!(pace.due(Duration::from_secs(1)), 20);
        pace.note_sent(20);
        assert_eq!(pace.due(Duration::from_secs(1)), 0);
    }

    #[test]
    fn a_rate_is_a_positive_number_or_max() {
        assert_eq!("max".parse(), Ok(Rate::Unlimited));
        assert_eq!("2e5".parse(), Ok(Rate::PerSecond(200_000.0)));
        for wrong in ["0", "-1", "inf", "NaN", "fast", ""] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
