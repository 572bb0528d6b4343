//! A worker: a thread with one TUN queue and one UDP socket, which takes batches either way until there are none.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{JoinHandle, available_parallelism};

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::{Change, Context, Drops, Inbox, Inward, Mailbox, Note, Outward, Table, Tally, Tracer};
use crate::clock;
use crate::net::offload::Offloads;
use crate::net::tun::TunQueue;
use crate::net::udp::UdpSocket;

/// What the control thread tells a worker.
#[derive(Clone, Debug)]
pub enum Letter {
    /// The table changes.
    Table(Change),
    /// Use this socket from now on; none while the interface is down.
    Carrier(Option<Arc<UdpSocket>>),
    /// End.
    Stop,
}

/// What a worker owns.
#[derive(Debug)]
pub struct Worker<C> {
    tun: TunQueue,
    socket: Option<Arc<UdpSocket>>,
    table: Table,
    outward: Outward,
    inward: Inward,
    shared: Arc<Shared>,
    inbox: Arc<Inbox<C>>,
    mtu: Arc<AtomicUsize>,
    stopped: bool,
}

/// What a worker shares with the control thread.
#[derive(Debug)]
struct Shared {
    mailbox: Mailbox<Letter>,
    doorbell: OwnedFd,
    tally: Tally,
}

/// A running worker, as the control thread holds it. Dropping it ends the worker.
#[derive(Debug)]
pub struct WorkerHandle {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// The context of a batch that begins now: everything of the worker but the two directions.
macro_rules! context {
    ($worker:ident) => {
        Context {
            table: &mut $worker.table,
            tally: &$worker.shared.tally,
            inbox: &$worker.inbox,
            mtu: $worker.mtu.load(Ordering::Relaxed),
            now: clock::now(),
        }
    };
}

impl WorkerHandle {
    /// Leaves a letter; the worker reads it before it looks anything up for the next batch.
    pub fn post(&self, letter: Letter) {
        self.shared.mailbox.post(letter);
    }

    /// Wakes the worker, so that it reads its letters even if no packet comes.
    pub fn wake(&self) {
        // The only failure is a counter at its limit: the bell rings then already.
        let _ = rustix::io::write(&self.shared.doorbell, &1_u64.to_ne_bytes());
    }

    /// The worker's counters.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.shared.tally
    }

    /// Packets that the worker dropped.
    #[must_use]
    pub fn drops(&self) -> &Drops {
        self.tally().drops()
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.post(Letter::Stop);
        self.wake();
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("a worker panicked");
        }
    }
}

impl<C> Drop for Worker<C> {
    /// However a worker ends, the interface ends with it: one that is half alive would only puzzle.
    fn drop(&mut self) {
        self.inbox.note(Note::Gone);
    }
}

impl<C: Send + 'static> Worker<C> {
    /// Starts a worker for a queue, kept on the processor of its number if `pin`. `mtu` is the device's, kept current by the
    /// control thread; `tracer` is shown what is dropped.
    ///
    /// # Errors
    /// What the system says: no descriptor or no thread is left.
    pub fn start(
        number: usize,
        tun: TunQueue,
        offloads: &Offloads,
        pin: bool,
        inbox: Arc<Inbox<C>>,
        mtu: Arc<AtomicUsize>,
        tracer: Arc<Tracer>,
    ) -> io::Result<WorkerHandle> {
        let doorbell = rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let shared = Arc::new(Shared { mailbox: Mailbox::default(), doorbell, tally: Tally::new(tracer) });
        let worker = Self {
            tun,
            socket: None,
            table: Table::default(),
            outward: Outward::default(),
            inward: Inward::new(offloads),
            shared: shared.clone(),
            inbox,
            mtu,
            stopped: false,
        };
        let thread = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || worker.run(pin.then_some(number)))?;
        Ok(WorkerHandle { shared, thread: Some(thread) })
    }

    fn run(mut self, pin: Option<usize>) {
        if let Some(processor) = pin {
            let mut only = CpuSet::new();
            only.set(processor % available_parallelism().map_or(1, usize::from));
            if let Err(error) = sched_setaffinity(None, &only) {
                tracing::error!("worker {processor} cannot be kept on one processor: {error}");
            }
        }
        while !self.stopped {
            self.collect();
            let step = self.outward().map(|busy| self.inward() | busy);
            let wait = match step {
                // The bell for the letter that ended it may have been heard already.
                Ok(_) if self.stopped => return,
                Ok(true) => continue,
                Ok(false) => self.wait(),
                Err(error) => Err(error),
            };
            if let Err(error) = wait {
                return tracing::debug!("the device is gone: {error}");
            }
        }
    }

    /// Reads the mailbox.
    fn collect(&mut self) {
        let (table, socket, stopped) = (&mut self.table, &mut self.socket, &mut self.stopped);
        self.shared.mailbox.collect(|letter| match letter {
            Letter::Table(change) => table.apply(change),
            Letter::Carrier(carrier) => *socket = carrier,
            Letter::Stop => *stopped = true,
        });
    }

    /// One batch outward. True if there is more to do.
    fn outward(&mut self) -> io::Result<bool> {
        let (outward, mut context) = (&mut self.outward, context!(self));
        let mut busy = false;
        if !outward.is_blocked() {
            busy = outward.gather(&self.tun, &mut context)?;
            outward.seal(&mut context);
        }
        match &self.socket {
            Some(socket) => outward.send(socket, &mut context),
            None => outward.discard(&mut context),
        }
        Ok(busy && !outward.is_blocked())
    }

    /// One batch inward. True if there may be more.
    fn inward(&mut self) -> bool {
        let Some(socket) = &self.socket else { return false };
        let busy = self.inward.receive(socket);
        if busy {
            self.collect();
            let (inward, mut context) = (&mut self.inward, context!(self));
            inward.sort(&mut context);
            inward.open(&mut context);
            inward.deliver(&self.tun, &mut context);
        }
        busy
    }

    /// Sleeps until there is something to do.
    fn wait(&self) -> io::Result<()> {
        let tun = if self.outward.is_blocked() { PollFlags::empty() } else { PollFlags::IN };
        let udp = if self.outward.is_blocked() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let doorbell = self.shared.doorbell.as_fd();
        let (carrier, udp) =
            self.socket.as_ref().map_or((doorbell, PollFlags::IN), |socket| (socket.as_fd(), udp));
        let fd = PollFd::from_borrowed_fd;
        let mut fds = [fd(doorbell, PollFlags::IN), fd(self.tun.as_fd(), tun), fd(carrier, udp)];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, None))?;
        if fds[0].revents().contains(PollFlags::IN) {
            let _ = rustix::io::read(&self.shared.doorbell, &mut [0_u8; 8]);
        }
        if fds[1].revents().intersects(PollFlags::ERR | PollFlags::NVAL) {
            return Err(io::Error::other("the TUN device reports an error"));
        }
        Ok(())
    }
}
