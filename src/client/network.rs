//! What a tunnel wants of the kernel beside its device: addresses, routes, the rules of a full tunnel, and what stands behind
//! the routes.
//!
//! Behind every route of a split tunnel there is an unreachable one of the highest metric, which outlives the process: what
//! was meant for the site does not leave elsewhere. A full tunnel has that from its kill switch.

use std::collections::BTreeSet;
use std::io;

use adit_wireguard::Prefix;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::profile::Profile;
use crate::config::InterfaceAddress;
use crate::net::route::{self, MAIN, Route};
use crate::net::rule::{self, Family, Kind, Rule};
use crate::net::{address, link};

/// The firewall mark of what the client's tunnels send, and the table of a default route. Another than those of wg-quick and
/// of aditd, so that they can run beside it.
pub(super) const MARK: u32 = 0xad17;

/// What is wanted.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Network {
    /// The interface's addresses, as text.
    addresses: Vec<String>,
    /// What leads into the tunnel.
    routes: Vec<Way>,
    /// What is held back when the tunnel is gone.
    guards: Vec<Way>,
}

/// A range in a routing table.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Way {
    destination: String,
    table: u32,
}

impl Network {
    /// What a profile wants.
    #[must_use]
    pub(super) fn of(profile: &Profile) -> Self {
        let routes = profile.gateways.iter().flat_map(|gateway| &gateway.routes);
        let routes: Vec<_> = routes
            .map(|destination| Way {
                destination: destination.to_string(),
                table: if destination.length() == 0 { MARK } else { MAIN },
            })
            .collect();
        Self {
            addresses: profile.addresses.iter().map(ToString::to_string).collect(),
            guards: routes.iter().filter(|way| way.table == MAIN).cloned().collect(),
            routes,
        }
    }

    /// Lays what is missing. The interface has to be up.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn lay(&self, index: u32) -> Result<()> {
        let present: BTreeSet<_> =
            route::list(route::PROTOCOL).context("cannot list routes")?.into_iter().collect();
        let held = address::list(index).context("cannot list addresses")?;
        for address in self.addresses().filter(|address| !held.contains(address)) {
            address::add(index, address).with_context(|| format!("address {address}"))?;
        }
        let guards = self.guards.iter().filter_map(Way::guard);
        let routes = self.routes.iter().filter_map(|way| way.to(index));
        for route in guards.chain(routes).filter(|route| !present.contains(route)) {
            match route::add(route) {
                // The same route by another's hand does as well.
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
                added => drop(added.with_context(|| format!("route to {}", route.destination))?),
            }
        }
        let rules = self.rules();
        for rule in &rules {
            rule::add(*rule).context("policy rule")?;
        }
        if rules.iter().any(|rule| rule.family == Family::V4) {
            // Of use to a strict rp_filter alone; a /proc/sys that cannot be written is none of our concern.
            let _ = rule::set_src_valid_mark();
        }
        Ok(())
    }

    /// Takes away what another network in its place does not have.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn remove_from(&self, index: u32, after: &Self) -> io::Result<()> {
        for address in self.addresses().filter(|address| after.addresses().all(|kept| kept != *address)) {
            address::remove(index, address)?;
        }
        let gone = |ways: &[Way], kept: &[Way]| {
            ways.iter().filter(|way| !kept.contains(way)).cloned().collect::<Vec<_>>()
        };
        for route in gone(&self.routes, &after.routes).iter().filter_map(|way| way.to(index)) {
            route::remove(route)?;
        }
        for guard in gone(&self.guards, &after.guards).iter().filter_map(Way::guard) {
            route::remove(guard)?;
        }
        Ok(())
    }

    /// Takes away what outlives the device.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn take_away(&self) -> io::Result<()> {
        for guard in self.guards.iter().filter_map(Way::guard) {
            route::remove(guard)?;
        }
        if self.is_full() { take_rules_away() } else { Ok(()) }
    }

    /// Whether everything goes through the tunnel.
    #[must_use]
    pub(super) fn is_full(&self) -> bool {
        self.routes.iter().any(|way| way.table == MARK)
    }

    /// What leads into the tunnel, as text.
    pub(super) fn routes(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|way| way.destination.as_str())
    }

    /// What is held back when the tunnel is gone, as text.
    pub(super) fn guarded(&self) -> impl Iterator<Item = &str> {
        self.guards.iter().map(|way| way.destination.as_str())
    }

    fn addresses(&self) -> impl Iterator<Item = InterfaceAddress> {
        self.addresses.iter().filter_map(|address| address.parse().ok())
    }

    /// As wg-quick's, in the order in which they are added: the last goes first.
    fn rules(&self) -> Vec<Rule> {
        let families = [Family::V4, Family::V6].into_iter().filter(|family| {
            let ours =
                |way: &Way| way.table == MARK && way.destination.contains(':') == (*family == Family::V6);
            self.routes.iter().any(ours)
        });
        let kinds = [Kind::Unmarked { mark: MARK, table: MARK }, Kind::Specific];
        families.flat_map(|family| kinds.map(|kind| Rule { family, kind })).collect()
    }
}

