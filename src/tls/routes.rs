//! Where a connection goes, by the server's name in its first message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::choice::{self, Backend, BackendAddress, BackendEvent};
use super::names::{Names, Pattern};
use crate::clock;

/// A backend that failed comes after the others for so long.
const REST: Duration = Duration::from_secs(5);

/// What happens to a connection of some names.
#[derive(Debug)]
pub struct Route {
    /// What the configuration calls it.
    pub name: String,
    /// Whether the backend gets it as it came: we have no key for it. Else TLS ends here, and it gets plaintext.
    pub pass_through: bool,
    /// Where it may go; there is at least one.
    pub backends: Vec<Arc<Upstream>>,
    /// Backends that are as good as each other have their turns.
    turn: AtomicUsize,
}

/// A backend, and how it does.
#[derive(Debug)]
pub struct Upstream {
    /// Where it is.
    pub address: BackendAddress,
    /// Connections that it has.
    open: AtomicU64,
    /// Connections that it took.
    taken: AtomicU64,
    /// Attempts that it refused, or did not answer in time.
    failed: AtomicU64,
    /// When it last did so, since it last took one: nanoseconds of the monotonic time; 0 if it did not.
    failed_at: AtomicU64,
}

impl Upstream {
    /// A backend that nobody has tried yet.
    #[must_use]
    pub fn new(address: BackendAddress) -> Self {
        let zero = AtomicU64::default;
        Self { address, open: zero(), taken: zero(), failed: zero(), failed_at: zero() }
    }

