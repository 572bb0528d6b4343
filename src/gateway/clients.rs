//! What runs for each `[clients.NAME]`: the enrolment API, its store, and the leases. As with tunnels, a reload first prepares
//! everything that may fail, beside what runs.

use std::collections::{BTreeMap, HashSet};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_noise::PublicKey;
use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, Type};

use super::leases::{Desk, Leases};
use super::tally::Tally;
use super::{Gateway, told};
use crate::clock;
use crate::config::{Clients, Config, Wireguard};
use crate::control::{Interface, Remote};
use crate::datapath::wireguard::Access;
use crate::enrolment::{self, Material, Paths, Patience, Server, Service, Serving, Stamp, Terms};
use crate::status;
use crate::store::{Embedded, Pool, Range, Settings, Store};

/// How often is looked for leases that are over and files that have changed: who may no longer come in is out within a second.
const TICK: Duration = Duration::from_millis(400);
/// Memory for pages of the store.
const CACHE: usize = 16 << 20;
/// Connections that wait to be accepted at most.
const BACKLOG: i32 = 1_024;

/// One `[clients.NAME]` that runs.
pub(super) struct RemoteAccess {
    leases: Arc<Leases>,
    serving: Arc<ArcSwap<Serving>>,
    watched: Arc<Mutex<Watched>>,
    listeners: BTreeMap<SocketAddr, TcpListener>,
    _server: Server,
}

/// Files that are read again when they change.
#[derive(Debug)]
struct Watched {
    paths: Paths,
    /// Of the files that are in use.
    stamp: Stamp,
    /// Of those that were read last.
    tried: Stamp,
    /// What is wrong with them, or should be known of them.
    findings: Vec<String>,
}

/// What a reload has prepared, by the names of the tables.
pub(super) struct Prepared(BTreeMap<String, Ready>);

/// All of one table that may fail.
struct Ready {
    material: Arc<Material>,
    stamp: Stamp,
    /// Listeners at new addresses.
    listeners: BTreeMap<SocketAddr, TcpListener>,
    /// The store, if the table is new.
    store: Option<Embedded>,
}

