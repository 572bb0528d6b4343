//! Where a connection goes, by the server's name in its first message.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::backend_tls::BackendTls;
use super::choice::{self, Backend, BackendAddress, BackendEvent, Refused, Secured, Timeouts};
use super::clients::Identity;
use super::dial;
use super::health::{self, Check, How};
use super::http;
use super::lookup::Name;
use super::names::{Names, Pattern};
use super::proxy::{self, Passed};
use super::suite;
use super::upstream::Upstream;
use crate::clock;

/// Backends as the configuration names them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// One.
    Address(BackendAddress),
    /// As many as the name has addresses.
    Name {
        /// The host's name.
        host: String,
        /// The port.
        port: u16,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// What holds for all backends of a route.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Whether the backend gets it as it came: we have no key for it. Else TLS ends here, and it gets plaintext.
    pub pass_through: bool,
    /// How backends are checked; without it only connections tell.
    pub check: Option<Check>,
    /// How long the share of a backend grows once it is up again.
    pub slow_start: Option<Duration>,
    /// Whether backends are told of clients by a PROXY header, and in which form.
    pub proxy: Option<proxy::Version>,
    /// How TLS is spoken to backends; without it they get plaintext.
    pub tls: Option<BackendTls>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How requests are passed on, if what is inside is HTTP.
    pub http: Option<Arc<http::Rules>>,
}

/// What happens to a connection of some names.
#[derive(Debug)]
pub struct Route {
    /// What the configuration calls it.
    pub name: String,
    /// What holds for all of its backends.
    pub settings: Settings,
    /// Where it leads, in the configuration's order.
    targets: Vec<Way>,
    pool: ArcSwap<Pool>,
    /// Backends that are as good as each other have their turns.
    turn: AtomicUsize,
    /// Rung when a name is to be looked up.
    bell: Arc<Notify>,
    /// Whether another is in its place.
    replaced: watch::Sender<bool>,
}

/// A [`Target`] that is followed.
#[derive(Debug)]
enum Way {
    Address(BackendAddress),
    Name(Arc<Name>),
}

/// Backends of the moment.
#[derive(Debug, Default)]
struct Pool {
    active: Vec<Arc<Upstream>>,
    /// Those that names do not lead to any more, while they have connections.
    retired: Vec<Arc<Upstream>>,
}

impl Pool {
    fn all(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.active.iter().chain(&self.retired)
    }
}

impl Route {
    /// A route to these backends. Of those that it had `before` nothing is forgotten.
    #[must_use]
    pub fn new(
        name: &str,
        settings: Settings,
        targets: &[Target],
        before: Option<&Self>,
        bell: &Arc<Notify>,
    ) -> Self {
        let way = |target: &Target| match target {
            Target::Address(address) => Way::Address(address.clone()),
            Target::Name { host, port } => {
                let same = |name: &&Arc<Name>| (&name.host, name.port) == (host, *port);
                let known = before.and_then(|before| before.names().find(same).cloned());
                Way::Name(known.unwrap_or_else(|| Arc::new(Name::new(host, *port))))
            }
        };
        let route = Self {
            name: name.to_owned(),
            settings,
            targets: targets.iter().map(way).collect(),
            pool: ArcSwap::new(before.map(|before| before.pool.load_full()).unwrap_or_default()),
            turn: AtomicUsize::new(0),
            bell: bell.clone(),
            replaced: watch::Sender::new(false),
        };
        route.refresh();
        route
    }

    /// Those that connections may go to.
    #[must_use]
    pub fn backends(&self) -> Vec<Arc<Upstream>> {
        self.pool.load().active.clone()
    }

    /// Another is in its place: connections in HTTP mode are told to end.
    pub(super) fn retire(&self) {
        self.replaced.send_replace(true);
    }

    /// Names of backends.
    pub fn names(&self) -> impl Iterator<Item = &Arc<Name>> {
        self.targets.iter().filter_map(|way| match way {
            Way::Name(name) => Some(name),
            Way::Address(_) => None,
        })
    }

    /// Goes where its names lead now. One thread does it.
    pub(super) fn refresh(&self) {
        let old = self.pool.load_full();
        let (mut active, mut once) = (Vec::new(), HashSet::new());
        for way in &self.targets {
            let (addresses, name) = match way {
                Way::Address(address) => (vec![address.clone()], None),
                Way::Name(name) => {
                    let tcp = name.found().addresses.into_iter().map(BackendAddress::Tcp);
                    (tcp.collect(), Some(name))
                }
            };
            for address in addresses.into_iter().filter(|address| once.insert(address.to_string())) {
                let same = |known: &&Arc<Upstream>| {
                    known.address == address && known.name.as_ref().map(Arc::as_ptr) == name.map(Arc::as_ptr)
                };
                let known = old.all().find(same).cloned();
                active.push(known.unwrap_or_else(|| Arc::new(Upstream::new(address, name.cloned()))));
            }
        }
        let gone = |one: &&Arc<Upstream>| one.open() > 0 && !active.iter().any(|kept| Arc::ptr_eq(kept, one));
        let retired = old.all().filter(gone).cloned().collect();
        self.pool.store(Arc::new(Pool { active, retired }));
    }

