//! The control thread of a WireGuard interface: it owns the [`Tunnel`], answers requests, and carries out what the tunnel
//! puts out. It shares nothing with the workers but their mailboxes and its inbox.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use adit_noise::Now;
use adit_packet::Ecn;
use adit_wireguard::uapi::{Change, DeviceStatus, Errno, Request, emit_errno, emit_get};
use adit_wireguard::{Cipher, Endpoint, Output, PeerId, Refused, Session, Traffic, Tunnel, Udp};
use zeroize::Zeroizing;

use super::carrier::Carrier;
use super::other_cipher::OtherCipher;
use super::owners::{Owners, Verdict};
use crate::clock;
use crate::control::load::Load;
use crate::control::tallies;
use crate::datapath::wireguard::{self, Access, Note, Table};
use crate::datapath::{self, Handshake, Inbox, Letter, Path, Reason, Taken, Tally, Tracer, Worker};
use crate::net::link::{self, Event, Link};
use crate::net::offload::Offloads;
use crate::net::tun::TunHandle;
use crate::status::{self, Owner};

/// Handshakes looked at between two looks at everything else: some milliseconds of work.
const HANDSHAKES_PER_TURN: usize = 16;
/// How long handshakes gather under load: to be woken for each costs the control thread, and the worker that it takes the
/// processor from, more than the handshake itself.
const GATHER: Duration = Duration::from_millis(4);

/// What the control thread can be asked for.
#[derive(Debug)]
pub enum Command {
    /// A UAPI request; the answer goes to the sender.
    Uapi(Request, SyncSender<Zeroizing<String>>),
    /// What the configuration file asks for.
    Configure(Vec<Change>, SyncSender<Errno>),
    /// What leases ask for. Nobody waits for an answer: it is done in the order in which it comes.
    Lease(Vec<Change>),
    /// What clients reach, if there are rules for them.
    Access(Option<Arc<Access>>),
    /// Take hold of a port that [`Change::ListenPort`] will name, or let go of it with `None`.
    Reserve(Option<u16>, SyncSender<io::Result<()>>),
    /// Everything there is to tell.
    Report(SyncSender<status::Wireguard>),
    /// Something happened to the network.
    Network(Event),
    /// Write the drop counters to the log.
    LogDrops,
    /// End.
    Stop,
}

/// What the threads of an interface share.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    /// What the control thread is told and asked.
    pub inbox: Arc<Inbox<Note, Command>>,
    /// The device's MTU in bytes, kept current by the control thread.
    pub mtu: Arc<AtomicUsize>,
    /// How often the device was set up.
    pub rises: Arc<AtomicU32>,
    /// Dropped packets, for whoever watches.
    pub tracer: Arc<Tracer>,
}

/// The control thread's state.
#[derive(Debug)]
pub struct Device {
    name: String,
    /// Keeps the device for the monitor, which asks after it.
    tun: Arc<TunHandle>,
    pub(super) up: bool,
    pub(super) shared: Shared,
    pub(super) tunnel: Tunnel,
    peers: HashMap<PeerId, Arc<Traffic>>,
    pub(super) owners: Owners,
    pub(super) workers: Vec<Worker<Table>>,
    pub(super) carrier: Carrier,
    pub(super) tally: Tally,
    /// Sessions to send with of which the workers do not know yet.
    unpublished: Vec<(PeerId, Option<Arc<Session>>)>,
    pub(super) other_cipher: OtherCipher,
    load: Load,
}

impl Device {
    /// A device that is down and has no keys.
    #[must_use]
    pub fn new(
        name: String,
        tun: Arc<TunHandle>,
        shared: Shared,
        cipher: Cipher,
        offloads: Offloads,
        workers: Vec<Worker<Table>>,
    ) -> Self {
        Self {
            name,
            tun,
            up: false,
            tunnel: Tunnel::with_cipher(cipher),
            peers: HashMap::new(),
            owners: Owners::default(),
            carrier: Carrier::new(workers.len(), offloads),
            workers,
            tally: Tally::new(shared.tracer.clone()),
            unpublished: Vec::new(),
            shared,
            other_cipher: OtherCipher::default(),
            load: Load::default(),
        }
    }

