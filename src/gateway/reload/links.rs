//! The part of a reload that encrypted links have.
//!
//! A link that is new is prepared beside what runs. One whose keys, carrier or settings changed is made anew, and one that
//! needs what another still has waits for it: those come after there is no way back. What of them cannot be made is told,
//! stays closed by its guard, and is tried again by the next reload.

use std::collections::BTreeMap;

use super::Reload;
use crate::clock;
use crate::config::macsec::Carrier;
use crate::config::{Config, Hooks, Macsec};
use crate::gateway::guards;
use crate::gateway::hooks;
use crate::gateway::journal::Journal;
use crate::gateway::links::{self, Lost};

impl Reload<'_> {
    /// Guards the links of Ethernet that encrypted ones are to use.
    pub(super) fn lay_guards(&self, journal: &mut Journal) -> Result<(), String> {
        let wanted = guards::wanted(self.new);
        for (name, outer_tag) in wanted {
            for name in self.gateway.guards.lay(&[(name, outer_tag)].into())? {
                let guards = self.gateway.guards.clone();
                journal.done(format!("guard of {name}"), move || guards.take_away(&name));
            }
        }
        Ok(())
    }

    /// Makes the links that are new, and need nothing that another one has.
    pub(super) fn make_links(&mut self) -> Result<(), String> {
        let made = self.plan.links.added.iter().chain(&self.plan.links.remade);
        let refused = made.filter_map(|name| links::missing_privilege(name, &self.new.macsec[name])).next();
        refused.map_or(Ok(()), Err)?;
        for name in self.plan.links.added.clone() {
            if self.gateway.is_stopping() {
                return Err("the daemon was told to end".into());
            }
            let config = &self.new.macsec[&name];
            if waits(&self.gateway.config, config) {
                continue;
            }
            self.begun_links.push(name.clone());
            hooks::run("pre_up", &config.tap, &config.hooks.pre_up)?;
            let made = links::make(&name, config, &self.new.gateway)?;
            self.made_links.insert(name, made);
        }
        Ok(())
    }

    /// Ends links that were made, and has the commands of the operator undo what those before them did.
    pub(super) fn unmake_links(&mut self) {
        for name in std::mem::take(&mut self.begun_links) {
            self.made_links.remove(&name);
            let Macsec { tap, hooks: Hooks { post_down, .. }, .. } = &self.new.macsec[&name];
            if let Err(error) = hooks::run("post_down", tap, post_down) {
                tracing::error!("{error}");
            }
        }
    }

    /// Takes away what is not wanted, or has to be made anew.
    pub(super) fn take_links_down(&mut self) {
        for name in self.plan.links.removed.iter().chain(&self.plan.links.remade) {
            self.gateway.take_link_down(name);
        }
    }

    /// Changes links, and makes those that waited. Those that could not be made, which the configuration in use is without.
    pub(super) fn commit_links(&mut self) -> BTreeMap<String, Lost> {
        let wanted = guards::wanted(self.new);
        let faults = self.gateway.guards.set_outer_tags(&wanted);
        self.faults.extend(faults.into_iter().map(|fault| (String::new(), fault)));
        for name in self.plan.links.changed.clone() {
            let (old, new) = (&self.gateway.config.macsec[&name], &self.new.macsec[&name]);
            let changed = self.gateway.links.get(&name).map(|link| links::change(&name, link, old, new));
            self.done(&name, changed.unwrap_or(Ok(())));
        }
        let mut lost = BTreeMap::new();
        for name in self.plan.links.added.iter().chain(&self.plan.links.remade).cloned().collect::<Vec<_>>() {
            let config = &self.new.macsec[&name];
            let made = match self.made_links.remove(&name) {
                Some(made) => Ok(made),
                None => hooks::run("pre_up", &config.tap, &config.hooks.pre_up)
                    .and_then(|()| links::make_after(&name, config, &self.new.gateway)),
            };
            match made {
                Ok(made) => {
                    self.gateway.links.insert(name.clone(), made);
                    self.done(&name, hooks::run("post_up", &config.tap, &config.hooks.post_up));
                }
                Err(why) => {
                    lost.insert(
                        name.clone(),
                        Lost { why: format!("{why}; aditctl reload tries again"), config: None },
                    );
                    self.faults.push((name, why));
                }
            }
        }
        for (name, config) in &self.new.macsec {
            self.gateway.resolver.retain(name, &links::names(config), clock::now());
        }
        let swept = self.gateway.guards.sweep(&wanted);
        self.done("", swept);
        lost
    }
}

/// Whether a link needs what a tunnel or a link of the configuration in use has: they may be in the same reload taken away.
fn waits(old: &Config, new: &Macsec) -> bool {
    let port = |carrier: &Carrier| match carrier {
        Carrier::Udp(udp) => Some(udp.listen).filter(|port| *port != 0),
        Carrier::Link(_) => None,
    };
    let wanted = port(&new.carrier);
    let tunnel = old
        .wireguard
        .iter()
        .any(|(name, tunnel)| *name == new.tap || wanted.is_some_and(|port| port == tunnel.listen_port));
    let link = |old: &Macsec| match (&old.carrier, &new.carrier) {
        _ if old.tap == new.tap => true,
        (Carrier::Link(old), Carrier::Link(new)) => old == new,
        (old, _) => wanted.is_some() && wanted == port(old),
    };
    tunnel || old.macsec.values().any(link)
}
