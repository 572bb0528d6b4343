//! How many cookies are given away under load (WireGuard paper, section 5.3).

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::HashSet;

use adit_noise::Time;

/// Cookie replies to strangers, and as many to addresses that peers were last seen at, in each [`PERIOD`].
const REPLIES: u32 = 40;
const PERIOD: Duration = Duration::from_millis(4);
/// How long it is believed where the peers are.
const BELIEF: Duration = Duration::from_secs(1);

/// The budget. To make and send a reply takes several times as long as to look at what it answers, so a flood from spoofed
/// addresses would take the processor from those who are served, and we would send each of its packets on to somebody who
/// asked for nothing. What strangers use up is not taken from peers that only want new keys.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    began: Time,
    strangers: u32,
    peers: u32,
    known: HashSet<SocketAddr>,
    learned: Option<Time>,
}

impl Replies {
    /// True if [`Self::learn`] is due.
    pub(crate) fn is_ignorant(&self, now: Time) -> bool {
        self.learned.is_none_or(|at| now.since(at) >= BELIEF)
    }

    /// Takes in where the peers are.
    pub(crate) fn learn(&mut self, peers: impl Iterator<Item = SocketAddr>, now: Time) {
        self.known.clear();
        self.known.extend(peers);
        self.learned = Some(now);
    }

    /// Takes one of the replies that may be sent now: whether there was one.
    pub(crate) fn allow(&mut self, source: SocketAddr, now: Time) -> bool {
        if now.since(self.began) >= PERIOD {
            (self.began, self.strangers, self.peers) = (now, REPLIES, REPLIES);
        }
        let left = if self.known.contains(&source) { &mut self.peers } else { &mut self.strangers };
        let allowed = *left > 0;
        *left = left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(number: u32) -> SocketAddr {
        (core::net::Ipv4Addr::from_bits(number), 7).into()
    }

    fn at(micros: u64) -> Time {
        Time::from_nanos(1_000_000_000 + micros * 1_000)
    }

    fn allowed(replies: &mut Replies, sources: core::ops::Range<u32>, now: Time) -> usize {
        sources.filter(|number| replies.allow(source(*number), now)).count()
    }

    #[test]
    fn strangers_get_ten_thousand_replies_a_second() {
        let mut replies = Replies::default();
        assert_eq!(allowed(&mut replies, 0..50, at(0)), 40);
        assert_eq!(allowed(&mut replies, 50..100, at(3_999)), 0);
        assert_eq!(allowed(&mut replies, 100..150, at(4_000)), 40);
        assert_eq!(allowed(&mut replies, 0..5, at(9_000)), 5);
        let mut replies = Replies::default();
        let burst = |millis: u64| allowed(&mut replies, 0..50, at(millis * 1_000));
        assert_eq!((0..1_000).map(burst).sum::<usize>(), 10_000);
    }

    #[test]
    fn what_strangers_use_up_is_left_to_peers() {
        let mut replies = Replies::default();
        assert!(replies.is_ignorant(at(0)));
        replies.learn((1..4).map(source), at(0));
        assert!(!replies.is_ignorant(at(999_999)) && replies.is_ignorant(at(1_000_000)));
        assert_eq!(allowed(&mut replies, 100..200, at(0)), 40);
        assert_eq!(allowed(&mut replies, 1..4, at(0)), 3);
        assert_eq!(
            (0..50).filter(|_| replies.allow(source(1), at(0))).count(),
            37,
            "one that is spoofed is bounded too"
        );
        replies.learn(core::iter::once(source(9)), at(0));
        assert_eq!(allowed(&mut replies, 1..4, at(0)), 0);
    }
}
