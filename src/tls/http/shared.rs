//! Connections to backends that many requests share (RFC 9113).

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http2;
use hyper::rt::{Read, Write};
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::activity::Activity;
use super::body::RequestBody;
use super::executor::Local;

/// Requests of one connection at a time; whoever comes beyond makes another.
const STREAMS: u32 = 64;
/// What a backend may send ahead of one answer: all of them together cannot use up the connection's window, so a client that
/// takes nothing stops nobody else.
const WINDOW: u32 = 262_144;

/// A connection, and how it does.
pub(super) struct Shared {
    pub(super) sender: http2::SendRequest<RequestBody>,
    load: Rc<Load>,
}

/// What goes on on it.
#[derive(Debug)]
pub(super) struct Load {
    activity: Rc<Activity>,
    streams: Cell<usize>,
    /// As many as there may be, by what the backend says too.
    most: Cell<usize>,
    /// When the first of its streams began, or the last ended.
    since: Cell<Instant>,
    /// How long it may say nothing while it has streams.
    patience: Duration,
    failed: Cell<bool>,
}

impl Load {
    /// It is not to be used again: it did not answer, or said that it ends.
    pub(super) fn fail(&self) {
        self.failed.set(true);
    }

    /// Whether nothing came for long, with something to come.
    fn is_quiet(&self) -> bool {
        self.streams.get() > 0 && self.activity.heard().max(self.since.get()).elapsed() >= self.patience
    }
}

/// The right to one stream.
pub(super) struct Slot(Rc<Load>);

impl Slot {
    /// Of which connection.
    pub(super) fn load(&self) -> &Rc<Load> {
        &self.0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let left = self.0.streams.get().saturating_sub(1);
        self.0.streams.set(left);
        if left == 0 {
            self.0.since.set(Instant::now());
        }
    }
}

impl Shared {
    /// Speaks HTTP/2 on a stream. A backend that says nothing for `patience` gets no more requests there.
    ///
    /// # Errors
    /// The stream broke.
    pub(super) async fn begin(
        stream: impl Read + Write + Unpin + 'static,
        activity: Rc<Activity>,
        patience: Duration,
    ) -> hyper::Result<Self> {
        activity.share();
        let mut builder = http2::Builder::new(Local);
        builder.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW * STREAMS);
        let (sender, mut connection) = builder.handshake(stream).await?;
        let load = Rc::new(Load {
            activity,
            streams: Cell::new(0),
            most: Cell::new(STREAMS as usize),
            since: Cell::new(Instant::now()),
            patience,
            failed: Cell::new(false),
        });
        let told = load.clone();
        spawn_local(async move {
            // Requests are told themselves.
            let _ = poll_fn(|cx| {
                let ended = Pin::new(&mut connection).poll(cx);
                told.most.set(connection.current_max_send_streams().clamp(1, STREAMS as usize));
                ended
            })
            .await;
        });
        Ok(Self { sender, load })
    }

    /// The right to one more stream, if there is room for it.
    pub(super) fn slot(&self) -> Option<Slot> {
        let streams = self.load.streams.get();
        if streams >= self.load.most.get() || self.is_over() || self.load.is_quiet() {
            return None;
        }
        if streams == 0 {
            self.load.since.set(Instant::now());
        }
        self.load.streams.set(streams + 1);
        Some(Slot(self.load.clone()))
    }

    /// Whether nothing more can be sent on it.
    pub(super) fn is_over(&self) -> bool {
        self.sender.is_closed() || self.load.failed.get()
    }

    /// Since when it has been without a request.
    pub(super) fn rests_since(&self) -> Option<Instant> {
        (self.load.streams.get() == 0).then(|| self.load.since.get())
    }
}
