//! Looks after the backends of one `[tls.NAME]`: checks them, and looks up their names. A thread of its own, for neither may
//! hold up a data thread.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_blocking, spawn_local};
use tokio::time::{sleep, timeout};

use super::front::{Front, Rules};
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
            let attendance = Attendance { terminator: name, front, bell: rung };
            LocalSet::new().block_on(&runtime, Rc::new(attendance).attend(&end));
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

/// What the thread goes by.
struct Attendance {
    terminator: Arc<str>,
    front: Arc<Front>,
    bell: Arc<Notify>,
}

impl Attendance {
    async fn attend(self: Rc<Self>, ending: &AtomicBool) {
        let mut known: Option<Arc<Rules>> = None;
        while !ending.load(Ordering::Relaxed) {
            let rules = self.front.rules();
            if !known.is_some_and(|known| Arc::ptr_eq(&known, &rules)) {
                // A name may have been answered between the making of these rules and now.
                rules.routes.values().for_each(|route| route.refresh());
            }
            let now = clock::now().as_nanos();
            let due = rules.routes.values().map(|route| self.look_after(route, now)).min();
            known = Some(rules);
            let pause = due.map_or(IDLE, |due| Duration::from_nanos(due.saturating_sub(now)).min(IDLE));
            let (mut sleep, mut rung) = (pin!(sleep(pause)), pin!(self.bell.notified()));
            std::future::poll_fn(|cx| {
                let over = sleep.as_mut().poll(cx).is_ready() || rung.as_mut().poll(cx).is_ready();
                if over { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
        }
    }

    /// Begins what is due of a route. When the next is.
    fn look_after(self: &Rc<Self>, route: &Arc<Route>, now: u64) -> u64 {
        let mut next = u64::MAX;
        for name in route.names() {
            if name.due() <= now {
                name.begin();
                spawn_local(self.clone().look_up(route.name.clone(), name.clone()));
            }
            next = next.min(name.due());
        }
        let Some(check) = &route.settings.check else { return next };
        for upstream in route.backends() {
            if upstream.health.due() <= now {
                upstream.health.begin();
                let (terminator, bell) = (self.terminator.clone(), self.bell.clone());
                spawn_local(examine(terminator, route.clone(), upstream.clone(), check.clone(), bell));
            }
            next = next.min(upstream.health.due());
        }
        next
    }

    async fn look_up(self: Rc<Self>, route: String, name: Arc<Name>) {
        let asked = name.clone();
        let answer = spawn_blocking(move || lookup::ask(&asked.host, asked.port)).await;
        self.learn(&route, &name, answer.unwrap_or_else(|failed| Err(failed.to_string())));
        self.bell.notify_one();
    }

    /// What the answer means for who goes by the name now: by which rules it was asked for is of no account.
    fn learn(&self, route: &str, name: &Arc<Name>, answer: Result<Vec<SocketAddr>, String>) {
        let told = name.note(answer, clock::now().as_nanos());
        let (terminator, host, found) = (&self.terminator, &name.host, name.found());
        match told {
            Told::Same => {}
            Told::Moved => {
                let all: Vec<_> = found.addresses.iter().map(|address| address.ip().to_string()).collect();
                tracing::info!("{terminator}: backend {host} of route {route} is at {}", all.join(", "));
                let rules = self.front.rules();
                let concerned =
                    |route: &&Arc<Route>| route.names().any(|followed| Arc::ptr_eq(followed, name));
                rules.routes.values().filter(concerned).for_each(|route| route.refresh());
            }
            Told::Back => tracing::info!("{terminator}: backend {host} of route {route} is found again"),
            Told::Failed => {
                let error = found.error.unwrap_or_default();
                let kept = found.addresses.len();
                tracing::warn!(
                    "{terminator}: backend {host} of route {route} is not found: {error}; {kept} addresses of before are used"
                );
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::tls::routes::{Settings, Target};

    fn route(before: Option<&Route>, bell: &Arc<Notify>) -> Arc<Route> {
        let target = Target::Name { host: "app.internal".into(), port: 80 };
        Arc::new(Route::new("app", Settings::default(), &[target], before, bell))
    }

    fn rules(route: &Arc<Route>) -> Rules {
        let routes = [("app".to_owned(), route.clone())].into_iter().collect();
        Rules { routes, ..Rules::default() }
    }

    fn answer(text: &str) -> Result<Vec<SocketAddr>, String> {
        Ok(vec![text.parse().unwrap()])
    }

    fn backends(route: &Route) -> Vec<String> {
        route.backends().iter().map(|backend| backend.address.to_string()).collect()
    }

    #[test]
    fn an_answer_to_what_was_asked_before_a_reload_moves_the_routes_of_after() {
        let bell = Arc::new(Notify::new());
        let old = route(None, &bell);
        let name = old.names().next().unwrap().clone();
        let front = Arc::new(Front::new(rules(&old)));
        let attendance = Attendance { terminator: "web".into(), front: front.clone(), bell: bell.clone() };
        attendance.learn("app", &name, answer("192.0.2.1:80"));
        let new = route(Some(&old), &bell);
        front.replace(rules(&new));
        attendance.learn("app", &name, answer("192.0.2.2:80"));
        assert_eq!(backends(&new), ["192.0.2.2:80"]);
    }

    #[test]
    fn an_answer_that_comes_while_a_reload_is_prepared_moves_its_routes_when_it_is_committed() {
        let bell = Arc::new(Notify::new());
        let old = route(None, &bell);
        let name = old.names().next().unwrap().clone();
        // It is not due for long.
        name.note(answer("192.0.2.1:80"), clock::now().as_nanos());
        let front = Arc::new(Front::new(rules(&old)));
        let _attendant = Attendant::start("web", front.clone(), bell.clone()).unwrap();
        let new = route(Some(&old), &bell);
        name.note(answer("192.0.2.2:80"), clock::now().as_nanos());
        front.replace(rules(&new));
        bell.notify_one();
        let begun = Instant::now();
        while backends(&new) != ["192.0.2.2:80"] {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", backends(&new));
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
