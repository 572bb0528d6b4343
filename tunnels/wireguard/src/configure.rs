//! Changing an interface while it runs.

use adit_noise::{Now, PrivateKey, PublicKey};

use crate::device::{Device, Identity};
use crate::peer::Peer;
use crate::{AllowedIps, Cipher, Endpoint, Output, PeerChange, PeerId, Prefix, Refused, Tunnel};

/// Why a peer was not created.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The public key is that of the interface itself.
    #[error("the peer has the interface's own public key")]
    OwnKey,
    /// Every number for a peer was given once.
    #[error("no more peers can be created")]
    OutOfNumbers,
}

impl Tunnel {
    /// The private key, if there is one.
    #[must_use]
    pub fn private_key(&self) -> Option<&PrivateKey> {
        Some(&self.device.identity.as_ref()?.private)
    }

    /// Replaces the private key, or takes it away. All sessions end, since they are those of the old key; a peer
    /// with the public key that is ours now is removed, and those with a persistent keepalive are greeted. To set the
    /// key that is set already changes nothing.
    pub fn set_private_key(&mut self, key: Option<PrivateKey>, now: Now) {
        if key.as_ref() == self.private_key() {
            return;
        }
        let cipher = self.device.cipher;
        self.device.identity = key.map(|key| Identity::new(key, cipher));
        if let Some(identity) = &self.device.identity {
            let own = identity.public;
            self.remove_peer(&own);
        }
        self.begin_anew(now);
    }

    /// What the tunnel is secured with.
    #[must_use]
    pub fn cipher(&self) -> Cipher {
        self.device.cipher
    }

    /// Replaces the cipher. All sessions end, and new ones come about only with peers that have the new cipher too; those
    /// with a persistent keepalive are greeted. Packets go on waiting. To set the cipher that is set already changes nothing.
    pub fn set_cipher(&mut self, cipher: Cipher, now: Now) {
        if std::mem::replace(&mut self.device.cipher, cipher) == cipher {
            return;
        }
        let identity = self.device.identity.take();
        self.device.identity = identity.map(|identity| Identity::new(identity.private, cipher));
        self.peers.values_mut().for_each(|peer| peer.set_cipher(cipher));
        self.begin_anew(now);
    }

    /// Ends all sessions, greets the peers with a persistent keepalive, and has what waits bring about new sessions.
    fn begin_anew(&mut self, now: Now) {
        self.each_peer(now, |peer, device| {
            peer.end_sessions(device);
            peer.greet_anew();
            if !peer.staging.is_empty() {
                peer.begin(device, now);
            }
        });
        self.handle_timeout(now);
    }

    /// The largest packet, in bytes: padding never makes one larger. 1420 unless set.
    pub fn set_mtu(&mut self, mtu: usize) {
        self.device.mtu = mtu;
    }

    /// Brings the interface up or down. Up: peers with a persistent keepalive are greeted. Down: sessions and
    /// handshakes end, what waits is dropped, no message is answered.
    pub fn set_up(&mut self, up: bool, now: Now) {
        if std::mem::replace(&mut self.device.up, up) == up {
            return;
        }
        self.each_peer(now, |peer, device| {
            peer.greet_anew();
            if !up {
                peer.end_sessions(device);
                peer.drop_staged(Refused::PeerGone, device);
            }
        });
        self.handle_timeout(now);
    }

    /// Creates a peer, or changes one. The number of the peer; `None` if there is none and only a change was asked for.
    ///
    /// Another preshared key ends the sessions: they were made with the old one.
    ///
    /// # Errors
    /// [`PeerError`]; nothing is changed then.
    pub fn change_peer(
        &mut self,
        key: &PublicKey,
        change: PeerChange,
        now: Now,
    ) -> Result<Option<PeerId>, PeerError> {
        let id = match self.by_key.get(key) {
            Some(id) => *id,
            None if change.update_only => return Ok(None),
            None => self.create_peer(key)?,
        };
        self.change_allowed_ips(id, &change);
        // The peer is there, and changing it refuses nothing.
        let _ = self.with_peer(id, now, |peer, device| {
            peer.change(change, device, now);
            Ok(())
        });
        Ok(Some(id))
    }

