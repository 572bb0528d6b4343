//! The data threads: each has its own sockets (`SO_REUSEPORT`), its own runtime, buffers and counters, and shares nothing with
//! the others while a connection lives.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Type};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::buffers::Pool;
use super::choice::Choose;
use super::clear::serve_clear;
use super::connection::{Shared, serve};
use super::counters::Counters;
use super::guest::Guest;
use super::http;
use super::limits::Limit;
use super::socket::Socket;

/// Connections that are accepted before others get their turn: a flood of them must not stop what is there.
const ACCEPTS: usize = 16;
/// So often at most is accepted once more when draining begins, whatever still comes.
const LAST: usize = 1024;
/// How long nothing is accepted when the system has no more to give.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// What a listener is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its addresses. Port 0 is one that is free, the same for all threads.
    pub listen: Vec<SocketAddr>,
    /// Whether clients come in clear, to be told to come by HTTPS.
    pub plain: bool,
    /// Data threads.
    pub threads: usize,
    /// How long a client may take for its handshake.
    pub handshake: Duration,
    /// Connections of one thread; who comes beyond that is turned away.
    pub connections: usize,
    /// Handshakes of one thread at a time; who comes beyond that waits in the system's queue.
    pub handshakes: usize,
    /// Large buffers of one thread at a time, of 256 KiB.
    pub buffers: usize,
    /// Connections that the system keeps until they are accepted.
    pub backlog: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            plain: false,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            handshake: Duration::from_secs(10),
            connections: 100_000,
            handshakes: 4096,
            buffers: 256,
            backlog: 4096,
        }
    }
}

/// Threads that accept connections and serve them.
#[derive(Debug)]
pub struct Listener {
    threads: Vec<JoinHandle<()>>,
    counters: Vec<Arc<Counters>>,
    addresses: Vec<SocketAddr>,
    /// When what is there ends at the latest; `None` while connections are accepted.
    drain: watch::Sender<Option<Instant>>,
}

impl Listener {
    /// Binds all addresses and starts all threads, or nothing.
    ///
    /// # Errors
    /// An address that cannot be had, or a thread.
    pub fn start(settings: &Settings, choose: &Arc<dyn Choose>) -> io::Result<Self> {
        let (drain, draining) = watch::channel(None);
        let mut addresses = settings.listen.clone();
        let threads = settings.threads.max(1);
        let mut sockets = Vec::new();
        for _ in 0..threads {
            let bound = addresses.iter_mut().map(|address| bind(address, settings.backlog));
            sockets.push(bound.collect::<io::Result<Vec<_>>>()?);
        }
        let mut started = Self { threads: Vec::new(), counters: Vec::new(), addresses, drain };
        for (number, sockets) in sockets.into_iter().enumerate() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let counters = Arc::new(Counters::default());
            started.counters.push(counters.clone());
            let (settings, choose, draining) = (settings.clone(), choose.clone(), draining.clone());
            let work = move || {
                let pool = Pool::new(settings.buffers);
                let shared = Shared {
                    choose,
                    http: http::Thread::new(pool.clone(), draining.clone()),
                    pool,
                    counters,
                    handshake: settings.handshake,
                };
                LocalSet::new().block_on(&runtime, work(shared, sockets, settings, draining));
            };
            let thread = std::thread::Builder::new().name(format!("tls-{number}")).spawn(work)?;
            started.threads.push(thread);
        }
        Ok(started)
    }

    /// Where it listens, with real ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The counters of each thread.
    #[must_use]
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }

    /// Accepts what has come and nothing more. What is there may end by itself, for at most `patience`: what was given less
    /// before gets no more.
    pub fn drain(&self, patience: Duration) {
        let until = Instant::now() + patience;
        self.drain.send_if_modified(|drain| {
            let sooner = drain.is_none_or(|before| until < before);
            if sooner {
                *drain = Some(until);
            }
            sooner
        });
    }

    /// Whether it has drained.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Drains, and waits for it.
    pub fn stop(mut self, patience: Duration) {
        self.drain(patience);
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing to be waited for.
            let _ = thread.join();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.drain(Duration::ZERO);
    }
}

