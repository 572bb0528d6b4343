//! What may fail, and can be undone.

use std::time::{Duration, Instant};

use adit_wireguard::uapi::Change;

use super::Reload;
use crate::clock;
use crate::config::InterfaceAddress;
use crate::control::{Interface, Options};
use crate::gateway::journal::Journal;
use crate::gateway::network::{Network, Way};
use crate::gateway::{endpoints, hooks, plan, told, upkeep};
use crate::net::link::{self, Settings};
use crate::net::rule::{self, Kind, Rule};
use crate::net::{address, route};
use crate::status::State;

/// How long an interface that is set up may take to have its sockets.
const SET_UP: Duration = Duration::from_secs(2);
/// How long the names of peers behind a default route may take.
const NAMES: Duration = Duration::from_secs(5);
/// How often is looked.
const GLANCE: Duration = Duration::from_millis(2);

impl Reload<'_> {
    pub(super) fn prepare(&mut self, journal: &mut Journal) -> Result<(), String> {
        // Before any route, so that nothing slips through in between.
        self.put_guards(journal)?;
        self.lay_guards(journal)?;
        for name in self.plan.added.clone() {
            self.make(&name)?;
        }
        for name in &self.plan.changed {
            self.reserve(name, journal)?;
            self.add_addresses(name, journal)?;
        }
        let before = &self.before.routes;
        let moves = |way: &Way, name: &String| before.get(way).is_some_and(|before| before != name);
        for (way, _) in self.after.routes.iter().filter(|(way, name)| !moves(way, name)) {
            self.route(*way, Some(journal))?;
        }
        // A tunnel may carry them.
        self.make_links()?;
        self.make_terminators()?;
        self.resolve();
        // Last: they turn away what the commands and the resolver have to ask the network for.
        self.put_rules(journal)
    }

    fn put_guards(&self, journal: &mut Journal) -> Result<(), String> {
        for guard in self.after.guard_routes().filter(|guard| !self.present.contains(guard)) {
            let what = format!("unreachable route to {}", guard.destination);
            if route::add(guard).map_err(told(&what))? {
                journal.done(what, move || route::remove(guard).map(drop));
            }
        }
        Ok(())
    }

    /// Puts up the rules of default routes that are new. Where one takes another's place, as with another mark, what the
    /// tunnel sends would be turned back into it: that waits until the mark is changed.
    fn put_rules(&self, journal: &mut Journal) -> Result<(), String> {
        let has = |rule: &Rule| self.before.rules.iter().any(|old| old.family == rule.family);
        let new = self.after.rules.iter().filter(|rule| !has(rule)).copied().collect();
        for rule in upkeep::missing_rules(&new)? {
            let what = format!("policy rule for {:?}", rule.family);
            if rule::add(rule).map_err(told(&what))? {
                journal.done(what, move || rule::remove(rule).map(drop));
            }
        }
        if new.iter().any(|rule| matches!(rule.kind, Kind::Unmarked { .. }))
            && let Err(error) = rule::set_src_valid_mark()
        {
            tracing::warn!("cannot set net.ipv4.conf.all.src_valid_mark: {error}");
        }
        Ok(())
    }

    /// Makes a tunnel, up and configured, but for a port that another one still has.
    fn make(&mut self, name: &str) -> Result<(), String> {
        if self.gateway.is_stopping() {
            return Err("the daemon was told to end".into());
        }
        let (gateway, config) = (&self.new.gateway, &self.new.wireguard[name]);
        self.begun.push(name.to_owned());
        hooks::run("pre_up", name, &config.hooks.pre_up)?;
        let options = Options {
            name: name.to_owned(),
            workers: gateway.workers(),
            offloads: gateway.offloads,
            pin: gateway.pin,
            mtu: config.mtu,
            cipher: config.cipher,
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
        let begin = Instant::now();
        while begin.elapsed() < SET_UP {
            if remote.report().is_ok_and(|report| report.state == State::Up) {
                return Ok(());
            }
            std::thread::sleep(GLANCE);
        }
        Err(format!("{name}: it was set up, but has no sockets"))
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

    /// Leads a way into its tunnel, unless that is down: it gets its routes when it is set up.
    pub(super) fn route(&self, way: Way, journal: Option<&mut Journal>) -> Result<(), String> {
        let tunnel = self.after.routes.get(&way).and_then(|name| Some((name, self.interface(name)?)));
        let Some((name, index)) = tunnel.map(|(name, tunnel)| (name, tunnel.index())) else { return Ok(()) };
        let route = way.to(index);
        if self.present.contains(&route) || link::find(name).is_ok_and(|link| !link.up) {
            return Ok(());
        }
        let what = format!("{name}: route to {}", way.destination);
        if route::add(route).map_err(told(&what))?
            && let Some(journal) = journal
        {
            journal.done(what, move || route::remove(route).map(drop));
        }
        Ok(())
    }

    /// Looks the names of new peers up while there is still a way to the resolver: the rules of a default route may lead it
    /// into the tunnel that waits for the answer.
    fn resolve(&mut self) {
        let closing = |name: &&String| !Network::of_tunnel(name, &self.new.wireguard[*name]).rules.is_empty();
        let closed: Vec<_> = self.plan.added.iter().filter(closing).cloned().collect();
        for name in &closed {
            let names = endpoints::names(&self.new.wireguard[name]);
            self.gateway.resolver.retain(name, &names, clock::now());
        }
        let begin = Instant::now();
        while closed.iter().any(|name| self.gateway.resolver.awaits(name)) && begin.elapsed() < NAMES {
            for (peer, addresses) in self.gateway.resolver.poll(clock::now()) {
                let config = self.new.wireguard.get(&peer.0);
                endpoints::place(self.interface(&peer.0), config, &peer, &addresses);
            }
            std::thread::sleep(GLANCE);
        }
    }
}