impl Way {
    fn prefix(&self) -> Option<Prefix> {
        self.destination.parse().ok()
    }

    fn to(&self, index: u32) -> Option<Route> {
        self.prefix().map(|destination| Route::link(destination, self.table, index))
    }

    fn guard(&self) -> Option<Route> {
        self.prefix().map(|destination| Route::guard(destination, self.table))
    }
}

/// Takes the client's rules away. The rule that the main table goes first stays where another rule of ours needs it.
fn take_rules_away() -> io::Result<()> {
    let all = rule::list()?;
    for family in [Family::V4, Family::V6] {
        let ours = Rule { family, kind: Kind::Unmarked { mark: MARK, table: MARK } };
        if !rule::remove(ours)? {
            continue;
        }
        let others = all
            .iter()
            .any(|rule| rule.family == family && *rule != ours && matches!(rule.kind, Kind::Unmarked { .. }));
        if !others {
            rule::remove(Rule { family, kind: Kind::Specific })?;
        }
    }
    Ok(())
}

/// Whether rules or unreachable routes of a client are there, also of one that is gone.
///
/// # Errors
/// What the kernel says.
pub(super) fn has_rules() -> io::Result<bool> {
    let ours = Kind::Unmarked { mark: MARK, table: MARK };
    Ok(rule::list()?.iter().any(|rule| rule.kind == ours))
}

/// Sets a link up.
///
/// # Errors
/// What the kernel says.
pub(super) fn set_up(index: u32, mtu: Option<usize>) -> io::Result<()> {
    link::set(index, &link::Settings { up: Some(true), mtu, ..link::Settings::default() })
}

/// Whether the main table is all that is used: nothing of ours leads anywhere.
#[cfg(test)]
fn is_clean() -> bool {
    let routes = route::list(route::PROTOCOL).unwrap();
    rule::list().unwrap().is_empty() && routes.iter().all(|route| matches!(route.to, route::Target::Link(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::profile::tests::sample;
    use crate::net::isolated::{isolated, make_link, remove_link};

    #[test]
    fn a_split_tunnel_is_laid_guarded_and_taken_away() {
        isolated(|| {
            let index = make_link("office");
            let network = Network::of(&sample());
            network.lay(index).unwrap();
            network.lay(index).expect("what is there is left");
            assert!(!network.is_full() && !has_rules().unwrap());
            let routes = route::list(route::PROTOCOL).unwrap();
            let destination = "10.0.0.0/8".parse().unwrap();
            assert!(routes.contains(&Route::link(destination, MAIN, index)));
            assert!(routes.contains(&Route::guard(destination, MAIN)));
            remove_link(index);
            assert!(!is_clean(), "the guard stays when the device goes");
            network.take_away().unwrap();
            assert!(is_clean());
        });
    }

    #[test]
    fn a_full_tunnel_has_rules_which_go_and_leave_those_of_others() {
        isolated(|| {
            let index = make_link("office");
            let mut profile = sample();
            profile.fill().unwrap();
            let network = Network::of(&profile);
            let foreign = Rule { family: Family::V4, kind: Kind::Unmarked { mark: 51_820, table: 51_820 } };
            rule::add(foreign).unwrap();
            network.lay(index).unwrap();
            assert!(network.is_full() && has_rules().unwrap());
            assert_eq!(rule::list().unwrap().len(), 5);
            network.take_away().unwrap();
            let left = rule::list().unwrap();
            assert_eq!(left, [Rule { family: Family::V4, kind: Kind::Specific }, foreign]);
        });
    }
}
