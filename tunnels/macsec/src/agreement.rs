//! Key agreement for a link between two gateways: who the other station is, and which keys the SecY has (in place of
//! IEEE 802.1X-2020, clause 9).
//!
//! Noise_IKpsk2 as WireGuard has it, under labels of its own ([`adit_noise::MACSEC`]): forward secret, one round trip, and
//! nobody else can tell that there is anyone to answer. Messages, time and wishes go into an [`Agreement`]; messages, changes
//! of keys and deadlines come out. There is no negotiation: both ends are configured alike, or the operator is told in what
//! they differ ([`Disagreement`]).
//!
//! ```text
//!   initiation, 176 octets                                response, 120 octets
//!   0   1 0 0 0                                           0   2 0 0 0
//!   4   index of the sender                               4   index of the sender
//!   8   Noise message 1, whose payload is                 8   index of the receiver
//!       TAI64N (12), terms (28)                           12  Noise message 2, whose payload is terms (28)
//!   144 mac1, mac2 (16 each)                              88  mac1, mac2
//!
//!   cookie reply, 64 octets                               frame, over UDP
//!   0   3 0 0 0, index of the receiver                    0   16 0 0 0
//!   8   nonce (24), sealed cookie (32)                    4   from destination address to ICV
//! ```
//!
//! Over UDP each is a datagram. On raw Ethernet messages have the type [`message::ETHERTYPE`], frames go as they are. MACs
//! and cookies are WireGuard's (whitepaper, section 5.4). What the terms say is told in `terms.rs`, how keys follow in
//! `derive.rs`, how two ends that begin at once come to the same keys in `pairs.rs`; `README.md` has all of it for another
//! implementation.
//!
//! The link is meant to be up always. So a handshake is tried until it succeeds, and both sides tell now and then that they
//! are there ([`keepalive`]): a peer that came back elsewhere, or without keys, is found within half a minute.
//!
//! ```text
//!   handle_message, handle_confirmed, handle_authentic, handle_rekey, handle_timeout
//!                                |
//!                                v
//!   Agreement --- Admission      mac1, cookies, rates            admission.rs
//!       |-------- Attempt        the handshake that we try       attempt.rs
//!       '-------- Pairs          the keys that there are         pairs.rs
//!                                |
//!                                v
//!        poll_output: Heard, Keys, Send, Reply, Keepalive, Disagreed;  poll_timeout
//! ```

pub mod keepalive;
pub mod message;
pub mod timers;

mod admission;
mod attempt;
mod derive;
mod handshake;
mod output;
mod pairs;
mod refused;
mod terms;

use std::collections::VecDeque;

use adit_noise::cookie::Jar;
use adit_noise::mac::MacKey;
use adit_noise::{MACSEC, Now, PresharedKey, PrivateKey, PublicKey, Time};

use crate::{CipherSuite, KeyId, Protection, Sak, SakError, Sci};
use admission::Admission;
use attempt::Attempt;
use message::Message;
use pairs::Pairs;
use timers::{KEEPALIVE, REKEY_AFTER, RESPONDER_REKEY_AFTER, SILENCE, UNCONFIRMED_KEEPALIVE};

pub use admission::Source;
pub use output::{KeyChange, Output};
pub use refused::Refused;
pub use terms::Disagreement;

/// Who we are, who the peer is, and what both must have alike.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our private key.
    pub private: PrivateKey,
    /// The peer's public key.
    pub remote: PublicKey,
    /// What both have besides; all zero if nothing.
    pub preshared: PresharedKey,
    /// Our channel.
    pub sci: Sci,
    /// The cipher suite of both directions.
    pub suite: CipherSuite,
    /// What is done to frames in both directions.
    pub protection: Protection,
    /// Whether keys can [be told](Sak::disclosed), for a log of them.
    pub disclosed: bool,
}

