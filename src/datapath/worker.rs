//! A worker: two threads with one TUN queue and one socket, one for each direction. Each takes batches until there are
//! none.
//!
//! One thread for both directions was measured against it: each then waits for the other, and TCP loses 5 % of its throughput
//! with one stream and 6 % with four. More queues than one for two processors gain nothing (`bench/results/ideas.md`).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{JoinHandle, available_parallelism};

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::thread::{CpuSet, sched_setaffinity, sched_yield};

use super::{Carrier, Context, Framing, Inbox, Inward, Mailbox, Outward, Tally, Tracer};
use crate::clock;
use crate::net::offload::Offloads;
use crate::net::tun::TunQueue;

/// Workers that a tunnel has at most where nobody says how many.
const WORKERS: usize = 4;

/// How many workers a tunnel has where nobody says: one for every two processors, for each is two threads; 4 at most, since
/// more have not been seen to gain anything.
#[must_use]
pub fn default_count() -> usize {
    available_parallelism().map_or(1, usize::from).div_ceil(2).min(WORKERS)
}

/// What the control thread tells a worker.
#[derive(Debug)]
pub enum Letter<F: Framing> {
    /// What it knows changes.
    Change(F::Change),
    /// Use this socket from now on; none while the interface is down.
    Carrier(Option<Carrier>),
    /// End.
    Stop,
}

impl<F: Framing> Clone for Letter<F> {
    fn clone(&self) -> Self {
        match self {
            Self::Change(change) => Self::Change(change.clone()),
            Self::Carrier(carrier) => Self::Carrier(carrier.clone()),
            Self::Stop => Self::Stop,
        }
    }
}

/// What all workers of an interface have in common. `C` is what else its control thread is asked to do.
#[derive(Debug)]
pub struct Setting<N, C> {
    /// Offloads that are used.
    pub offloads: Offloads,
    /// Whether each thread is kept on a processor of its own.
    pub pin: bool,
    /// Where handshakes and notes go.
    pub inbox: Arc<Inbox<N, C>>,
    /// The device's MTU, kept current by the control thread.
    pub mtu: Arc<AtomicUsize>,
    /// Is shown what is dropped.
    pub tracer: Arc<Tracer>,
}

/// A running worker, as the control thread holds it. Dropping it ends both threads.
#[derive(Debug)]
pub struct Worker<F: Framing> {
    outward: Handle<F>,
    inward: Handle<F>,
}

impl<F: Framing> Worker<F> {
    /// Starts the worker of queue `number`. Each direction begins with what one of `framings` knows.
    ///
    /// # Errors
    /// What the system says: no descriptor or no thread is left.
    pub fn start<C: Send + 'static>(
        number: usize,
        tun: TunQueue,
        framings: [F; 2],
        setting: &Setting<F::Note, C>,
    ) -> io::Result<Self> {
        let tun = Arc::new(tun);
        let [knows_out, knows_into] = framings;
        let (out, into) = (Shared::new(setting)?, Shared::new(setting)?);
        let outward = Side::new(&tun, knows_out, &out, setting).start(
            format!("outward-{number}"),
            2 * number,
            setting,
            {
                let mut outward = Outward::default();
                move |side| side.outward(&mut outward)
            },
        )?;
        let inward = Side::new(&tun, knows_into, &into, setting).start(
            format!("inward-{number}"),
            2 * number + 1,
            setting,
            {
                let mut inward = Inward::new(&setting.offloads);
                move |side| Ok(side.inward(&mut inward, &out))
            },
        )?;
        Ok(Self { outward, inward })
    }

    /// Leaves a letter for both threads; they read it before they look anything up for the next batch.
    pub fn post(&self, letter: &Letter<F>) {
        self.handles().for_each(|handle| handle.shared.mailbox.post(letter.clone()));
    }

    /// Wakes both threads, so that they read their letters even if no packet comes.
    pub fn wake(&self) {
        self.handles().for_each(|handle| handle.shared.wake());
    }

    /// The counters of its threads: from the device to the network, and back.
    #[must_use]
    pub fn tallies(&self) -> [&Tally; 2] {
        [&self.outward, &self.inward].map(|handle| &handle.shared.tally)
    }

    fn handles(&self) -> impl Iterator<Item = &Handle<F>> {
        [&self.outward, &self.inward].into_iter()
    }
}

