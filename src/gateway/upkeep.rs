//! Holds the kernel to what is wanted of it: guards, rules, addresses, routes.
//!
//! The kernel forgets an interface's routes when it is set down, all routes of a family with the last address of it, and the
//! guards of IPv6 with `lo`; and people take away what they do not know. So it is looked at again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use adit_noise::Time;

use super::network::Network;
use super::told;
use crate::control::Interface;
use crate::net::address;
use crate::net::link;
use crate::net::route::{self, Route, Target};
use crate::net::rule::{self, Kind, Rule};

/// How often is looked, if nothing is known to have happened.
const INTERVAL: Duration = Duration::from_secs(10);

/// What is wanted, and what of it the kernel does not have.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    wanted: Network,
    looked: Option<Time>,
    /// How often each interface had been set up when it was looked at last.
    rises: BTreeMap<String, u32>,
    faults: Vec<String>,
}

impl Upkeep {
    /// What is missing and could not be put back, in words.
    pub(super) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Wants this from now on, and sees to it; `links` as in [`Self::look`].
    pub(super) fn want(
        &mut self,
        wanted: Network,
        tunnels: &BTreeMap<String, Interface>,
        links: impl FnOnce() -> Vec<String>,
    ) {
        self.wanted = wanted;
        self.mend(tunnels, links());
    }

    /// Puts back what is missing, if it is time to look or an interface was set up again. `links` does the same for encrypted
    /// links, and says what it could not do.
    pub(super) fn look(
        &mut self,
        tunnels: &BTreeMap<String, Interface>,
        links: impl FnOnce() -> Vec<String>,
        now: Time,
    ) {
        let rises = tunnels.iter().map(|(name, tunnel)| (name.clone(), tunnel.rises())).collect();
        let due = self.looked.is_none_or(|at| now.since(at) >= INTERVAL);
        if due || rises != self.rises {
            (self.looked, self.rises) = (Some(now), rises);
            self.mend(tunnels, links());
        }
    }

    fn mend(&mut self, tunnels: &BTreeMap<String, Interface>, links: Vec<String>) {
        let mut mending = Mending { faults: links };
        let outcome = mending.all(&self.wanted, tunnels);
        mending.faults.extend(outcome.err());
        for fault in mending.faults.iter().filter(|fault| !self.faults.contains(fault)) {
            tracing::error!("{fault}");
        }
        self.faults = mending.faults;
    }
}

/// One look at the kernel.
#[derive(Default)]
struct Mending {
    faults: Vec<String>,
}

impl Mending {
    fn all(&mut self, wanted: &Network, tunnels: &BTreeMap<String, Interface>) -> Result<(), String> {
        let present = present()?;
        for guard in wanted.guard_routes().filter(|guard| !present.contains(guard)) {
            self.put(&format!("unreachable route to {}", guard.destination), route::add(guard));
        }
        for rule in missing_rules(&wanted.rules)? {
            self.put(&format!("policy rule for {:?}", rule.family), rule::add(rule));
        }
        // What is down has no routes, and what is in another network namespace is not ours to route to.
        let up = |name: &str, tunnel: &Interface| {
            link::find(name).is_ok_and(|link| link.up && link.index == tunnel.index())
        };
        let up: BTreeMap<_, _> = tunnels
            .iter()
            .filter(|(name, tunnel)| up(name, tunnel))
            .map(|(name, tunnel)| (name.as_str(), tunnel.index()))
            .collect();
        for (name, index) in &up {
            let held = address::list(*index).map_err(told(&format!("{name}: cannot list addresses")))?;
            let addresses = wanted.addresses.iter().filter(|(of, _)| of == name);
            for (_, address) in addresses.filter(|(_, address)| !held.contains(address)) {
                self.put(&format!("{name}: address {address}"), address::add(*index, *address));
            }
        }
        for (way, name) in &wanted.routes {
            let route = up.get(name.as_str()).map(|index| way.to(*index));
            if let Some(route) = route.filter(|route| !present.contains(route)) {
                self.put(&format!("{name}: route to {}", way.destination), route::add(route));
            }
        }
        Ok(())
    }

    fn put(&mut self, what: &str, added: io::Result<bool>) {
        match added {
            Ok(true) => tracing::info!("put back: {what}"),
            Ok(false) => {}
            Err(error) => self.faults.push(format!("{what} is missing, and cannot be put back: {error}")),
        }
    }
}

/// Routes of ours that the kernel has.
pub(super) fn present() -> Result<BTreeSet<Route>, String> {
    Ok(route::list(route::PROTOCOL).map_err(told("cannot list routes"))?.into_iter().collect())
}

/// Those of `wanted` that the kernel does not have, in the order in which they are to be added: the rule that goes first is
/// added last.
pub(super) fn missing_rules(wanted: &BTreeSet<Rule>) -> Result<Vec<Rule>, String> {
    let present: BTreeSet<_> = rule::list().map_err(told("cannot list rules"))?.into_iter().collect();
    let mut missing: Vec<_> = wanted.difference(&present).copied().collect();
    missing.sort_by_key(|rule| rule.kind == Kind::Specific);
    Ok(missing)
}

/// Closes the ways that a configuration wants guarded, before anything else is done about it.
///
/// # Errors
/// What the kernel says. Nothing may go on then.
pub(super) fn guard(wanted: &Network) -> Result<(), String> {
    let present = present()?;
    wanted.guard_routes().filter(|guard| !present.contains(guard)).try_for_each(|guard| {
        route::add(guard).map(drop).map_err(told(&format!("unreachable route to {}", guard.destination)))
    })
}

/// Puts the rules up without a tunnel behind them: default routes are closed as well.
///
/// # Errors
/// What the kernel says.
pub(super) fn guard_default(wanted: &Network) -> Result<(), String> {
    missing_rules(&wanted.rules)?
        .into_iter()
        .try_for_each(|rule| rule::add(rule).map(drop).map_err(told("policy rule")))
}

/// Takes away guards and rules of ours that nothing wants any more, also those of an earlier daemon.
///
/// # Errors
/// What the kernel says.
pub(super) fn sweep(wanted: &Network) -> Result<(), String> {
    let guards: BTreeSet<_> = wanted.guard_routes().collect();
    let stray =
        present()?.into_iter().filter(|route| route.to == Target::Unreachable && !guards.contains(route));
    for guard in stray {
        route::remove(guard).map_err(told(&format!("unreachable route to {}", guard.destination)))?;
    }
    for rule in rule::list().map_err(told("cannot list rules"))? {
        if !wanted.rules.contains(&rule) {
            rule::remove(rule).map_err(told("policy rule"))?;
        }
    }
    Ok(())
}
