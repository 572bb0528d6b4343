//! One run: numbered datagrams at a rate, and what became of them.

use std::io;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use adit_wireguard::Udp;
use serde::Serialize;

use crate::message::{HEADER, Kind, Message};
use crate::pace::{Pace, Rate};
use crate::port::{Port, new_run};
use crate::sizes::Sizes;
use crate::tally::Counts;

/// The sender sleeps this long between bursts: short enough for queues to hold what gathers, long enough for trains.
const TICK: Duration = Duration::from_micros(200);
/// Queues are empty when the sink's counts stay the same for this long.
const SETTLE: Duration = Duration::from_millis(40);
/// How often the sink is asked before it counts as gone. It may have much to work off, and answers can be lost.
const QUESTIONS: u32 = 100;

/// What to send.
#[derive(Clone, Debug)]
pub struct Load {
    /// The sink.
    pub to: SocketAddr,
    /// How long the datagrams are. Trains have one size only.
    pub sizes: Sizes,
    /// How long.
    pub duration: Duration,
    /// How many a second.
    pub rate: Rate,
}

/// What became of it. Rates are datagrams a second.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// The rate asked for; `None` if unlimited.
    pub asked: Option<f64>,
    /// The rate at which the sender sent.
    pub offered: f64,
    /// The rate at which they arrived, over the longer of the times of sending and of arrival: what only fills queues is no
    /// rate that could last.
    pub delivered: f64,
    /// Datagrams sent.
    pub sent: u64,
    /// Different datagrams that arrived.
    pub received: u64,
    /// Lost share of those sent, from 0 to 1.
    pub loss: f64,
    /// Arrivals after one that was sent later.
    pub reordered: u64,
    /// Arrivals of what had arrived before.
    pub duplicates: u64,
    /// Arrivals that the sink got in a train.
    pub in_trains: u64,
}

impl Load {
    /// Sends it, waits until nothing more arrives, and asks the sink for its counts.
    ///
    /// # Errors
    /// What the kernel says, or that the sink does not answer.
    pub fn run(&self, port: &Port) -> io::Result<Outcome> {
        let run = new_run();
        let (sent, seconds) = self.send(port, run)?;
        let counts = self.ask(port, run)?;
        let lasted = seconds.max(counts.lasted()).as_secs_f64();
        Ok(Outcome {
            asked: if let Rate::PerSecond(rate) = self.rate { Some(rate) } else { None },
            offered: sent as f64 / seconds.as_secs_f64(),
            delivered: counts.received as f64 / lasted,
            sent,
            received: counts.received,
            loss: sent.saturating_sub(counts.received) as f64 / sent.max(1) as f64,
            reordered: counts.reordered,
            duplicates: counts.duplicates,
            in_trains: counts.in_trains,
        })
    }

    fn send(&self, port: &Port, run: u64) -> io::Result<(u64, Duration)> {
        let most = self.sizes.all().map_or(1, |size| port.train(size));
        let mut train: Vec<u8> = (0..most * self.sizes.greatest()).map(|at| at as u8).collect();
        let path = Udp { remote: self.to, local: None };
        // Who has a train to send hands over no single datagrams: it is sent when it is due as a whole.
        let mut pace = Pace::new(self.rate, most);
        let start = Instant::now();
        loop {
            let elapsed = start.elapsed();
            if elapsed >= self.duration {
                return Ok((pace.sent(), elapsed));
            }
            let due = pace.due(elapsed);
            if due == 0 {
                sleep(TICK);
                continue;
            }
            let count = most.min(usize::try_from(due).unwrap_or(most));
            let size = self.sizes.of(pace.sent());
            let bytes = &mut train[..count * size];
            for (datagram, number) in bytes.chunks_mut(size).zip(pace.sent()..) {
                Message { kind: Kind::Data, run, number }.emit(datagram);
            }
            port.send(&path, bytes, size)?;
            pace.note_sent(count as u64);
        }
    }

    /// The sink's counts, once they no longer change.
    fn ask(&self, port: &Port, run: u64) -> io::Result<Counts> {
        let mut query = [0; HEADER];
        let mut buffer = vec![0; 1 << 16];
        let mut last = None;
        for number in 0..QUESTIONS {
            Message { kind: Kind::Query, run, number: number.into() }.emit(&mut query);
            port.send_to(self.to, &query)?;
            let asked = Instant::now();
            let mut counts = None;
            while let Some(left) = SETTLE.checked_sub(asked.elapsed()) {
                port.wait_input(left)?;
                while let Some(received) = port.receive(&mut buffer)? {
                    // Only the answer to the last question: an older one may have been overtaken.
                    let message = Message::parse(&buffer[..received.len]);
                    if message == Some(Message { kind: Kind::Report, run, number: number.into() }) {
                        counts = Counts::parse(&buffer[..received.len]);
                    }
                }
            }
            if counts.is_some() && counts == last {
                return Ok(counts.unwrap_or_default());
            }
            last = counts.or(last);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("the sink at {} does not answer", self.to)))
    }
}