/// A thread, as the control thread holds it. Dropping it ends the thread.
#[derive(Debug)]
struct Handle<F: Framing> {
    shared: Arc<Shared<F>>,
    thread: Option<JoinHandle<()>>,
}

impl<F: Framing> Drop for Handle<F> {
    fn drop(&mut self) {
        self.shared.mailbox.post(Letter::Stop);
        self.shared.wake();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("a worker panicked");
        }
    }
}

/// What a thread shares with others.
#[derive(Debug)]
struct Shared<F: Framing> {
    mailbox: Mailbox<Letter<F>>,
    doorbell: OwnedFd,
    tally: Tally,
}

impl<F: Framing> Shared<F> {
    fn new<C>(setting: &Setting<F::Note, C>) -> io::Result<Arc<Self>> {
        let doorbell = rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let tally = Tally::new(setting.tracer.clone());
        Ok(Arc::new(Self { mailbox: Mailbox::default(), doorbell, tally }))
    }

    fn wake(&self) {
        // The only failure is a counter at its limit: the bell rings then already.
        let _ = rustix::io::write(&self.doorbell, &1_u64.to_ne_bytes());
    }
}

/// One direction of a worker: what its thread owns beside the memory for packets.
#[derive(Debug)]
struct Side<F: Framing, C> {
    tun: Arc<TunQueue>,
    carrier: Option<Carrier>,
    framing: F,
    shared: Arc<Shared<F>>,
    inbox: Arc<Inbox<F::Note, C>>,
    mtu: Arc<AtomicUsize>,
    stopped: bool,
}

/// The context of a batch that begins now: nothing of the side but what it names.
macro_rules! context {
    ($side:ident) => {
        &mut Context {
            framing: &mut $side.framing,
            tally: &$side.shared.tally,
            inbox: &$side.inbox,
            mtu: $side.mtu.load(Ordering::Relaxed),
            now: clock::now(),
        }
    };
}

/// What a thread does after a batch.
#[derive(Debug)]
enum Next {
    /// There may be more to do.
    More,
    /// It sleeps until the queue or the socket is ready for this.
    Wait { tun: PollFlags, carrier: PollFlags },
}

impl<F: Framing, C> Drop for Side<F, C> {
    /// However a thread ends, the interface ends with it: one that is half alive would only puzzle.
    fn drop(&mut self) {
        self.inbox.gone();
    }
}

impl<F: Framing, C> Side<F, C> {
    fn new(tun: &Arc<TunQueue>, framing: F, shared: &Arc<Shared<F>>, setting: &Setting<F::Note, C>) -> Self {
        Self {
            tun: tun.clone(),
            carrier: None,
            framing,
            shared: shared.clone(),
            inbox: setting.inbox.clone(),
            mtu: setting.mtu.clone(),
            stopped: false,
        }
    }

    /// Reads the mailbox.
    fn collect(&mut self) {
        let (framing, socket, stopped) = (&mut self.framing, &mut self.carrier, &mut self.stopped);
        self.shared.mailbox.collect(|letter| match letter {
            Letter::Change(change) => framing.apply(change),
            Letter::Carrier(carrier) => *socket = carrier,
            Letter::Stop => *stopped = true,
        });
    }

    /// One batch outward.
    fn outward(&mut self, outward: &mut Outward<F>) -> io::Result<Next> {
        let mut busy = false;
        if !outward.is_blocked() {
            busy = outward.gather(&self.tun, context!(self))?;
            // A session that was confirmed by the packet which one of these answers, or that came at this very moment.
            self.collect();
            while !outward.seal(context!(self)) {
                self.collect();
            }
        }
        match &self.carrier {
            Some(carrier) => outward.send(carrier, context!(self)),
            None => outward.discard(context!(self)),
        }
        Ok(match (outward.is_blocked(), busy) {
            (true, _) => Next::Wait { tun: PollFlags::empty(), carrier: PollFlags::OUT },
            (false, true) => Next::More,
            (false, false) => Next::Wait { tun: PollFlags::IN, carrier: PollFlags::empty() },
        })
    }

