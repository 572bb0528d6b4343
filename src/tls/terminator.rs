//! One `[tls.NAME]` that runs: its listeners, one for each address, and what they go by.
//!
//! A reload prepares beside what runs ([`Terminator::prepare`]): new addresses are bound, new rules are made. Once there is
//! no way back it is committed ([`Terminator::commit`]), which cannot fail: the rules are swapped, and listeners of addresses
//! that are gone accept nothing more and end with their last connection. The listener of an address that stays is not touched.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::ResolvesServerCert;
use rustls::server::danger::ClientCertVerifier;
use rustls::time_provider::DefaultTimeProvider;
use tokio::sync::Notify;

use super::access_log::AccessLog;
use super::attendant::Attendant;
use super::choice::Choose;
use super::counters::Counters;
use super::front::{Front, Rules};
use super::http;
use super::listener::{Listener, Settings};
use super::lookup;
use super::policy::{Parts, Policy, Server};
use super::resolver::{Certificates, Resolver};
use super::routes::{self, Route, Routes};
use super::tickets::{TicketKeys, Tickets};
use crate::clock;
use crate::config;

/// How long names of backends are waited for that were never looked up.
const LOOKUP: Duration = Duration::from_secs(2);
/// How long connections may stay where nothing is accepted any more: the operator sees how many there are.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);
/// How long connections of a listener that is gone may stay.
const PATIENCE: Duration = Duration::from_secs(600);

/// Listeners by their addresses.
type Listeners = BTreeMap<SocketAddr, Listener>;

/// What runs.
#[derive(Debug)]
pub struct Terminator {
    name: String,
    front: Arc<Front>,
    tickets: Option<Session>,
    listeners: Listeners,
    /// Those of them where clients come in clear.
    plain: Vec<SocketAddr>,
    /// Those that drain.
    leaving: Vec<Listener>,
    /// What those counted that are over.
    past: Totals,
    /// The operator wants nothing more to be accepted.
    draining: bool,
    /// Looks after backends when it is rung.
    bell: Arc<Notify>,
    _attendant: Attendant,
}

/// What a reload is about to put in its place.
#[derive(Debug)]
pub struct Next {
    rules: Rules,
    tickets: Option<Session>,
    /// At addresses that are new.
    made: Listeners,
}

/// Tickets, and what they were made for.
#[derive(Clone, Debug)]
struct Session {
    tickets: Arc<Tickets>,
    policy: Policy,
    /// Whether their keys are of a file.
    shared: bool,
}

/// What all data threads counted.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections now.
    pub open: u64,
    /// Handshakes done in full.
    pub full: u64,
    /// Handshakes resumed by a ticket.
    pub resumed: u64,
    /// Connections passed through.
    pub passed: u64,
    /// Connections turned away since there were too many.
    pub crowded: u64,
    /// Bytes to backends.
    pub upward: u64,
    /// Bytes from backends.
    pub downward: u64,
    /// Ends before the time, by reason: every reason there is.
    pub failures: BTreeMap<&'static str, u64>,
}

impl Terminator {
    /// Starts all listeners, or nothing.
    ///
    /// # Errors
    /// What failed, in words.
    pub fn start(name: &str, config: &config::Tls) -> Result<Self, String> {
        let tickets = session(name, config, None);
        let bell = Arc::new(Notify::new());
        let front = Arc::new(Front::new(rules(name, config, tickets.as_ref(), None, &bell)?));
        let attendant = Attendant::start(name, front.clone(), bell.clone());
        let _attendant = attendant.map_err(|error| format!("{name}: no thread for backends: {error}"))?;
        let mut listeners = listen(name, &config.listen, &front, false)?;
        listeners.append(&mut listen(name, &config.plain, &front, true)?);
        let (leaving, past) = (Vec::new(), Totals::default());
        Ok(Self {
            name: name.to_owned(),
            front,
            tickets,
            listeners,
            plain: config.plain.clone(),
            leaving,
            past,
            draining: false,
            bell,
            _attendant,
        })
    }

