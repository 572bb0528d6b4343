//! The gateway: every tunnel and encrypted link of the configuration, and the thread that owns them.
//!
//! ```text
//!   signals, admin sockets ──requests──▶ Gateway ──changes──▶ control thread of each tunnel ──▶ its workers
//!                                           ├──▶ kernel: addresses, routes, guards, rules      network.rs
//!                                           │    and again if somebody takes them away         upkeep.rs
//!                                           │    in clear, past links that encrypt             guards.rs
//!                                           ├──▶ commands of the operator                      hooks.rs
//!                                           └──▶ names of endpoints                            resolver.rs
//! ```
//!
//! The first configuration is loaded as every other is, by a reload: from nothing (reload.rs).

mod clients;
mod endpoints;
mod guards;
mod handle;
mod hooks;
mod journal;
mod leases;
mod links;
mod lock;
mod memory;
mod network;
mod overview;
mod plan;
mod refusals;
mod reload;
mod resolver;
mod signals;
mod start;
mod tally;
mod terminators;
mod upkeep;
mod warnings;
mod watchdog;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tracing::level_filters::LevelFilter;

pub use handle::{Drain, Ending, Handle, Reloaded, Request, TraceSource};
pub use leases::{Desk, Leases};
pub use start::run;

use self::clients::RemoteAccess;
use self::guards::Guards;
use self::links::Lost;
use self::refusals::Refusals;
use self::resolver::Resolver;
use self::upkeep::Upkeep;
use self::watchdog::Watchdog;
use crate::config::{Config, Table, Wireguard};
use crate::control::Interface;
use crate::control::macsec::Encryptor;
use crate::tls::terminator::Terminator;
use crate::{clock, status};

/// How often the gateway looks after itself: tunnels that ended, names that are due, the watchdog.
const TICK: Duration = Duration::from_secs(1);
/// How often it looks whether peers that have a name answer.
const DOUBT: Duration = Duration::from_secs(5);

/// Everything that runs.
struct Gateway {
    file: PathBuf,
    /// What is in use. Tunnels that ended are not in it.
    config: Config,
    tunnels: BTreeMap<String, Interface>,
    links: BTreeMap<String, Encryptor>,
    /// What clients of tunnels get leases from.
    clients: BTreeMap<String, RemoteAccess>,
    /// Where it is told whom they refuse.
    refusals: Refusals,
    /// Of every Ethernet link that an encrypted one uses, or used when it was lost.
    guards: Guards,
    upkeep: Upkeep,
    /// What ends TLS, by the names of the tables.
    terminators: BTreeMap<String, Terminator>,
    /// Those that drain.
    leaving: Vec<Terminator>,
    /// What a reload could not do, by tunnel: it is tried again at the next.
    faults: BTreeMap<String, Vec<String>>,
    /// The daemon was told to end.
    stopping: Arc<AtomicBool>,
    /// Tunnels that ended by themselves, and why. Their guards stay; a reload makes them anew.
    ended: BTreeMap<String, Gone>,
    /// The same of encrypted links.
    lost: BTreeMap<String, Lost>,
    resolver: Resolver,
    doubted: adit_noise::Time,
    watchdog: Watchdog,
    /// Wall time, since 1970.
    started: Duration,
    /// How much is logged, if the command line says so: then the file does not.
    level: Option<LevelFilter>,
    history: status::Configuration,
    /// What was found wrong at the start, in words.
    findings: Vec<String>,
}

/// A tunnel that ended by itself.
struct Gone {
    why: String,
    fail_closed: bool,
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meanwhile = if self.fail_closed { "is held back" } else { "leaves in clear (allow_fail_open)" };
        write!(f, "{}: what was meant for it {meanwhile}; aditctl reload makes it anew", self.why)
    }
}

