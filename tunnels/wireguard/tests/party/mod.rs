//! One end of a tunnel with its worker, under a hand-moved clock.
#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

mod world;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_noise::{Now, PrivateKey, PublicKey, Time};
use adit_packet::{Ecn, Slot};
use adit_wireguard::message::Message;
use adit_wireguard::{
    AllowedIps, Cipher, Endpoint, Output, PeerChange, PeerId, PeerStatus, Refused, Session, Traffic, Tunnel,
};
pub(crate) use world::*;

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
    /// An interface of WireGuard that is up.
    pub(crate) fn new(private: &PrivateKey, address: &str, at: Time) -> Self {
        Self::with_cipher(Cipher::default(), private, address, at)
    }

    pub(crate) fn with_cipher(cipher: Cipher, private: &PrivateKey, address: &str, at: Time) -> Self {
        let mut tunnel = Tunnel::with_cipher(cipher);
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
        session.open(datagram, &mut slots, |reason, _| refused = Some(reason));
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
