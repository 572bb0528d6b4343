//! The control half: what comes in, what goes out, and when.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use adit_noise::{Now, PublicKey, Time};

use crate::deadlines::Deadlines;
use crate::device::Device;
use crate::message::{self, Message};
use crate::peer::Peer;
use crate::responder::Initiation;
use crate::{AllowedIps, Cipher, Endpoint, Output, PeerId, PeerStatus, Prefix, Refused};

/// Most peers that one call of [`Tunnel::handle_timeout`] looks at, so that many deadlines at once (an interface that
/// comes up) do not keep the caller from its other work for long.
const SLICE: usize = 64;

/// One WireGuard interface: its peers, their handshakes and timers.
///
/// Every call may leave [`Output`]s and move the deadline: drain [`Self::poll_output`], then ask
/// [`Self::poll_timeout`]. `now` never goes back from one call to the next.
#[derive(Debug)]
pub struct Tunnel {
    pub(crate) device: Device,
    pub(crate) peers: BTreeMap<PeerId, Peer>,
    pub(crate) by_key: HashMap<PublicKey, PeerId>,
    pub(crate) deadlines: Deadlines,
    pub(crate) routes: AllowedIps<PeerId>,
    pub(crate) routes_changed: bool,
    pub(crate) next_id: u32,
}

impl Tunnel {
    /// An interface of WireGuard that is down, without a private key and without peers.
    #[must_use]
    pub fn new() -> Self {
        Self::with_cipher(Cipher::default())
    }

    /// The same, with another cipher.
    #[must_use]
    pub fn with_cipher(cipher: Cipher) -> Self {
        Self {
            device: Device::new(cipher),
            peers: BTreeMap::new(),
            by_key: HashMap::new(),
            deadlines: Deadlines::default(),
            routes: AllowedIps::new(),
            routes_changed: false,
            next_id: 0,
        }
    }

    /// All that can be told of the peers, in the order of their creation.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> {
        self.peers.values().map(Peer::status)
    }

    /// The peer that has exactly this range among its own.
    #[must_use]
    pub fn owner_of(&self, prefix: Prefix) -> Option<PublicKey> {
        self.peers.get(&self.routes.get(prefix)?).map(|peer| peer.public_key)
    }

    /// Handshakes that were completed, with any peer.
    #[must_use]
    pub fn handshakes(&self) -> u64 {
        self.device.handshakes
    }

    /// Consumes an initiation, a response or a cookie reply. Only authentic input changes state.
    ///
    /// `under_load` is the caller's judgement of its queue: then a sender must prove that it receives at its address.
    ///
    /// # Errors
    /// Why the message was refused. [`Refused::UnderLoad`] leaves a cookie reply among the outputs, unless too many were
    /// asked for at once.
    pub fn handle_handshake(
        &mut self,
        from: Endpoint,
        message: &mut [u8],
        under_load: bool,
        now: Now,
    ) -> Result<(), Refused> {
        if !self.device.up {
            return Err(Refused::Down);
        }
        let message = &*message;
        match Message::parse(message) {
            Some(Message::Initiation) => self.handle_initiation(from, message, under_load, now),
            Some(Message::Response) => self.handle_response(from, message, under_load, now),
            Some(Message::CookieReply) => self.handle_cookie_reply(message, now),
            Some(Message::Data { .. }) | None => Err(Refused::Length),
        }
    }

    fn handle_initiation(
        &mut self,
        from: Endpoint,
        message: &[u8],
        under_load: bool,
        now: Now,
    ) -> Result<(), Refused> {
        let fields = message::parse_initiation(message).ok_or(Refused::Length)?;
        let device = &mut self.device;
        device.admit(from, message, fields.sender, under_load, &self.peers, now.mono)?;
        let identity = device.identity.as_ref().ok_or(Refused::NoPrivateKey)?;
        let initiation = Initiation::open(fields, identity, device.cipher)?;
        let id = self.by_key.get(&initiation.public_key);
        let id = *id.ok_or(Refused::UnknownPeer)?;
        self.with_peer(id, now, |peer, device| peer.respond(from, initiation, device, now))
    }

    fn handle_response(
        &mut self,
        from: Endpoint,
        message: &[u8],
        under_load: bool,
        now: Now,
    ) -> Result<(), Refused> {
        let fields = message::parse_response(message).ok_or(Refused::Length)?;
        let device = &mut self.device;
        device.admit(from, message, fields.sender, under_load, &self.peers, now.mono)?;
        let id = device.indexes.peer(fields.receiver);
        self.with_peer(id.ok_or(Refused::UnknownIndex)?, now, |peer, device| {
            peer.handle_response(from, fields, device, now)
        })
    }

    fn handle_cookie_reply(&mut self, message: &[u8], now: Now) -> Result<(), Refused> {
        let (index, reply) = message::parse_cookie_reply(message).ok_or(Refused::Length)?;
        let id = self.device.indexes.peer(index);
        self.with_peer(id.ok_or(Refused::UnknownIndex)?, now, |peer, _| peer.handle_cookie_reply(reply, now))
    }

    /// Takes in a packet that a worker could not send, for want of a session. It waits for the handshake that this
    /// begins; at most 128 packets of a peer wait, and 16 MiB of all.
    ///
    /// # Errors
    /// A packet was dropped, and why: this one, or with [`Refused::StagingFull`] the oldest.
    pub fn handle_unsent(&mut self, peer: PeerId, packet: &[u8], now: Now) -> Result<(), Refused> {
        self.with_peer(peer, now, |peer, device| peer.handle_unsent(packet, device, now))
    }

    /// A worker found that the session should be renewed, or that there is none: begins a handshake unless one runs.
    pub fn handle_want(&mut self, peer: PeerId, now: Now) {
        // A peer that was removed since wants nothing.
        let _ = self.with_peer(peer, now, |peer, device| {
            peer.handle_want(device, now);
            Ok(())
        });
    }

    /// The first authentic packet came in on the session `local` that a peer began. What waited for it is sent.
    pub fn handle_confirmed(&mut self, local: u32, now: Now) {
        if let Some(id) = self.device.indexes.peer(local) {
            // The index names a peer, so there is one.
            let _ = self.with_peer(id, now, |peer, device| {
                peer.confirm(local, device, now);
                Ok(())
            });
        }
    }

    /// Does what is due. If much is due, part of it: then [`Self::poll_timeout`] still is not later than `now`.
    pub fn handle_timeout(&mut self, now: Now) {
        for _ in 0..SLICE {
            let Some(id) = self.deadlines.due(now.mono) else {
                return;
            };
            let _ = self.with_peer(id, now, |peer, device| {
                peer.handle_timeout(device, now);
                Ok(())
            });
        }
    }

    /// The next thing to do. To be drained until `None`, and carried out in this order.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.device.outputs.pop_front();
        if output.is_none() && std::mem::take(&mut self.routes_changed) {
            return Some(Output::Routes(Arc::new(self.routes.clone())));
        }
        output
    }

    /// When [`Self::handle_timeout`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.deadlines.first()
    }

    /// Lets a peer act, and finds out when it is to be looked at next.
    pub(crate) fn with_peer(
        &mut self,
        id: PeerId,
        now: Now,
        act: impl FnOnce(&mut Peer, &mut Device) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let peer = self.peers.get_mut(&id).ok_or(Refused::UnknownPeer)?;
        let result = act(peer, &mut self.device);
        let next = peer.next_deadline(&self.device, now.mono);
        self.deadlines.set(id, &mut peer.deadline, next);
        result
    }
}

impl Default for Tunnel {
    fn default() -> Self {
        Self::new()
    }
}
