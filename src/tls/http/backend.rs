//! Connections to backends: kept for the next request, and made when there is none.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::{Request, Response};
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use super::activity::Activity;
use super::body::RequestBody;
use super::settings::Rules;
use super::shared::{Shared, Slot};
use super::stream::Stream;
use crate::tls::buffers::Pool;
use crate::tls::choice::{Backend, BackendEvent, Route, Timeouts};
use crate::tls::connection::LATE;
use crate::tls::dial::dial;

/// How long a connection is kept without a request: less than most backends do.
const KEPT: Duration = Duration::from_secs(30);
/// How often is looked for those that were kept for long.
const SWEEP: Duration = Duration::from_secs(5);
/// Of an answer's head.
const HEAD: usize = 65_536;

/// A connection that counts as one of its backend.
pub(super) struct Open {
    route: Arc<dyn Route>,
    backend: Backend,
    activity: Rc<Activity>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let (downward, upward) = self.activity.bytes();
        // Requests tell how they ended; that a connection ended tells nothing.
        self.route.note(&self.backend, BackendEvent::Closed { upward, downward, failure: None });
    }
}

/// What is left of a backend's connection that was upgraded.
pub(super) type Upgraded = (Stream, Bytes);

/// A connection with one request at a time.
struct Single {
    sender: http1::SendRequest<RequestBody>,
    /// Who wants to have the connection once it was upgraded.
    upgrade: Rc<RefCell<Option<oneshot::Sender<Upgraded>>>>,
}

/// A connection that is used.
enum Connection {
    Single(Single),
    Shared(http2::SendRequest<RequestBody>, Slot),
}

/// Connections by rules and backend: after a reload they are others.
type Key = (usize, usize);

#[derive(Default)]
struct Kept {
    /// The last that came back is the first that is used.
    single: Vec<(Single, Instant)>,
    /// The first that has room is used.
    shared: Vec<Shared>,
    /// The rules have to stay, or others could have their place.
    rules: Option<Arc<Rules>>,
}

/// Connections to all backends of one thread.
pub(super) struct Backends {
    kept: RefCell<HashMap<Key, Kept>>,
    /// Whether a task looks for those that were kept for long.
    sweeping: Cell<bool>,
    /// How often it does.
    every: Duration,
    pool: Rc<Pool>,
}

/// The right to use a connection; when it is given up, the next may.
pub(super) struct Lease {
    single: Option<Single>,
    _slot: Option<Slot>,
    key: Key,
    rules: Arc<Rules>,
    backends: Rc<Backends>,
}

impl Lease {
    /// Ends the connection: nobody may use it again.
    pub(super) fn discard(mut self) {
        self.single = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(single) = self.single.take() {
            self.backends.keep(self.key, &self.rules, single);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What a backend answered, and the connection that the rest of it comes on.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Option<Lease>,
    /// Where the connection will be if it is upgraded.
    pub(super) upgraded: oneshot::Receiver<Upgraded>,
}

/// Why there is no answer.
pub(super) struct Unanswered {
    /// Nothing of it was sent: it may be sent elsewhere.
    pub(super) unsent: Option<Request<RequestBody>>,
    /// The connection had served others before.
    pub(super) reused: bool,
    /// It ended without a word, as it does when a backend closes it.
    pub(super) silent: bool,
    /// It was not processed, as the backend says: it does no harm to ask again (RFC 9113, section 8.7).
    pub(super) refused: Option<Refused>,
    /// What is wrong, in words, if something is.
    pub(super) why: Option<String>,
}

/// Why there is no connection.
pub(super) struct Unconnected {
    pub(super) request: Request<RequestBody>,
    /// It took too long.
    pub(super) late: bool,
    /// What is wrong, in words.
    pub(super) why: String,
}

/// What of a backend's connection does not take a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refused {
    /// The stream.
    Stream,
    /// All of it: it ends.
    Ending,
}

impl Backends {
    pub(super) fn new(pool: Rc<Pool>) -> Rc<Self> {
        Rc::new(Self { kept: RefCell::default(), sweeping: Cell::new(false), every: SWEEP, pool })
    }

    fn key(rules: &Arc<Rules>, backend: &Backend) -> Key {
        (Arc::as_ptr(rules).addr(), backend.id)
    }

