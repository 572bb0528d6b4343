//! How fast the counters of the peers grow.

use std::collections::HashMap;
use std::time::Duration;

use adit_noise::Time;

use crate::status::Status;

/// Between two samples.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);
/// Over less than this a rate is noise.
const SHORTEST: Duration = Duration::from_secs(1);
/// Over more than this it does not tell how things are now.
const LONGEST: Duration = Duration::from_secs(15);

/// The totals of the peers as they were at two moments: a rate is over the last 5 to 10 s.
#[derive(Debug, Default)]
pub(super) struct Rates {
    older: Option<Sample>,
    newer: Option<Sample>,
}

/// The totals of every peer at one moment.
#[derive(Debug)]
struct Sample {
    at: Time,
    /// By tunnel and public key.
    totals: HashMap<(String, String), Totals>,
}

#[derive(Clone, Copy, Debug)]
struct Totals {
    received: u64,
    sent: u64,
}

impl Rates {
    /// Takes a sample. Peers that are not in it are forgotten after the next one.
    pub(super) fn note(&mut self, status: &Status, now: Time) {
        let mut totals = HashMap::new();
        for (tunnel, wireguard) in &status.wireguard {
            for peer in &wireguard.peers {
                let of_peer = Totals { received: peer.received_bytes, sent: peer.sent_bytes };
                totals.insert((tunnel.clone(), peer.public_key.clone()), of_peer);
            }
        }
        self.older = self.newer.replace(Sample { at: now, totals });
    }

    /// Puts the rates into a status. A peer that was not there before, or whose counters went back, has none.
    pub(super) fn fill(&self, status: &mut Status, now: Time) {
        for (tunnel, wireguard) in &mut status.wireguard {
            for peer in &mut wireguard.peers {
                let key = (tunnel.clone(), peer.public_key.clone());
                let of_peer = Totals { received: peer.received_bytes, sent: peer.sent_bytes };
                let rates = self.of(&key, of_peer, now);
                (peer.received_rate, peer.sent_rate) = rates.unzip();
            }
        }
    }

    /// Bytes received and sent a second.
    fn of(&self, key: &(String, String), totals: Totals, now: Time) -> Option<(f64, f64)> {
        let mut rates = None;
        let mut later = totals;
        // From the latest back: a counter that went back anywhere on the way belongs to another peer before.
        for sample in [&self.newer, &self.older].into_iter().flatten() {
            let Some(earlier) = sample.totals.get(key) else { break };
            if earlier.received > later.received || earlier.sent > later.sent {
                return None;
            }
            later = *earlier;
            let elapsed = now.since(sample.at);
            if (SHORTEST..=LONGEST).contains(&elapsed) {
                let rate = |now: u64, then: u64| (now - then) as f64 / elapsed.as_secs_f64();
                rates = Some((rate(totals.received, earlier.received), rate(totals.sent, earlier.sent)));
            }
        }
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Peer, Wireguard};

    fn status(peers: &[(&str, u64, u64)]) -> Status {
        let peer = |&(key, received_bytes, sent_bytes): &(&str, u64, u64)| Peer {
            public_key: key.to_owned(),
            received_bytes,
            sent_bytes,
            ..Peer::default()
        };
        let wireguard = Wireguard { peers: peers.iter().map(peer).collect(), ..Wireguard::default() };
        Status { wireguard: [("wg0".to_owned(), wireguard)].into(), ..Status::default() }
    }

    fn rates(rates: &Rates, mut status: Status, at: u64) -> Vec<(Option<f64>, Option<f64>)> {
        rates.fill(&mut status, Time::from_secs(at));
        status.wireguard["wg0"].peers.iter().map(|peer| (peer.received_rate, peer.sent_rate)).collect()
    }

    #[test]
    fn a_rate_is_over_the_last_two_samples() {
        let mut kept = Rates::default();
        assert_eq!(rates(&kept, status(&[("a", 10, 10)]), 0), [(None, None)]);
        kept.note(&status(&[("a", 0, 0)]), Time::from_secs(0));
        assert_eq!(rates(&kept, status(&[("a", 10, 10)]), 0), [(None, None)]);
        kept.note(&status(&[("a", 1_000, 50)]), Time::from_secs(5));
        assert_eq!(rates(&kept, status(&[("a", 8_000, 80)]), 8), [(Some(1_000.0), Some(10.0))]);
        kept.note(&status(&[("a", 8_000, 80)]), Time::from_secs(10));
        assert_eq!(rates(&kept, status(&[("a", 8_000, 80)]), 12), [(Some(1_000.0), Some(30.0 / 7.0))]);
    }

    #[test]
    fn a_peer_that_was_made_anew_has_no_rate_until_it_is_known() {
        let mut kept = Rates::default();
        kept.note(&status(&[("a", 5_000, 5_000)]), Time::from_secs(0));
        kept.note(&status(&[("a", 6_000, 6_000)]), Time::from_secs(5));
        assert_eq!(rates(&kept, status(&[("a", 10, 6_000)]), 7), [(None, None)]);
        kept.note(&status(&[("a", 20, 20)]), Time::from_secs(10));
        // Its counters are beyond the first sample's again, but not those of the same peer.
        assert_eq!(rates(&kept, status(&[("a", 9_000, 9_000)]), 12), [(None, None)]);
        kept.note(&status(&[("a", 520, 20)]), Time::from_secs(15));
        assert_eq!(rates(&kept, status(&[("a", 520, 20)]), 15), [(Some(100.0), Some(0.0))]);
    }

    #[test]
    fn peers_that_are_gone_are_forgotten() {
        let mut kept = Rates::default();
        kept.note(&status(&[("a", 1, 1), ("b", 1, 1)]), Time::from_secs(0));
        kept.note(&status(&[("a", 1, 1)]), Time::from_secs(5));
        kept.note(&status(&[("a", 1, 1)]), Time::from_secs(10));
        for sample in [&kept.older, &kept.newer] {
            assert_eq!(sample.as_ref().unwrap().totals.len(), 1);
        }
    }

    #[test]
    fn samples_from_long_ago_give_no_rate() {
        let mut kept = Rates::default();
        kept.note(&status(&[("a", 0, 0)]), Time::from_secs(0));
        assert_eq!(rates(&kept, status(&[("a", 100, 100)]), 60), [(None, None)]);
    }
}
