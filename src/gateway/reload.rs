//! A reload, in two phases. Everything that may fail is prepared first, beside what runs, and undone if anything of it
//! fails. Only then is it committed: what has changed is changed, what is gone is taken away. What is the same in both
//! configurations is not touched in either phase, but for routes and addresses that somebody took away: those come back.
//!
//! A port or a route that passes from one tunnel to another cannot be had by both: those are left to the second phase.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;

use adit_wireguard::uapi::Change;
use sd_notify::NotifyState;

use super::journal::Journal;
use super::network::{Network, Way};
use super::plan::{self, Plan};
use super::{Gateway, hooks, names, watchdog};
use crate::clock;
use crate::config::{self, Config, InterfaceAddress};
use crate::control::{Interface, Options};
use crate::net::address;
use crate::net::link::{self, Settings};
use crate::net::route::{self, Route, Target};
use crate::net::rule::{self, Kind};
use crate::status::State;

/// How long an interface that is set up may take to have its sockets, and how often is looked.
const SET_UP: Duration = Duration::from_secs(2);
const GLANCE: Duration = Duration::from_millis(2);

/// One reload.
struct Reload<'a> {
    gateway: &'a mut Gateway,
    new: &'a Config,
    plan: Plan,
    before: Network,
    after: Network,
    /// Routes of ours that the kernel has.
    present: BTreeSet<Route>,
    /// Tunnels that were made.
    made: BTreeMap<String, Interface>,
    /// What went wrong after there was no way back.
    faults: Vec<String>,
}

impl Gateway {
    /// Reads the file again and puts it to use. What was changed, in words.
    ///
    /// # Errors
    /// What is wrong, in words; nothing was changed then.
    pub(super) fn reload_file(&mut self) -> Result<String, String> {
        watchdog::reloading();
        let loaded = config::load(&self.file).map_err(|errors| errors.to_string());
        let done = loaded.and_then(|new| self.reload(new));
        match &done {
            Ok(changed) => {
                tracing::info!("reloaded: {changed}");
                self.history.reloads += 1;
                self.history.error = None;
            }
            Err(error) => {
                tracing::error!("not reloaded, nothing was changed: {error}");
                self.history.reloads_refused += 1;
                self.history.error = Some(error.clone());
            }
        }
        watchdog::tell(&[NotifyState::Ready]);
        done
    }

    /// Puts a configuration to use.
    pub(super) fn reload(&mut self, new: Config) -> Result<String, String> {
        let plan = Plan::new(&self.config, &new)?;
        let changed = plan.describe();
        let present = route::list(route::PROTOCOL).map_err(told("cannot list routes"))?;
        let mut reload = Reload {
            before: Network::of(&self.config),
            after: Network::of(&new),
            present: present.into_iter().collect(),
            gateway: self,
            new: &new,
            plan,
            made: BTreeMap::new(),
            faults: Vec::new(),
        };
        let mut journal = Journal::default();
        if let Err(error) = reload.prepare(&mut journal) {
            reload.unmake();
            return Err(error);
        }
        journal.keep();
        let faults = reload.commit();
        // Each was made anew, or is not wanted any more.
        self.ended.clear();
        self.history.loaded = clock::both().wall.as_secs_f64();
        crate::log::set_level(self.level.unwrap_or(new.log.level));
        self.config = new;
        Ok(if faults.is_empty() { changed } else { format!("{changed}; but {}", faults.join("; ")) })
    }
}