    /// One batch inward. `outward` sends what answers it.
    fn inward(&mut self, inward: &mut Inward<F>, outward: &Shared<F>) -> Next {
        if !self.carrier.as_ref().is_some_and(|carrier| inward.receive(carrier)) {
            return Next::Wait { tun: PollFlags::empty(), carrier: PollFlags::IN };
        }
        self.collect();
        let context = context!(self);
        loop {
            inward.sort(context);
            inward.open(context);
            if !self.carrier.as_ref().is_some_and(|carrier| inward.receive_rest(carrier)) {
                break;
            }
        }
        for change in inward.news() {
            outward.mailbox.post(Letter::Change(change));
        }
        inward.deliver(&self.tun, context);
        Next::More
    }

    /// Sleeps until the queue or the socket is ready, or the bell rings.
    fn wait(&self, tun: PollFlags, carrier: PollFlags) -> io::Result<()> {
        let bell = self.shared.doorbell.as_fd();
        // Without a socket the bell is listened to twice.
        let (carrier_fd, carrier) =
            self.carrier.as_ref().map_or((bell, PollFlags::IN), |socket| (socket.as_fd(), carrier));
        let fd = PollFd::from_borrowed_fd;
        let all = &mut [fd(bell, PollFlags::IN), fd(self.tun.as_fd(), tun), fd(carrier_fd, carrier)];
        // A socket that nothing is wanted of has its errors read by the other thread; here they would ring for ever.
        let count = if carrier.is_empty() { 2 } else { 3 };
        let fds = &mut all[..count];
        rustix::io::retry_on_intr(|| rustix::event::poll(fds, None))?;
        if fds[0].revents().contains(PollFlags::IN) {
            let _ = rustix::io::read(&self.shared.doorbell, &mut [0_u8; 8]);
        }
        if fds[1].revents().intersects(PollFlags::ERR | PollFlags::NVAL) {
            return Err(io::Error::other("the TUN device reports an error"));
        }
        Ok(())
    }
}

