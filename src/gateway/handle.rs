//! How other threads speak to the gateway.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, TrySendError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::Desk;
use crate::admin::audit::Outcome;
use crate::datapath::Tracer;
use crate::status::Status;

/// Requests that wait for the gateway at most: during a reload it answers none.
const WAITING: usize = 64;
/// How long a request that finds no room waits before it tries again.
const RETRY: Duration = Duration::from_millis(20);

/// What the gateway can be asked for. The answer goes to the sender.
///
/// Whoever asked may have given up meanwhile: the gateway passes over a [`Self::Status`] and a [`Self::Trace`] whose sender
/// [is closed](oneshot::Sender::is_closed). A [`Self::Reload`] is carried out all the same, for it is in the audit trail.
#[derive(Debug)]
pub enum Request {
    /// Everything there is to tell.
    Status(oneshot::Sender<Status>),
    /// To read its file again. What was changed, in words, or what is wrong; then nothing was changed.
    Reload(oneshot::Sender<Result<Reloaded, String>>),
    /// Where dropped packets can be watched.
    Trace(oneshot::Sender<Vec<TraceSource>>),
    /// The desk of each tunnel that has clients.
    Clients(oneshot::Sender<BTreeMap<String, Desk>>),
    /// Nothing more is to be accepted where TLS ends, or again.
    Drain(Drain, oneshot::Sender<Result<BTreeMap<String, u64>, String>>),
    /// To end in good order.
    Stop,
}

/// Where nothing more is to be accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Drain {
    /// The `[tls.NAME]`, or all of them.
    pub name: Option<String>,
    /// Accept again.
    pub undo: bool,
}

/// A reload that was done.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reloaded {
    /// What was changed, in words.
    pub changed: String,
    /// What went wrong when nothing could be undone any more. It is tried again at the next reload.
    pub faults: Vec<String>,
}

/// A tunnel whose dropped packets can be watched.
#[derive(Clone, Debug)]
pub struct TraceSource {
    /// The tunnel's interface.
    pub tunnel: String,
    /// Whether they are Ethernet frames, as of a link.
    pub frames: bool,
    /// Its dropped packets.
    pub tracer: Arc<Tracer>,
}

/// Speaks to the gateway. All of it fails once the gateway ends.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::SyncSender<Request>,
}

/// The gateway is ending.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the gateway is ending")]
pub struct Ending;

impl Handle {
    /// A handle, and the other end of it.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::sync_channel(WAITING);
        (Self { requests }, receiver)
    }

    /// Everything there is to tell.
    ///
    /// # Errors
    /// [`Ending`]
    pub async fn status(&self) -> Result<Status, Ending> {
        self.ask(Request::Status).await
    }

    /// Has the configuration read again. What was changed, in words, or what is wrong; then nothing was changed.
    ///
    /// # Errors
    /// [`Ending`]
    pub async fn reload(&self) -> Result<Result<Reloaded, String>, Ending> {
        self.ask(Request::Reload).await
    }

    /// Where the dropped packets of each tunnel can be watched.
    ///
    /// # Errors
    /// [`Ending`]
    pub async fn trace(&self) -> Result<Vec<TraceSource>, Ending> {
        self.ask(Request::Trace).await
    }

    /// The desk of each tunnel that has clients.
    ///
    /// # Errors
    /// [`Ending`]
    pub async fn clients(&self) -> Result<BTreeMap<String, Desk>, Ending> {
        self.ask(Request::Clients).await
    }

    /// Has nothing more accepted where TLS ends, or again. How many connections each has, or what is wrong.
    ///
    /// # Errors
    /// [`Ending`]
    pub async fn drain(&self, drain: Drain) -> Result<Result<BTreeMap<String, u64>, String>, Ending> {
        self.ask(|reply| Request::Drain(drain, reply)).await
    }

    /// As [`Self::reload`], for a thread that may wait.
    ///
    /// # Errors
    /// [`Ending`]
    pub fn reload_blocking(&self) -> Result<Result<Reloaded, String>, Ending> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Reload(reply)).map_err(|_| Ending)?;
        answer.blocking_recv().map_err(|_| Ending)
    }

    /// Ends the gateway. It waits for room, as long as the gateway does not end by itself.
    pub fn stop(&self) {
        let _ = self.requests.send(Request::Stop);
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Ending> {
        let (reply, answer) = oneshot::channel();
        let mut request = request(reply);
        while let Err(refused) = self.requests.try_send(request) {
            request = match refused {
                TrySendError::Full(request) => request,
                TrySendError::Disconnected(_) => return Err(Ending),
            };
            sleep(RETRY).await;
        }
        answer.await.map_err(|_| Ending)
    }
}

impl Reloaded {
    /// What the audit trail says of it.
    pub(crate) fn outcome(&self) -> Outcome {
        if self.faults.is_empty() { Outcome::Ok } else { Outcome::Partial }
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.changed)?;
        self.faults.iter().try_for_each(|fault| write!(f, "; but {fault}"))
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn what_waits_for_the_gateway_is_bounded_and_closed_once_nobody_waits_for_it() {
        let (handle, requests) = Handle::new();
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            for _ in 0..WAITING + 10 {
                assert!(timeout(Duration::from_millis(1), handle.status()).await.is_err());
            }
        });
        let waiting: Vec<_> = requests.try_iter().collect();
        assert_eq!(waiting.len(), WAITING);
        assert!(waiting.iter().all(|request| matches!(request, Request::Status(reply) if reply.is_closed())));
        // There is room again.
        runtime.block_on(async {
            let answer = async { requests_answered(&requests).await };
            assert!(tokio::join!(handle.status(), answer).0.is_ok());
        });
        drop(requests);
        assert_eq!(runtime.block_on(handle.status()), Err(Ending));
    }

    async fn requests_answered(requests: &mpsc::Receiver<Request>) {
        let Ok(Request::Status(reply)) = requests.try_recv() else { panic!("no request") };
        let _ = reply.send(Status::default());
    }
}
