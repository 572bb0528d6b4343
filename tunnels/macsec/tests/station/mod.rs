//! Two stations with their SecYs, the network between them, and the time.
#![allow(dead_code, reason = "each test program has its own share of it")]

use std::collections::HashSet;
use std::time::Duration;

use adit_macsec::agreement::message::{FRAME, Message};
use adit_macsec::agreement::{Agreement, Config, Disagreement, Output, Refused, Source, keepalive};
use adit_macsec::{CipherSuite, KeyId, Offset, Protection, Replay, Sci, SecTag, SecY, Settings};
use adit_noise::{Now, PresharedKey, PrivateKey, Time};

use crate::link::{EAST, LONGEST, WEST, open, seal};

pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;
pub(crate) const ENCRYPTED: Protection = Protection::Confidentiality(Offset::Zero);
const START: u64 = 1_000;
const WALL: u64 = 1_700_000_000;

pub(crate) fn secs(seconds: f64) -> Time {
    Time::from_nanos(START * 1_000_000_000 + (seconds * 1e9).round() as u64)
}

pub(crate) fn now(at: Time) -> Now {
    Now { mono: at, wall: Duration::from_secs(WALL) + at.since(secs(0.0)) }
}

pub(crate) fn private(byte: u8) -> PrivateKey {
    PrivateKey::from_bytes([byte; 32])
}

/// What a station is configured with if nothing is wrong.
pub(crate) fn config(me: usize) -> Config {
    let (own, remote, sci) = if me == A { (1, 2, EAST) } else { (2, 1, WEST) };
    Config {
        private: private(own),
        remote: private(remote).public(),
        preshared: PresharedKey::from_bytes([7; 32]),
        sci,
        suite: CipherSuite::GcmAesXpn256,
        protection: ENCRYPTED,
        disclosed: false,
    }
}

pub(crate) fn address(station: usize) -> Source {
    Source::Ethernet([0x0a, 0, 0, 0, 0, station as u8])
}

/// A numbered frame of some host behind a station.
pub(crate) fn frame(number: u32) -> Vec<u8> {
    let mut frame = [[0xff; 6], [0x02, 0xee, 0, 0, 0, 9]].concat();
    frame.extend([0x08, 0x00]);
    frame.extend(number.to_be_bytes());
    frame
}

/// One end of a link.
pub(crate) struct Station {
    pub(crate) agreement: Agreement,
    pub(crate) secy: SecY,
    pub(crate) config: Config,
    pub(crate) under_load: bool,
    /// Datagrams on their way out.
    pub(crate) wire: Vec<Vec<u8>>,
    /// Frames that came in, without keepalives.
    pub(crate) inbox: Vec<Vec<u8>>,
    pub(crate) keepalives: usize,
    pub(crate) refused: Vec<Refused>,
    pub(crate) frames_refused: Vec<adit_macsec::Refused>,
    pub(crate) unsent: usize,
    pub(crate) heard: usize,
    pub(crate) told: Vec<Disagreement>,
    /// Every key and packet number that was ever sent with, by any life of this station.
    used: HashSet<([u8; 16], u64)>,
}

impl Station {
    pub(crate) fn new(config: Config, at: Time) -> Self {
        let mut settings = Settings::new(config.sci);
        settings.replay = Replay::Bitmap;
        Self {
            agreement: Agreement::new(config.clone(), now(at)).expect("a configuration"),
            secy: SecY::new(settings).expect("settings"),
            config,
            under_load: false,
            wire: Vec::new(),
            inbox: Vec::new(),
            keepalives: 0,
            refused: Vec::new(),
            frames_refused: Vec::new(),
            unsent: 0,
            heard: 0,
            told: Vec::new(),
            used: HashSet::new(),
        }
    }

    /// Begins anew, knowing nothing of before.
    pub(crate) fn restart(&mut self, at: Time) {
        let used = std::mem::take(&mut self.used);
        *self = Self { used, ..Self::new(self.config.clone(), at) };
    }

    /// The keys that frames of the peer can be opened with.
    pub(crate) fn receives_with(&self) -> Vec<KeyId> {
        let channels = self.secy.port().receive().iter();
        channels.flat_map(|channel| channel.associations()).map(|sa| sa.sak().id()).collect()
    }