/// A socket that listens at `address`, which learns its port.
fn bind(address: &mut SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket =
        socket2::Socket::new(Domain::for_address(*address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        // 0.0.0.0 can be listened on beside it.
        socket.set_only_v6(true)?;
    }
    socket.bind(&(*address).into())?;
    socket.listen(backlog)?;
    if let Some(bound) = socket.local_addr()?.as_socket() {
        *address = bound;
    }
    Ok(socket.into())
}

/// Connections of one thread.
struct Crowd {
    open: Cell<usize>,
    /// One of them left.
    left: Notify,
}

/// One thread.
async fn work(
    shared: Shared,
    sockets: Vec<TcpListener>,
    settings: Settings,
    mut draining: watch::Receiver<Option<Instant>>,
) {
    let shared = Rc::new(shared);
    let crowd = Rc::new(Crowd { open: Cell::new(0), left: Notify::new() });
    let handshakes = Arc::new(Semaphore::new(settings.handshakes.clamp(1, Semaphore::MAX_PERMITS)));
    let mut accepting = Vec::new();
    for socket in sockets {
        let door = Door {
            shared: shared.clone(),
            crowd: crowd.clone(),
            handshakes: handshakes.clone(),
            most: settings.connections,
            plain: settings.plain,
        };
        accepting.push(tokio::task::spawn_local(door.keep(socket, draining.clone())));
    }
    for task in accepting {
        // It ends when draining begins.
        let _ = task.await;
    }
    while crowd.open.get() > 0 {
        let until = draining.borrow_and_update().unwrap_or_else(Instant::now);
        tokio::select! {
            () = crowd.left.notified() => {}
            () = tokio::time::sleep_until(until) => return,
            // It may be sooner by now.
            changed = draining.changed() => if changed.is_err() { return },
        }
    }
}

/// Lets connections in.
struct Door {
    shared: Rc<Shared>,
    crowd: Rc<Crowd>,
    handshakes: Arc<Semaphore>,
    most: usize,
    plain: bool,
}

impl Door {
    async fn keep(self, socket: TcpListener, mut draining: watch::Receiver<Option<Instant>>) {
        let Ok(socket) = tokio::net::TcpListener::from_std(socket) else { return };
        while !self.accept(&socket, Some(&mut draining)).await {
            tokio::task::yield_now().await;
        }
        // Whoever has come by now is served; with the socket the system would reset them.
        for _ in 0..LAST {
            if self.accept(&socket, None).await {
                break;
            }
        }
    }

    /// Accepts some. Whether that was all: what has come if nothing is waited for, or else until draining begins.
    async fn accept(
        &self,
        socket: &tokio::net::TcpListener,
        mut draining: Option<&mut watch::Receiver<Option<Instant>>>,
    ) -> bool {
        for _ in 0..ACCEPTS {
            let Ok(slot) = self.handshakes.clone().acquire_owned().await else { return true };
            let accepted = match &mut draining {
                None => {
                    poll_fn(|cx| match socket.poll_accept(cx) {
                        Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
                        Poll::Pending => Poll::Ready(None),
                    })
                    .await
                }
                Some(draining) => tokio::select! {
                    biased;
                    _ = draining.wait_for(Option::is_some) => None,
                    accepted = socket.accept() => Some(accepted),
                },
            };
            match accepted {
                None => return true,
                Some(Ok((client, address))) => self.admit(client, address, slot),
                Some(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Some(Err(_)) => {
                    // No descriptors or no memory: it passes.
                    tokio::time::sleep(EXHAUSTED).await;
                    return false;
                }
            }
        }
        false
    }

    fn admit<S: 'static>(&self, client: TcpStream, address: SocketAddr, slot: S) {
        let (shared, crowd) = (self.shared.clone(), self.crowd.clone());
        shared.counters.accepted.add(1);
        let client = Socket::accepted(client);
        let plain = self.plain;
        let guest = match crowd.open.get() < self.most {
            true => Guest::new(&shared.choose, address),
            false => Err(Limit::Connections),
        };
        let mut guest = match guest {
            Ok(guest) => guest,
            Err(limit) => {
                shared.counters.fail(&limit.into());
                shared.counters.ended.add(1);
                client.abort();
                return;
            }
        };
        crowd.open.set(crowd.open.get() + 1);
        tokio::task::spawn_local(async move {
            if plain {
                Box::pin(serve_clear(client, &mut guest, &shared)).await;
                drop(slot);
            } else {
                serve(client, &mut guest, &shared, slot).await;
            }
            drop(guest);
            shared.counters.ended.add(1);
            crowd.open.set(crowd.open.get() - 1);
            crowd.left.notify_one();
        });
    }
}

#[cfg(test)]
mod tests;