    /// Runs until the device is gone or a command ends it. The workers end with it.
    pub fn run(mut self) {
        loop {
            let patience = self.tunnel.poll_timeout().map(|deadline| deadline.since(clock::now()));
            let Taken { notes, gone, commands, handshakes, depth } =
                self.shared.inbox.take(HANDSHAKES_PER_TURN, patience);
            if gone {
                return tracing::info!("{}: the TUN device is gone", self.name);
            }
            for note in notes {
                self.handle_note(note);
            }
            // Packets that were among the notes have left; now a session that was confirmed among them may be known.
            self.carry_out();
            for command in commands {
                if !self.handle_command(command) {
                    return;
                }
            }
            let loaded = self.load.is_high(depth, clock::now());
            for handshake in handshakes {
                self.handle_handshake(handshake, loaded);
            }
            if self.tunnel.poll_timeout().is_some_and(|deadline| deadline <= clock::now()) {
                self.tunnel.handle_timeout(clock::both());
            }
            self.carry_out();
            if loaded && depth <= HANDSHAKES_PER_TURN {
                std::thread::sleep(GATHER);
            }
        }
    }

    /// A worker's note.
    fn handle_note(&mut self, note: Note) {
        let now = clock::both();
        match note {
            Note::Unsent(peer, packet) => self.handle_unsent(peer, &packet, now),
            Note::Want(peer) => self.tunnel.handle_want(peer, now),
            Note::Confirmed(index) => self.tunnel.handle_confirmed(index, now),
        }
        self.put_out();
    }

    fn handle_unsent(&mut self, peer: PeerId, packet: &[u8], now: Now) {
        self.catch_up();
        if let Err(refused) = self.tunnel.handle_unsent(peer, packet, now) {
            self.tally.drop(Reason::Protocol(refused), packet, now.mono);
        }
    }

    /// A packet left the device, so it must be up: the kernel's word of that may come later than the packet.
    fn catch_up(&mut self) {
        // It cannot be found if it is in another network namespace.
        if !self.up && self.tun.name().and_then(|name| link::find(&name)).map_or(true, |link| link.up) {
            self.set_up(true);
        }
    }

    /// Whether a link that was told to be down is up again: [`Self::catch_up`] was quicker than the kernel's word.
    fn is_up_by_now(&self, told: Link) -> bool {
        let now = self.tun.name().and_then(|name| link::find(&name));
        now.is_ok_and(|now| now.index == told.index && now.up)
    }

    fn handle_handshake(&mut self, mut handshake: Handshake, loaded: bool) {
        // WireGuard has no other carrier.
        let Path::Udp(path) = handshake.from else { return };
        let endpoint = Endpoint::Udp(path);
        let handled = self.tunnel.handle_handshake(endpoint, &mut handshake.message, loaded, clock::both());
        let from = path.remote;
        match handled {
            Ok(()) => self.other_cipher.agrees(from),
            Err(refused) => {
                tracing::debug!("{}: handshake message from {from}: {refused}", self.name);
                self.tally.drop(Reason::Protocol(refused), &handshake.message, clock::now());
                if refused == Refused::OtherCipher && self.other_cipher.came(from, clock::now()) {
                    self.tell_other_cipher();
                }
            }
        }
        self.carry_out();
    }

    fn tell_other_cipher(&self) {
        if let Some(other) = self.other_cipher() {
            tracing::error!("{}: {}", self.name, other.told(self.tunnel.cipher().as_str()));
        }
    }

    /// Does what the tunnel puts out, and has the workers know what to send with.
    fn carry_out(&mut self) {
        self.put_out();
        if !self.unpublished.is_empty() {
            self.publish();
        }
    }

    /// Tells the workers what to send with, once no packet is left in the inbox that they would overtake then. Those that have
    /// another one for it wait meanwhile, which is as long as it takes to send what the inbox may hold.
    fn publish(&mut self) {
        let inbox = self.shared.inbox.clone();
        let mut closed = inbox.close();
        let now = clock::both();
        for (peer, packet) in closed.take_unsent() {
            self.handle_unsent(peer, &packet, now);
            self.put_out();
        }
        for (peer, session) in std::mem::take(&mut self.unpublished) {
            self.post(&Letter::Change(wireguard::Change::Current(peer, session)));
        }
        self.post(&Letter::Change(wireguard::Change::Edition(closed.next_edition())));
        drop(closed);
        self.workers.iter().for_each(Worker::wake);
    }