/// Why there can be no agreement of this kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The peer's public key belongs to our private key.
    #[error("the peer's public key is our own: each end needs its own")]
    OwnKey,
    /// Suite and protection do not go together.
    #[error(transparent)]
    Sak(#[from] SakError),
}

/// All that can be told of a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Status {
    /// The key that is sent with; `None`: nothing can be sent.
    pub transmit: Option<KeyId>,
    /// Since when.
    pub transmit_since: Option<Time>,
    /// The peer's channel, under that key.
    pub remote_sci: Option<Sci>,
    /// Since when a handshake is tried, if one is.
    pub trying_since: Option<Time>,
    /// When the peer was last heard, by a message or a frame.
    pub last_heard: Option<Time>,
    /// Handshakes that led to keys.
    pub handshakes: u64,
    /// Both clocks at the last of them.
    pub last_handshake: Option<Now>,
    /// In what the peer differs, if that is why there are no keys.
    pub disagreement: Option<Disagreement>,
}

/// The key agreement with one peer.
///
/// Every call may leave [`Output`]s and move the deadline: drain [`Self::poll_output`], then ask [`Self::poll_timeout`].
/// `now` never goes back, and its monotonic clock counts on while the system sleeps.
#[derive(Debug)]
pub struct Agreement {
    config: Config,
    public: PublicKey,
    /// Makes mac1 of what we send.
    mac: MacKey,
    /// Makes mac2 of it, and takes the peer's cookies.
    jar: Jar,
    admission: Admission,
    attempt: Attempt,
    pairs: Pairs,
    outputs: VecDeque<Output>,
    /// The index of the message that we last sent: a cookie reply names it.
    index: u32,
    last_heard: Option<Time>,
    /// Where the peer last sent a message from.
    source: Option<Source>,
    keepalive_at: Time,
    handshakes: u64,
    last_handshake: Option<Now>,
    disagreement: Option<Disagreement>,
}

impl Agreement {
    /// An agreement for a link that is up: the first initiation is due at once.
    ///
    /// # Errors
    /// [`ConfigError`] if there can be none.
    pub fn new(config: Config, now: Now) -> Result<Self, ConfigError> {
        let public = config.private.public();
        if public == config.remote {
            return Err(ConfigError::OwnKey);
        }
        let (suite, protection) = (config.suite, config.protection);
        let secret = [0; 32];
        let salt = suite.is_xpn().then_some(&[0; 12]);
        Sak::new(KeyId([0; 16]), suite, protection, secret.get(..suite.key_len()).unwrap_or_default(), salt)?;
        let mut agreement = Self {
            mac: MacKey::new(MACSEC.mac1_label, &config.remote),
            jar: Jar::new(&MACSEC, &config.remote),
            admission: Admission::new(&public),
            attempt: Attempt::default(),
            pairs: Pairs::default(),
            outputs: VecDeque::new(),
            index: 0,
            last_heard: None,
            source: None,
            keepalive_at: now.mono,
            handshakes: 0,
            last_handshake: None,
            disagreement: None,
            public,
            config,
        };
        agreement.attempt.begin(now.mono);
        Ok(agreement)
    }

    /// Consumes an initiation, a response or a cookie reply. Only authentic input changes state.
    ///
    /// `under_load` is the caller's judgement of its queue: then a sender must prove that it receives at its address. On
    /// Ethernet the message is what [`Message::trim`] leaves.
    ///
    /// # Errors
    /// Why the message was refused. [`Refused::UnderLoad`] may leave a cookie reply among the outputs,
    /// [`Refused::Disagreement`] leaves word of it, and an answer that tells the peer.
    pub fn handle_message(
        &mut self,
        message: &[u8],
        source: Source,
        under_load: bool,
        now: Now,
    ) -> Result<(), Refused> {
        match Message::parse(message) {
            Some(Message::Initiation) => self.handle_initiation(message, source, under_load, now),
            Some(Message::Response) => self.handle_response(message, source, under_load, now),
            Some(Message::CookieReply) => self.handle_cookie_reply(message, now),
            Some(Message::Frame) | None => Err(Refused::Length),
        }
    }