    /// How a backend is checked: as connections of clients are made.
    ///
    /// # Errors
    /// TLS has to be spoken to it, and cannot be.
    pub(super) fn how(&self, check: &Check, backend: &Upstream) -> Result<How, Refused> {
        let mut preface = Vec::new();
        if let Some(version) = self.settings.proxy {
            proxy::emit_local(version, &mut preface);
        }
        let tls = self.settings.tls.as_ref().map(|tls| tls.to(backend, None).ok_or(Refused));
        Ok(How { http: check.http.clone(), host: self.host(backend), preface, tls: tls.transpose()? })
    }

    /// Whom a question to a backend is for.
    fn host(&self, backend: &Upstream) -> String {
        match (&backend.name, &backend.address) {
            (Some(name), _) => name.host.clone(),
            (None, BackendAddress::Tcp(address)) => address.to_string(),
            (None, BackendAddress::Unix(_)) => "localhost".to_owned(),
        }
    }

    fn is_down(&self, backend: &Upstream) -> bool {
        self.settings.check.is_some() && backend.health.is_down()
    }

    /// The best for the next connection at `now`. The least is the best: who is up; who has not failed lately; whose share it
    /// is; who has few connections.
    fn best<'a>(&self, backends: &'a [Arc<Upstream>], now: u64) -> Option<&'a Arc<Upstream>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = backends.len();
        let rank = |backend: &&Arc<Upstream>| {
            let grows = self.settings.slow_start;
            let share = grows.map_or(1.0, |period| backend.health.share(period, now));
            (self.is_down(backend), backend.rests(now), !health::takes(share, turn), backend.open())
        };
        (0..count).filter_map(|at| backends.get(at.wrapping_add(turn) % count)).min_by_key(rank)
    }
}

impl choice::Route for Route {
    fn backend(&self, tried: usize) -> Option<Backend> {
        let pool = self.pool.load();
        let up = pool.active.iter().filter(|backend| !self.is_down(backend)).count();
        // Who is down gets nothing unless all are.
        let most = if up > 0 { up } else { pool.active.len() };
        // Who failed is the last by now.
        let backend = self.best(&pool.active, clock::now().as_nanos()).filter(|_| tried < most)?;
        Some(Backend { address: backend.address.clone(), id: backend.id() })
    }

    fn note(&self, backend: &Backend, event: BackendEvent<'_>) {
        let now = clock::now().as_nanos();
        let pool = self.pool.load();
        let Some(upstream) = pool.all().find(|known| known.id() == backend.id) else { return };
        let failed = matches!(event, BackendEvent::Refused | BackendEvent::TimedOut);
        if failed && upstream.name.as_ref().is_some_and(|name| name.doubt(now)) {
            self.bell.notify_one();
        }
        upstream.note(&event, now);
    }

    fn http(&self) -> Option<&Arc<http::Rules>> {
        self.settings.http.as_ref()
    }

    fn replaced(&self) -> Option<watch::Receiver<bool>> {
        Some(self.replaced.subscribe())
    }

    fn timeouts(&self) -> Timeouts {
        self.settings.timeouts
    }

    fn preface(&self, about: &Secured<'_>, into: &mut Vec<u8>) {
        let Some(version) = self.settings.proxy else { return };
        let Some(destination) = about.local else { return proxy::emit_local(version, into) };
        let identity = about.certificates.first().and_then(Identity::of);
        let tls = about.version.and_then(suite::version).map(|version| proxy::Tls {
            version,
            cipher: about.suite.and_then(suite::name).unwrap_or_default(),
            certificate: !about.certificates.is_empty(),
            common_name: identity.as_ref().and_then(|identity| identity.common_name.as_deref()),
        });
        let authority = about.hello.server_name();
        Passed { source: about.client, destination, tls, alpn: about.alpn, authority }.emit(version, into);
    }

    fn tls(&self, backend: &Backend, protocol: Option<&[u8]>) -> Result<Option<dial::Tls>, Refused> {
        let Some(tls) = &self.settings.tls else { return Ok(None) };
        let pool = self.pool.load();
        let upstream = pool.all().find(|known| known.id() == backend.id).ok_or(Refused)?;
        tls.to(upstream, protocol).map(Some).ok_or(Refused)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn complain(&self, backend: &Backend, error: &str) {
        let pool = self.pool.load();
        if let Some(upstream) = pool.all().find(|known| known.id() == backend.id) {
            upstream.complain(error);
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
mod tests;