    pub(crate) fn sends_with(&self) -> Option<KeyId> {
        self.secy.port().transmit().map(|sa| sa.sak().id())
    }

    /// Carries the outputs out.
    pub(crate) fn settle(&mut self) {
        while let Some(output) = self.agreement.poll_output() {
            match output {
                Output::Send(message) | Output::Reply(message) => self.wire.push(message),
                Output::Heard => self.heard += 1,
                Output::Keys(change) => change.apply(&mut self.secy).expect("a change that can be made"),
                Output::Keepalive => self.seal(&keepalive::frame(self.config.sci)),
                Output::Disagreed(found) => self.told.push(found),
            }
        }
        assert_eq!(self.sends_with(), self.agreement.status().transmit);
    }

    /// Sends a frame, as a worker does.
    pub(crate) fn send(&mut self, frame: &[u8], at: Time) {
        self.seal(frame);
        if let Some(key) = self.secy.port().tell_rekey() {
            self.agreement.handle_rekey(key, now(at));
            self.settle();
        }
    }

    fn seal(&mut self, frame: &[u8]) {
        let pn = self.secy.port().transmit().map(|sa| (sa.sak().id().0, sa.next_pn()));
        match seal(self.secy.port(), &[frame.to_vec()], LONGEST).remove(0) {
            Ok(sealed) => {
                assert!(self.used.insert(pn.expect("a key")), "a packet number twice under one key");
                self.wire.push([&FRAME[..], &sealed].concat());
            }
            Err(_) => self.unsent += 1,
        }
    }

    /// Takes a datagram in, as a worker does.
    pub(crate) fn receive(&mut self, from: Source, datagram: &[u8], at: Time) {
        if Message::parse(datagram) == Some(Message::Frame) {
            self.open(&datagram[4..], at);
        } else {
            let result = self.agreement.handle_message(datagram, from, self.under_load, now(at));
            self.refused.extend(result.err());
        }
        self.settle();
    }

    fn open(&mut self, frame: &[u8], at: Time) {
        let (mut fates, opened) = open(self.secy.port(), &[frame.to_vec()]);
        match fates.remove(0) {
            Ok(frame) if keepalive::is(&frame) => self.keepalives += 1,
            Ok(frame) => self.inbox.push(frame),
            Err(reason) => self.frames_refused.push(reason),
        }
        if opened.authentic > 0 {
            self.agreement.handle_authentic(now(at));
        }
        if let Some(key) = opened.confirmed {
            self.agreement.handle_confirmed(key, now(at));
        }
    }

    fn tick(&mut self, at: Time) {
        if self.agreement.poll_timeout().is_some_and(|due| due <= at) {
            self.agreement.handle_timeout(now(at));
            self.settle();
        }
    }
}

/// What the network does to datagrams, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    /// A datagram is late by up to half a second.
    pub(crate) late: u64,
}