    /// Does what the tunnel puts out, in its order: a session is posted before the message that brings its first packet. What
    /// to send with is left to [`Self::publish`].
    fn put_out(&mut self) {
        let mut posted = false;
        while let Some(output) = self.tunnel.poll_output() {
            let change = match output {
                Output::Transmit { to, ecn, datagram } => {
                    self.transmit(to, ecn, &datagram);
                    continue;
                }
                Output::Dropped(refused, packets) => {
                    self.tally.drop_joined(Reason::Protocol(refused), packets as u64, &[], clock::now());
                    continue;
                }
                Output::Peer(id, traffic) => {
                    match &traffic {
                        Some(traffic) => drop(self.peers.insert(id, traffic.clone())),
                        None => drop(self.peers.remove(&id)),
                    }
                    wireguard::Change::Peer(id, traffic)
                }
                Output::Session(index, session) => wireguard::Change::Session(index, session),
                Output::Current(id, session) => {
                    self.unpublished.push((id, session));
                    continue;
                }
                Output::Routes(routes) => wireguard::Change::Routes(routes),
            };
            self.post(&Letter::Change(change));
            posted = true;
        }
        if posted {
            self.workers.iter().for_each(Worker::wake);
        }
    }

    fn post(&self, letter: &Letter<Table>) {
        self.workers.iter().for_each(|worker| worker.post(letter));
    }

    fn transmit(&self, to: Endpoint, ecn: Ecn, datagram: &[u8]) {
        if let Err(error) = self.carrier.send(to, datagram, ecn) {
            tracing::debug!("{}: send to {}: {error}", self.name, to.remote());
            let closed = error.kind() == io::ErrorKind::NotConnected;
            let reason = if closed { Reason::NoCarrier } else { Reason::SendFailed };
            self.tally.drop(reason, datagram, clock::now());
        }
    }

    /// A request. False if it ends the device.
    fn handle_command(&mut self, command: Command) -> bool {
        match command {
            Command::Uapi(request, reply) => {
                let answer = match request {
                    Request::Get => {
                        let private_key = self.tunnel.private_key();
                        let device = DeviceStatus {
                            private_key,
                            listen_port: self.carrier.port(),
                            fwmark: self.carrier.mark(),
                        };
                        emit_get(device, self.tunnel.peers())
                    }
                    Request::Set(changes) => emit_errno(self.handle_set(changes, Owner::Uapi)).into(),
                };
                self.carry_out();
                // Whoever asked may have gone away.
                let _ = reply.send(answer);
            }
            Command::Configure(changes, reply) => {
                let done = self.handle_set(changes, Owner::File);
                self.carry_out();
                let _ = reply.send(done);
            }
            Command::Lease(changes) => {
                self.handle_set(changes, Owner::Lease);
                self.carry_out();
            }
            Command::Access(access) => {
                self.post(&Letter::Change(wireguard::Change::Access(access)));
                self.workers.iter().for_each(Worker::wake);
            }
            Command::Reserve(port, reply) => drop(reply.send(self.carrier.reserve(port))),
            Command::Report(reply) => drop(reply.send(self.report())),
            Command::Network(event) => return self.handle_network(event),
            Command::LogDrops => self.log_drops(),
            Command::Stop => return false,
        }
        true
    }

    /// Makes the changes in their order, up to the first that the system refuses. Those that would take away what another
    /// owner made are passed over.
    fn handle_set(&mut self, changes: Vec<Change>, by: Owner) -> Errno {
        let mut done = Errno::Success;
        for change in changes {
            let now = clock::both();
            let verdict = self.owners.admit(&change, by);
            match change {
                Change::PrivateKey(key) => self.tunnel.set_private_key(key, now),
                Change::Cipher(cipher) => {
                    self.tunnel.set_cipher(cipher, now);
                    self.other_cipher = OtherCipher::default();
                }
                Change::ListenPort(port) => {
                    if let Err(error) = self.listen(port) {
                        tracing::error!("{}: port {port}: {error}", self.name);
                        return errno(&error);
                    }
                }
                Change::Fwmark(mark) => {
                    self.forget_local(|_| true);
                    if let Err(error) = self.carrier.set_mark(mark) {
                        tracing::error!("{}: firewall mark {mark:#x}: {error}", self.name);
                        return errno(&error);
                    }
                }
                Change::ReplacePeers if verdict == Verdict::Go => self.tunnel.remove_all_peers(),
                Change::ReplacePeers => self.remove_peers_of(by),
                Change::RemovePeer(key) if verdict == Verdict::Go => self.tunnel.remove_peer(&key),
                Change::RemovePeer(key) => {
                    tracing::error!("{}: peer {key} is not removed: it is not this caller's", self.name);
                    done = Errno::NotPermitted;
                }
                Change::Peer(key, _) if verdict == Verdict::Refuse => {
                    tracing::error!("{}: peer {key} is not changed: it is not this caller's", self.name);
                    done = Errno::NotPermitted;
                }
                Change::Peer(key, mut change) => {
                    let has = |prefix| self.tunnel.owner_of(prefix);
                    for (prefix, owner) in self.owners.withhold(&key, &mut change, by, has) {
                        tracing::error!(
                            "{}: peer {key} is not given {prefix}: peer {owner} of the configuration file or of a lease has it",
                            self.name
                        );
                        done = Errno::NotPermitted;
                    }
                    // As in the kernel, our own key among the peers is passed over.
                    if let Err(refused) = self.tunnel.change_peer(&key, change, now) {
                        tracing::error!("{}: peer {key}: {refused}", self.name);
                    }
                }
            }
        }
        done
    }

