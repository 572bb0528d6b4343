//! The highest rate that arrives whole.

use std::io;

use serde::Serialize;

use crate::load::Outcome;
use crate::pace::Rate;

/// Less than this share lost counts as without loss.
pub const LOSS_LIMIT: f64 = 0.001;
/// Bounds this close together need no further step.
const CLOSE: f64 = 1.03;
/// A sender that falls this far behind what is asked gives its most: asking for more is in vain.
const BEHIND: f64 = 0.95;

/// What a search found.
#[derive(Debug, Serialize)]
pub struct Search {
    /// The run with the highest delivered rate of those without loss; `None` if none was.
    pub best: Option<Outcome>,
    /// The search ended because the sender could not send more, not because anything was lost.
    pub sender_bound: bool,
    /// All runs, in order.
    pub tried: Vec<Outcome>,
}

/// Looks for the highest rate with less than [`LOSS_LIMIT`] lost, in at most `steps` runs: first without a limit, then
/// halving the distance between the highest rate that passed and the lowest that failed.
///
/// # Errors
/// Those of `run`.
pub fn highest(steps: u32, mut run: impl FnMut(Rate) -> io::Result<Outcome>) -> io::Result<Search> {
    let mut search = Search { best: None, sender_bound: false, tried: Vec::new() };
    let (mut passed, mut failed) = (0.0_f64, f64::INFINITY);
    let mut rate = Rate::Unlimited;
    for _ in 0..steps {
        let outcome = run(rate)?;
        search.tried.push(outcome);
        if outcome.loss < LOSS_LIMIT {
            passed = passed.max(outcome.asked.unwrap_or(outcome.offered));
            if search.best.is_none_or(|best| best.delivered < outcome.delivered) {
                search.best = Some(outcome);
            }
            if outcome.asked.is_none_or(|asked| outcome.offered < asked * BEHIND) {
                search.sender_bound = true;
                break;
            }
        } else {
            failed = failed.min(outcome.asked.unwrap_or(outcome.offered));
        }
        if failed < passed * CLOSE {
            break;
        }
        rate = Rate::PerSecond(match (outcome.asked, passed > 0.0) {
            // What got through an overload is a good guess.
            (None, _) => outcome.delivered.clamp(failed / 64.0, failed / CLOSE),
            (_, true) => (passed * failed).sqrt(),
            (_, false) => failed / 2.0,
        });
    }
    Ok(search)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sender that can do `most`, and a path that carries `capacity` and under overload only `collapsed`.
    fn path(most: f64, capacity: f64, collapsed: f64) -> impl FnMut(Rate) -> io::Result<Outcome> {
        move |rate| {
            let asked = if let Rate::PerSecond(rate) = rate { Some(rate) } else { None };
            let offered = asked.unwrap_or(most).min(most);
            let delivered = if offered <= capacity { offered } else { collapsed };
            Ok(Outcome {
                asked,
                offered,
                delivered,
                sent: offered as u64,
                received: delivered as u64,
                loss: 1.0 - delivered / offered,
                reordered: 0,
                duplicates: 0,
                in_trains: 0,
            })
        }
    }

    #[test]
    fn the_capacity_is_found_within_eight_steps() {
        for (most, capacity, collapsed) in
            [(2e6, 3e5, 3e5), (2e6, 3e5, 5e4), (1e6, 9e5, 8e5), (4e5, 2e4, 2e4)]
        {
            let search = highest(8, path(most, capacity, collapsed)).unwrap();
            let found = search.best.unwrap().delivered;
            assert!((0.9 * capacity..=capacity).contains(&found), "{found} of {capacity}");
            assert!(!search.sender_bound && search.tried.len() <= 8);
        }
    }

    #[test]
    fn a_path_that_carries_all_needs_one_run() {
        let search = highest(8, path(1e6, 2e6, 0.0)).unwrap();
        assert_eq!((search.best.unwrap().delivered, search.tried.len()), (1e6, 1));
        assert!(search.sender_bound);
    }

    #[test]
    fn a_path_that_carries_nothing_has_no_best() {
        let search = highest(8, path(1e6, 0.0, 0.0)).unwrap();
        assert!(search.best.is_none());
        assert_eq!(search.tried.len(), 8);
    }
}
