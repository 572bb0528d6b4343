//! One peer: its keys, its sessions, and what is under way with it.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use adit_noise::cookie::Jar;
use adit_noise::mac::MacKey;
use adit_noise::{PresharedKey, PublicKey, Time};

use crate::handshake::Handshake;
use crate::keypairs::Keypairs;
use crate::staging::Staging;
use crate::{Cipher, Endpoint, Prefix, Traffic};

/// A peer's number. It is never given again in the life of a tunnel.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PeerId(u32);

impl PeerId {
    /// The peer of this number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// What to change of a peer; what is `None`, false or empty stays as it is.
#[derive(Debug, Default)]
pub struct PeerChange {
    /// Do nothing if there is no such peer.
    pub update_only: bool,
    /// A new preshared key; all zero means none.
    pub preshared_key: Option<PresharedKey>,
    /// Where the peer is reached, until it roams.
    pub endpoint: Option<SocketAddr>,
    /// Seconds of silence after which a keepalive is sent; 0 means never.
    pub persistent_keepalive: Option<u16>,
    /// Take all ranges from the peer first.
    pub replace_allowed_ips: bool,
    /// Ranges to give to the peer (true) or to take from it (false), in this order.
    pub allowed_ips: Vec<(bool, Prefix)>,
}

/// All that can be told of a peer.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// The peer's number.
    pub id: PeerId,
    /// Its public key.
    pub public_key: PublicKey,
    /// The preshared key; all zero if there is none.
    pub preshared_key: PresharedKey,
    /// Where it is reached.
    pub endpoint: Option<SocketAddr>,
    /// Seconds of silence after which a keepalive is sent; 0 means never.
    pub persistent_keepalive: u16,
    /// Its ranges, in ascending order.
    pub allowed_ips: Vec<Prefix>,
    /// Wall time of the last handshake, since 1970.
    pub last_handshake: Option<Duration>,
    /// The same moment on the clock that nobody sets.
    pub last_handshake_at: Option<Time>,
    /// Since when a handshake is tried without success, if one is.
    pub trying_since: Option<Time>,
    /// Bytes sent in UDP payloads.
    pub sent_bytes: u64,
    /// Bytes received in authentic UDP payloads.
    pub received_bytes: u64,
}

/// A peer as the control half knows it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) public_key: PublicKey,
    pub(crate) preshared_key: PresharedKey,
    pub(crate) persistent_keepalive: u16,
    /// The ranges of the routing table that are this peer's.
    pub(crate) allowed_ips: BTreeSet<Prefix>,
    /// Makes mac1 of what we send to the peer.
    pub(crate) mac: MacKey,
    /// Makes mac2 of it, and takes the peer's cookies.
    pub(crate) jar: Jar,
    pub(crate) keypairs: Keypairs,
    pub(crate) staging: Staging,
    pub(crate) handshake: Handshake,
    /// Wall time, since 1970.
    pub(crate) last_handshake: Option<Duration>,
    pub(crate) last_handshake_at: Option<Time>,
    /// When the keys are erased unless new ones come.
    pub(crate) erase_at: Option<Time>,
    /// When a persistent keepalive was last tried, in case it could not be sent.
    pub(crate) persistent_sent: Option<Time>,
    /// When this peer is looked at next: its entry in [`crate::deadlines::Deadlines`].
    pub(crate) deadline: Option<Time>,
}

impl Peer {
    pub(crate) fn new(id: PeerId, public_key: PublicKey, cipher: Cipher) -> Self {
        let protocol = cipher.protocol();
        Self {
            traffic: Arc::new(Traffic::new(id, None)),
            mac: MacKey::new(protocol.mac1_label, &public_key),
            jar: Jar::new(protocol, &public_key),
            public_key,
            preshared_key: PresharedKey::default(),
            persistent_keepalive: 0,
            allowed_ips: BTreeSet::new(),
            keypairs: Keypairs::default(),
            staging: Staging::default(),
            handshake: Handshake::default(),
            last_handshake: None,
            last_handshake_at: None,
            erase_at: None,
            persistent_sent: None,
            deadline: None,
        }
    }

    /// From now on what we send is made under another cipher; cookies of before are worth nothing.
    pub(crate) fn set_cipher(&mut self, cipher: Cipher) {
        let protocol = cipher.protocol();
        self.mac = MacKey::new(protocol.mac1_label, &self.public_key);
        self.jar = Jar::new(protocol, &self.public_key);
    }

    pub(crate) fn id(&self) -> PeerId {
        self.traffic.id()
    }

    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        self.traffic.endpoint.get()
    }

    pub(crate) fn status(&self) -> PeerStatus {
        PeerStatus {
            id: self.id(),
            public_key: self.public_key,
            preshared_key: self.preshared_key.clone(),
            endpoint: self.endpoint().map(|endpoint| endpoint.remote()),
            persistent_keepalive: self.persistent_keepalive,
            allowed_ips: self.allowed_ips.iter().copied().collect(),
            last_handshake: self.last_handshake,
            last_handshake_at: self.last_handshake_at,
            trying_since: self.handshake.trying_since(),
            sent_bytes: self.traffic.sent_bytes(),
            received_bytes: self.traffic.received_bytes(),
        }
    }
}