    /// Removes a peer, if there is one of this key.
    pub fn remove_peer(&mut self, key: &PublicKey) {
        let Some(mut peer) = self.by_key.remove(key).and_then(|id| self.peers.remove(&id)) else {
            return;
        };
        let id = peer.id();
        for prefix in &peer.allowed_ips {
            self.routes_changed |= self.routes.remove(*prefix, id);
        }
        self.deadlines.set(id, &mut peer.deadline, None);
        peer.end_sessions(&mut self.device);
        peer.drop_staged(Refused::PeerGone, &mut self.device);
        self.device.push(Output::Peer(id, None));
    }

    /// Removes all peers.
    pub fn remove_all_peers(&mut self) {
        // The table goes as a whole, so that no peer's ranges have to be looked up in it.
        self.routes = AllowedIps::new();
        self.routes_changed = true;
        let keys: Vec<_> = self.by_key.keys().copied().collect();
        for key in keys {
            self.remove_peer(&key);
        }
    }

    fn create_peer(&mut self, key: &PublicKey) -> Result<PeerId, PeerError> {
        let own = self.device.identity.as_ref().map(|identity| identity.public);
        if own == Some(*key) {
            return Err(PeerError::OwnKey);
        }
        let id = PeerId::new(self.next_id);
        self.next_id = self.next_id.checked_add(1).ok_or(PeerError::OutOfNumbers)?;
        let peer = Peer::new(id, *key, self.device.cipher);
        self.device.push(Output::Peer(id, Some(peer.traffic.clone())));
        self.peers.insert(id, peer);
        self.by_key.insert(*key, id);
        Ok(id)
    }

    fn change_allowed_ips(&mut self, id: PeerId, change: &PeerChange) {
        if change.replace_allowed_ips
            && let Some(peer) = self.peers.get_mut(&id)
        {
            for prefix in std::mem::take(&mut peer.allowed_ips) {
                self.routes_changed |= self.routes.remove(prefix, id);
            }
        }
        for (add, prefix) in &change.allowed_ips {
            if *add {
                self.allow(id, *prefix);
            } else if self.routes.remove(*prefix, id) {
                self.routes_changed = true;
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.allowed_ips.remove(prefix);
                }
            }
        }
    }

    /// Gives a range to a peer, and takes it from the one that had it.
    fn allow(&mut self, id: PeerId, prefix: Prefix) {
        let before = self.routes.insert(prefix, id);
        self.routes_changed |= before != Some(id);
        if let Some(before) = before.and_then(|before| self.peers.get_mut(&before)) {
            before.allowed_ips.remove(&prefix);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.allowed_ips.insert(prefix);
        }
    }

    /// Changes every peer. Only for what is done seldom.
    fn each_peer(&mut self, now: Now, mut act: impl FnMut(&mut Peer, &mut Device)) {
        for (id, peer) in &mut self.peers {
            act(peer, &mut self.device);
            let next = peer.next_deadline(&self.device, now.mono);
            self.deadlines.set(*id, &mut peer.deadline, next);
        }
    }
}

impl Peer {
    /// Forgets what crossed before: a persistent keepalive, if there is one, is due at once.
    fn greet_anew(&mut self) {
        self.traffic.reset_timers();
        self.persistent_sent = None;
    }

    /// Carries out a change, but for the ranges.
    fn change(&mut self, change: PeerChange, device: &mut Device, now: Now) {
        if let Some(key) = change.preshared_key
            && key != self.preshared_key
        {
            self.preshared_key = key;
            self.end_sessions(device);
        }
        if let Some(remote) = change.endpoint {
            // The same remote address too: whoever sets it wants our own address on the path chosen anew.
            self.traffic.endpoint.set(Some(Endpoint::udp(remote)));
        }
        let before = self.persistent_keepalive;
        self.persistent_keepalive = change.persistent_keepalive.unwrap_or(before);
        let greet = before == 0 && self.persistent_keepalive != 0;
        if greet && device.up && self.endpoint().is_some() {
            self.persistent_sent = Some(now.mono);
            self.send_keepalive(device, now);
        } else if !self.staging.is_empty() {
            self.flush(device, now);
        }
    }
}