    /// A connection that is there and free.
    fn kept(&self, key: Key) -> Option<Connection> {
        let mut all = self.kept.borrow_mut();
        let kept = all.get_mut(&key)?;
        kept.shared.retain(|shared| !shared.is_over());
        let free = kept.shared.iter().find_map(|shared| Some((shared, shared.slot()?)));
        if let Some((shared, slot)) = free {
            return Some(Connection::Shared(shared.sender.clone(), slot));
        }
        kept.single.retain(|(single, _)| !single.sender.is_closed());
        let at = kept.single.iter().rposition(|(single, _)| single.sender.is_ready())?;
        Some(Connection::Single(kept.single.remove(at).0))
    }

    fn keep(self: &Rc<Self>, key: Key, rules: &Arc<Rules>, single: Single) {
        if single.sender.is_closed() || rules.settings.backend_idle == 0 {
            return;
        }
        let mut all = self.kept.borrow_mut();
        let kept = all.entry(key).or_default();
        kept.rules.get_or_insert_with(|| rules.clone());
        if kept.single.len() >= rules.settings.backend_idle {
            kept.single.remove(0);
        }
        kept.single.push((single, Instant::now()));
        self.sweep();
    }

    fn share(self: &Rc<Self>, key: Key, rules: &Arc<Rules>, shared: Shared) {
        let mut all = self.kept.borrow_mut();
        let kept = all.entry(key).or_default();
        kept.rules.get_or_insert_with(|| rules.clone());
        kept.shared.push(shared);
        self.sweep();
    }

    /// Lets go of what was kept for long, as long as anything is kept.
    fn sweep(self: &Rc<Self>) {
        if self.sweeping.replace(true) {
            return;
        }
        let (backends, every) = (Rc::downgrade(self), self.every);
        spawn_local(async move {
            loop {
                sleep(every).await;
                let Some(backends) = backends.upgrade() else { return };
                if !backends.let_go(Instant::now()) {
                    return backends.sweeping.set(false);
                }
            }
        });
    }

    /// Lets go of what was kept for long, or ended. Whether anything is left.
    fn let_go(&self, now: Instant) -> bool {
        let mut all = self.kept.borrow_mut();
        all.retain(|_, kept| {
            let rests = |since: Instant| now.saturating_duration_since(since) >= KEPT;
            kept.single.retain(|(single, since)| !rests(*since) && !single.sender.is_closed());
            // Of rules that are gone nobody asks any more.
            let wanted = kept.rules.as_ref().is_some_and(|rules| Arc::strong_count(rules) > 1);
            kept.shared
                .retain(|shared| wanted && !shared.is_over() && !shared.rests_since().is_some_and(rests));
            !kept.single.is_empty() || !kept.shared.is_empty()
        });
        !all.is_empty()
    }

    /// Sends a request on a connection that is there, if one is.
    ///
    /// # Errors
    /// Why there is no answer. The request itself, if there is no connection.
    pub(super) async fn reuse(
        self: &Rc<Self>,
        backend: &Backend,
        rules: &Arc<Rules>,
        request: Request<RequestBody>,
    ) -> Result<Answer, Unanswered> {
        let key = Self::key(rules, backend);
        match self.kept(key) {
            Some(connection) => self.send(connection, key, rules, request, true).await,
            None => Err(Unanswered {
                unsent: Some(request),
                reused: false,
                silent: true,
                refused: None,
                why: None,
            }),
        }
    }

    /// Makes a connection, and sends a request on it.
    ///
    /// # Errors
    /// There is no connection; or why there is no answer.
    pub(super) async fn connect(
        self: &Rc<Self>,
        backend: &Backend,
        (route, rules): (&Arc<dyn Route>, &Arc<Rules>),
        request: Request<RequestBody>,
    ) -> Result<Result<Answer, Unanswered>, Unconnected> {
        let key = Self::key(rules, backend);
        let made = timeout(route.timeouts().connect, self.establish(backend, route, (rules, key))).await;
        let (why, event) = match made {
            Ok(Ok(connection)) => return Ok(self.send(connection, key, rules, request, false).await),
            Ok(Err(error)) => (error.to_string(), BackendEvent::Refused),
            Err(_) => (LATE.to_owned(), BackendEvent::TimedOut),
        };
        let late = matches!(event, BackendEvent::TimedOut);
        route.complain(backend, &why);
        route.note(backend, event);
        Err(Unconnected { request, late, why })
    }

