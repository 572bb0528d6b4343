//! Looks after the backends of one `[tls.NAME]`: checks them, and looks up their names. A thread of its own, for neither may
//! hold up a data thread.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_blocking, spawn_local};
use tokio::time::{sleep, timeout};

use super::front::Front;
use super::health::{Change, Check, ask};
use super::lookup::{self, Name, Told};
use super::routes::Route;
use super::upstream::Upstream;
use crate::clock;

/// How long it sleeps when there is nothing to do.
const IDLE: Duration = Duration::from_secs(3600);

/// The thread.
#[derive(Debug)]
pub(super) struct Attendant {
    bell: Arc<Notify>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Attendant {
    /// Starts it for the terminator of this name. It looks again at what `front` goes by whenever `bell` is rung.
    ///
    /// # Errors
    /// The system has no thread.
    pub(super) fn start(name: &str, front: Arc<Front>, bell: Arc<Notify>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ending = Arc::new(AtomicBool::new(false));
        let (end, rung) = (ending.clone(), bell.clone());
        let name: Arc<str> = name.into();
        let work = move || {
            LocalSet::new().block_on(&runtime, attend(&name, &front, &rung, &end));
            // A name that the system is still looking up is nobody's any more.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("tls-backends".into()).spawn(work)?;
        Ok(Self { bell, ending, thread: Some(thread) })
    }
}

impl Drop for Attendant {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        self.bell.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn attend(name: &Arc<str>, front: &Front, bell: &Arc<Notify>, ending: &AtomicBool) {
    while !ending.load(Ordering::Relaxed) {
        let now = clock::now().as_nanos();
        let due = front.rules().routes.values().map(|route| look_after(name, route, bell, now)).min();
        let pause = due.map_or(IDLE, |due| Duration::from_nanos(due.saturating_sub(now)).min(IDLE));
        let (mut sleep, mut rung) = (pin!(sleep(pause)), pin!(bell.notified()));
        std::future::poll_fn(|cx| {
            let over = sleep.as_mut().poll(cx).is_ready() || rung.as_mut().poll(cx).is_ready();
            if over { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

/// Begins what is due of a route. When the next is.
fn look_after(terminator: &Arc<str>, route: &Arc<Route>, bell: &Arc<Notify>, now: u64) -> u64 {
    let mut next = u64::MAX;
    for name in route.names() {
        if name.due() <= now {
            name.begin();
            spawn_local(look_up(terminator.clone(), route.clone(), name.clone(), bell.clone()));
        }
        next = next.min(name.due());
    }
    let Some(check) = &route.settings.check else { return next };
    for upstream in route.backends() {
        if upstream.health.due() <= now {
            upstream.health.begin();
            let (route, bell) = (route.clone(), bell.clone());
            spawn_local(examine(terminator.clone(), route, upstream.clone(), check.clone(), bell));
        }
        next = next.min(upstream.health.due());
    }
    next
}

async fn look_up(terminator: Arc<str>, route: Arc<Route>, name: Arc<Name>, bell: Arc<Notify>) {
    let asked = name.clone();
    let answer = spawn_blocking(move || lookup::ask(&asked.host, asked.port)).await;
    let answer = answer.unwrap_or_else(|failed| Err(failed.to_string()));
    let (route_name, host) = (&route.name, &name.host);
    let told = name.note(answer, clock::now().as_nanos());
    let found = name.found();
    match told {
        Told::Same => {}
        Told::Moved => {
            let all: Vec<_> = found.addresses.iter().map(|address| address.ip().to_string()).collect();
            tracing::info!("{terminator}: backend {host} of route {route_name} is at {}", all.join(", "));
            route.refresh();
        }
        Told::Back => tracing::info!("{terminator}: backend {host} of route {route_name} is found again"),
        Told::Failed => {
            let error = found.error.unwrap_or_default();
            let kept = found.addresses.len();
            tracing::warn!(
                "{terminator}: backend {host} of route {route_name} is not found: {error}; {kept} addresses of before are used"
            );
        }
    }
    bell.notify_one();
}

async fn examine(
    terminator: Arc<str>,
    route: Arc<Route>,
    upstream: Arc<Upstream>,
    check: Check,
    bell: Arc<Notify>,
) {
    let begun = clock::now().as_nanos();
    let late = || Err(format!("no answer within {} s", check.timeout.as_secs_f64()));
    let outcome = match route.how(&check, &upstream) {
        Ok(how) => timeout(check.timeout, ask(&upstream.address, &how)).await.unwrap_or_else(|_| late()),
        Err(refused) => Err(refused.to_string()),
    };
    let change = upstream.health.note(&check, outcome, begun, clock::now().as_nanos());
    let (address, route) = (&upstream.address, &route.name);
    match change {
        Some(Change::Up) => tracing::info!("{terminator}: backend {address} of route {route} is up"),
        Some(Change::Down) => {
            let error = upstream.health.record().error.unwrap_or_default();
            tracing::warn!("{terminator}: backend {address} of route {route} is down: {error}");
        }
        None => {}
    }
    bell.notify_one();
}
