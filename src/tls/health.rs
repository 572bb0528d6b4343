//! Checks of backends: a backend that fails several in a row is down, one that passes several is up again, and may then get
//! its share little by little.

mod ask;

pub(super) use ask::{How, ask};

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The share that a backend has when it has just come up.
const LEAST_SHARE: f64 = 0.05;

/// `check`: how a backend is checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Check {
    /// From the beginning of one to that of the next.
    pub every: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// Successes in a row after which a backend is up.
    pub rise: u32,
    /// Failures in a row after which it is down.
    pub fall: u32,
    /// The path of a GET that has to be answered with 2xx or 3xx; without one a connection is enough.
    pub http: Option<String>,
}

/// What became of a backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// It gets connections.
    Up,
    /// It gets none while another is up.
    Down,
}

/// What checks have found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Record {
    /// Checks that were passed.
    pub passed: u64,
    /// Checks that failed.
    pub failed: u64,
    /// How often it came up or went down.
    pub changes: u64,
    /// Why the last check failed; absent if it was passed.
    pub error: Option<String>,
    /// Checks in a row that contradict the present state.
    against: u32,
}

impl Record {
    /// Takes note of a check of a backend that was `down` or not until now. The first one decides by itself.
    ///
    /// ```text
    ///           fall failures in a row
    ///      up ──────────────────────────▶ down
    ///         ◀──────────────────────────
    ///           rise successes in a row
    /// ```
    fn note(&mut self, check: &Check, outcome: Result<(), String>, down: bool) -> Option<Change> {
        let first = self.passed + self.failed == 0;
        let passed = outcome.is_ok();
        *(if passed { &mut self.passed } else { &mut self.failed }) += 1;
        self.error = outcome.err();
        if passed != down {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if passed { check.rise } else { check.fall };
        if !first && self.against < needed {
            return None;
        }
        self.against = 0;
        self.changes += 1;
        Some(if passed { Change::Up } else { Change::Down })
    }
}

/// How a backend does, by its checks. One thread writes it, data threads read two numbers of it.
#[derive(Debug, Default)]
pub struct Health {
    down: AtomicBool,
    /// When it came up again: nanoseconds of the monotonic time; 0 if it was never down.
    risen_at: AtomicU64,
    /// When the next check is due, as above. None is while one is under way.
    due: AtomicU64,
    record: Mutex<Record>,
}

impl Health {
    /// Whether the checks say that it is down. Whoever was not checked is not.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// What was found.
    #[must_use]
    pub fn record(&self) -> Record {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the next check is due.
    pub(super) fn due(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    /// A check begins.
    pub(super) fn begin(&self) {
        self.due.store(u64::MAX, Ordering::Relaxed);
    }

    /// It ended at `now`; it had begun at `begun`.
    pub(super) fn note(
        &self,
        check: &Check,
        outcome: Result<(), String>,
        begun: u64,
        now: u64,
    ) -> Option<Change> {
        let change = self.lock().note(check, outcome, self.is_down());
        match change {
            Some(Change::Up) => {
                self.risen_at.store(now, Ordering::Relaxed);
                self.down.store(false, Ordering::Relaxed);
            }
            Some(Change::Down) => self.down.store(true, Ordering::Relaxed),
            None => {}
        }
        self.due.store((begun + check.every.as_nanos() as u64).max(now), Ordering::Relaxed);
        change
    }

    /// Its share at `now`, of 1, if it grows for `period` after the backend came up.
    #[must_use]
    pub fn share(&self, period: Duration, now: u64) -> f64 {
        let risen = self.risen_at.load(Ordering::Relaxed);
        let gone = now.saturating_sub(risen) as f64;
        let whole = risen == 0 || gone >= period.as_nanos() as f64;
        if whole { 1.0 } else { (gone / period.as_nanos() as f64).max(LEAST_SHARE) }
    }
}

/// Whether who has this share gets the connection with this number: such numbers are spread evenly.
pub(super) fn takes(share: f64, turn: usize) -> bool {
    // The golden ratio of 2^32: no period that another rotation could have too (Knuth, volume 3, section 6.4).
    let spread = (turn as u32).wrapping_mul(2_654_435_769);
    share >= 1.0 || f64::from(spread) < share * f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn check() -> Check {
        let seconds = Duration::from_secs;
        Check { every: seconds(2), timeout: seconds(1), rise: 2, fall: 3, http: None }
    }

    /// What becomes of a backend with these outcomes.
    fn changes(outcomes: &[bool]) -> Vec<Option<Change>> {
        let health = Health::default();
        let outcome = |good: &bool| if *good { Ok(()) } else { Err("no".to_owned()) };
        outcomes.iter().map(|good| health.note(&check(), outcome(good), 0, SECOND)).collect()
    }

    #[test]
    fn it_falls_after_three_failures_in_a_row_and_rises_after_two_successes() {
        let (up, down) = (Some(Change::Up), Some(Change::Down));
        let told = changes(&[true, false, false, true, false, false, false, false, true, false, true, true]);
        assert_eq!(told, [None, None, None, None, None, None, down, None, None, None, None, up]);
    }

    #[test]
    fn the_first_check_decides_by_itself() {
        assert_eq!(changes(&[false, true, true]), [Some(Change::Down), None, Some(Change::Up)]);
        assert_eq!(changes(&[true, false]), [None, None]);
    }

    #[test]
    fn checks_are_counted_and_the_last_error_is_told() {
        let health = Health::default();
        health.note(&check(), Err("no".into()), 0, SECOND);
        assert!(health.is_down());
        assert_eq!(health.record().error.as_deref(), Some("no"));
        health.note(&check(), Ok(()), 0, SECOND);
        let Record { passed, failed, changes, error, .. } = health.record();
        assert_eq!((passed, failed, changes, error), (1, 1, 1, None));
    }

    #[test]
    fn checks_begin_at_even_distances_unless_one_takes_longer() {
        let health = Health::default();
        assert_eq!(health.due(), 0);
        health.begin();
        assert_eq!(health.due(), u64::MAX);
        health.note(&check(), Ok(()), 10 * SECOND, 11 * SECOND);
        assert_eq!(health.due(), 12 * SECOND);
        health.note(&check(), Ok(()), 10 * SECOND, 15 * SECOND);
        assert_eq!(health.due(), 15 * SECOND);
    }

    #[test]
    fn the_share_grows_after_a_rise_and_is_whole_without_one() {
        let health = Health::default();
        let period = Duration::from_secs(10);
        assert_eq!(health.share(period, 5), 1.0);
        health.note(&check(), Err(String::new()), 0, SECOND);
        for _ in 0..2 {
            health.note(&check(), Ok(()), 0, 100 * SECOND);
        }
        let share = |second: u64| health.share(period, second * SECOND);
        assert_eq!((share(100), share(105), share(110), share(200)), (LEAST_SHARE, 0.5, 1.0, 1.0));
    }

    #[test]
    fn turns_are_spread_by_the_share() {
        for share in [0.05, 0.25, 0.5, 0.9] {
            for start in [0, 1_000_003, usize::MAX - 999] {
                let taken = (0..1000).filter(|turn| takes(share, turn + start % (usize::MAX - 999))).count();
                assert!(taken.abs_diff((share * 1000.0) as usize) <= 5, "{taken} of 1000 with {share}");
            }
        }
        assert!((0..1000).all(|turn| takes(1.0, turn)));
    }
}