    fn remove_peers_of(&mut self, owner: Owner) {
        let keys: Vec<_> = self.tunnel.peers().map(|peer| peer.public_key).collect();
        keys.iter().filter(|key| self.owners.of(key) == owner).for_each(|key| self.tunnel.remove_peer(key));
    }

    /// Listens on a port from now on, on a free one for 0. What was listened on before stays if that fails.
    fn listen(&mut self, port: u16) -> io::Result<()> {
        if self.carrier.listen(port, self.up)? {
            self.forget_local(|_| true);
            self.share_sockets();
            self.tunnel.set_up(true, clock::both());
        }
        Ok(())
    }

    /// Hands each worker its socket, or takes it away.
    fn share_sockets(&self) {
        for (at, worker) in self.workers.iter().enumerate() {
            worker.post(&Letter::Carrier(self.carrier.socket(at).map(datapath::Carrier::Udp)));
            worker.wake();
        }
    }

    /// Forgets the local addresses of the peers' paths that this is true of: routes choose anew.
    fn forget_local(&self, of: impl Fn(&Udp) -> bool) {
        for traffic in self.peers.values() {
            let matches = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Udp(path) if of(path));
            traffic.endpoint.update(|endpoint| {
                endpoint.map(|endpoint| if matches(&endpoint) { endpoint.without_local() } else { endpoint })
            });
        }
    }

    /// Follows the network. False if our own link is gone.
    fn handle_network(&mut self, event: Event) -> bool {
        match event {
            Event::Gone(_) => {
                tracing::info!("{}: the link was deleted", self.name);
                return false;
            }
            Event::Link(link) => {
                if link.mtu != self.shared.mtu.swap(link.mtu, Ordering::Relaxed) {
                    self.tunnel.set_mtu(link.mtu);
                }
                if link.up != self.up && !(self.up && self.is_up_by_now(link)) {
                    self.set_up(link.up);
                }
            }
            Event::AddressGone(address) => {
                self.forget_local(|path| path.local.is_some_and(|local| local.address == address));
            }
            Event::Route(range) => self.forget_local(|path| range.contains(path.remote.ip())),
        }
        true
    }

    fn set_up(&mut self, up: bool) {
        self.up = up;
        let carried = up && self.open_carrier();
        if !carried {
            self.carrier.close();
        }
        self.share_sockets();
        // Without sockets there is nothing to try, and so nothing to wait for once there are some.
        self.tunnel.set_up(carried, clock::both());
        self.put_out();
        self.shared.rises.fetch_add(up.into(), Ordering::Relaxed);
        let state = if up { "up" } else { "down" };
        tracing::info!("{}: {state}, port {}", self.name, self.carrier.port());
    }

    fn open_carrier(&mut self) -> bool {
        let opened = self.carrier.open();
        if let Err(error) = &opened {
            let port = self.carrier.port();
            tracing::error!("{}: port {port}: {error}; nothing is sent or received", self.name);
        }
        opened.is_ok()
    }

    fn log_drops(&self) {
        tracing::info!("{}: drops: {}", self.name, tallies::told(&self.drops_by_reason()));
    }
}

/// What `wg` is told of an error.
fn errno(error: &io::Error) -> Errno {
    if error.kind() == io::ErrorKind::AddrInUse {
        Errno::PortInUse
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        Errno::NotPermitted
    } else {
        Errno::Io
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.log_drops();
    }
}