    /// Connections that it has.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections that it took so far.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Attempts that failed so far.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Whether the last attempt failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failed_at.load(Ordering::Relaxed) != 0
    }

    /// The least is the best: who failed lately comes last, and who has few connections first.
    fn rank(&self, now: u64) -> (u64, u64) {
        let failed_at = self.failed_at.load(Ordering::Relaxed);
        let rests = failed_at != 0 && now.saturating_sub(failed_at) < REST.as_nanos() as u64;
        (if rests { failed_at } else { 0 }, self.open())
    }

    fn note(&self, event: &BackendEvent<'_>, now: u64) {
        match event {
            BackendEvent::Connected => {
                self.open.fetch_add(1, Ordering::Relaxed);
                self.taken.fetch_add(1, Ordering::Relaxed);
                self.failed_at.store(0, Ordering::Relaxed);
            }
            BackendEvent::Refused | BackendEvent::TimedOut => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                self.failed_at.store(now, Ordering::Relaxed);
            }
            BackendEvent::Closed { .. } => {
                self.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

impl Route {
    /// A route to these backends, of which there has to be one.
    #[must_use]
    pub fn new(name: &str, pass_through: bool, backends: Vec<Arc<Upstream>>) -> Self {
        Self { name: name.to_owned(), pass_through, backends, turn: AtomicUsize::new(0) }
    }

    fn best(&self, now: u64) -> Option<usize> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.backends.len();
        let rank = |at: &usize| self.backends.get(*at).map(|backend| backend.rank(now));
        (0..count).map(|at| at.wrapping_add(turn) % count).min_by_key(rank)
    }
}

impl choice::Route for Route {
    fn backend(&self, tried: usize) -> Option<Backend> {
        // Who failed is the last by now.
        let id = self.best(clock::now().as_nanos()).filter(|_| tried < self.backends.len())?;
        Some(Backend { address: self.backends.get(id)?.address.clone(), id })
    }

    fn note(&self, backend: &Backend, event: BackendEvent<'_>) {
        if let Some(upstream) = self.backends.get(backend.id) {
            upstream.note(&event, clock::now().as_nanos());
        }
    }
}

/// All routes of a listener.
#[derive(Debug, Default)]
pub struct Routes(Names<Arc<Route>>);

/// Two routes for the same name, or two without any.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("another route has {0} already")]
pub struct Taken(pub String);

impl Routes {
    /// Adds a route for these names; without names it is the default.
    ///
    /// # Errors
    /// The first name that another route has.
    pub fn add(&mut self, patterns: &[Pattern], route: &Arc<Route>) -> Result<(), Taken> {
        if patterns.is_empty() && self.0.default_mut().replace(route.clone()).is_some() {
            return Err(Taken("every other name".to_owned()));
        }
        for pattern in patterns {
            match self.0.entry(pattern.clone()) {
                std::collections::hash_map::Entry::Occupied(_) => return Err(Taken(pattern.to_string())),
                std::collections::hash_map::Entry::Vacant(vacant) => vacant.insert(route.clone()),
            };
        }
        Ok(())
    }

    /// The route of a name: the exact name's, then a wildcard's, then the default; `None` if nobody wants it.
    #[must_use]
    pub fn find(&self, name: Option<&str>) -> Option<&Arc<Route>> {
        self.0.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use choice::Route as _;

    fn upstream(name: &str) -> Arc<Upstream> {
        Arc::new(Upstream::new(BackendAddress::Unix(std::path::Path::new(name).into())))
    }

    fn route(name: &str) -> Arc<Route> {
        Arc::new(Route::new(name, false, vec![upstream("/run/app.sock")]))
    }

    /// The backends that a connection is offered while each refuses it.
    fn refused_by_all(route: &Route) -> Vec<usize> {
        (0..)
            .map_while(|tried| route.backend(tried))
            .inspect(|backend| route.note(backend, BackendEvent::Refused))
            .map(|backend| backend.id)
            .collect()
    }

    fn patterns(names: &[&str]) -> Vec<Pattern> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_finds_its_route_and_without_a_default_a_stranger_finds_none() {
        let mut routes = Routes::default();
        let (web, mail) = (route("web"), route("mail"));
        routes.add(&patterns(&["www.example.com", "example.com"]), &web).unwrap();
        routes.add(&patterns(&["*.example.com"]), &mail).unwrap();
        let found = |routes: &Routes, name| routes.find(name).map(|route| route.name.clone());
        assert_eq!(found(&routes, Some("WWW.example.com")).as_deref(), Some("web"));
        assert_eq!(found(&routes, Some("mail.example.com")).as_deref(), Some("mail"));
        assert_eq!((found(&routes, Some("example.org")), found(&routes, None)), (None, None));
        routes.add(&[], &web).unwrap();
        assert_eq!(found(&routes, None).as_deref(), Some("web"));
    }

    #[test]
    fn two_routes_for_one_name_are_refused() {
        let mut routes = Routes::default();
        let route = route("web");
        routes.add(&patterns(&["a.example", "*.a.example"]), &route).unwrap();
        routes.add(&[], &route).unwrap();
        for (names, taken) in [
            (&["b.example", "A.example"][..], "a.example"),
            (&["*.a.example"], "*.a.example"),
            (&[], "every other name"),
        ] {
            assert_eq!(routes.add(&patterns(names), &route), Err(Taken(taken.to_owned())));
        }
    }

    #[test]
    fn the_backend_with_the_fewest_connections_gets_the_next() {
        let route = Route::new("web", false, vec![upstream("/a"), upstream("/b"), upstream("/c")]);
        let mut given: Vec<_> = (0..6)
            .map(|_| route.backend(0).unwrap())
            .inspect(|backend| {
                route.note(backend, BackendEvent::Connected);
            })
            .collect();
        for upstream in &route.backends {
            assert_eq!(upstream.open(), 2);
        }
        let one = given.pop().unwrap();
        for _ in 0..2 {
            route.note(&one, BackendEvent::Closed { upward: 0, downward: 0, failure: None });
        }
        let next = [(); 2].map(|()| {
            let next = route.backend(0).unwrap();
            route.note(&next, BackendEvent::Connected);
            next.id
        });
        assert_eq!(next, [one.id; 2]);
        assert_eq!(route.backends.iter().map(|one| one.taken()).sum::<u64>(), 8);
    }

    #[test]
    fn each_backend_is_tried_once_and_who_failed_is_avoided() {
        let route = Route::new("web", false, vec![upstream("/a"), upstream("/b"), upstream("/c")]);
        for _ in 0..3 {
            let mut tried = refused_by_all(&route);
            tried.sort_unstable();
            assert_eq!(tried, [0, 1, 2]);
        }
        let back = Backend { address: route.backends[1].address.clone(), id: 1 };
        route.note(&back, BackendEvent::Connected);
        assert!(!route.backends[1].is_failing() && route.backends[0].is_failing());
        for _ in 0..5 {
            assert_eq!(route.backend(0).unwrap().id, 1, "with a connection more, but it works");
        }
        let later = clock::now().as_nanos() + REST.as_nanos() as u64;
        assert_ne!(route.best(later), Some(1), "the others are tried again");
    }
}