/// Tells everything that is wrong with the files that a configuration's tables of clients name.
///
/// # Errors
/// That, a line each.
pub(super) fn check(config: &Config) -> Result<(), String> {
    let now = clock::both().wall.as_secs();
    let load = |(name, clients): (&String, &Clients)| {
        Material::load(&paths(clients), now).err().map(|wrong| format!("clients.{name}: {wrong}"))
    };
    let wrong: Vec<_> = config.clients.iter().filter_map(load).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

impl Gateway {
    /// Prepares what a configuration wants for its clients. Nothing is changed; what is prepared is undone by dropping it.
    ///
    /// # Errors
    /// In words, with the table.
    pub(super) fn prepare_clients(&self, new: &Config) -> Result<Prepared, String> {
        let mut all = BTreeMap::new();
        for (name, clients) in &new.clients {
            let running = self.clients.get(name);
            let ready = prepare(name, clients, new, running).map_err(told(&format!("clients.{name}")))?;
            all.insert(name.clone(), ready);
        }
        Ok(Prepared(all))
    }

    /// Puts to use what was prepared, once the tunnels are as the new configuration says. What went wrong is told.
    pub(super) fn commit_clients(&mut self, prepared: Prepared) -> Vec<(String, String)> {
        let wanted: HashSet<_> = prepared.0.keys().cloned().collect();
        for (_, gone) in self.clients.extract_if(.., |name, _| !wanted.contains(name)) {
            gone.leases.detach();
        }
        let mut faults = Vec::new();
        for (name, mut ready) in prepared.0 {
            let (Some(clients), Some(wireguard)) =
                (self.config.clients.get(&name), self.config.wireguard.get(&name))
            else {
                continue;
            };
            let Some(remote) = self.tunnels.get(&name).map(Interface::remote) else { continue };
            let running = self.clients.remove(&name);
            let leases = running.as_ref().map(|running| running.leases.clone());
            let leases = leases.or_else(|| {
                let store = ready.store.take()?;
                Some(Arc::new(Leases::new(&name, store, self.refusals.clone())))
            });
            match commit(clients, wireguard, ready, remote, leases, running) {
                Ok(running) => drop(self.clients.insert(name, running)),
                Err(fault) => faults.push((name.clone(), format!("clients.{name}: {fault}"))),
            }
        }
        faults
    }
}

fn prepare(
    name: &str,
    clients: &Clients,
    new: &Config,
    running: Option<&RemoteAccess>,
) -> Result<Ready, String> {
    let now = clock::both().wall.as_secs();
    let paths = paths(clients);
    // Before the files: what changes meanwhile is looked at again.
    let stamp = paths.stamp();
    let material = Arc::new(Material::load(&paths, now)?);
    let mut listeners = BTreeMap::new();
    for address in &clients.listen {
        if running.is_none_or(|running| !running.listeners.contains_key(address)) {
            let listener = listen(*address).map_err(told(&format!("listen {address}")))?;
            listeners.insert(*address, listener);
        }
    }
    let store = match running {
        Some(_) => None,
        None => {
            let path = new.gateway.state.join(format!("clients-{name}.redb"));
            let settings = Settings { pool: pool(clients), cache: CACHE };
            Some(Embedded::open(&path, &settings, now).map_err(|error| error.to_string())?)
        }
    };
    Ok(Ready { material, stamp, listeners, store })
}

fn commit(
    clients: &Clients,
    wireguard: &Wireguard,
    ready: Ready,
    remote: Remote,
    leases: Option<Arc<Leases>>,
    running: Option<RemoteAccess>,
) -> Result<RemoteAccess, String> {
    let leases = leases.ok_or("it ended while it was changed; reload again")?;
    let terms = terms(clients, wireguard);
    let reserved: HashSet<PublicKey> = terms.reserved.iter().copied().collect();
    let watched = Watched {
        paths: paths(clients),
        tried: ready.stamp.clone(),
        stamp: ready.stamp,
        findings: ready.material.findings().to_vec(),
    };
    let access = Access::new(clients.pool.ranges(), &clients.access, clients.between_clients);
    let wanted = |address: &SocketAddr| clients.listen.contains(address);
    let (serving, state, mut listeners, server) = match running {
        Some(running) => {
            let RemoteAccess { serving, watched: state, mut listeners, _server: server, .. } = running;
            let service = Arc::new(serving.load().service.with_terms(terms));
            serving.store(Arc::new(Serving { material: ready.material, service }));
            *lock(&state) = watched;
            let same = ready.listeners.is_empty() && listeners.keys().all(wanted);
            listeners.retain(|address, _| wanted(address));
            (serving, state, listeners, Some(server).filter(|_| same))
        }
        None => {
            let service = Service::new(leases.store().clone() as Arc<dyn Store>, terms);
            let serving = Serving { material: ready.material, service: Arc::new(service) };
            let serving = Arc::new(ArcSwap::from_pointee(serving));
            (serving, Arc::new(Mutex::new(watched)), BTreeMap::new(), None)
        }
    };
    if leases.is_attached(&remote, &reserved) {
        remote.limit(Some(access));
    } else {
        let now = clock::both().wall.as_secs();
        leases.attach(remote, access, reserved, now).map_err(|error| error.to_string())?;
    }
    // What was revoked while nobody looked.
    let material = serving.load().material.clone();
    leases.revoke(|marks| material.is_revoked(marks));
    listeners.extend(ready.listeners);
    let server = match server {
        Some(server) => server,
        None => serve(&listeners, &leases, &serving, &state).map_err(told("cannot serve"))?,
    };
    Ok(RemoteAccess { leases, serving, watched: state, listeners, _server: server })
}

fn serve(
    listeners: &BTreeMap<SocketAddr, TcpListener>,
    leases: &Arc<Leases>,
    serving: &Arc<ArcSwap<Serving>>,
    watched: &Arc<Mutex<Watched>>,
) -> std::io::Result<Server> {
    let listeners = listeners.values().map(TcpListener::try_clone).collect::<Result<_, _>>()?;
    let (leases, watched, current) = (leases.clone(), watched.clone(), serving.clone());
    let peers = Arc::new(leases.clone());
    let tick = move || {
        leases.expire();
        lock(&watched).look(&current, &leases);
        if leases.is_to_be_looked_through() {
            let material = current.load().material.clone();
            leases.revoke(|marks| material.is_revoked(marks));
        }
    };
    Server::start(listeners, serving.clone(), peers, Patience::default(), TICK, tick)
}

impl Watched {
    /// Reads files again that have changed, and now and then those that have not: what is to be known of them changes with the
    /// time. What cannot be read is tried again and again.
    fn look(&mut self, serving: &ArcSwap<Serving>, leases: &Arc<Leases>) {
        let (stamp, now) = (self.paths.stamp(), clock::both().wall.as_secs());
        let before = serving.load_full();
        if stamp == self.stamp && before.material.is_whole() && !before.material.is_stale(now) {
            return;
        }
        let material = match before.material.again(&self.paths, now) {
            Ok(material) => Arc::new(material),
            Err(wrong) => return tracing::error!("{wrong}"),
        };
        let changed = self.findings != material.findings();
        if changed {
            material.findings().iter().for_each(|finding| tracing::warn!("{finding}"));
            self.findings = material.findings().to_vec();
        }
        // As bad as before: nothing is to be had from it, and looking through all leases costs something.
        if !material.is_whole() && !changed && stamp == self.tried {
            return;
        }
        self.tried = stamp.clone();
        if material.is_whole() && stamp != self.stamp {
            tracing::info!("certificates of the enrolment API were read again");
            self.stamp = stamp;
        }
        // First this, then that: a lease which is granted meanwhile finds its certificate revoked.
        serving.store(Arc::new(Serving { material: material.clone(), service: before.service.clone() }));
        leases.revoke(|marks| material.is_revoked(marks));
    }
}

impl RemoteAccess {
    pub(super) fn leases(&self) -> &Arc<Leases> {
        &self.leases
    }

    /// Where an operator deals with them.
    pub(super) fn desk(&self, config: &Clients) -> Desk {
        let serving = self.serving.load();
        Desk {
            leases: self.leases.clone(),
            service: serving.service.clone(),
            capacity: pool(config).size(),
            port: config.listen.first().map_or(443, SocketAddr::port),
            authority: serving.material.authority(),
        }
    }

    /// What the status tells.
    pub(super) fn report(&self, config: &Clients) -> status::Clients {
        let Tally { granted, expired, ended, .. } = &self.leases.tally;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let refusals = self.leases.tally.refusals();
        let mut warnings = lock(&self.watched).findings.clone();
        let (leases, capacity) = (self.leases.count() as u64, u64::from(pool(config).size()));
        if leases >= capacity {
            warnings.push(format!("the pool is full: all {capacity} leases are given out"));
        }
        warnings.extend(self.leases.trouble());
        status::Clients {
            listen: config.listen.iter().map(ToString::to_string).collect(),
            leases,
            capacity,
            granted: count(granted),
            refused: refusals.values().sum(),
            refusals,
            lost: self.leases.tally.lost(),
            expired: count(expired),
            ended: count(ended),
            warnings,
        }
    }
}

fn lock(watched: &Mutex<Watched>) -> std::sync::MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens, also at an address that the machine will have later: the daemon starts before the network.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn paths(clients: &Clients) -> Paths {
    Paths {
        certificate: clients.certificate.clone(),
        private_key: clients.private_key.clone(),
        authorities: clients.authorities.clone(),
        revoked: clients.revoked.clone(),
        naming: clients.naming,
    }
}

fn pool(clients: &Clients) -> Pool {
    Pool {
        v4: clients.pool.v4.as_ref().map(|range| Range { first: *range.start(), last: *range.end() }),
        v6: clients.pool.v6.as_ref().map(|range| Range { first: *range.start(), last: *range.end() }),
    }
}

fn terms(clients: &Clients, wireguard: &Wireguard) -> Terms {
    let own = wireguard.private_key.public();
    let peers = wireguard.peers.values().map(|peer| peer.public_key);
    Terms {
        lease: clients.lease,
        routes: clients.routes.iter().map(ToString::to_string).collect(),
        dns: clients.dns.clone(),
        search: clients.search.clone(),
        gateway: enrolment::Gateway {
            public_key: own.to_base64(),
            endpoints: clients.endpoints.iter().map(ToString::to_string).collect(),
        },
        reserved: std::iter::once(own).chain(peers).collect(),
    }
}