impl Gateway {
    /// Answers requests until it is told to stop.
    fn serve(&mut self, requests: &Receiver<Request>) {
        loop {
            match requests.recv_timeout(TICK) {
                // Whoever asked may have gone away.
                Ok(Request::Status(reply)) if !reply.is_closed() => drop(reply.send(self.overview())),
                Ok(Request::Trace(reply)) if !reply.is_closed() => drop(reply.send(self.trace_sources())),
                Ok(Request::Clients(reply)) => drop(reply.send(self.desks())),
                Ok(Request::Status(_) | Request::Trace(_)) => {}
                Ok(Request::Reload(reply)) => drop(reply.send(self.reload_file())),
                Ok(Request::Drain(drain, reply)) => drop(reply.send(self.drain(&drain))),
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.look_after();
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn desks(&self) -> BTreeMap<String, Desk> {
        let config = &self.config.clients;
        let desk =
            |(name, clients): (&String, &RemoteAccess)| Some((name.clone(), clients.desk(config.get(name)?)));
        self.clients.iter().filter_map(desk).collect()
    }

    fn trace_sources(&self) -> Vec<TraceSource> {
        let source = |(name, interface): (&String, &Interface)| TraceSource {
            tunnel: name.clone(),
            frames: false,
            tracer: interface.tracer(),
        };
        let link = |(name, link): (&String, &Encryptor)| TraceSource {
            tunnel: name.clone(),
            frames: true,
            tracer: link.tracer(),
        };
        self.tunnels.iter().map(source).chain(self.links.iter().map(link)).collect()
    }

    /// What is due from time to time.
    fn look_after(&mut self) {
        self.bury();
        self.bury_links();
        self.look_after_terminators();
        let (guards, links, config) = (&self.guards, &self.links, &self.config.macsec);
        let mend = || [guards.mend(), links::mend(links, config)].concat();
        self.upkeep.look(&self.tunnels, mend, clock::now());
        self.resolve();
        let (tunnels, links) = (&self.tunnels, &self.links);
        self.watchdog.feed(|| {
            tunnels.values().all(|interface| interface.remote().report().is_ok())
                && links.values().all(|link| link.remote().report().is_ok())
        });
    }

    /// Takes note of tunnels that ended by themselves: somebody deleted the device or the UAPI socket.
    fn bury(&mut self) {
        let ended: Vec<_> =
            self.tunnels.iter().filter_map(|(name, tunnel)| Some((name.clone(), tunnel.ended()?))).collect();
        for (name, why) in ended {
            self.tunnels.remove(&name);
            let config = self.config.wireguard.remove(&name);
            self.resolver.retain(&name, &BTreeMap::new(), clock::now());
            let fail_closed = config.is_none_or(|config| is_guarded(&config));
            let gone = Gone { why: why.to_string(), fail_closed };
            tracing::error!("{name}: {gone}");
            self.ended.insert(name, gone);
        }
    }

    /// Takes links and tunnels away in good order. Their guards stay.
    fn stop(mut self) {
        self.clients.clear();
        self.stop_terminators();
        // A link may be carried by a tunnel.
        for name in self.links.keys().cloned().collect::<BTreeSet<_>>() {
            self.take_link_down(&name);
        }
        for name in self.tunnels.keys().cloned().collect::<BTreeSet<_>>() {
            self.take_down(&name);
        }
    }

    /// Ends a tunnel. The kernel takes its addresses and routes away with its device.
    fn take_down(&mut self, name: &str) {
        let Some(interface) = self.tunnels.remove(name) else { return };
        self.resolver.retain(name, &BTreeMap::new(), clock::now());
        let hooks = self.config.wireguard.get(name).map(|config| config.hooks.clone()).unwrap_or_default();
        let told = |result: Result<(), String>| {
            if let Err(error) = result {
                tracing::error!("{error}");
            }
        };
        told(hooks::run("pre_down", name, &hooks.pre_down));
        drop(interface);
        told(hooks::run("post_down", name, &hooks.post_down));
    }
}

/// Whether what is meant for a tunnel is held back while it is gone. With `table = "off"` routes are not ours to guard.
fn is_guarded(config: &Wireguard) -> bool {
    !config.allow_fail_open && config.table != Table::Off
}

/// An error with what it is about.
fn told<E: fmt::Display>(what: &str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}