    /// Makes what another configuration takes than the `old` one. Nothing is changed yet, but that new addresses are served by the rules of
    /// before.
    ///
    /// # Errors
    /// What failed, in words.
    pub fn prepare(&self, old: &config::Tls, config: &config::Tls) -> Result<Next, String> {
        let tickets = session(&self.name, config, self.tickets.as_ref());
        let before = (&*self.front.rules(), old);
        let rules = rules(&self.name, config, tickets.as_ref(), Some(before), &self.bell)?;
        let plain = |address: &&SocketAddr| self.plain.contains(address);
        let mut kept = config.plain.iter().filter(|address| self.listeners.contains_key(address));
        if let Some(address) = kept.find(|address| !plain(address)).or(config.listen.iter().find(plain)) {
            return Err(format!(
                "{}: {address} goes from listen to plain, or back: that takes two reloads, the first without it",
                self.name
            ));
        }
        let new = |all: &[SocketAddr]| -> Vec<_> {
            let new = all.iter().copied().filter(|address| !self.listeners.contains_key(address));
            new.filter(|_| !self.draining).collect()
        };
        let mut made = listen(&self.name, &new(&config.listen), &self.front, false)?;
        made.append(&mut listen(&self.name, &new(&config.plain), &self.front, true)?);
        Ok(Next { rules, tickets, made })
    }

    /// Puts to use what was prepared for `config`.
    pub fn commit(&mut self, next: Next, config: &config::Tls) {
        let Next { rules, tickets, mut made } = next;
        if let Some(Session { tickets, .. }) = &tickets {
            let kept = self.tickets.as_ref().is_some_and(|old| Arc::ptr_eq(&old.tickets, tickets));
            if let Some(keys) = config.ticket_keys.as_ref().filter(|_| kept) {
                tickets.replace(keys.value.clone());
            }
        }
        self.tickets = tickets;
        self.front.replace(rules);
        self.plain.clone_from(&config.plain);
        self.bell.notify_one();
        let gone = self
            .listeners
            .extract_if(.., |address, _| !config.listen.contains(address) && !config.plain.contains(address));
        for (_, listener) in gone {
            listener.drain(PATIENCE);
            self.leaving.push(listener);
        }
        self.listeners.append(&mut made);
    }

    /// Accepts nothing more. What is there may end by itself, for at most `patience`, or for long.
    pub fn drain(&mut self, patience: Option<Duration>) {
        self.leaving.extend(std::mem::take(&mut self.listeners).into_values());
        self.leaving.iter().for_each(|listener| listener.drain(patience.unwrap_or(PATIENCE)));
    }

    /// Accepts nothing more until [`Self::resume`]. What is there may stay.
    pub fn hold(&mut self) {
        self.draining = true;
        self.drain(Some(FOREVER));
    }

    /// Accepts again, by its configuration.
    ///
    /// # Errors
    /// An address cannot be had; nothing is accepted then.
    pub fn resume(&mut self, config: &config::Tls) -> Result<(), String> {
        if self.draining {
            let mut listeners = listen(&self.name, &config.listen, &self.front, false)?;
            listeners.append(&mut listen(&self.name, &config.plain, &self.front, true)?);
            (self.listeners, self.draining) = (listeners, false);
        }
        Ok(())
    }

    /// Whether it is held.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.draining
    }

    /// Opens its access log anew.
    pub fn reopen_log(&self) {
        if let Some(log) = &self.front.rules().access_log {
            log.reopen();
        }
    }

    /// What is due from time to time: keys of tickets are replaced and erased, also where nobody comes; and listeners that
    /// have drained are let go.
    pub fn look_after(&mut self) {
        if let Some(session) = &self.tickets {
            session.tickets.rotate();
        }
        for over in self.leaving.extract_if(.., |listener| listener.is_over()) {
            self.past.add(over.counters());
            self.past.open = 0;
        }
    }

    /// Whether it was drained, and nothing is left of it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.listeners.is_empty() && self.leaving.iter().all(Listener::is_over)
    }

    /// What has been counted.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = self.past.clone();
        for listener in self.listeners.values().chain(&self.leaving) {
            totals.add(listener.counters());
        }
        totals
    }

    /// What it goes by.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.front.rules()
    }

    /// Its tickets, if it issues any.
    #[must_use]
    pub fn tickets(&self) -> Option<&Tickets> {
        self.tickets.as_ref().map(|session| &*session.tickets)
    }
}

