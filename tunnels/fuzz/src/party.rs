//! One end of a tunnel, and all that its outputs must be consistent with.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_noise::{Now, Time};
use adit_packet::Slot;
use adit_wireguard::message::Message;
use adit_wireguard::{AllowedIps, Cipher, Endpoint, Output, PeerId, Refused, Session, Traffic, Tunnel};

/// Packets that wait for one peer at most.
const STAGED: i64 = 128;

/// Both clocks at a moment.
pub(crate) fn now(at: Time) -> Now {
    Now { mono: at, wall: Duration::from_secs(1_700_000_000) + at.since(Time::default()) }
}

/// Where a party is.
pub(crate) fn address(party: usize) -> SocketAddr {
    ([192, 0, 2, party as u8 + 1], 51_820).into()
}

/// All of a tunnel but when it looks at its peers next: who asks at another time may well be told another.
pub(crate) fn state(tunnel: &Tunnel) -> String {
    let whole = format!("{tunnel:?}");
    let mut state = String::with_capacity(whole.len());
    let mut rest = whole.as_str();
    for (from, to) in [(", deadline: ", " }"), (", deadlines: ", "), ")] {
        while let Some((ahead, behind)) = rest.split_once(from) {
            state.push_str(ahead);
            rest = behind.split_once(to).map_or("", |(_, behind)| behind);
        }
    }
    state + rest
}

/// A tunnel, and what a worker knows of it.
pub(crate) struct Party {
    pub(crate) tunnel: Tunnel,
    pub(crate) up: bool,
    pub(crate) mtu: usize,
    pub(crate) peers: BTreeMap<PeerId, Arc<Traffic>>,
    pub(crate) sessions: BTreeMap<u32, Arc<Session>>,
    pub(crate) current: BTreeMap<PeerId, Arc<Session>>,
    pub(crate) routes: Arc<AllowedIps<PeerId>>,
    /// Datagrams that went out.
    pub(crate) wire: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Packets that were taken in and neither sent nor dropped.
    pub(crate) waiting: i64,
}

impl Party {
    /// An interface that is down, without anything.
    pub(crate) fn new(cipher: Cipher) -> Self {
        Self {
            tunnel: Tunnel::with_cipher(cipher),
            up: false,
            mtu: 1_420,
            peers: BTreeMap::new(),
            sessions: BTreeMap::new(),
            current: BTreeMap::new(),
            routes: Arc::new(AllowedIps::new()),
            wire: VecDeque::new(),
            waiting: 0,
        }
    }

    /// Carries the outputs out, and says how many there were.
    pub(crate) fn settle(&mut self) -> usize {
        let mut count = 0;
        let mut routed = false;
        while let Some(output) = self.tunnel.poll_output() {
            assert!(!routed, "the routes come last");
            count += 1;
            match output {
                Output::Transmit { to, datagram, .. } => self.transmit(to, datagram),
                Output::Peer(id, Some(traffic)) => {
                    assert_eq!(traffic.id(), id);
                    assert!(self.peers.insert(id, traffic).is_none(), "a number is given once");
                }
                Output::Peer(id, None) => {
                    assert!(self.peers.remove(&id).is_some(), "an unknown peer goes");
                    assert!(!self.current.contains_key(&id), "its session went first");
                }
                Output::Session(index, Some(session)) => {
                    assert_eq!(session.local_index(), index);
                    assert!(self.peers.contains_key(&session.peer().id()), "a session of nobody");
                    assert!(self.sessions.insert(index, session).is_none(), "an index is one session's");
                }
                Output::Session(index, None) => {
                    assert!(self.sessions.remove(&index).is_some(), "an unknown session ends");
                }
                Output::Current(id, Some(session)) => {
                    assert_eq!(session.peer().id(), id);
                    assert!(
                        self.sessions.contains_key(&session.local_index()),
                        "opened with before sent with"
                    );
                    self.current.insert(id, session);
                }
                Output::Current(id, None) => {
                    assert!(self.current.remove(&id).is_some(), "there is one to take away");
                }
                Output::Routes(routes) => (self.routes, routed) = (routes, true),
                Output::Dropped(_, packets) => {
                    assert!(packets > 0, "nothing was dropped");
                    self.waiting -= packets as i64;
                }
            }
        }
        self.check();
        count
    }

    fn transmit(&mut self, to: Endpoint, datagram: Vec<u8>) {
        assert!(self.up, "an interface that is down is silent");
        assert!(self.tunnel.private_key().is_some(), "nobody speaks without a key");
        let message = Message::parse(&datagram).expect("a message");
        if let (Message::Data { .. }, true) = (message, datagram.len() > Session::OVERHEAD) {
            self.waiting -= 1;
        }
        self.wire.push_back((to.remote(), datagram));
    }

