//! Refused clients in the audit trail: a line each, as long as there are not more than a disk should be troubled with.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_noise::Time;

use crate::admin::Audit;
use crate::admin::audit::{Entry, Outcome, Via, What, Who};
use crate::clock;

/// How many lines there are at once.
const BURST: u32 = 60;
/// How long it takes until there may be one more.
const EACH: Duration = Duration::from_millis(100);
/// Lines that wait for the disk.
const WAITING: usize = 256;

/// Writes lines, on a thread of its own: an entry waits for the disk. All clones are one.
#[derive(Clone, Debug)]
pub(super) struct Refusals {
    lines: SyncSender<String>,
    budget: Arc<Mutex<Budget>>,
}

impl Refusals {
    /// Starts the thread. It ends with the last clone.
    ///
    /// # Errors
    /// What the system says: no thread is left.
    pub(super) fn start(audit: Audit) -> std::io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING);
        std::thread::Builder::new().name("refusals".to_owned()).spawn(move || write(&audit, &waiting))?;
        Ok(Self { lines, budget: Arc::default() })
    }

    /// Somebody was refused, in words without secrets. It does not wait.
    pub(super) fn note(&self, what: &str) {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = budget.line(what, clock::now())
            && self.lines.try_send(line).is_err()
        {
            budget.left_out += 1;
        }
    }
}

fn write(audit: &Audit, waiting: &Receiver<String>) {
    for detail in waiting {
        let (what, via, result) = (What::ClientRefused, Via::Enrolment, Outcome::Refused);
        if let Err(error) = audit.record(&Entry { who: Who::default(), what, via, result, detail }) {
            tracing::error!("{error}");
        }
    }
}

/// How many lines may still be written.
#[derive(Debug, Default)]
struct Budget {
    /// When all of it will be there again.
    whole: Option<Time>,
    /// What had no line of its own.
    left_out: u64,
}

impl Budget {
    /// The line for `what`, if there may be one. It tells how many were left out before it.
    fn line(&mut self, what: &str, now: Time) -> Option<String> {
        let whole = self.whole.unwrap_or(now).max(now);
        if whole.since(now) > EACH * (BURST - 1) {
            self.left_out += 1;
            return None;
        }
        self.whole = Some(whole + EACH);
        match std::mem::take(&mut self.left_out) {
            0 => Some(what.to_owned()),
            more => Some(format!("{what}; {more} more were refused before, without a line")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_folder::Folder;

    #[test]
    fn a_flood_is_counted_in_place_of_written() {
        let mut budget = Budget::default();
        let at = |millis: u64| Time::from_nanos((1_000 + millis) * 1_000_000);
        let lines = (0..100).filter_map(|_| budget.line("one", at(0))).count();
        assert_eq!(lines, BURST as usize);
        assert_eq!(budget.line("one", at(50)), None);
        let told = budget.line("two", at(100)).unwrap();
        assert_eq!(told, "two; 41 more were refused before, without a line");
        assert_eq!(budget.line("three", at(60_000)).unwrap(), "three");
    }

    #[test]
    fn a_refusal_is_a_line_of_the_trail() {
        let folder = Folder::new();
        let refusals = Refusals::start(Audit::open(folder.path()).unwrap()).unwrap();
        refusals.note("wg0: 192.0.2.7: used_token");
        let file = folder.path().join("audit.jsonl");
        let text = (0..500).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            std::fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n'))
        });
        let line: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
        assert_eq!(line["what"], "client_refused");
        assert_eq!((&line["via"], &line["result"]), (&"enrolment".into(), &"refused".into()));
        assert_eq!(line["detail"], "wg0: 192.0.2.7: used_token");
    }
}
