//! How other threads speak to the gateway.

use std::fmt;
use std::sync::{Arc, mpsc};

use tokio::sync::oneshot;

use crate::datapath::Tracer;
use crate::status::Status;

/// What the gateway can be asked for. The answer goes to the sender.
#[derive(Debug)]
pub enum Request {
    /// Everything there is to tell.
    Status(oneshot::Sender<Status>),
    /// To read its file again. What was changed, in words, or what is wrong; then nothing was changed.
    Reload(oneshot::Sender<Result<String, String>>),
    /// Where dropped packets can be watched.
    Trace(oneshot::Sender<Vec<TraceSource>>),
    /// To end in good order.
    Stop,
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
    /// Its dropped packets.
    pub tracer: Arc<Tracer>,
}

/// Speaks to the gateway. All of it fails once the gateway ends.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
}

/// The gateway is ending.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the gateway is ending")]
pub struct Ending;

impl Handle {
    /// A handle, and the other end of it.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, receiver) = mpsc::channel();
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
    pub async fn reload(&self) -> Result<Result<String, String>, Ending> {
        self.ask(Request::Reload).await
    }

    /// Where the dropped packets of each tunnel can be watched.
    ///
    /// # Errors
    /// [`Ending`]
    pub async fn trace(&self) -> Result<Vec<TraceSource>, Ending> {
        self.ask(Request::Trace).await
    }

    /// As [`Self::reload`], for a thread that may wait.
    ///
    /// # Errors
    /// [`Ending`]
    pub fn reload_blocking(&self) -> Result<Result<String, String>, Ending> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Reload(reply)).map_err(|_| Ending)?;
        answer.blocking_recv().map_err(|_| Ending)
    }

    /// Ends the gateway.
    pub fn stop(&self) {
        let _ = self.requests.send(Request::Stop);
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Ending> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).map_err(|_| Ending)?;
        answer.await.map_err(|_| Ending)
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.changed)?;
        self.faults.iter().try_for_each(|fault| write!(f, "; but {fault}"))
    }
}