    /// What holds between any two calls.
    fn check(&self) {
        let status: Vec<_> = self.tunnel.peers().collect();
        assert!(status.iter().map(|peer| peer.id).eq(self.peers.keys().copied()));
        for peer in &status {
            assert_eq!(self.routes.prefixes_of(peer.id), peer.allowed_ips);
        }
        let of = |id: PeerId| self.sessions.values().filter(move |session| session.peer().id() == id).count();
        assert!(self.peers.keys().all(|id| of(*id) <= 3), "three sessions of a peer at most");
        assert!(self.sessions.values().all(|session| self.peers.contains_key(&session.peer().id())));
        for session in self.current.values() {
            assert!(self.sessions.contains_key(&session.local_index()), "sent with, but not opened with");
        }
        assert!((0..=STAGED * self.peers.len() as i64).contains(&self.waiting), "{} wait", self.waiting);
        if !self.up {
            assert_eq!(self.tunnel.poll_timeout(), None);
            assert!(self.sessions.is_empty() && self.waiting == 0);
        }
        if self.tunnel.private_key().is_none() {
            assert!(self.sessions.is_empty());
        }
    }

    /// Lets the tunnel do what is due. It must come to rest.
    pub(crate) fn tick(&mut self, at: Time) {
        for _ in 0..8 {
            if self.tunnel.poll_timeout().is_none_or(|due| due > at) {
                return;
            }
            self.tunnel.handle_timeout(now(at));
            self.settle();
        }
        panic!("never rests");
    }

    /// Sends a packet to a peer, as a worker does.
    pub(crate) fn send(&mut self, id: PeerId, packet: &[u8], at: Time) {
        let session = self.current.get(&id).filter(|session| session.is_fresh(at)).cloned();
        let Some(session) = session else {
            self.unsent(id, packet, at);
            return;
        };
        let mut arena = vec![0; Session::HEAD + packet.len() + Session::TAIL];
        arena[Session::HEAD..Session::HEAD + packet.len()].copy_from_slice(packet);
        let mut slots = [Slot { start: Session::HEAD, len: packet.len(), ..Slot::default() }];
        session.seal(&mut arena, &mut slots, self.mtu).expect("far from the limit");
        let traffic = session.peer();
        traffic.note_sent(slots[0].len as u64, true, at);
        let to = traffic.endpoint.get().expect("there is a session, so the peer was heard or told of");
        self.wire.push_back((to.remote(), arena[slots[0].range()].to_vec()));
        if session.is_stale_for_sending(at) && traffic.want_handshake() {
            self.tunnel.handle_want(id, now(at));
        }
        self.settle();
    }

    /// Hands a packet over for which there is no session.
    pub(crate) fn unsent(&mut self, id: PeerId, packet: &[u8], at: Time) {
        match self.tunnel.handle_unsent(id, packet, now(at)) {
            Ok(()) => self.waiting += 1,
            // This one came, and one went.
            Err(Refused::StagingFull) => {}
            Err(reason) => {
                let expected = match self.peers.get(&id) {
                    None => Refused::UnknownPeer,
                    Some(_) if !self.up => Refused::Down,
                    Some(_) if self.tunnel.private_key().is_none() => Refused::NoPrivateKey,
                    Some(_) => Refused::NoEndpoint,
                };
                assert_eq!(reason, expected);
            }
        }
        self.settle();
    }

    /// Takes a datagram in, as a worker does.
    pub(crate) fn receive(&mut self, from: SocketAddr, datagram: &[u8], under_load: bool, at: Time) {
        let mut datagram = datagram.to_vec();
        if let Some(Message::Data { receiver, counter }) = Message::parse(&datagram) {
            self.open(from, receiver, counter, &mut datagram, at);
        } else {
            let before = state(&self.tunnel);
            let result =
                self.tunnel.handle_handshake(Endpoint::udp(from), &mut datagram, under_load, now(at));
            let after = result.is_err().then(|| state(&self.tunnel));
            let outputs = self.settle();
            if let (Err(reason), Some(after)) = (result, after) {
                // Not every message is worth a cookie.
                assert!(outputs <= usize::from(reason == Refused::UnderLoad), "{reason}");
                // A cookie reply is an output, and a bucket is filled by who has a cookie.
                let counted = matches!(reason, Refused::UnderLoad | Refused::RateLimited) || under_load;
                assert!(counted || before == after, "refused ({reason}), and yet {before}\nis now {after}");
            }
        }
        self.settle();
    }

    fn open(&mut self, from: SocketAddr, receiver: u32, number: u64, datagram: &mut [u8], at: Time) {
        let Some(session) = self.sessions.get(&receiver).filter(|session| session.is_fresh(at)).cloned()
        else {
            return;
        };
        let mut slots = [Slot { start: 0, len: datagram.len(), number, ..Slot::default() }];
        session.open(datagram, &mut slots, |_, _| {});
        if !slots[0].kept {
            return;
        }
        let traffic = session.peer();
        traffic.note_received(datagram.len() as u64, slots[0].len > 0, at);
        traffic.endpoint.set(Some(Endpoint::udp(from)));
        if session.confirm() {
            self.tunnel.handle_confirmed(session.local_index(), now(at));
        }
        if session.is_stale_for_receiving(at) && traffic.want_handshake() {
            self.tunnel.handle_want(traffic.id(), now(at));
        }
    }
}