    async fn establish(
        self: &Rc<Self>,
        backend: &Backend,
        route: &Arc<dyn Route>,
        (rules, key): (&Arc<Rules>, Key),
    ) -> io::Result<Connection> {
        let protocol: &[u8] = if rules.settings.backend_http2 { b"h2" } else { b"http/1.1" };
        let tls = route.tls(backend, Some(protocol)).map_err(io::Error::other)?;
        let socket = dial(&backend.address, &[], tls).await?;
        route.note(backend, BackendEvent::Connected);
        let activity = Rc::new(Activity::new());
        let (route, backend) = (route.clone(), backend.clone());
        let open = Open { route, backend, activity: activity.clone() };
        let Timeouts { connect: patience, idle, .. } = open.route.timeouts();
        let stream = Stream::of_backend(socket, self.pool.clone(), activity.clone(), open);
        if rules.settings.backend_http2 {
            let shared = Shared::begin(stream, activity, patience).await.map_err(io::Error::other)?;
            let slot = shared.slot().ok_or(io::ErrorKind::ConnectionAborted)?;
            let sender = shared.sender.clone();
            self.share(key, rules, shared);
            return Ok(Connection::Shared(sender, slot));
        }
        let mut builder = http1::Builder::new();
        builder.max_header_size(HEAD);
        let (sender, mut connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
        let upgrade = Rc::new(RefCell::new(None::<oneshot::Sender<Upgraded>>));
        let wanted = upgrade.clone();
        // Who waits for the head of an answer gives up by itself.
        let idle = idle.max(rules.settings.answer_timeout * 2);
        spawn_local(async move {
            let ended = tokio::select! {
                biased;
                ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended,
                // Where requests share the client's connection, it does not show there that one of them is silent.
                () = activity.rests(idle) => return,
            };
            let parts = connection.into_parts();
            if let (Ok(()), Some(wanted)) = (ended, wanted.take()) {
                // Whoever asked for it may have left.
                let _ = wanted.send((parts.io, parts.read_buf));
            }
        });
        Ok(Connection::Single(Single { sender, upgrade }))
    }

    async fn send(
        self: &Rc<Self>,
        connection: Connection,
        key: Key,
        rules: &Arc<Rules>,
        request: Request<RequestBody>,
        reused: bool,
    ) -> Result<Answer, Unanswered> {
        let (wanted, upgraded) = oneshot::channel();
        let unanswered = |error: TrySendError<Request<RequestBody>>| {
            let mut error = error;
            let unsent = error.take_message();
            let error = error.into_error();
            let silent =
                error.is_incomplete_message() || error.is_closed() || error.is_canceled() || is_reset(&error);
            Unanswered { unsent, reused, silent, refused: refused(&error), why: Some(words(&error)) }
        };
        match connection {
            Connection::Shared(mut sender, slot) => {
                request.body().goes(Some(slot.load().clone()));
                let response = sender.try_send_request(request).await.map_err(|error| {
                    let failed = unanswered(error);
                    if failed.refused == Some(Refused::Ending) {
                        slot.load().fail();
                    }
                    failed
                })?;
                let (rules, backends) = (rules.clone(), self.clone());
                let lease = Lease { single: None, _slot: Some(slot), key, rules, backends };
                Ok(Answer { response, lease: Some(lease), upgraded })
            }
            Connection::Single(mut single) => {
                request.body().goes(None);
                single.upgrade.replace(Some(wanted));
                let response = single.sender.try_send_request(request).await.map_err(unanswered)?;
                let (rules, backends) = (rules.clone(), self.clone());
                let lease = Lease { single: Some(single), _slot: None, key, rules, backends };
                Ok(Answer { response, lease: Some(lease), upgraded })
            }
        }
    }
}

/// What went wrong, with what is behind it.
pub(super) fn words(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Whether a backend says that it did not process a request.
fn refused(error: &hyper::Error) -> Option<Refused> {
    let error = std::error::Error::source(error)?.downcast_ref::<h2::Error>()?;
    // Streams that a backend took end otherwise, if their connection does.
    if error.is_go_away() && error.is_remote() {
        return Some(Refused::Ending);
    }
    let stream = error.is_reset() && error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    stream.then_some(Refused::Stream)
}

/// Whether a connection was reset, or its other end was gone already.
fn is_reset(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    source.is_some_and(|source| kinds.contains(&source.kind()))
}

#[cfg(test)]
mod tests;
