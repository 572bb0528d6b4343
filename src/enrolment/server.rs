//! The API over HTTPS: one thread for all its clients. A connection carries one request.

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
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::crowd::Crowd;
use super::http;
use super::material::Material;
use super::problem::Problem;
use super::service::{Caller, Service};
use crate::clock;
use crate::store::Lease;

/// How long a client may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long it may take for the header of its request.
const HEADER: Duration = Duration::from_secs(5);
/// How long a connection lasts after its handshake.
const WHOLE: Duration = Duration::from_secs(30);
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
    fn granted(&self, lease: &Lease, before: Option<adit_noise::PublicKey>);

    /// Somebody was refused.
    fn refused(&self, source: IpAddr, problem: &Problem);
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
    crowd: Crowd,
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
        let shared = Arc::new(Shared { serving, peers, crowd: Crowd::default() });
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
                let Some(place) = shared.crowd.enter(source) else {
                    tracing::debug!("enrolment: {source}: too many connections");
                    continue;
                };
                let shared = shared.clone();
                tokio::spawn(async move {
                    connection(stream, source, &shared).await;
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

async fn connection(stream: TcpStream, source: IpAddr, shared: &Arc<Shared>) {
    let serving = shared.serving.load_full();
    let accepted = timeout(HANDSHAKE, TlsAcceptor::from(serving.material.tls.clone()).accept(stream)).await;
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!("enrolment: {source}: {error}"),
        Err(_) => return tracing::debug!("enrolment: {source}: no handshake within {HANDSHAKE:?}"),
    };
    let chain = stream.get_ref().1.peer_certificates();
    let certificate = serving.material.judge.as_ref().zip(chain);
    let certificate = certificate.map(|(judge, chain)| judge.judge(chain, clock::both().wall.as_secs()));
    let caller = certificate.transpose().map(|certificate| Caller { source, certificate });
    let caller = Arc::new(caller);
    let answer = service_fn(|request| {
        let (shared, service, caller) = (shared.clone(), serving.service.clone(), caller.clone());
        async move { Ok::<_, Infallible>(http::answer(request, source, caller, service, shared).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER).keep_alive(false).max_buf_size(HEADER_MAX);
    match timeout(WHOLE, builder.serve_connection(TokioIo::new(stream), answer)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("enrolment: {source}: {error}"),
        Err(_) => tracing::debug!("enrolment: {source}: not done within {WHOLE:?}"),
    }
}
