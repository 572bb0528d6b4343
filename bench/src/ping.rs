//! Round trips of small datagrams.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::message::{HEADER, Kind, Message};
use crate::port::{Port, new_run};

/// Answers that take longer than this count as lost.
const LATEST: Duration = Duration::from_millis(500);

/// What to send. A ping leaves at its time whether or not those before it were answered: a path that stops for a while must
/// show in every ping of that while.
#[derive(Clone, Copy, Debug)]
pub struct Ping {
    /// The sink.
    pub to: SocketAddr,
    /// Bytes of UDP payload, at least [`HEADER`].
    pub size: usize,
    /// How long.
    pub duration: Duration,
    /// From one to the next.
    pub interval: Duration,
}

/// How long they took. Times are in microseconds, and `None` where nothing was answered.
#[derive(Clone, Debug, Serialize)]
pub struct RoundTrips {
    /// Pings sent.
    pub sent: u64,
    /// Pings answered within half a second.
    pub answered: u64,
    /// The shortest.
    pub min_us: Option<f64>,
    /// Half of them took no longer.
    pub median_us: Option<f64>,
    /// 99 in 100 took no longer.
    pub p99_us: Option<f64>,
    /// The longest.
    pub max_us: Option<f64>,
}

impl Ping {
    /// Sends the pings and waits for the answers.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn run(&self, port: &Port) -> io::Result<RoundTrips> {
        let run = new_run();
        let mut datagram = vec![0; self.size.max(HEADER)];
        let mut buffer = vec![0; 1 << 16];
        let mut times = Vec::new();
        let (start, mut sent) = (Instant::now(), 0_u32);
        loop {
            let next = self.interval * sent;
            let elapsed = start.elapsed();
            let deadline = if next < self.duration { next } else { self.duration + LATEST };
            if next < self.duration && elapsed >= next {
                sent += 1;
                let number = start.elapsed().as_nanos() as u64;
                Message { kind: Kind::Ping, run, number }.emit(&mut datagram);
                port.send_to(self.to, &datagram)?;
                continue;
            }
            if elapsed >= deadline || times.len() == sent as usize && next >= self.duration {
                break;
            }
            port.wait_input(deadline - elapsed)?;
            while let Some(received) = port.receive(&mut buffer)? {
                let now = start.elapsed();
                let train = &buffer[..received.len];
                for message in train.chunks(received.stride.max(1)).filter_map(Message::parse) {
                    let took = now.saturating_sub(Duration::from_nanos(message.number));
                    if message.kind == Kind::Pong && message.run == run && took <= LATEST {
                        times.push(took);
                    }
                }
            }
        }
        Ok(RoundTrips::of(sent.into(), times))
    }
}

impl RoundTrips {
    fn of(sent: u64, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: f64| {
            let rank = (share * times.len() as f64).ceil().max(1.0) as usize;
            times.get(rank - 1).map(|time| time.as_nanos() as f64 / 1_000.0)
        };
        let answered = times.len() as u64;
        Self { sent, answered, min_us: at(0.0), median_us: at(0.5), p99_us: at(0.99), max_us: at(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let trips = RoundTrips::of(101, (1..=100).rev().map(Duration::from_micros).collect());
        assert_eq!((trips.sent, trips.answered), (101, 100));
        let found = [trips.min_us, trips.median_us, trips.p99_us, trips.max_us];
        assert_eq!(found, [Some(1.0), Some(50.0), Some(99.0), Some(100.0)]);
    }

    #[test]
    fn no_answers_have_no_times() {
        let trips = RoundTrips::of(5, Vec::new());
        assert_eq!((trips.answered, trips.median_us, trips.max_us), (0, None, None));
    }
}