impl Totals {
    fn add(&mut self, threads: &[Arc<Counters>]) {
        for thread in threads {
            self.accepted += thread.accepted.get();
            self.open += thread.open();
            self.full += thread.full.get();
            self.resumed += thread.resumed.get();
            self.passed += thread.passed.get();
            self.crowded += thread.crowded.get();
            self.upward += thread.upward.get();
            self.downward += thread.downward.get();
            for (reason, count) in thread.failures() {
                *self.failures.entry(reason).or_default() += count;
            }
        }
    }
}

/// A listener at each address, or none at all.
fn listen(
    name: &str,
    addresses: &[SocketAddr],
    front: &Arc<Front>,
    plain: bool,
) -> Result<Listeners, String> {
    let choose: Arc<dyn Choose> = front.clone();
    let start = |address: &SocketAddr| {
        let settings = Settings { listen: vec![*address], plain, ..Settings::default() };
        match Listener::start(&settings, &choose) {
            Ok(listener) => Ok((*address, listener)),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied && address.port() < 1024 => {
                Err(format!(
                    "{name}: listen {address} takes CAP_NET_BIND_SERVICE, which nothing needed when the daemon started: that takes a restart of the daemon"
                ))
            }
            Err(error) => Err(format!("{name}: listen {address}: {error}")),
        }
    };
    addresses.iter().map(start).collect()
}

/// Tickets for a configuration: those of before, where they are good for it, or others. None where clients show
/// certificates, or TLS does not end.
fn session(name: &str, config: &config::Tls, before: Option<&Session>) -> Option<Session> {
    if config.clients.is_some() || config.certificates.is_empty() {
        return None;
    }
    let (policy, shared) = (config.policy, config.ticket_keys.is_some());
    let same = |before: &&Session| before.policy == policy && before.shared == shared;
    if let Some(before) = before.filter(same) {
        return Some(before.clone());
    }
    let keys = match &config.ticket_keys {
        Some(keys) => keys.value.clone(),
        None => TicketKeys::generate(clock::both().wall.as_secs()),
    };
    let tickets = Arc::new(Tickets::new(keys, policy, name, Arc::new(DefaultTimeProvider)));
    Some(Session { tickets, policy, shared })
}

fn rules(
    name: &str,
    config: &config::Tls,
    tickets: Option<&Session>,
    before: Option<(&Rules, &config::Tls)>,
    bell: &Arc<Notify>,
) -> Result<Rules, String> {
    let server = |alpn: &[&str]| match config.certificates.is_empty() {
        true => Ok(None),
        false => server(config, tickets, alpn)
            .map(|server| Some(Arc::new(server)))
            .map_err(|error| format!("{name}: {error}")),
    };
    let alpn: Vec<_> = config.alpn.iter().map(String::as_str).collect();
    let ports = || config.listen.iter().map(SocketAddr::port);
    let https = ports().find(|port| *port == 443).or(ports().next()).unwrap_or(443);
    let mut rules = Rules {
        server: server(&alpn)?,
        http: server(&http::ALPN)?,
        https,
        accept_proxy: config.accept_proxy.clone(),
        limits: config.limits,
        handshake: Some(config.handshake),
        access_log: access_log(name, config, before.map(|(rules, _)| rules))?,
        ..Rules::default()
    };
    for (route_name, wanted) in &config.routes {
        let known = before.and_then(|(rules, old)| Some((rules.routes.get(route_name)?, old)));
        let old = known.map(|(route, _)| route);
        if let Some((route, _)) = known.filter(|(_, old)| is_same(route_name, old, config)) {
            add(&mut rules.by_name, wanted, route).map_err(|error| format!("{name}: {error}"))?;
            rules.routes.insert(route_name.clone(), route.clone());
            continue;
        }
        let mut settings = settings(config, wanted);
        settings.http = http(config, wanted, old.map(|old| &**old));
        let route = Route::new(route_name, settings, &wanted.backends, old.map(|old| &**old), bell);
        let route = Arc::new(route);
        add(&mut rules.by_name, wanted, &route).map_err(|error| format!("{name}: {error}"))?;
        rules.routes.insert(route_name.clone(), route);
    }
    let made = |route: &&Arc<Route>| {
        !before.is_some_and(|(old, _)| old.routes.get(&route.name).is_some_and(|old| Arc::ptr_eq(old, route)))
    };
    let names = rules.routes.values().flat_map(|route| route.names().cloned());
    lookup::first(names, LOOKUP, clock::now().as_nanos());
    // The others are looked after already.
    rules.routes.values().filter(made).for_each(|route| route.refresh());
    Ok(rules)
}

