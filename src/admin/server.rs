//! Serves clients: one thread for all of them.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, unix::UCred};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::Sockets;
use super::api::{Api, Client};
use super::audit::Audit;
use super::patience::Patience;
use super::resource::Role;
use super::sockets::Files;
use crate::gateway::Handle;

/// Clients served at a time on each socket.
const CLIENTS: usize = 64;
/// Clients served at a time where metrics are told: anybody may ask there, and there is one who should.
const METRICS_CLIENTS: usize = 4;
/// How long a client may take for its request.
const REQUEST: Duration = Duration::from_secs(5);
/// Bytes of a request at most.
const REQUEST_MAX: usize = 8 << 10;
/// What an answer may have waiting in the daemon: more stays where it comes from.
const BUFFER: usize = 64 << 10;
/// How long a server that ends waits for entries of the audit trail that are being written.
const LAST_ENTRIES: Duration = Duration::from_secs(5);

/// The thread that serves the admin sockets and the metrics. Dropping it ends that, and removes the sockets.
#[derive(Debug)]
pub struct Server {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
    _files: Files,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the admin thread panicked");
        }
    }
}

impl Sockets {
    /// Starts the thread that serves the sockets, and metrics where `metrics` listens. To be called once the privileges
    /// are given up.
    ///
    /// # Errors
    /// What the system says: no descriptor or no thread is left.
    pub fn serve(
        self,
        handle: Handle,
        audit: Audit,
        metrics: Option<std::net::TcpListener>,
    ) -> io::Result<Server> {
        let Self { read, write, files } = self;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let within = runtime.enter();
        let mut listeners = vec![
            Listener::Unix(UnixListener::from_std(read)?, Role::Read),
            Listener::Unix(UnixListener::from_std(write)?, Role::Write),
        ];
        if let Some(metrics) = metrics {
            metrics.set_nonblocking(true)?;
            listeners.push(Listener::Tcp(TcpListener::from_std(metrics)?));
        }
        drop(within);
        let api = Arc::new(Api::new(handle, audit));
        let (stop, stopped) = oneshot::channel();
        let run = move || run(runtime, listeners, &api, stopped);
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(run)?;
        Ok(Server { stop: Some(stop), thread: Some(thread), _files: files })
    }
}

/// Serves until `stopped` is dropped at the other end.
fn run(runtime: Runtime, listeners: Vec<Listener>, api: &Arc<Api>, stopped: oneshot::Receiver<Infallible>) {
    runtime.block_on(async {
        for listener in listeners {
            tokio::spawn(listener.serve(api.clone()));
        }
        let api = api.clone();
        tokio::spawn(async move { api.sample().await });
        // It never brings anything but its end.
        let _ = stopped.await;
    });
    runtime.shutdown_timeout(LAST_ENTRIES);
}

/// Where clients come from.
#[derive(Debug)]
enum Listener {
    Unix(UnixListener, Role),
    Tcp(TcpListener),
}

impl Listener {
    async fn serve(self, api: Arc<Api>) {
        let places = Arc::new(Semaphore::new(self.clients()));
        loop {
            if let Err(error) = self.accept(&api, &places).await {
                // As when no descriptor is left: it lasts, and the client stays in the queue.
                tracing::error!("an admin client cannot be accepted: {error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Clients served here at a time.
    fn clients(&self) -> usize {
        match self {
            Self::Unix(..) => CLIENTS,
            Self::Tcp(_) => METRICS_CLIENTS,
        }
    }

    async fn accept(&self, api: &Arc<Api>, places: &Arc<Semaphore>) -> io::Result<()> {
        match self {
            Self::Unix(listener, role) => {
                let (stream, _) = listener.accept().await?;
                let process = stream.peer_cred().ok();
                self.welcome(stream, api, places, *role, process).await;
            }
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                self.welcome(stream, api, places, Role::Metrics, None).await;
            }
        }
        Ok(())
    }

    /// Begins to serve a client if there is a place for it.
    async fn welcome(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        api: &Arc<Api>,
        places: &Arc<Semaphore>,
        role: Role,
        process: Option<UCred>,
    ) {
        let Ok(place) = places.clone().try_acquire_owned() else {
            // A new connection has room for this, so that nobody waits for it.
            let _ =
                timeout(Duration::from_millis(10), stream.write_all(busy(self.clients()).as_bytes())).await;
            return;
        };
        let patience = Arc::new(Patience::new());
        let client = Client { role, process, patience: patience.clone() };
        let conversation = converse(stream, api.clone(), client);
        tokio::spawn(async move {
            let _place = place;
            if patience.wait(conversation).await.is_none() {
                tracing::debug!("an admin client took too long");
            }
        });
    }
}

/// What one client too many is told.
fn busy(clients: usize) -> String {
    let body = format!("{{\"error\":\"{clients} clients are being served here\"}}");
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
        Connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Answers one request. There is no second one on a connection: who is slow has to begin anew.
fn converse(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    api: Arc<Api>,
    client: Client,
) -> impl Future<Output = ()> + Send {
    let client = Arc::new(client);
    let service = service_fn(move |request| {
        let answer = api.clone().answer(request, client.clone());
        async { Ok::<_, Infallible>(answer.await) }
    });
    let mut http = http1::Builder::new();
    http.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(REQUEST);
    http.max_header_size(REQUEST_MAX).max_buf_size(BUFFER);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    async move {
        if let Err(error) = connection.await {
            tracing::debug!("an admin client: {error}");
        }
    }
}