pub(crate) struct Sent {
    pub(crate) at: Time,
    pub(crate) from: usize,
    pub(crate) datagram: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) stations: [Station; 2],
    pub(crate) at: Time,
    pub(crate) weather: Weather,
    pub(crate) delay: Duration,
    /// Everything that was sent, lost or not.
    pub(crate) log: Vec<Sent>,
    /// The longest that either sent with a key that the other did not have, while it could have been told of another.
    pub(crate) orphaned: Duration,
    orphan_since: [Option<Time>; 2],
    flights: Vec<(Time, u64, usize, Vec<u8>)>,
    order: u64,
    random: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of([config(A), config(B)], 1)
    }

    pub(crate) fn of(configs: [Config; 2], seed: u64) -> Self {
        let at = secs(0.0);
        Self {
            stations: configs.map(|config| Station::new(config, at)),
            at,
            weather: Weather::default(),
            delay: Duration::from_millis(10),
            log: Vec::new(),
            orphaned: Duration::ZERO,
            orphan_since: [None; 2],
            flights: Vec::new(),
            order: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// Both ends with another suite and protection.
    pub(crate) fn with_suite(suite: CipherSuite, protection: Protection) -> Self {
        Self::of([A, B].map(|me| Config { suite, protection, ..config(me) }), 1)
    }

    /// A link that is up and at rest.
    pub(crate) fn connected() -> Self {
        let mut world = Self::new();
        world.run(5.0);
        assert!(world.passes());
        world
    }

    /// A whole number below `below`, the same in every run.
    pub(crate) fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    pub(crate) fn send(&mut self, from: usize, frame: &[u8]) {
        self.stations[from].send(frame, self.at);
        self.depart();
    }

    /// Whether frames pass in both directions now.
    pub(crate) fn passes(&mut self) -> bool {
        self.stations.iter_mut().for_each(|station| station.inbox.clear());
        self.send(A, &frame(1));
        self.send(B, &frame(2));
        self.run(1.0);
        self.stations[B].inbox == [frame(1)] && self.stations[A].inbox == [frame(2)]
    }

    /// Lets `seconds` pass.
    pub(crate) fn run(&mut self, seconds: f64) {
        let end = self.at + Duration::from_secs_f64(seconds);
        self.depart();
        for _ in 0..1_000_000 {
            let landing = self.flights.iter().map(|(due, ..)| *due).min();
            let due = self.stations.iter().filter_map(|station| station.agreement.poll_timeout());
            let Some(next) = due.chain(landing).min().filter(|next| *next <= end) else {
                self.at = end;
                return;
            };
            self.at = self.at.max(next);
            self.land();
            self.stations.iter_mut().for_each(|station| station.tick(self.at));
            self.depart();
            self.watch();
        }
        panic!("the stations never rest");
    }

    /// Looks whether each sends with a key that the other has.
    fn watch(&mut self) {
        for (me, other) in [(A, B), (B, A)] {
            let key = self.stations[me].sends_with();
            let orphan = key.is_some_and(|key| !self.stations[other].receives_with().contains(&key));
            let since = self.orphan_since[me].get_or_insert(self.at);
            if orphan {
                self.orphaned = self.orphaned.max(self.at.since(*since));
            } else {
                self.orphan_since[me] = None;
            }
        }
    }

    /// What the stations want sent goes on its way.
    pub(crate) fn depart(&mut self) {
        for from in [A, B] {
            for datagram in std::mem::take(&mut self.stations[from].wire) {
                self.log.push(Sent { at: self.at, from, datagram: datagram.clone() });
                if self.random(1000) < self.weather.lost {
                    continue;
                }
                for _ in 0..1 + u64::from(self.random(1000) < self.weather.doubled) {
                    let late = self.random(1000) < self.weather.late;
                    let late = if late { self.random(500) } else { 0 };
                    let due = self.at + self.delay + Duration::from_millis(late);
                    self.order += 1;
                    self.flights.push((due, self.order, from, datagram.clone()));
                }
            }
        }
    }

    fn land(&mut self) {
        let at = self.at;
        let (mut landed, flying): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.flights).into_iter().partition(|(due, ..)| *due <= at);
        self.flights = flying;
        landed.sort_by_key(|(due, order, ..)| (*due, *order));
        for (_, _, from, datagram) in landed {
            self.stations[1 - from].receive(address(from), &datagram, at);
        }
    }

    /// When `from` sent messages of this kind, in seconds.
    pub(crate) fn times(&self, from: usize, kind: Message) -> Vec<f64> {
        let sent = self.log.iter().filter(|sent| sent.from == from);
        let sent = sent.filter(|sent| Message::parse(&sent.datagram) == Some(kind));
        sent.map(|sent| sent.at.since(secs(0.0)).as_secs_f64()).collect()
    }

    /// The last datagram of this kind that `from` sent.
    pub(crate) fn last(&self, from: usize, kind: Message) -> Vec<u8> {
        let is = |sent: &&Sent| sent.from == from && Message::parse(&sent.datagram) == Some(kind);
        self.log.iter().rev().find(is).expect("a message of this kind").datagram.clone()
    }

    /// A datagram comes to `station` out of nothing: why it was refused.
    pub(crate) fn inject(&mut self, station: usize, from: Source, datagram: &[u8]) -> Option<Refused> {
        let before = self.stations[station].refused.len();
        self.stations[station].receive(from, datagram, self.at);
        self.stations[station].refused.get(before).copied()
    }
}

/// The channel that a frame on the wire names.
pub(crate) fn sci_of(datagram: &[u8]) -> Option<Sci> {
    SecTag::parse(datagram.get(16..)?)?.ok()?.sci
}