impl<F: Framing, C: Send + 'static> Side<F, C> {
    /// Starts the thread, which does `turn` again and again.
    fn start(
        self,
        name: String,
        processor: usize,
        setting: &Setting<F::Note, C>,
        turn: impl FnMut(&mut Self) -> io::Result<Next> + Send + 'static,
    ) -> io::Result<Handle<F>> {
        let (shared, pin) = (self.shared.clone(), setting.pin.then_some(processor));
        let thread = std::thread::Builder::new().name(name).spawn(move || self.run(pin, turn))?;
        Ok(Handle { shared, thread: Some(thread) })
    }

    fn run(mut self, pin: Option<usize>, mut turn: impl FnMut(&mut Self) -> io::Result<Next>) {
        if let Some(processor) = pin {
            let mut only = CpuSet::new();
            only.set(processor % available_parallelism().map_or(1, usize::from));
            if let Err(error) = sched_setaffinity(None, &only) {
                tracing::error!("a worker cannot be kept on processor {processor}: {error}");
            }
        }
        let mut dry = false;
        while !self.stopped {
            self.collect();
            let wait = match turn(&mut self) {
                // The bell for the letter that ended it may have been heard already.
                Ok(_) if self.stopped => return,
                Ok(Next::More) => {
                    dry = false;
                    continue;
                }
                // Whoever waits for this processor may have more for it, at less than the price of a sleep.
                Ok(Next::Wait { .. }) if !dry => {
                    dry = true;
                    sched_yield();
                    continue;
                }
                Ok(Next::Wait { tun, carrier }) => {
                    dry = false;
                    self.wait(tun, carrier)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = wait {
                return tracing::debug!("the device is gone: {error}");
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket as Plain};
    use std::time::Duration;

    use adit_aead::{Algorithm, Secret};
    use adit_noise::Time;
    use adit_packet::Slot;
    use adit_wireguard::{AllowedIps, Endpoint, Keys, PeerId, Session, Traffic};

    use super::*;
    use crate::config::InterfaceAddress;
    use crate::datapath::wireguard::{Change, Note, Table};
    use crate::net::isolated::isolated;
    use crate::net::link::{self, Settings};
    use crate::net::{address, tun::Tun, udp::UdpSocket};

    const MTU: usize = 1_420;

    /// A session that the other end began, as this end has it and as the other one.
    fn sessions(traffic: &Arc<Traffic>, indexes: [u32; 2], born: Time) -> [Arc<Session>; 2] {
        let keys = |send, receive| {
            let [send, receive] = [send, receive].map(|byte| Secret::from([byte; 32]));
            Keys { send, receive, algorithm: Algorithm::ChaCha20Poly1305 }
        };
        let [here, there] = indexes;
        [
            Session::new(traffic.clone(), &keys(1, 2), here, there, false, born),
            Session::new(traffic.clone(), &keys(2, 1), there, here, true, born),
        ]
        .map(Arc::new)
    }

    fn keepalive(session: &Session) -> Vec<u8> {
        let mut arena = vec![0; Session::HEAD + Session::TAIL];
        let mut slots = [Slot { start: Session::HEAD, ..Slot::default() }];
        session.seal(&mut arena, &mut slots, MTU).unwrap();
        arena[slots[0].range()].to_vec()
    }

    /// The peer may have lost the session before. Here nobody reads the notes to the control thread, which is slower.
    #[test]
    fn what_follows_the_first_packet_under_a_session_leaves_under_it() {
        isolated(|| {
            let tun = Tun::create("wg0", 1, &Offloads::default()).unwrap();
            let setting = Setting {
                offloads: tun.offloads,
                pin: false,
                inbox: Arc::new(Inbox::<Note, ()>::default()),
                mtu: Arc::new(MTU.into()),
                tracer: Arc::default(),
            };
            let index = link::find("wg0").unwrap().index;
            link::set(index, &Settings { up: Some(true), ..Settings::default() }).unwrap();
            let inside = InterfaceAddress { address: Ipv4Addr::new(10, 0, 0, 1).into(), prefix_len: 24 };
            address::add(index, inside).unwrap();

            let there = Plain::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            there.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let peer = PeerId::new(1);
            let endpoint = Endpoint::udp(there.local_addr().unwrap());
            let traffic = Arc::new(Traffic::new(peer, Some(endpoint)));
            let born = clock::now();
            let [old, _] = sessions(&traffic, [1, 2], born);
            let [new, of_peer] = sessions(&traffic, [3, 4], born + Duration::from_millis(1));
            let mut routes = AllowedIps::default();
            routes.insert("10.0.0.2/32".parse().unwrap(), peer);
            let socket = Arc::new(UdpSocket::bind(0, 1, 0, &Offloads::default()).unwrap().remove(0));
            let letters = [
                Letter::Carrier(Some(Carrier::Udp(socket.clone()))),
                Letter::Change(Change::Peer(peer, Some(traffic))),
                Letter::Change(Change::Routes(Arc::new(routes))),
                Letter::Change(Change::Current(peer, Some(old))),
                Letter::Change(Change::Session(new.local_index(), Some(new.clone()))),
            ];

            let queue = Arc::new(tun.queues.into_iter().next().unwrap());
            let [out, into] = [(); 2].map(|()| Shared::new(&setting).unwrap());
            let mut sides = [&out, &into].map(|shared| {
                letters.iter().for_each(|letter| shared.mailbox.post(letter.clone()));
                let mut side = Side::new(&queue, Table::default(), shared, &setting);
                side.collect();
                side
            });
            let [outward, inward] = &mut sides;

            there.send_to(&keepalive(&of_peer), (Ipv4Addr::LOCALHOST, socket.port())).unwrap();
            assert!(matches!(inward.inward(&mut Inward::new(&setting.offloads), &out), Next::More));
            let inner = Plain::bind((Ipv4Addr::new(10, 0, 0, 1), 0)).unwrap();
            inner.send_to(b"an answer", (Ipv4Addr::new(10, 0, 0, 2), 9)).unwrap();
            assert!(matches!(outward.outward(&mut Outward::default()), Ok(Next::More)));
            let mut datagram = [0; 1_500];
            there.recv(&mut datagram).unwrap();
            assert_eq!(datagram[4..8], new.remote_index().to_le_bytes(), "it names another session");
        });
    }
}
