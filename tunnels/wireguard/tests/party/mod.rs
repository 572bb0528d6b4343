//! One end of a tunnel with its worker, and a link between two ends under a hand-moved clock.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_noise::{Now, PresharedKey, PrivateKey, PublicKey, Time};
use adit_packet::{Ecn, Slot};
use adit_wireguard::message::Message;
use adit_wireguard::{
    AllowedIps, Endpoint, Output, PeerChange, PeerId, PeerStatus, Refused, Session, Traffic, Tunnel,
};

pub(crate) const MTU: usize = 1420;

/// The clock when a test begins; seconds count from here.
pub(crate) const START: u64 = 1_000;
const WALL: u64 = 1_700_000_000;

pub(crate) fn now(at: Time) -> Now {
    let since = at.since(Time::from_secs(START));
    Now { mono: at, wall: Duration::from_secs(WALL) + since }
}

pub(crate) fn secs(seconds: f64) -> Time {
    Time::from_nanos(START * 1_000_000_000 + (seconds * 1e9).round() as u64)
}

/// A tunnel, and what a worker keeps for it.
pub(crate) struct Party {
    pub(crate) tunnel: Tunnel,
    pub(crate) address: SocketAddr,
    pub(crate) under_load: bool,
    pub(crate) sessions: HashMap<u32, Arc<Session>>,
    pub(crate) current: HashMap<PeerId, Arc<Session>>,
    pub(crate) traffic: HashMap<PeerId, Arc<Traffic>>,
    pub(crate) routes: Arc<AllowedIps<PeerId>>,
    /// Datagrams on their way out.
    pub(crate) wire: Vec<(SocketAddr, Vec<u8>)>,
    /// Where the tunnel itself sent something.
    pub(crate) paths: Vec<Endpoint>,
    /// Packets that came in, without keepalives.
    pub(crate) inbox: Vec<Vec<u8>>,
    pub(crate) refused: Vec<Refused>,
    pub(crate) dropped: Vec<(Refused, usize)>,
}

impl Party {
    /// An interface that is up.
    pub(crate) fn new(private: &PrivateKey, address: &str, at: Time) -> Self {
        let mut tunnel = Tunnel::new();
        tunnel.set_mtu(MTU);
        tunnel.set_private_key(Some(private.clone()), now(at));
        tunnel.set_up(true, now(at));
        Self {
            tunnel,
            address: address.parse().unwrap(),
            under_load: false,
            sessions: HashMap::new(),
            current: HashMap::new(),
            traffic: HashMap::new(),
            routes: Arc::new(AllowedIps::new()),
            wire: Vec::new(),
            paths: Vec::new(),
            inbox: Vec::new(),
            refused: Vec::new(),
            dropped: Vec::new(),
        }
    }

    pub(crate) fn public(&self) -> PublicKey {
        self.tunnel.private_key().unwrap().public()
    }

    pub(crate) fn change(&mut self, key: &PublicKey, change: PeerChange, at: Time) -> PeerId {
        let id = self.tunnel.change_peer(key, change, now(at)).unwrap().unwrap();
        self.settle();
        id
    }

    pub(crate) fn status(&self) -> PeerStatus {
        self.tunnel.peers().next().unwrap()
    }

    /// The only peer.
    pub(crate) fn peer(&self) -> PeerId {
        self.status().id
    }

    pub(crate) fn current(&self) -> Option<&Arc<Session>> {
        self.current.get(&self.peer())
    }

    /// Carries the outputs out.
    pub(crate) fn settle(&mut self) {
        while let Some(output) = self.tunnel.poll_output() {
            match output {
                Output::Transmit { to, datagram, .. } => {
                    self.paths.push(to);
                    self.wire.push((to.remote(), datagram));
                }
                Output::Peer(id, Some(traffic)) => drop(self.traffic.insert(id, traffic)),
                Output::Peer(id, None) => drop(self.traffic.remove(&id)),
                Output::Session(index, Some(session)) => {
                    assert_eq!(session.local_index(), index);
                    assert!(self.sessions.insert(index, session).is_none(), "index given twice");
                }
                Output::Session(index, None) => {
                    assert!(self.sessions.remove(&index).is_some(), "unknown session ends");
                }
                Output::Current(id, Some(session)) => {
                    assert!(self.sessions.contains_key(&session.local_index()), "not yet opened with");
                    self.current.insert(id, session);
                }
                Output::Current(id, None) => {
                    assert!(self.current.remove(&id).is_some(), "nothing to take away");
                }
                Output::Routes(routes) => self.routes = routes,
                Output::Dropped(reason, count) => self.dropped.push((reason, count)),
            }
        }
    }

