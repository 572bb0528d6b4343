//! What is left once nothing can be undone any more: what fails is told, and tried again at the next reload.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use adit_wireguard::uapi::Change;

use super::Reload;
use crate::clock;
use crate::control::{Interface, Remote};
use crate::gateway::links::{self, Lost};
use crate::gateway::{endpoints, hooks, plan, told, upkeep};
use crate::net::link::{self, Settings};
use crate::net::{address, route};

/// How long sockets may take to be closed that were left, and how often is looked.
const LEAVING: Duration = Duration::from_secs(1);
const GLANCE: Duration = Duration::from_millis(5);

impl Reload<'_> {
    /// Does it. What went wrong, and with which tunnel; and the links that could not be made.
    pub(super) fn commit(mut self) -> (Vec<(String, String)>, BTreeMap<String, Lost>) {
        self.take_links_down();
        for name in std::mem::take(&mut self.plan.removed) {
            self.gateway.take_down(&name);
        }
        self.leave_ways();
        for name in self.plan.changed.clone() {
            self.change(&name);
        }
        self.take_ways();
        self.take_ports();
        for name in std::mem::take(&mut self.plan.added) {
            let commands = &self.new.wireguard[&name].hooks.post_up;
            let fault = hooks::run("post_up", &name, commands).err();
            self.faults.extend(fault.map(|fault| (name, fault)));
        }
        self.take_names();
        self.gateway.tunnels.append(&mut self.made);
        let lost = self.commit_links();
        self.commit_terminators();
        // Routes that the kernel took away with an address come back, and rules whose mark has changed.
        let (guards, bridged, config) = (&self.gateway.guards, &self.gateway.links, &self.new.macsec);
        let mend = || [guards.mend(), links::mend(bridged, config)].concat();
        self.gateway.upkeep.want(self.after.clone(), &self.gateway.tunnels, mend);
        if let Err(fault) = upkeep::sweep(&self.after) {
            tracing::error!("{fault}");
        }
        for (_, fault) in &self.faults {
            tracing::error!("{fault}");
        }
        (self.faults, lost)
    }

    /// Takes note of what failed with a tunnel.
    pub(super) fn done<T>(&mut self, name: &str, outcome: Result<T, String>) {
        self.faults.extend(outcome.err().map(|fault| (name.to_owned(), fault)));
    }

    /// Takes away the routes of tunnels that stay, where they are not wanted or lead elsewhere now.
    fn leave_ways(&mut self) {
        let gone = self.before.routes.iter().filter(|(way, name)| self.after.routes.get(way) != Some(*name));
        let gone: Vec<_> = gone
            .filter_map(|(way, name)| Some((name.clone(), way.to(self.gateway.tunnels.get(name)?.index()))))
            .collect();
        for (name, route) in gone {
            self.done(
                &name,
                route::remove(route).map_err(told(&format!("{name}: route to {}", route.destination))),
            );
        }
    }

    /// Changes a tunnel that stays. The kernel takes routes and other addresses away with some addresses: those are put back
    /// in the end.
    fn change(&mut self, name: &str) {
        let (old, new) = (&self.gateway.config.wireguard[name], &self.new.wireguard[name]);
        let Some(interface) = self.gateway.tunnels.get(name) else { return };
        let (remote, index) = (interface.remote(), interface.index());
        let mut outcomes = Vec::new();
        for address in old.addresses.iter().filter(|address| !new.addresses.contains(address)) {
            let what = format!("{name}: address {}", address.address);
            outcomes.push(address::remove(index, *address).map(drop).map_err(told(&what)));
        }
        if new.mtu != old.mtu {
            let set = link::set(index, &Settings { mtu: Some(new.mtu), ..Settings::default() });
            outcomes.push(set.map_err(told(&format!("{name}: mtu"))));
        }
        // What failed last time may have been done in part: all of it is told again.
        let mut changes = plan::changes(Some(old).filter(|_| !self.gateway.faults.contains_key(name)), new);
        if self.is_taken(new.listen_port) && new.listen_port != old.listen_port {
            changes.retain(|change| !matches!(change, Change::ListenPort(_)));
        }
        if !changes.is_empty() {
            outcomes.push(remote.configure(changes).map_err(told(name)));
        }
        outcomes.into_iter().for_each(|outcome| self.done(name, outcome));
    }

    /// Adds the routes that led into another tunnel before.
    fn take_ways(&mut self) {
        let moved = self
            .after
            .routes
            .iter()
            .filter(|(way, name)| self.before.routes.get(way).is_some_and(|before| before != *name));
        for (way, name) in moved.map(|(way, name)| (*way, name.clone())).collect::<Vec<_>>() {
            self.done(&name, self.route(way, None));
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
            let listens = listens.map(|remote| take_port(&remote, port)).transpose();
            let fault = listens.map_err(told(&format!("{name}: listen_port {port}"))).err();
            fault.map(|fault| (name.clone(), fault))
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
            let (all, now) = (endpoints::names(new), clock::now());
            // Those of tunnels that were made just now may be known already.
            if old.is_some() {
                let kept = all.clone().into_iter().filter(|(peer, _)| stays(peer)).collect();
                self.gateway.resolver.retain(name, &kept, now);
            }
            self.gateway.resolver.retain(name, &all, now);
        }
    }
}

/// Has a tunnel listen on a port that another one leaves: its workers let go of their sockets in their own time.
fn take_port(remote: &Remote, port: u16) -> io::Result<()> {
    let begin = Instant::now();
    loop {
        match remote.configure(vec![Change::ListenPort(port)]) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && begin.elapsed() < LEAVING => {
                std::thread::sleep(GLANCE);
            }
            listens => return listens,
        }
    }
}
