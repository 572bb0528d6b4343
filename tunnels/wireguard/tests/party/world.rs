//! A link that may lose, double and reorder, between two parties.

use std::net::SocketAddr;
use std::time::Duration;

use adit_noise::{PresharedKey, PrivateKey, Time};
use adit_wireguard::message::Message;
use adit_wireguard::{Cipher, Endpoint, Local, PeerChange, Udp};

use super::{Party, secs};

/// What the link does to datagrams, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// A datagram is late by up to half a second.
    pub(crate) late: u64,
}

/// A datagram that left, for the log.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Time,
    pub(crate) from: usize,
    pub(crate) datagram: Vec<u8>,
}

struct Flight {
    due: Time,
    order: u64,
    from: SocketAddr,
    to: SocketAddr,
    datagram: Vec<u8>,
}

/// Two parties, the link between them, and the time.
pub(crate) struct World {
    pub(crate) parties: [Party; 2],
    pub(crate) at: Time,
    pub(crate) weather: Weather,
    /// Everything that was sent, lost or not.
    pub(crate) log: Vec<Sent>,
    pub(crate) delay: Duration,
    flights: Vec<Flight>,
    order: u64,
    random: u64,
}

pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;

impl World {
    /// Two parties that know each other; only A knows where the other is.
    pub(crate) fn new(preshared: Option<PresharedKey>) -> Self {
        let keys = [PrivateKey::generate(), PrivateKey::generate()];
        Self::with_keys(keys, preshared)
    }

    pub(crate) fn with_keys(keys: [PrivateKey; 2], preshared: Option<PresharedKey>) -> Self {
        Self::with([Cipher::default(); 2], keys, preshared)
    }

    /// Two new parties with these ciphers.
    pub(crate) fn of(ciphers: [Cipher; 2]) -> Self {
        Self::with(ciphers, [PrivateKey::generate(), PrivateKey::generate()], Some(PresharedKey::generate()))
    }

    fn with(ciphers: [Cipher; 2], keys: [PrivateKey; 2], preshared: Option<PresharedKey>) -> Self {
        let at = secs(0.0);
        let mut parties = [
            Party::with_cipher(ciphers[0], &keys[0], "192.0.2.1:1001", at),
            Party::with_cipher(ciphers[1], &keys[1], "192.0.2.2:1002", at),
        ];
        for (me, other) in [(A, B), (B, A)] {
            let change = PeerChange {
                preshared_key: preshared.clone(),
                endpoint: (me == A).then_some("192.0.2.2:1002".parse().unwrap()),
                ..PeerChange::default()
            };
            parties[me].change(&keys[other].public(), change, at);
        }
        Self {
            parties,
            at,
            weather: Weather::default(),
            log: Vec::new(),
            delay: Duration::from_millis(10),
            flights: Vec::new(),
            order: 0,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// Both know where the other is.
    pub(crate) fn introduced() -> Self {
        let mut world = Self::new(None);
        let change = PeerChange { endpoint: Some(world.parties[A].address), ..PeerChange::default() };
        let (key, at) = (world.parties[A].public(), world.at);
        world.parties[B].change(&key, change, at);
        world
    }

    /// A session has been agreed on, and both have confirmed it.
    pub(crate) fn connected() -> Self {
        let mut world = Self::new(None);
        world.send(A, b"first");
        world.run(1.0);
        assert_eq!(world.take(B), [pad(b"first")]);
        world
    }

    /// A whole number below `below`, the same in every run.
    pub(crate) fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    pub(crate) fn send(&mut self, from: usize, packet: &[u8]) {
        self.parties[from].send(packet, self.at);
        self.depart();
    }

    /// Both send numbered packets, one every tenth of a second: what each sent, and what came in at either.
    pub(crate) fn converse(&mut self, packets: u32) -> (Vec<Vec<u8>>, [Vec<Vec<u8>>; 2]) {
        let (mut sent, mut received) = (Vec::new(), [Vec::new(), Vec::new()]);
        for number in 0..packets {
            let packet = [&number.to_le_bytes()[..], &[0; 12]].concat();
            self.send(A, &packet);
            self.send(B, &packet);
            sent.push(packet);
            self.run(if number + 1 < packets { 0.1 } else { 1.1 });
            for party in [A, B] {
                received[party].extend(self.take(party));
            }
        }
        (sent, received)
    }

    /// What came in since it was last asked.
    pub(crate) fn take(&mut self, at: usize) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.parties[at].inbox)
    }

