//! What a worker knows: which peer has an address, which session an index names, where a peer is and what to seal with.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use adit_wireguard::message::Message;
use adit_wireguard::{AllowedIps, Endpoint, PeerId, Session, Traffic, View};

use super::Access;

/// A change to a worker's table.
#[derive(Clone, Debug)]
pub enum Change {
    /// A peer came, or went.
    Peer(PeerId, Option<Arc<Traffic>>),
    /// Packets that name this index are accepted, or no longer.
    Session(u32, Option<Arc<Session>>),
    /// The session to send with, if any.
    Current(PeerId, Option<Arc<Session>>),
    /// The sessions to send with are now those of this edition (see [`Inbox`](crate::datapath::Inbox)).
    Edition(u64),
    /// The first packet came under a session that the peer began.
    Confirmed(Arc<Session>),
    /// Who has which addresses.
    Routes(Arc<AllowedIps<PeerId>>),
    /// What clients reach, if there are rules for them.
    Access(Option<Arc<Access>>),
}

/// A worker's own table.
#[derive(Debug, Default)]
pub struct Table {
    peers: HashMap<PeerId, Peer>,
    sessions: HashMap<u32, Arc<Session>>,
    routes: Arc<AllowedIps<PeerId>>,
    access: Option<Arc<Access>>,
    edition: u64,
}

/// A peer as a worker sees it.
#[derive(Debug)]
pub struct Peer {
    /// What all workers share of it.
    pub traffic: Arc<Traffic>,
    current: Option<Arc<Session>>,
    endpoint: View<Option<Endpoint>>,
}

impl Table {
    /// Carries out a change.
    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Peer(id, Some(traffic)) => {
                let endpoint = traffic.endpoint.view();
                self.peers.insert(id, Peer { traffic, current: None, endpoint });
            }
            Change::Peer(id, None) => drop(self.peers.remove(&id)),
            Change::Session(index, Some(session)) => drop(self.sessions.insert(index, session)),
            Change::Session(index, None) => drop(self.sessions.remove(&index)),
            Change::Current(id, session) => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.current = session;
                }
            }
            Change::Edition(edition) => self.edition = edition,
            Change::Confirmed(session) => self.confirm(&session),
            Change::Routes(routes) => self.routes = routes,
            Change::Access(access) => self.access = access,
        }
    }

    /// A confirmed session is sent with from now on, as the answer to that first packet must be, since the peer may have lost
    /// the session before. Where there was none, packets wait with the control thread, which keeps their order: then the
    /// switch is left to it.
    fn confirm(&mut self, session: &Arc<Session>) {
        if let Some(current) = self.peers.get_mut(&session.peer().id()).and_then(|peer| peer.current.as_mut())
            && session.is_newer_than(current)
        {
            *current = session.clone();
        }
    }

    /// What clients reach, if there are rules for them.
    pub(super) fn access(&self) -> Option<&Access> {
        self.access.as_deref()
    }

    /// The edition of the sessions to send with.
    #[must_use]
    pub fn edition(&self) -> u64 {
        self.edition
    }

    /// The peer that an inner address belongs to.
    #[must_use]
    pub(super) fn peer_of(&self, address: IpAddr) -> Option<PeerId> {
        self.routes.lookup(address)
    }

    /// True if a packet for a peer is what was sealed for that peer: its endpoint lies behind itself. Let through, the packet
    /// would go round, longer each time, until the session ends.
    #[must_use]
    pub fn is_loop(&self, id: PeerId, packet: &[u8]) -> bool {
        let Some(Message::Data { receiver, .. }) = udp_payload(packet).and_then(Message::parse) else {
            return false;
        };
        let session = self.peers.get(&id).and_then(|peer| peer.current.as_ref());
        session.is_some_and(|session| session.remote_index() == receiver)
    }

    /// A peer by its number.
    pub fn peer(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(&id)
    }

    /// The session that a data message names.
    #[must_use]
    pub fn session(&self, index: u32) -> Option<&Arc<Session>> {
        self.sessions.get(&index)
    }
}

/// The UDP payload of a packet or of its first fragment. Without options or extension headers: our own sockets set none.
fn udp_payload(packet: &[u8]) -> Option<&[u8]> {
    const UDP: u8 = 17;
    const FRAGMENT: u8 = 44;
    let at = match (packet.first()? >> 4, *packet.get(6)?, *packet.get(9)?) {
        (4, _, UDP) => 20,
        (6, UDP, _) => 40,
        (6, FRAGMENT, _) if *packet.get(40)? == UDP => 48,
        _ => return None,
    };
    packet.get(at + 8..)
}

impl Peer {
    /// The session to send with and where to, if there are both.
    pub fn path(&mut self) -> Option<(&Arc<Session>, Endpoint)> {
        let endpoint = self.endpoint.read(&self.traffic.endpoint)?;
        Some((self.current.as_ref()?, endpoint))
    }

    /// Packets for the peer are left to the control thread, until it says what to send with: not even a session that is
    /// confirmed meanwhile, lest they be overtaken.
    pub fn leave(&mut self) {
        self.current = None;
    }

    /// An authentic packet came from here: answers go there from now on.
    pub fn roam(&mut self, to: Endpoint) {
        if self.endpoint.read(&self.traffic.endpoint) != Some(to) {
            self.traffic.endpoint.set(Some(to));
        }
    }
}
