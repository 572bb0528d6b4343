//! A reload, in two phases. Everything that may fail is prepared first, beside what runs, and undone if anything of it
//! fails ([`prepare`]). Only then is it committed: what has changed is changed, what is gone is taken away ([`commit`]).
//! What is the same in both configurations is not touched in either phase.
//!
//! A port or a route that passes from one tunnel to another cannot be had by both: those are left to the second phase.

mod commit;
mod links;
mod prepare;
mod tls;

use std::collections::{BTreeMap, BTreeSet};

use sd_notify::NotifyState;

use super::journal::Journal;
use super::links::Lost;
use super::network::Network;
use super::plan::Plan;
use super::{Gateway, Reloaded, hooks, upkeep, watchdog};
use crate::clock;
use crate::config::{self, Config};
use crate::control::Interface;
use crate::control::macsec::Encryptor;
use crate::net::route::Route;
use crate::tls::terminator::{Next, Terminator};

/// One reload.
struct Reload<'a> {
    gateway: &'a mut Gateway,
    new: &'a Config,
    plan: Plan,
    before: Network,
    after: Network,
    /// Routes of ours that the kernel has.
    present: BTreeSet<Route>,
    /// Tunnels of which the commands before them were begun.
    begun: Vec<String>,
    /// Tunnels that were made.
    made: BTreeMap<String, Interface>,
    /// The same of encrypted links.
    begun_links: Vec<String>,
    made_links: BTreeMap<String, Encryptor>,
    /// What ends TLS and is new, and what those get that change.
    made_terminators: BTreeMap<String, Terminator>,
    next_rules: BTreeMap<String, Next>,
    /// What went wrong after there was no way back, and with which tunnel.
    faults: Vec<(String, String)>,
}

impl Gateway {
    /// Reads the file again and puts it to use. What was changed, in words.
    ///
    /// # Errors
    /// What is wrong, in words; nothing was changed then.
    pub(super) fn reload_file(&mut self) -> Result<Reloaded, String> {
        watchdog::reloading();
        self.bury();
        self.bury_links();
        let loaded = config::load(&self.file).map_err(|errors| errors.to_string());
        let done = loaded.and_then(|new| self.reload(new));
        match &done {
            Ok(reloaded) => {
                tracing::info!("reloaded: {}", reloaded.changed);
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
    pub(super) fn reload(&mut self, new: Config) -> Result<Reloaded, String> {
        let mut plan = Plan::new(&self.config, &new)?;
        let changed = plan.describe();
        let clients = self.prepare_clients(&new)?;
        plan.retry(self.faults.keys(), &self.config, &new);
        let mut reload = Reload {
            before: Network::of(&self.config),
            after: Network::of(&new),
            present: upkeep::present()?,
            gateway: self,
            new: &new,
            plan,
            begun: Vec::new(),
            made: BTreeMap::new(),
            begun_links: Vec::new(),
            made_links: BTreeMap::new(),
            made_terminators: BTreeMap::new(),
            next_rules: BTreeMap::new(),
            faults: Vec::new(),
        };
        let mut journal = Journal::default();
        if let Err(error) = reload.prepare(&mut journal) {
            reload.unmake();
            return Err(error);
        }
        journal.keep();
        let (mut faults, lost) = reload.commit();
        // Each was made anew, or is not wanted any more.
        self.ended.clear();
        self.lost.clear();
        self.history.loaded = clock::both().wall.as_secs_f64();
        crate::log::set_level(self.level.unwrap_or(new.log.level));
        self.config = new;
        for (name, lost) in lost {
            let config = self.config.macsec.remove(&name);
            self.lost.insert(name, Lost { config, ..lost });
        }
        faults.extend(self.commit_clients(clients));
        let told = faults.iter().map(|(_, fault)| fault.clone()).collect();
        self.faults.clear();
        for (name, fault) in faults {
            self.faults.entry(name).or_default().push(fault);
        }
        Ok(Reloaded { changed, faults: told })
    }
}

impl Reload<'_> {
    /// Ends what was made, and has the commands of the operator undo what those before it did.
    fn unmake(&mut self) {
        self.unmake_links();
        for name in std::mem::take(&mut self.begun) {
            self.made.remove(&name);
            self.gateway.resolver.retain(&name, &BTreeMap::new(), clock::now());
            if let Err(error) = hooks::run("post_down", &name, &self.new.wireguard[&name].hooks.post_down) {
                tracing::error!("{error}");
            }
        }
    }

    fn interface(&self, name: &str) -> Option<&Interface> {
        self.made.get(name).or_else(|| self.gateway.tunnels.get(name))
    }

    /// Whether a tunnel that will be gone, or have another port, still has this one.
    fn is_taken(&self, port: u16) -> bool {
        port != 0 && self.gateway.config.wireguard.values().any(|old| old.listen_port == port)
    }
}
