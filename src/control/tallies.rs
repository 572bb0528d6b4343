//! What workers and control threads have counted, for the status and the log.

use std::collections::BTreeMap;

use crate::datapath::{Batches, Framing, Reason, Tally, Worker};
use crate::status;

/// Dropped packets by reason, of those that there were.
pub(super) fn drops(tallies: &[&Tally]) -> BTreeMap<String, u64> {
    let count = |reason| tallies.iter().map(|tally| tally.drops().of(reason)).sum::<u64>();
    let counted = Reason::all().map(|reason| (reason.as_str().to_owned(), count(reason)));
    counted.filter(|(_, packets)| *packets > 0).collect()
}

/// The same in one line.
pub(super) fn told(drops: &BTreeMap<String, u64>) -> String {
    let words: Vec<_> = drops.iter().map(|(reason, packets)| format!("{reason}={packets}")).collect();
    if words.is_empty() { "none".into() } else { words.join(" ") }
}

/// The batches of a worker.
pub(super) fn worker<F: Framing>(worker: &Worker<F>) -> status::Worker {
    let batches =
        |batches: &Batches| status::Batches { packets: batches.packets(), sizes: batches.sizes().into() };
    let [outward, inward] = worker.tallies();
    status::Worker { outward: batches(&outward.outward), inward: batches(&inward.inward) }
}