    /// Sends a packet to the only peer, as a worker does.
    pub(crate) fn send(&mut self, packet: &[u8], at: Time) {
        let id = self.peer();
        let Some(session) = self.current.get(&id).filter(|session| session.is_fresh(at)) else {
            if let Err(reason) = self.tunnel.handle_unsent(id, packet, now(at)) {
                self.refused.push(reason);
            }
            return self.settle();
        };
        let mut arena = vec![0; Session::HEAD];
        arena.extend_from_slice(packet);
        arena.resize(Session::HEAD + packet.len() + Session::TAIL, 0);
        let mut slots = [Slot { start: Session::HEAD, len: packet.len(), ..Slot::default() }];
        session.seal(&mut arena, &mut slots, MTU).unwrap();
        let datagram = arena[slots[0].range()].to_vec();
        let traffic = session.peer();
        traffic.note_sent(datagram.len() as u64, true, at);
        let to = traffic.endpoint.get().unwrap().remote();
        self.wire.push((to, datagram));
        if session.is_stale_for_sending(at) && traffic.want_handshake() {
            self.tunnel.handle_want(id, now(at));
            self.settle();
        }
    }

    /// Takes a datagram in, as a worker does.
    pub(crate) fn receive(&mut self, from: SocketAddr, datagram: &[u8], at: Time) {
        let mut datagram = datagram.to_vec();
        let result = match Message::parse(&datagram) {
            Some(Message::Data { receiver, counter }) => {
                self.open(from, receiver, counter, &mut datagram, at)
            }
            Some(Message::Initiation | Message::Response | Message::CookieReply) | None => {
                let from = Endpoint::udp(from);
                self.tunnel.handle_handshake(from, &mut datagram, self.under_load, now(at))
            }
        };
        self.refused.extend(result.err());
        self.settle();
    }

    fn open(
        &mut self,
        from: SocketAddr,
        receiver: u32,
        number: u64,
        datagram: &mut [u8],
        at: Time,
    ) -> Result<(), Refused> {
        let session = self.sessions.get(&receiver).ok_or(Refused::UnknownIndex)?;
        if !session.is_fresh(at) {
            return Err(Refused::Exhausted);
        }
        let mut slots = [Slot { start: 0, len: datagram.len(), number, ecn: Ecn::NotEct, ..Slot::default() }];
        let mut refused = None;
        session.open(datagram, &mut slots, |reason| refused = Some(reason));
        if let Some(reason) = refused {
            return Err(reason);
        }
        let session = Arc::clone(session);
        let packet = &datagram[slots[0].range()];
        let traffic = session.peer();
        traffic.note_received(datagram.len() as u64, !packet.is_empty(), at);
        traffic.endpoint.set(Some(Endpoint::udp(from)));
        if !packet.is_empty() {
            self.inbox.push(packet.to_vec());
        }
        if session.confirm() {
            self.tunnel.handle_confirmed(session.local_index(), now(at));
        }
        if session.is_stale_for_receiving(at) && traffic.want_handshake() {
            self.tunnel.handle_want(traffic.id(), now(at));
        }
        Ok(())
    }

    /// Calls the tunnel if its time has come.
    pub(crate) fn tick(&mut self, at: Time) {
        if self.tunnel.poll_timeout().is_some_and(|due| due <= at) {
            self.tunnel.handle_timeout(now(at));
            self.settle();
        }
    }
}

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
        let at = secs(0.0);
        let mut parties =
            [Party::new(&keys[0], "192.0.2.1:1001", at), Party::new(&keys[1], "192.0.2.2:1002", at)];
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

    /// What came in since it was last asked.
    pub(crate) fn take(&mut self, at: usize) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.parties[at].inbox)
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