    /// A way from A to B that names A's own address, as learned from what B sent.
    pub(crate) fn sticky(&self) -> Endpoint {
        let local = Local { address: self.parties[A].address.ip(), interface: 3 };
        Endpoint::Udp(Udp { remote: self.parties[B].address, local: Some(local) })
    }

    /// Lets `seconds` pass.
    pub(crate) fn run(&mut self, seconds: f64) {
        self.run_to(self.at + Duration::from_secs_f64(seconds));
    }

    pub(crate) fn run_to(&mut self, end: Time) {
        self.depart();
        for _ in 0..1_000_000 {
            let landing = self.flights.iter().map(|flight| flight.due).min();
            let due = self.parties.iter().filter_map(|party| party.tunnel.poll_timeout());
            let Some(next) = due.chain(landing).min().filter(|next| *next <= end) else {
                self.at = end;
                return;
            };
            self.at = self.at.max(next);
            self.land();
            for party in &mut self.parties {
                party.tick(self.at);
            }
            self.depart();
        }
        panic!("the parties never rest");
    }

    /// What the parties want sent goes on its way.
    pub(crate) fn depart(&mut self) {
        for from in [A, B] {
            for (to, datagram) in std::mem::take(&mut self.parties[from].wire) {
                let address = self.parties[from].address;
                self.log.push(Sent { at: self.at, from, datagram: datagram.clone() });
                if self.random(1000) < self.weather.lost {
                    continue;
                }
                let copies = 1 + u64::from(self.random(1000) < self.weather.doubled);
                for _ in 0..copies {
                    let late = self.random(1000) < self.weather.late;
                    let late = if late { self.random(500) } else { 0 };
                    let due = self.at + self.delay + Duration::from_millis(late);
                    self.order += 1;
                    let order = self.order;
                    self.flights.push(Flight { due, order, from: address, to, datagram: datagram.clone() });
                }
            }
        }
    }

    fn land(&mut self) {
        let (mut landed, flying): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.flights).into_iter().partition(|flight| flight.due <= self.at);
        self.flights = flying;
        landed.sort_by_key(|flight| (flight.due, flight.order));
        for flight in landed {
            if let Some(party) = self.parties.iter_mut().find(|party| party.address == flight.to) {
                party.receive(flight.from, &flight.datagram, self.at);
            }
        }
    }

    /// When `from` sent messages that `is` is true of, in seconds.
    pub(crate) fn times(&self, from: usize, is: impl Fn(&Sent) -> bool) -> Vec<f64> {
        let sent = self.log.iter().filter(|sent| sent.from == from && is(sent));
        sent.map(|sent| sent.at.since(secs(0.0)).as_secs_f64()).collect()
    }
}

pub(crate) fn is_initiation(sent: &Sent) -> bool {
    Message::parse(&sent.datagram) == Some(Message::Initiation)
}

pub(crate) fn is_response(sent: &Sent) -> bool {
    Message::parse(&sent.datagram) == Some(Message::Response)
}

pub(crate) fn is_cookie(sent: &Sent) -> bool {
    Message::parse(&sent.datagram) == Some(Message::CookieReply)
}

pub(crate) fn is_data(sent: &Sent) -> bool {
    matches!(Message::parse(&sent.datagram), Some(Message::Data { .. }))
}

pub(crate) fn is_keepalive(sent: &Sent) -> bool {
    is_data(sent) && sent.datagram.len() == 32
}

/// A packet as it comes out of the tunnel: with its padding.
pub(crate) fn pad(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    packet.resize(packet.len().next_multiple_of(16), 0);
    packet
}

/// True within a millisecond.
pub(crate) fn close(time: f64, expected: f64) -> bool {
    (time - expected).abs() < 0.001
}