/// Whether a route is as it was, and so is who may come and by which names: connections to it may stay then.
fn is_same(name: &str, old: &config::Tls, new: &config::Tls) -> bool {
    let names = |config: &config::Tls| -> Vec<_> {
        config.routes.iter().map(|(name, route)| (name.clone(), route.sni.clone())).collect()
    };
    old.routes.get(name) == new.routes.get(name)
        && old.clients == new.clients
        && (old.timeouts, &old.alpn) == (new.timeouts, &new.alpn)
        && names(old) == names(new)
}

/// Where connections are taken down: the log of before if it is the same.
fn access_log(
    name: &str,
    config: &config::Tls,
    before: Option<&Rules>,
) -> Result<Option<Arc<AccessLog>>, String> {
    let Some(settings) = &config.access_log else { return Ok(None) };
    let known = before.and_then(|before| before.access_log.as_ref());
    if let Some(known) = known.filter(|known| known.settings == *settings) {
        return Ok(Some(known.clone()));
    }
    let log = AccessLog::start(name, settings);
    log.map(Some).map_err(|error| format!("{name}: the access log cannot be written: {error}"))
}

/// What holds for all backends of a route.
fn settings(config: &config::Tls, wanted: &config::tls::Route) -> routes::Settings {
    let protocols = match &wanted.http {
        Some(_) => http::ALPN.map(str::to_owned).to_vec(),
        None => config.alpn.clone(),
    };
    routes::Settings {
        pass_through: wanted.pass_through,
        check: wanted.check.clone(),
        slow_start: wanted.slow_start,
        proxy: wanted.proxy,
        tls: wanted.backend_tls.as_ref().map(|loaded| loaded.value.with_protocols(&protocols)),
        timeouts: config.timeouts,
        ..routes::Settings::default()
    }
}

/// How requests of a route are passed on. What was counted is not forgotten.
fn http(config: &config::Tls, wanted: &config::tls::Route, old: Option<&Route>) -> Option<Arc<http::Rules>> {
    let settings = wanted.http.clone()?;
    let counters = old.and_then(|old| Some(old.settings.http.as_ref()?.counters.clone())).unwrap_or_default();
    let others = match wanted.sni.is_empty() {
        true => config.routes.values().flat_map(|route| route.sni.iter().cloned()).collect(),
        false => Vec::new(),
    };
    Some(Arc::new(http::Rules { settings, counters, others }))
}

fn add(routes: &mut Routes, wanted: &config::tls::Route, route: &Arc<Route>) -> Result<(), String> {
    routes.add(&wanted.sni, route).map_err(|taken| taken.to_string())
}

fn server(config: &config::Tls, tickets: Option<&Session>, alpn: &[&str]) -> Result<Server, rustls::Error> {
    let loaded = config.certificates.iter().map(|loaded| loaded.value.clone()).collect();
    let certificates: Arc<dyn ResolvesServerCert> = Arc::new(Resolver::new(Certificates::new(loaded)));
    let clients = config
        .clients
        .as_ref()
        .map(|clients| -> Arc<dyn ClientCertVerifier> { clients.verifier.value.clone() });
    config.policy.server(Parts {
        certificates,
        clients,
        tickets: tickets
            .map(|session| -> Arc<dyn rustls::server::ProducesTickets> { session.tickets.clone() }),
        alpn: alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect(),
        key_log: None,
    })
}