    /// The first authentic frame came under a key ([`Opened::confirmed`](crate::Opened::confirmed)).
    pub fn handle_confirmed(&mut self, key: KeyId, now: Now) {
        if self.pairs.heard(key, now.mono) {
            self.last_heard = Some(now.mono);
            self.settle(now);
        }
    }

    /// Authentic frames came since this was last called. To be told of now and then, once a second at most; not told of, the
    /// peer is asked whether it is there.
    pub fn handle_authentic(&mut self, now: Now) {
        if self.pairs.sending().is_some() {
            self.last_heard = Some(now.mono);
        }
    }

    /// The packet numbers of the key are near their end
    /// ([`ControlledPort::tell_rekey`](crate::ControlledPort::tell_rekey)): begins a handshake unless one runs.
    pub fn handle_rekey(&mut self, key: KeyId, now: Now) {
        if self.pairs.sending_key() == Some(key) {
            self.attempt.begin(now.mono);
            self.handle_timeout(now);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.pairs.handle_timeout(now.mono, &mut self.outputs);
        self.settle(now);
        if self.wanted_at().is_none_or(|at| at <= now.mono) {
            self.attempt.begin(now.mono);
        }
        if self.attempt.due().is_some_and(|due| due <= now.mono) {
            self.initiate(now);
        }
        if self.keepalive_due().is_some_and(|due| due <= now.mono) {
            self.keepalive(now.mono);
        }
    }

    /// Gives up all keys, as when the link goes down. Nothing is due then until the next message.
    pub fn stop(&mut self) {
        self.pairs.clear(&mut self.outputs);
        self.attempt.end();
    }

    /// The next thing to do. To be drained until `None`, and carried out in this order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::handle_timeout`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let wanted = self.wanted_at().filter(|_| self.attempt.due().is_none());
        let due = [self.attempt.due(), wanted, self.keepalive_due(), self.pairs.deadline()];
        due.into_iter().flatten().min()
    }

    /// All that can be told of the link.
    #[must_use]
    pub fn status(&self) -> Status {
        let sending = self.pairs.sending();
        Status {
            transmit: self.pairs.sending_key(),
            transmit_since: sending.map(|pair| pair.born),
            remote_sci: sending.map(|pair| pair.sci),
            trying_since: self.attempt.since(),
            last_heard: self.last_heard,
            handshakes: self.handshakes,
            last_handshake: self.last_handshake,
            disagreement: self.disagreement,
        }
    }

    /// When the next handshake is wanted; `None`: at once, for there is no key to send with.
    fn wanted_at(&self) -> Option<Time> {
        let pair = self.pairs.sending()?;
        let old = pair.born + if pair.initiated { REKEY_AFTER } else { RESPONDER_REKEY_AFTER };
        let silent = self.last_heard.map(|at| at.max(pair.born) + SILENCE);
        Some(silent.map_or(old, |silent| silent.min(old)))
    }

    fn keepalive_due(&self) -> Option<Time> {
        self.pairs.sending().map(|_| self.keepalive_at)
    }

    /// Tells the peer that we are there, or that we have a key: more often as long as we do not know that it knows.
    fn keepalive(&mut self, now: Time) {
        let known = self.pairs.sending().is_some_and(|pair| pair.heard);
        self.keepalive_at = now + if known { KEEPALIVE } else { UNCONFIRMED_KEEPALIVE };
        self.outputs.push_back(Output::Keepalive);
    }

    /// Sends with the best key there is. A new one ends the handshake that we try.
    fn settle(&mut self, now: Now) {
        if self.pairs.select(&mut self.outputs) {
            self.attempt.end();
            self.disagreement = None;
            self.handshakes += 1;
            self.last_handshake = Some(now);
            self.keepalive(now.mono);
        }
    }
}
