//! All members of a crowd send at once.

use std::io;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::{Duration, Instant};

use adit_packet::Slot;
use adit_wireguard::Session;
use adit_wireguard::message::Message;

use crate::crowd::inner::{HEADERS, Inner};
use crate::crowd::{Crowd, member};
use crate::load::Outcome;
use crate::pace::{Pace, Rate};
use crate::tally::Tally;

/// The largest inner packet.
const MTU: usize = 1_420;
/// How long nobody waits for packets when none is due.
const TICK: Duration = Duration::from_micros(200);
/// All has arrived when nothing came for this long; and there is no more waiting after [`LATEST`].
const SETTLE: Duration = Duration::from_millis(60);
const LATEST: Duration = Duration::from_secs(3);

/// Where packets go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whither {
    /// To the next member, through the gateway and its kernel and the gateway again.
    Next,
    /// As [`Whither::Next`], but in pairs: 0 and 1 to one another, 2 and 3, and so on. Of an odd number the last has nobody.
    Partner,
    /// To an address behind the gateway; what arrives there is counted there.
    Behind(Ipv4Addr),
}

/// What the members send. They take turns, a burst each.
#[derive(Clone, Copy, Debug)]
pub struct Throng {
    /// Where to.
    pub whither: Whither,
    /// Bytes of UDP payload, at least [`LEAST`](crate::crowd::LEAST).
    pub size: usize,
    /// How long.
    pub duration: Duration,
    /// Packets a second of all together.
    pub rate: Rate,
    /// Packets that a member sends before it is the next one's turn.
    pub burst: usize,
    /// Flows that each member has; each burst is of the next one.
    pub flows: u16,
}

/// What came back.
struct Arrivals {
    tally: Tally,
    /// The last number of each flow of each member.
    last: Vec<Option<u64>>,
    reordered: u64,
    slots: Vec<Slot>,
}

impl Crowd {
    /// Sends it. With [`Whither::Behind`] the outcome has received nothing: whoever is there has to tell.
    ///
    /// # Errors
    /// What the kernel says, or that a member has no session.
    pub fn send(&mut self, throng: &Throng) -> io::Result<Outcome> {
        let mut arrivals = Arrivals {
            tally: Tally::default(),
            last: vec![None; self.members.len() * usize::from(throng.flows)],
            reordered: 0,
            slots: Vec::new(),
        };
        let stride = Session::sealed_len(HEADERS + throng.size, MTU);
        let burst = throng.burst.clamp(1, self.port.train(stride));
        let (mut arena, mut buffer) = (vec![0; burst * stride], vec![0; 1 << 16]);
        let mut pace = Pace::new(throng.rate, 1);
        let (start, mut turn) = (Instant::now(), 0_u64);
        let seconds = loop {
            let elapsed = start.elapsed();
            if elapsed >= throng.duration {
                break elapsed;
            }
            let count = burst.min(usize::try_from(pace.due(elapsed)).unwrap_or(burst));
            if count > 0 {
                let numbers = pace.sent()..pace.sent() + count as u64;
                self.burst(throng, turn, numbers, &mut arena[..count * stride])?;
                turn += 1;
                pace.note_sent(count as u64);
            }
            self.receive(
                throng.flows,
                if count > 0 { Duration::ZERO } else { TICK },
                &mut buffer,
                &mut arrivals,
            )?;
        };
        let drained = Instant::now();
        while drained.elapsed() < LATEST && self.receive(throng.flows, SETTLE, &mut buffer, &mut arrivals)? {}
        Ok(outcome(throng.rate, pace.sent(), seconds, &arrivals))
    }

    /// One member's burst, by one system call.
    fn burst(&self, throng: &Throng, turn: u64, numbers: Range<u64>, arena: &mut [u8]) -> io::Result<()> {
        let members = self.members.len() as u64;
        let (from, round) = ((turn % members) as u32, turn / members);
        let to = match throng.whither {
            Whither::Next => member::inner((from + 1) % members as u32),
            Whither::Partner => member::inner(from ^ 1),
            Whither::Behind(address) => address,
        };
        let flow = (round % u64::from(throng.flows)) as u16;
        let stride = Session::sealed_len(HEADERS + throng.size, MTU);
        let mut slots = Vec::with_capacity(arena.len() / stride);
        for (at, number) in numbers.enumerate() {
            let slot =
                Slot { start: at * stride + Session::HEAD, len: HEADERS + throng.size, ..Slot::default() };
            Inner { from, to, flow, number }.emit(&mut arena[slot.range()]);
            slots.push(slot);
        }
        let session = self.members[from as usize].session.as_ref();
        let session = session.ok_or_else(|| io::Error::other(format!("member {from} has no session")))?;
        session.seal(arena, &mut slots, MTU).map_err(io::Error::other)?;
        self.port.send(&self.path(from), arena, stride)
    }

    /// Takes in what waits, after waiting for the first of it: whether anything came.
    fn receive(
        &self,
        flows: u16,
        wait: Duration,
        buffer: &mut [u8],
        arrivals: &mut Arrivals,
    ) -> io::Result<bool> {
        /// Trains at a time, so that sending is not forgotten.
        const TRAINS: usize = 32;
        let mut any = false;
        if !wait.is_zero() && !self.port.wait_input(wait)? {
            return Ok(false);
        }
        for _ in 0..TRAINS {
            let Some(received) = self.port.receive(buffer)? else { break };
            any = true;
            self.open(flows, &mut buffer[..received.len], received.stride.max(1), arrivals);
        }
        Ok(any)
    }

    /// Opens a train. All of it was sent by one gateway to one address, so it is of one member.
    fn open(&self, flows: u16, train: &mut [u8], stride: usize, arrivals: &mut Arrivals) {
        let now = Instant::now();
        let Arrivals { tally, last, reordered, slots } = arrivals;
        let receiver = Self::receiver(train.get(..stride).unwrap_or(train));
        let Some(receiver) = receiver.and_then(|number| self.members.get(number as usize)) else { return };
        let Some(session) = &receiver.session else { return };
        slots.clear();
        let in_train = stride < train.len();
        for (at, datagram) in train.chunks(stride).enumerate() {
            if let Some(Message::Data { receiver, counter }) = Message::parse(datagram)
                && receiver == session.local_index()
            {
                let (start, len) = (at * stride, datagram.len());
                slots.push(Slot { start, len, number: counter, kept: true, ..Slot::default() });
            }
        }
        session.open(train, slots, |_, _| {});
        for slot in slots.iter().filter(|slot| slot.kept && slot.len > 0) {
            let Some(inner) = train.get(slot.range()).and_then(Inner::parse) else { continue };
            tally.note(inner.number, in_train, now);
            let flow = inner.from as usize * usize::from(flows) + usize::from(inner.flow);
            if let Some(last) = last.get_mut(flow) {
                *reordered += u64::from(last.is_some_and(|last| inner.number < last));
                *last = (*last).max(Some(inner.number));
            }
        }
    }
}

fn outcome(rate: Rate, sent: u64, seconds: Duration, arrivals: &Arrivals) -> Outcome {
    let counts = arrivals.tally.counts;
    let lasted = seconds.max(counts.lasted()).as_secs_f64();
    Outcome {
        asked: if let Rate::PerSecond(rate) = rate { Some(rate) } else { None },
        offered: sent as f64 / seconds.as_secs_f64(),
        delivered: counts.received as f64 / lasted,
        sent,
        received: counts.received,
        loss: sent.saturating_sub(counts.received) as f64 / sent.max(1) as f64,
        reordered: arrivals.reordered,
        duplicates: counts.duplicates,
        in_trains: counts.in_trains,
    }
}
