//! The gateway: every tunnel of the configuration, and the thread that owns them.
//!
//! ```text
//!   signals, admin sockets ──requests──▶ Gateway ──changes──▶ control thread of each tunnel ──▶ its workers
//!                                           ├──▶ kernel: addresses, routes, guards, rules      network.rs
//!                                           ├──▶ commands of the operator                      hooks.rs
//!                                           └──▶ names of endpoints                            resolver.rs
//! ```
//!
//! The first configuration is loaded as every other is, by a reload: from nothing (reload.rs).

mod handle;
mod hooks;
mod journal;
mod network;
mod overview;
mod plan;
mod reload;
mod resolver;
mod start;
mod warnings;
mod watchdog;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use adit_wireguard::PeerChange;
use adit_wireguard::uapi::Change;
use tracing::level_filters::LevelFilter;

pub use handle::{Ending, Handle, Request, TraceSource};
pub use start::run;

use self::network::Network;
use self::resolver::Resolver;
use self::watchdog::Watchdog;
use crate::config::{self, Config};
use crate::control::Interface;
use crate::net::{address, route};
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
    /// How often each tunnel had been set up when it had its routes last.
    rises: BTreeMap<String, u32>,
    /// Tunnels that ended by themselves, and why. Their guards stay; a reload makes them anew.
    ended: BTreeMap<String, Gone>,
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
                Ok(Request::Status(reply)) => drop(reply.send(self.overview())),
                Ok(Request::Reload(reply)) => drop(reply.send(self.reload_file())),
                Ok(Request::Trace(reply)) => drop(reply.send(self.trace_sources())),
                Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.look_after();
        }
    }

    fn trace_sources(&self) -> Vec<TraceSource> {
        let source = |(name, interface): (&String, &Interface)| TraceSource {
            tunnel: name.clone(),
            tracer: interface.tracer(),
        };
        self.tunnels.iter().map(source).collect()
    }

    /// What is due from time to time.
    fn look_after(&mut self) {
        self.bury();
        self.restore_all();
        self.resolve();
        let tunnels = &self.tunnels;
        self.watchdog.feed(|| tunnels.values().all(|interface| interface.remote().report().is_ok()));
    }

    /// Takes note of tunnels that ended by themselves: somebody deleted the device or the UAPI socket.
    fn bury(&mut self) {
        let ended: Vec<_> =
            self.tunnels.iter().filter_map(|(name, tunnel)| Some((name.clone(), tunnel.ended()?))).collect();
        for (name, why) in ended {
            self.tunnels.remove(&name);
            self.rises.remove(&name);
            let config = self.config.wireguard.remove(&name);
            self.resolver.retain(&name, &BTreeMap::new(), clock::now());
            let fail_closed = config.is_none_or(|config| !config.allow_fail_open);
            let gone = Gone { why: why.to_string(), fail_closed };
            tracing::error!("{name}: {gone}");
            self.ended.insert(name, gone);
        }
    }

    /// The kernel forgets an interface's routes, and IPv6 addresses, when somebody sets it down. Those that are up again get
    /// them back.
    fn restore_all(&mut self) {
        for (name, interface) in &self.tunnels {
            let (rises, config) = (interface.rises(), self.config.wireguard.get(name));
            if self.rises.insert(name.clone(), rises).is_some_and(|before| before != rises)
                && let Some(config) = config
                && let Err(error) = restore(name, config, interface.index())
            {
                tracing::error!("{name}: {error}");
            }
        }
    }

    /// Looks up the names of endpoints: those that have no address yet, and those where nobody answers.
    fn resolve(&mut self) {
        let now = clock::now();
        if now.since(self.doubted) >= DOUBT {
            self.doubted = now;
            self.doubt_the_silent();
        }
        for ((tunnel, peer), addresses) in self.resolver.poll(now) {
            self.move_peer(&tunnel, &peer, &addresses);
        }
    }

    fn doubt_the_silent(&mut self) {
        let now = clock::now();
        for (name, interface) in &self.tunnels {
            if !self.resolver.concerns(name) {
                continue;
            }
            let Some(config) = self.config.wireguard.get(name) else { continue };
            let Ok(report) = interface.remote().report() else { continue };
            let silent = |key: &str| {
                report.peers.iter().any(|peer| {
                    peer.public_key == key
                        && peer.trying_for.is_some_and(|time| time >= resolver::SILENCE.as_secs_f64())
                })
            };
            for (peer, settings) in &config.peers {
                if silent(&settings.public_key.to_base64()) {
                    self.resolver.doubt(&(name.clone(), peer.clone()), now);
                }
            }
        }
    }

    /// A name was resolved: the peer is looked for there, unless it is there already.
    fn move_peer(&self, tunnel: &str, peer: &str, addresses: &[std::net::SocketAddr]) {
        let settings = self.config.wireguard.get(tunnel).and_then(|config| config.peers.get(peer));
        let (Some(interface), Some(settings)) = (self.tunnels.get(tunnel), settings) else { return };
        let Ok(report) = interface.remote().report() else { return };
        let key = settings.public_key.to_base64();
        let now = report.peers.iter().find(|peer| peer.public_key == key);
        let now = now.and_then(|peer| peer.endpoint.as_deref()?.parse().ok());
        let Some(next) = resolver::next(addresses, now).filter(|next| now != Some(*next)) else { return };
        tracing::info!("{tunnel}: peer {peer}: endpoint {next}");
        let change = PeerChange { update_only: true, endpoint: Some(next), ..PeerChange::default() };
        if let Err(error) = interface.remote().configure(vec![Change::Peer(settings.public_key, change)]) {
            tracing::error!("{tunnel}: peer {peer}: endpoint {next}: {error}");
        }
    }

    /// Takes the tunnels away in good order. Their guards stay.
    fn stop(mut self) {
        for name in self.tunnels.keys().cloned().collect::<BTreeSet<_>>() {
            self.take_down(&name);
        }
    }

    /// Ends a tunnel. The kernel takes its addresses and routes away with its device.
    fn take_down(&mut self, name: &str) {
        let Some(interface) = self.tunnels.remove(name) else { return };
        self.rises.remove(name);
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

/// Gives a tunnel the addresses and routes that it lacks.
fn restore(name: &str, config: &config::Wireguard, index: u32) -> io::Result<()> {
    config.addresses.iter().try_for_each(|address| address::add(index, *address).map(drop))?;
    let ways = Network::of_tunnel(name, config).routes;
    ways.keys().try_for_each(|way| route::add(way.to(index)).map(drop))
}

/// The peers of a tunnel whose endpoints are names.
fn names(config: &config::Wireguard) -> BTreeMap<String, (String, u16)> {
    let name = |(peer, settings): (&String, &config::Peer)| match &settings.endpoint {
        Some(config::EndpointName::Dns { host, port }) => Some((peer.clone(), (host.clone(), *port))),
        Some(config::EndpointName::Address(_)) | None => None,
    };
    config.peers.iter().filter_map(name).collect()
}
