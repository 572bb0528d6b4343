//! The control thread of a link: it owns the [`SecY`] and the key agreement, and carries out what that puts out. It shares
//! nothing with the worker but its mailbox and its inbox.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use adit_macsec::agreement::{KeyChange, Output, Source};
use adit_macsec::{CipherSuite, KeyId, Protection, SecY};
use adit_noise::{Now, Time};

use super::carrier::Carrier;
use super::key_log::{Entry, KeyLog};
use super::keys::{Keys, hex};
use super::listener::Heard;
use crate::clock;
use crate::control::load::Load;
use crate::control::tallies;
use crate::datapath::macsec::{Change, Note, Port};
use crate::datapath::{Handshake, Inbox, Letter, Path, Reason, Taken, Tally, Tracer, Worker};
use crate::net::link::{self, Event, Link, Settings};
use crate::net::offload::Offloads;
use crate::net::tun::TunHandle;
use crate::status;

/// Messages looked at between two looks at everything else: some milliseconds of work.
const MESSAGES_PER_TURN: usize = 16;
/// How often is looked whether packet numbers run out that a mark on the disk allows.
const GLANCE: Duration = Duration::from_millis(100);

/// What the control thread can be asked for.
#[derive(Debug)]
pub enum Command {
    /// Everything there is to tell.
    Report(SyncSender<status::Macsec>),
    /// The other end is reached there.
    Endpoint(SocketAddr),
    /// The MTU that the device is to have; `None`: what the carrier leaves.
    Mtu(Option<usize>),
    /// Something happened to the TAP device, to addresses or routes.
    Network(Event),
    /// The link that carries the frames is this now, or is gone.
    Lower(Option<Link>),
    /// End.
    Stop,
}

/// What the threads of a link share.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    pub(super) inbox: Arc<Inbox<Note, Command>>,
    /// The device's MTU in bytes.
    pub(super) mtu: Arc<AtomicUsize>,
    pub(super) tracer: Arc<Tracer>,
}

/// The control thread's state.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) name: String,
    pub(super) tap: Arc<TunHandle>,
    /// The TAP device.
    pub(super) device: Link,
    pub(super) shared: Shared,
    pub(super) secy: SecY,
    pub(super) suite: CipherSuite,
    pub(super) protection: Protection,
    /// Ahead of the keys: it ends before they note what it received.
    pub(super) worker: Worker<Port>,
    pub(super) keys: Keys,
    pub(super) carrier: Carrier,
    /// What the MTU of the device is to be; `None`: what the carrier leaves.
    pub(super) mtu: Option<usize>,
    pub(super) offloads: Offloads,
    pub(super) tally: Arc<Tally>,
    /// Since when there are keys.
    pub(super) born: HashMap<KeyId, Time>,
    pub(super) load: Load,
    /// Whoever reads it reads the link.
    pub(super) key_log: Option<KeyLog>,
}

impl Station {
    /// Runs until the device is gone or a command ends it. The worker ends with it.
    pub(super) fn run(mut self) {
        self.take_lower(None);
        self.publish();
        loop {
            let Taken { notes, gone, commands, handshakes, depth } =
                self.shared.inbox.take(MESSAGES_PER_TURN, self.patience());
            if gone {
                return tracing::info!("{}: the TAP device is gone", self.name);
            }
            for note in notes {
                self.handle_note(&note);
            }
            for command in commands {
                if !self.handle_command(command) {
                    return;
                }
            }
            let loaded = self.load.is_high(depth, clock::now());
            for handshake in handshakes {
                self.handle_message(&handshake, loaded);
            }
            self.handle_timeout();
        }
    }

    fn patience(&self) -> Option<Duration> {
        match &self.keys {
            Keys::Agreed { agreement, .. } => agreement.poll_timeout().map(|at| at.since(clock::now())),
            Keys::Static(_) => Some(GLANCE),
        }
    }

    fn handle_note(&mut self, note: &Note) {
        let now = clock::both();
        if let Keys::Agreed { agreement, .. } = &mut self.keys {
            match note {
                Note::Confirmed(key) => agreement.handle_confirmed(*key, now),
                Note::Authentic => agreement.handle_authentic(now),
                Note::Rekey(key) => agreement.handle_rekey(*key, now),
            }
            self.put_out(None, now);
        } else if let Note::Rekey(key) = note {
            let key = hex(*key);
            tracing::warn!("{}: three quarters of the packet numbers of key {key} are used", self.name);
        }
    }

    fn handle_message(&mut self, handshake: &Handshake, loaded: bool) {
        let (now, from) = (clock::both(), handshake.from);
        let Keys::Agreed { agreement, .. } = &mut self.keys else { return };
        let source = match from {
            Path::Udp(path) => Source::Udp(path.remote),
            Path::Station(address) => Source::Ethernet(address),
            Path::Link => return,
        };
        if let Err(refused) = agreement.handle_message(&handshake.message, source, loaded, now) {
            tracing::debug!("{}: message from {source:?}: {refused}", self.name);
            Tally::drop(&self.tally, Reason::Agreement(refused), &handshake.message, now.mono);
        }
        self.put_out(Some(from), now);
    }

    fn handle_timeout(&mut self) {
        let now = clock::both();
        match &mut self.keys {
            Keys::Agreed { agreement, .. } => {
                if agreement.poll_timeout().is_some_and(|at| at <= now.mono) {
                    agreement.handle_timeout(now);
                    self.put_out(None, now);
                }
            }
            Keys::Static(fixed) => fixed.look(&self.name, now.mono),
        }
    }