impl Reload<'_> {
    // ------------------------------------------------------------------------------------------------------ prepare

    fn prepare(&mut self, journal: &mut Journal) -> Result<(), String> {
        // Before any route, so that nothing slips through in between.
        self.prepare_guards(journal)?;
        for name in self.plan.added.clone() {
            self.make(&name)?;
        }
        for name in &self.plan.changed {
            self.reserve(name, journal)?;
        }
        for name in self.gateway.tunnels.keys().filter(|name| self.new.wireguard.contains_key(*name)) {
            self.add_addresses(name, journal)?;
        }
        let before = &self.before.routes;
        let moves = |way: &Way, name: &String| before.get(way).is_some_and(|before| before != name);
        for (way, _) in self.after.routes.iter().filter(|(way, name)| !moves(way, name)) {
            self.route(*way, Some(journal))?;
        }
        Ok(())
    }

    fn prepare_guards(&self, journal: &mut Journal) -> Result<(), String> {
        let guards = self.after.guards.iter().map(|way| way.guard());
        for guard in guards.filter(|guard| !self.present.contains(guard)) {
            let what = format!("unreachable route to {}", guard.destination);
            if route::add(guard).map_err(told(&what))? {
                journal.done(what, move || route::remove(guard).map(drop));
            }
        }
        // The rule that goes first is added last.
        let last = |rule: &&rule::Rule| rule.kind == Kind::Specific;
        let rules = self.after.rules.iter();
        for rule in rules.clone().filter(|rule| !last(rule)).chain(rules.filter(last)).copied() {
            let what = format!("policy rule for {:?}", rule.family);
            if rule::add(rule).map_err(told(&what))? {
                journal.done(what, move || rule::remove(rule).map(drop));
            }
        }
        Ok(())
    }

    /// Makes a tunnel, up and configured, but for a port that another one still has.
    fn make(&mut self, name: &str) -> Result<(), String> {
        let (gateway, config) = (&self.new.gateway, &self.new.wireguard[name]);
        hooks::run("pre_up", name, &config.hooks.pre_up)?;
        let options = Options {
            name: name.to_owned(),
            workers: gateway.workers(),
            offloads: gateway.offloads,
            pin: gateway.pin,
            mtu: config.mtu,
        };
        let interface = Interface::start(&options).map_err(|error| format!("{name}: {error:#}"))?;
        let (remote, index) = (interface.remote(), interface.index());
        self.made.insert(name.to_owned(), interface);
        let mut changes = plan::changes(None, config);
        if self.is_taken(config.listen_port) {
            changes.retain(|change| !matches!(change, Change::ListenPort(_)));
        } else if config.listen_port != 0 {
            let what = format!("{name}: listen_port {}", config.listen_port);
            remote.reserve(Some(config.listen_port)).map_err(told(&what))?;
        }
        remote.configure(changes).map_err(told(name))?;
        for address in &config.addresses {
            address::add(index, *address).map_err(told(&format!("{name}: address {}", address.address)))?;
        }
        link::set(index, &Settings { up: Some(true), ..Settings::default() })
            .map_err(told(&format!("{name}: cannot set it up")))?;
        let up = || remote.report().is_ok_and(|report| report.state == State::Up);
        let tries = SET_UP.as_millis() / GLANCE.as_millis();
        let is_up = (0..tries).any(|_| {
            up() || {
                std::thread::sleep(GLANCE);
                false
            }
        });
        if is_up { Ok(()) } else { Err(format!("{name}: it was set up, but has no sockets")) }
    }

    /// Ends the tunnels that were made.
    fn unmake(&mut self) {
        for (name, interface) in std::mem::take(&mut self.made) {
            drop(interface);
            if let Err(error) = hooks::run("post_down", &name, &self.new.wireguard[&name].hooks.post_down) {
                tracing::error!("{error}");
            }
        }
    }

    /// Whether a tunnel that will be gone, or have another port, still has this one.
    fn is_taken(&self, port: u16) -> bool {
        port != 0 && self.gateway.config.wireguard.values().any(|old| old.listen_port == port)
    }

    /// Takes hold of a tunnel's new port.
    fn reserve(&self, name: &str, journal: &mut Journal) -> Result<(), String> {
        let (old, new) = (&self.gateway.config.wireguard[name], &self.new.wireguard[name]);
        let Some(remote) = self.gateway.tunnels.get(name).map(Interface::remote) else { return Ok(()) };
        if new.listen_port != old.listen_port && new.listen_port != 0 && !self.is_taken(new.listen_port) {
            let what = format!("{name}: listen_port {}", new.listen_port);
            remote.reserve(Some(new.listen_port)).map_err(told(&what))?;
            journal.done(what, move || remote.reserve(None));
        }
        Ok(())
    }

    /// Adds the addresses that a tunnel does not have.
    fn add_addresses(&self, name: &str, journal: &mut Journal) -> Result<(), String> {
        let Some(index) = self.gateway.tunnels.get(name).map(Interface::index) else { return Ok(()) };
        let present = address::list(index).map_err(told(&format!("{name}: cannot list addresses")))?;
        let wanted = &self.new.wireguard[name].addresses;
        // The kernel has an address once, whatever the length of its network: another length waits for the old one to go.
        let held = |address: &&InterfaceAddress| present.iter().any(|held| held.address == address.address);
        for address in wanted.iter().filter(|address| !held(address)).copied() {
            let what = format!("{name}: address {}", address.address);
            if address::add(index, address).map_err(told(&what))? {
                journal.done(what, move || address::remove(index, address).map(drop));
            }
        }
        Ok(())
    }

    /// Leads a way into its tunnel.
    fn route(&self, way: Way, journal: Option<&mut Journal>) -> Result<(), String> {
        let Some(index) =
            self.after.routes.get(&way).and_then(|name| self.interface(name)).map(Interface::index)
        else {
            return Ok(());
        };
        let route = way.to(index);
        if self.present.contains(&route) {
            return Ok(());
        }
        let what = format!("route to {}", way.destination);
        if route::add(route).map_err(told(&what))?
            && let Some(journal) = journal
        {
            journal.done(what, move || route::remove(route).map(drop));
        }
        Ok(())
    }

    fn interface(&self, name: &str) -> Option<&Interface> {
        self.made.get(name).or_else(|| self.gateway.tunnels.get(name))
    }

    // ------------------------------------------------------------------------------------------------------- commit

    /// Does what is left. From here on nothing turns back: what fails is told.
    fn commit(mut self) -> Vec<String> {
        for name in std::mem::take(&mut self.plan.removed) {
            self.gateway.take_down(&name);
        }
        self.leave_ways();
        for name in self.plan.changed.clone() {
            self.change(&name);
        }
        self.take_ways();
        self.take_ports();
        self.sweep();
        for name in std::mem::take(&mut self.plan.added) {
            let fault = hooks::run("post_up", &name, &self.new.wireguard[&name].hooks.post_up).err();
            self.faults.extend(fault);
        }
        self.take_names();
        self.gateway.tunnels.append(&mut self.made);
        for fault in &self.faults {
            tracing::error!("{fault}");
        }
        self.faults
    }

    /// Takes away the routes of tunnels that stay, where they are not wanted or lead elsewhere now.
    fn leave_ways(&mut self) {
        let gone = self.before.routes.iter().filter(|(way, name)| self.after.routes.get(way) != Some(*name));
        let gone: Vec<_> =
            gone.filter_map(|(way, name)| Some(way.to(self.gateway.tunnels.get(name)?.index()))).collect();
        for route in gone {
            let removed =
                route::remove(route).map(drop).map_err(told(&format!("route to {}", route.destination)));
            self.faults.extend(removed.err());
        }
    }

    /// Changes a tunnel that stays.
    fn change(&mut self, name: &str) {
        let (old, new) = (&self.gateway.config.wireguard[name], &self.new.wireguard[name]);
        let Some(interface) = self.gateway.tunnels.get(name) else { return };
        let (remote, index) = (interface.remote(), interface.index());
        let mut faults = Vec::new();
        for address in old.addresses.iter().filter(|address| !new.addresses.contains(address)) {
            let removed = address::remove(index, *address).map(drop);
            faults.extend(removed.map_err(told(&format!("{name}: address {}", address.address))).err());
        }
        for address in new.addresses.iter().filter(|address| !old.addresses.contains(address)) {
            // All are there by now but those of which the length of the network changed.
            let added = address::add(index, *address).map(drop);
            faults.extend(added.map_err(told(&format!("{name}: address {}", address.address))).err());
        }
        if new.mtu != old.mtu {
            let set = link::set(index, &Settings { mtu: Some(new.mtu), ..Settings::default() });
            faults.extend(set.map_err(told(&format!("{name}: mtu"))).err());
        }
        let mut changes = plan::changes(Some(old), new);
        if self.is_taken(new.listen_port) {
            changes.retain(|change| !matches!(change, Change::ListenPort(_)));
        }
        if !changes.is_empty() {
            faults.extend(remote.configure(changes).map_err(told(name)).err());
        }
        self.faults.append(&mut faults);
    }

    /// Adds the routes that led into another tunnel before.
    fn take_ways(&mut self) {
        let moved = self
            .after
            .routes
            .iter()
            .filter(|(way, name)| self.before.routes.get(way).is_some_and(|before| before != *name));
        for way in moved.map(|(way, _)| *way).collect::<Vec<_>>() {
            self.faults.extend(self.route(way, None).err());
        }
    }

    /// Takes the ports that another tunnel had before.
    fn take_ports(&mut self) {
        let before = &self.gateway.config.wireguard;
        let port_before = |name: &String| before.get(name).map(|old| old.listen_port);
        let taken = self.new.wireguard.iter().map(|(name, new)| (name, new.listen_port));
        let taken: Vec<_> =
            taken.filter(|(name, port)| self.is_taken(*port) && port_before(name) != Some(*port)).collect();
        let listen = |name: &String, port| {
            let listens = self.interface(name).map(Interface::remote);
            let listens = listens.map(|remote| remote.configure(vec![Change::ListenPort(port)])).transpose();
            listens.map_err(told(&format!("{name}: listen_port {port}"))).err()
        };
        // Tunnels that swap their ports would wait for each other.
        let wanted = |port| taken.iter().any(|(_, wanted)| port == Some(*wanted));
        let held = taken.iter().filter(|(name, _)| wanted(port_before(name)));
        let mut faults: Vec<_> = held.filter_map(|(name, _)| listen(name, 0)).collect();
        faults.extend(taken.iter().filter_map(|(name, port)| listen(name, *port)));
        self.faults.append(&mut faults);
    }

    /// Has the names of endpoints looked up: those that are new, and those of peers that are, since they have no endpoint yet.
    fn take_names(&mut self) {
        for (name, new) in &self.new.wireguard {
            let old = self.gateway.config.wireguard.get(name);
            let stays = |peer: &String| {
                old.and_then(|old| old.peers.get(peer))
                    .is_some_and(|old| old.public_key == new.peers[peer].public_key)
            };
            let (all, now) = (names(new), clock::now());
            let old = all.clone().into_iter().filter(|(peer, _)| stays(peer)).collect();
            self.gateway.resolver.retain(name, &old, now);
            self.gateway.resolver.retain(name, &all, now);
        }
    }

    /// Takes away guards and rules that nothing wants any more, also those of an earlier daemon.
    fn sweep(&mut self) {
        let guards: BTreeSet<_> = self.after.guards.iter().map(|way| way.guard()).collect();
        let swept = sweep(|route| !guards.contains(route), |rule| !self.after.rules.contains(rule));
        self.faults.extend(swept.err());
    }
}

/// Takes away the guards and rules of ours that are `unwanted`.
pub(super) fn sweep(
    unwanted: impl Fn(&Route) -> bool,
    unwanted_rule: impl Fn(&rule::Rule) -> bool,
) -> Result<(), String> {
    let guards = route::list(route::PROTOCOL).map_err(told("cannot list routes"))?;
    for guard in guards.into_iter().filter(|route| route.to == Target::Unreachable && unwanted(route)) {
        route::remove(guard).map_err(told(&format!("unreachable route to {}", guard.destination)))?;
    }
    for rule in rule::list().map_err(told("cannot list rules"))?.into_iter().filter(unwanted_rule) {
        rule::remove(rule).map_err(told("policy rule"))?;
    }
    Ok(())
}

/// An error with what it is about.
fn told<E: Display>(what: &str) -> impl FnOnce(E) -> String {
    move |error| format!("{what}: {error}")
}
