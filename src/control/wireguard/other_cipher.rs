//! Who was set up with another cipher than this tunnel, so that somebody can be told.

use std::net::SocketAddr;
use std::time::Duration;

use adit_noise::Time;

/// How long it is told. A peer that has something to send tries again every 5 s.
const MEMORY: Duration = Duration::from_secs(180);
/// The log is told once in so long: who knows our public key can send as many such messages as it likes.
const SILENCE: Duration = Duration::from_secs(60);

/// The last that came, and when the log was told of any.
#[derive(Debug, Default)]
pub(super) struct OtherCipher {
    last: Option<(SocketAddr, Time)>,
    logged: Option<Time>,
}

impl OtherCipher {
    /// One came. True if the log is to be told.
    pub(super) fn came(&mut self, from: SocketAddr, now: Time) -> bool {
        self.last = Some((from, now));
        let silent = self.logged.is_some_and(|at| now.since(at) < SILENCE);
        if !silent {
            self.logged = Some(now);
        }
        !silent
    }

    /// Who is there made a handshake with us: it has our cipher by now.
    pub(super) fn agrees(&mut self, from: SocketAddr) {
        self.last.take_if(|(last, _)| *last == from);
    }

    /// The last, and how long ago.
    pub(super) fn last(&self, now: Time) -> Option<(SocketAddr, Duration)> {
        self.last.map(|(from, at)| (from, now.since(at))).filter(|(_, age)| *age < MEMORY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[test]
    fn the_last_is_told_for_three_minutes_or_until_it_agrees() {
        let (mut other, at) = (OtherCipher::default(), Time::from_secs);
        assert_eq!(other.last(at(0)), None);
        other.came(from(1), at(10));
        other.came(from(2), at(20));
        assert_eq!(other.last(at(199)), Some((from(2), Duration::from_secs(179))));
        assert_eq!(other.last(at(200)), None);
        other.agrees(from(1));
        assert!(other.last(at(20)).is_some(), "that was another");
        other.agrees(from(2));
        assert_eq!(other.last(at(20)), None);
    }

    #[test]
    fn the_log_is_told_once_a_minute_however_many_come() {
        let mut other = OtherCipher::default();
        let told = (0..600).filter(|tenth| {
            let now = Time::from_nanos(1_000_000_000 + tenth * 100_000_000);
            other.came(from(*tenth as u16), now)
        });
        assert_eq!(told.collect::<Vec<_>>(), [0]);
        assert!(other.came(from(7), Time::from_secs(61)));
    }
}
