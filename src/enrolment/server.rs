//! The API over HTTPS: one thread for all its clients.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::http;
use super::limits::network;
use super::material::Material;
use super::problem::Problem;
use super::service::Service;
use crate::crowd::Crowd;
use crate::store::{Identity, Lease};

/// Connections at a time, from everywhere.
const ALL: usize = 1_024;
/// Connections at a time from one source: an IPv4 address, behind which an office may be, or a /64 of IPv6.
const EACH: usize = 256;

/// How long clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the handshake.
    pub handshake: Duration,
    /// For the header of a request, the time before it included.
    pub header: Duration,
    /// For its body.
    pub body: Duration,
    /// How long a connection lasts after its handshake, with all its requests.
    pub whole: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { handshake: seconds(10), header: seconds(5), body: seconds(10), whole: seconds(30) }
    }
}

/// Bytes of a request's header at most: hyper wants no less.
const HEADER_MAX: usize = 8 << 10;
/// How long is waited when no connection can be taken.
const PAUSE: Duration = Duration::from_millis(100);

/// What connections are served with. It is replaced while they come: each gets all of one or all of another.
pub struct Serving {
    /// Certificates.
    pub material: Arc<Material>,
    /// Who grants leases.
    pub service: Arc<Service>,
}

/// Who has to know what became of requests.
pub trait Peers: Send + Sync {
    /// A lease was granted: what its key is, and which key is none any more. This is called in the order in which leases are
    /// granted, before the client is answered.
    ///
    /// # Errors
    /// It cannot be a peer after all; whoever is asked takes the lease back.
    fn granted(&self, lease: &Lease, before: Option<adit_noise::PublicKey>) -> Result<(), Problem>;

    /// A lease was just granted whose certificate was revoked meanwhile: those that are revoked have to be looked for again.
    fn revoked_meanwhile(&self);

    /// Somebody was refused, who by a certificate has this name.
    fn refused(&self, source: IpAddr, name: Option<&Identity>, problem: &Problem);

    /// A connection ended without an answer.
    fn lost(&self, source: IpAddr, why: Lost);
}

/// Why a connection ended without an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lost {
    /// There were too many.
    Crowd,
    /// There was no TLS that could be agreed on, or a certificate of another authority.
    Handshake,
    /// The handshake, or what came after it, took too long.
    Slow,
    /// What came was no HTTP, or the client went away.
    Broken,
}

/// The thread that serves. Dropping it ends that.
#[derive(Debug)]
pub struct Server {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the enrolment thread panicked");
        }
    }
}

/// What all connections share.
pub(super) struct Shared {
    serving: Arc<ArcSwap<Serving>>,
    pub(super) peers: Arc<dyn Peers>,
    pub(super) patience: Patience,
    crowd: Crowd<IpAddr>,
}

impl Shared {
    /// What is in use now.
    pub(super) fn serving(&self) -> Arc<Serving> {
        self.serving.load_full()
    }
}

/// Who is at the other end of a connection.
pub(super) struct Remote {
    pub(super) source: IpAddr,
    /// The certificates that it showed, its own first.
    pub(super) chain: Vec<CertificateDer<'static>>,
}

impl Server {
    /// Starts to serve. `tick` is called once every `every`, on the same thread.
    ///
    /// # Errors
    /// What the system says: no descriptor or no thread is left.
    pub fn start(
        listeners: Vec<StdListener>,
        serving: Arc<ArcSwap<Serving>>,
        peers: Arc<dyn Peers>,
        patience: Patience,
        every: Duration,
        tick: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let within = runtime.enter();
        let listen = |listener: StdListener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let listeners = listeners.into_iter().map(listen).collect::<io::Result<Vec<_>>>()?;
        drop(within);
        let shared = Arc::new(Shared { serving, peers, patience, crowd: Crowd::new(ALL, EACH) });
        let (stop, stopped) = oneshot::channel();
        let run = move || run(&runtime, listeners, &shared, every, tick, stopped);
        let thread = std::thread::Builder::new().name("enrolment".to_owned()).spawn(run)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

/// Serves until `stopped` is dropped at the other end.
fn run(
    runtime: &Runtime,
    listeners: Vec<TcpListener>,
    shared: &Arc<Shared>,
    every: Duration,
    mut tick: impl FnMut(),
    stopped: oneshot::Receiver<Infallible>,
) {
    for listener in listeners {
        runtime.spawn(accept(listener, shared.clone()));
    }
    runtime.block_on(async {
        let ticking = async {
            let mut interval = interval(every);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                tick();
            }
        };
        tokio::select! {
            () = ticking => {}
            _ = stopped => {}
        }
    });
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let source = from.ip().to_canonical();
                let Ok(place) = shared.crowd.enter(network(source)) else {
                    shared.peers.lost(source, Lost::Crowd);
                    continue;
                };
                let shared = shared.clone();
                tokio::spawn(async move {
                    if let Err(lost) = connection(stream, source, &shared).await {
                        shared.peers.lost(source, lost);
                    }
                    drop(place);
                });
            }
            // As when no descriptor is left: it lasts.
            Err(error) => {
                tracing::error!("enrolment: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, source: IpAddr, shared: &Arc<Shared>) -> Result<(), Lost> {
    let patience = shared.patience;
    let acceptor = TlsAcceptor::from(shared.serving().material.tls.clone());
    let accepted = timeout(patience.handshake, acceptor.accept(stream)).await;
    let stream = accepted.map_err(|_| Lost::Slow)?.map_err(|error| {
        tracing::debug!("enrolment: {source}: {error}");
        Lost::Handshake
    })?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let chain = chain.iter().map(|it| it.clone().into_owned()).collect();
    let remote = Arc::new(Remote { source, chain });
    let answer = service_fn(|request| {
        let (shared, remote) = (shared.clone(), remote.clone());
        async move { Ok::<_, Infallible>(http::answer(request, &remote, &shared).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(patience.header).max_buf_size(HEADER_MAX);
    match timeout(patience.whole, builder.serve_connection(TokioIo::new(stream), answer)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::debug!("enrolment: {source}: {error}");
            Err(if error.is_timeout() { Lost::Slow } else { Lost::Broken })
        }
        Err(_) => Err(Lost::Slow),
    }
}
