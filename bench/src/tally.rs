//! What arrived of a run.

use std::time::{Duration, Instant};

use crate::message::{HEADER, REPORT, put, word};

/// Numbers that one run may have: with a bit for each, 16 MiB.
const NUMBERS: u64 = 1 << 27;

/// The counts of one run at the sink.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) run: u64,
    pub(crate) counts: Counts,
    next: u64,
    seen: Vec<u64>,
    first: Option<Instant>,
}

/// The counts as they are reported.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    /// Different numbers that arrived.
    pub(crate) received: u64,
    /// Arrivals of a number that had arrived before.
    pub(crate) duplicates: u64,
    /// Arrivals after a greater number.
    pub(crate) reordered: u64,
    /// Arrivals that came in a train of more than one.
    pub(crate) in_trains: u64,
    /// Nanoseconds from the first arrival to the last.
    pub(crate) span: u64,
}

impl Tally {
    pub(crate) fn new(run: u64) -> Self {
        Self { run, ..Self::default() }
    }

    /// Counts an arrival, which came `in_train` with others or alone.
    pub(crate) fn note(&mut self, number: u64, in_train: bool, now: Instant) {
        if number >= NUMBERS {
            return;
        }
        let (block, bit) = ((number / 64) as usize, 1 << (number % 64));
        if block >= self.seen.len() {
            self.seen.resize((block + 1).next_power_of_two(), 0);
        }
        let first = *self.first.get_or_insert(now);
        self.counts.span = (now - first).as_nanos() as u64;
        if self.seen[block] & bit != 0 {
            self.counts.duplicates += 1;
            return;
        }
        self.seen[block] |= bit;
        self.counts.received += 1;
        self.counts.in_trains += u64::from(in_train);
        self.counts.reordered += u64::from(number < self.next);
        self.next = self.next.max(number + 1);
    }
}

impl Counts {
    /// How long arrivals went on.
    pub(crate) fn lasted(&self) -> Duration {
        Duration::from_nanos(self.span)
    }

    /// Writes the counts behind the header of a report.
    pub(crate) fn emit(&self, report: &mut [u8; REPORT]) {
        let words = [self.received, self.duplicates, self.reordered, self.in_trains, self.span];
        for (at, count) in words.into_iter().enumerate() {
            put(report, HEADER + 8 * at, count);
        }
    }

    /// Reads the counts from a report; `None` if it is too short.
    pub(crate) fn parse(report: &[u8]) -> Option<Self> {
        let count = |at: usize| word(report, HEADER + 8 * at);
        let (received, duplicates, reordered) = (count(0)?, count(1)?, count(2)?);
        Some(Self { received, duplicates, reordered, in_trains: count(3)?, span: count(4)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(numbers: &[u64]) -> Counts {
        let mut tally = Tally::new(1);
        let now = Instant::now();
        numbers.iter().for_each(|number| tally.note(*number, false, now));
        tally.counts
    }

    #[test]
    fn a_copy_is_neither_a_second_arrival_nor_reordered() {
        assert_eq!(counts(&[0, 1, 2, 1]), Counts { received: 3, duplicates: 1, ..Counts::default() });
    }

    #[test]
    fn each_arrival_after_a_greater_number_is_reordered_and_a_gap_is_not() {
        assert_eq!(counts(&[0, 5, 3, 4, 6]), Counts { received: 5, reordered: 2, ..Counts::default() });
    }

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let counts = Counts { received: 5, duplicates: 4, reordered: 3, in_trains: 2, span: 1 };
        let mut report = [0; REPORT];
        counts.emit(&mut report);
        assert_eq!(Counts::parse(&report), Some(counts));
        assert_eq!(Counts::parse(&report[..REPORT - 1]), None);
    }

    #[test]
    fn a_number_out_of_bounds_costs_no_memory() {
        assert_eq!(counts(&[u64::MAX]), Counts::default());
    }
}
