//! Connections to backends: kept for the next request, and made when there is none.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Request;
use hyper::body::{Bytes, Frame, SizeHint};
use hyper::client::conn::http2;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use super::activity::Activity;
use super::answer::{Answer, Left, Unanswered, send_alone, send_along};
use super::body::RequestBody;
use super::head::Head;
use super::mistake::Mistake;
use super::response::Source;
use super::settings::Rules;
use super::shared::{Shared, Slot};
use super::single::Single;
use super::stream::Stream;
use crate::tls::buffers::Pool;
use crate::tls::choice::{Backend, BackendEvent, Route};
use crate::tls::connection::LATE;
use crate::tls::dial::dial;

/// How long a connection is kept without a request: less than most backends do.
const KEPT: Duration = Duration::from_secs(30);
/// How often is looked for those that were kept for long.
const SWEEP: Duration = Duration::from_secs(5);

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

/// A connection that is used.
enum Connection {
    Single(Box<Single>),
    Shared(http2::SendRequest<RequestBody>, Slot),
}

/// Connections by rules and backend: after a reload they are others.
type Key = (usize, usize);

#[derive(Default)]
struct Kept {
    /// The last that came back is the first that is used.
    single: Vec<(Box<Single>, Instant)>,
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

/// The right to use a connection for one request; when it is given up, the next may.
pub(super) struct Lease {
    /// `None`: it is given up.
    single: Option<Box<Single>>,
    key: Key,
    rules: Arc<Rules>,
    backends: Rc<Backends>,
}

impl Lease {
    /// The next of the answer's content; `None`: that was all.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Mistake>>> {
        self.single.as_mut().map_or(Poll::Ready(None), |single| single.poll_frame(cx))
    }

    /// Whether something of the request is left.
    pub(super) fn is_sending(&self) -> bool {
        self.single.as_ref().is_some_and(|single| single.is_sending())
    }

    /// Sends it: ready when there is no more, or it does not go on.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.single.as_mut().map_or(Poll::Ready(()), |single| single.poll_rest(cx))
    }

    /// Whether all of it came.
    pub(super) fn is_over(&self) -> bool {
        self.single.as_ref().is_none_or(|single| single.is_over())
    }

    /// How much of it is left.
    pub(super) fn size_hint(&self) -> SizeHint {
        self.single.as_ref().map_or(SizeHint::with_exact(0), |single| single.size_hint())
    }

    /// The connection of an answer by which it was upgraded. Nobody else gets it.
    pub(super) fn into_upgraded(mut self) -> Option<(Stream, Bytes)> {
        self.single.take().map(|single| single.into_upgraded())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(single) = self.single.take() {
            self.backends.keep(self.key, &self.rules, single);
        }
    }
}

/// Why there is no connection.
pub(super) struct Unconnected {
    /// It took too long.
    pub(super) late: bool,
    /// What is wrong, in words.
    pub(super) why: String,
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
        while let Some((mut single, _)) = kept.single.pop() {
            if single.is_free() {
                return Some(Connection::Single(single));
            }
        }
        None
    }

    /// Keeps it for the next request, if there may be one.
    fn keep(self: &Rc<Self>, key: Key, rules: &Arc<Rules>, mut single: Box<Single>) {
        if rules.settings.backend_idle == 0 || !single.is_free() {
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
            kept.single.retain_mut(|(single, since)| !rests(*since) && single.is_free());
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
    /// Why there is no answer.
    pub(super) async fn reuse(
        self: &Rc<Self>,
        backend: &Backend,
        rules: &Arc<Rules>,
        request: &mut Request<RequestBody>,
    ) -> Result<Answer, Unanswered> {
        let key = Self::key(rules, backend);
        match self.kept(key) {
            Some(connection) => self.send(connection, key, rules, request, true).await,
            None => {
                let (left, refused) = (Left::Unsent, None);
                Err(Unanswered { left, reused: false, silent: true, refused, why: None })
            }
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
        request: &mut Request<RequestBody>,
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
        Err(Unconnected { late, why })
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
        let patience = open.route.timeouts().connect;
        let stream = Stream::of_backend(socket, self.pool.clone(), activity.clone(), open);
        if !rules.settings.backend_http2 {
            return Ok(Connection::Single(Box::new(Single::new(stream))));
        }
        let shared = Shared::begin(stream, activity, patience).await.map_err(io::Error::other)?;
        let slot = shared.slot().ok_or(io::ErrorKind::ConnectionAborted)?;
        let sender = shared.sender.clone();
        self.share(key, rules, shared);
        Ok(Connection::Shared(sender, slot))
    }

    async fn send(
        self: &Rc<Self>,
        connection: Connection,
        key: Key,
        rules: &Arc<Rules>,
        request: &mut Request<RequestBody>,
        reused: bool,
    ) -> Result<Answer, Unanswered> {
        match connection {
            Connection::Single(mut single) => {
                let Head { status, headers, .. } = send_alone(&mut single, request, reused).await?;
                single.goes_on(request.body_mut());
                let (rules, backends) = (rules.clone(), self.clone());
                let source = Source::alone(Lease { single: Some(single), key, rules, backends });
                Ok(Answer { status, headers, source })
            }
            Connection::Shared(sender, slot) => send_along(sender, slot, request, reused).await,
        }
    }
}

#[cfg(test)]
mod tests;