    /// Does what the key agreement puts out, in its order. `from` is where the message came from that was just handled.
    fn put_out(&mut self, from: Option<Path>, now: Now) {
        loop {
            let Keys::Agreed { agreement, .. } = &mut self.keys else { return };
            let Some(output) = agreement.poll_output() else { return };
            match output {
                Output::Send(message) => self.send(None, &message),
                Output::Reply(message) => self.send(from, &message),
                Output::Heard => {
                    if self.carrier.moved(from) {
                        self.fit();
                    }
                }
                Output::Keys(change) => self.change_keys(change, now.mono),
                Output::Keepalive => {
                    self.worker.post(&Letter::Change(Change::Keepalive));
                    self.worker.wake();
                }
                Output::Disagreed(disagreement) => tracing::error!("{}: no keys: {disagreement}", self.name),
            }
        }
    }

    /// The worker has the change before anything that follows is done.
    fn change_keys(&mut self, change: KeyChange, now: Time) {
        let (id, told) = match &change {
            KeyChange::Receive { sci, an, key } => {
                (key.sak.id(), format!("receives from {sci} under association {an}"))
            }
            KeyChange::Transmit { an, key } => (key.sak.id(), format!("sends under association {an}")),
            KeyChange::Retire(id) => (*id, "is given up".to_owned()),
        };
        if matches!(change, KeyChange::Retire(_)) {
            self.born.remove(&id);
        } else {
            self.born.insert(id, now);
        }
        if let Some(log) = &mut self.key_log {
            let own = self.secy.port().settings().sci;
            log.write(Entry::of(&change, own).as_slice());
        }
        let before = self.secy.port().transmit().is_some();
        match change.apply(&mut self.secy) {
            Ok(()) => tracing::info!("{}: key {} {told}", self.name, hex(id)),
            Err(error) => tracing::error!("{}: key {} cannot be used: {error}", self.name, hex(id)),
        }
        self.publish();
        if before && self.secy.port().transmit().is_none() {
            tracing::error!("{}: no key is left: nothing is sent until the other end answers", self.name);
        }
    }

    fn publish(&self) {
        self.worker.post(&Letter::Change(Change::Port(self.secy.port().clone())));
        self.worker.wake();
    }

    fn send(&mut self, to: Option<Path>, message: &[u8]) {
        if let Err(error) = self.carrier.send(to, message) {
            tracing::debug!("{}: send a message of the key agreement: {error}", self.name);
            Tally::drop(&self.tally, Reason::SendFailed, message, clock::now());
        }
    }

    /// A request. False if it ends the link.
    fn handle_command(&mut self, command: Command) -> bool {
        match command {
            Command::Report(reply) => drop(reply.send(self.report())),
            Command::Endpoint(endpoint) => {
                if self.carrier.set_endpoint(endpoint) {
                    self.fit();
                }
            }
            Command::Mtu(mtu) => {
                self.mtu = mtu;
                self.fit();
            }
            Command::Network(event) => return self.handle_network(event),
            Command::Lower(link) => self.take_lower(Some(link)),
            Command::Stop => return false,
        }
        true
    }

    /// Follows the TAP device, and the network below. False if the device is gone.
    fn handle_network(&mut self, event: Event) -> bool {
        match event {
            Event::Gone(_) => {
                tracing::info!("{}: the TAP device was deleted", self.name);
                return false;
            }
            Event::Link(device) => {
                self.device = device;
                self.shared.mtu.store(device.mtu, Ordering::Relaxed);
            }
            Event::AddressGone(address) => {
                self.carrier.forget_local(|path| path.local.is_some_and(|local| local.address == address));
            }
            Event::Route(range) => {
                self.carrier.forget_local(|path| range.contains(path.remote.ip()));
                self.fit();
            }
        }
        true
    }

    /// Takes over what becomes of the link that carries the frames; with `None` nothing has become of it.
    fn take_lower(&mut self, news: Option<Option<Link>>) {
        if let Carrier::Link(lower) = &mut self.carrier {
            let now = news.unwrap_or(lower.link);
            let (inbox, tally) = (self.shared.inbox.clone(), self.tally.clone());
            let agreed = matches!(self.keys, Keys::Agreed { .. });
            let tell = agreed.then_some(move |heard: Heard<'_>| match heard {
                Ok((station, message)) if inbox.handshake(Path::Station(station), message) => {}
                Ok((_, message)) => Tally::drop(&tally, Reason::HandshakeQueueFull, message, clock::now()),
                Err((reason, frame)) => Tally::drop(&tally, reason, frame, clock::now()),
            });
            match lower.take(now, tell) {
                Ok(true) if now.is_none() => tracing::error!("{}: link {} is gone", self.name, lower.name),
                Ok(true) if news.is_some() => tracing::info!("{}: link {} is there", self.name, lower.name),
                Ok(_) => {}
                Err(error) => tracing::error!("{}: link {}: {error}", self.name, lower.name),
            }
        }
        self.worker.post(&Letter::Change(Change::Longest(self.carrier.longest())));
        self.worker.post(&Letter::Carrier(self.carrier.socket()));
        self.worker.wake();
        self.fit();
    }

    /// Gives the device the MTU that it is to have.
    fn fit(&mut self) {
        let wanted = self.mtu.unwrap_or_else(|| self.carrier.inner_mtu(self.secy.port().overhead()));
        if wanted == self.device.mtu {
            return;
        }
        match link::set(self.device.index, &Settings { mtu: Some(wanted), ..Settings::default() }) {
            Ok(()) => self.device.mtu = wanted,
            Err(error) => tracing::error!("{}: mtu {wanted}: {error}", self.name),
        }
        self.shared.mtu.store(self.device.mtu, Ordering::Relaxed);
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.count_lost();
        tracing::info!("{}: drops: {}", self.name, tallies::told(&self.drops_by_reason()));
    }
}
