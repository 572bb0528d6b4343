//! What a configuration wants of the kernel beside the devices: addresses, routes, rules, and the guards that stand behind
//! the routes.
//!
//! A guard is an unreachable route to the same range, in the same table, with the highest metric. While the tunnel is there
//! its own route is better; when it is gone, for whatever reason, the guard holds back what was meant for it.

use std::collections::{BTreeMap, BTreeSet};

use adit_wireguard::Prefix;

use crate::config::{Config, InterfaceAddress, MARK, Table, Wireguard};
use crate::net::route::{MAIN, Route};
use crate::net::rule::{Family, Kind, Rule};

/// A range of addresses in a routing table.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Way {
    pub(super) destination: Prefix,
    pub(super) table: u32,
}

impl Way {
    /// The route to a device.
    pub(super) fn to(self, index: u32) -> Route {
        Route::link(self.destination, self.table, index)
    }
}

/// Everything that is wanted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Network {
    pub(super) addresses: BTreeSet<(String, InterfaceAddress)>,
    /// Each with the tunnel that it leads into.
    pub(super) routes: BTreeMap<Way, String>,
    pub(super) guards: BTreeSet<Way>,
    pub(super) rules: BTreeSet<Rule>,
}

impl Network {
    /// What a configuration wants.
    pub(super) fn of(config: &Config) -> Self {
        let mut network = Self::default();
        for (name, tunnel) in &config.wireguard {
            network.add(name, tunnel);
        }
        network
    }

    /// What one tunnel wants.
    pub(super) fn of_tunnel(name: &str, tunnel: &Wireguard) -> Self {
        let mut network = Self::default();
        network.add(name, tunnel);
        network
    }

    /// The guards as routes.
    pub(super) fn guard_routes(&self) -> impl Iterator<Item = Route> {
        self.guards.iter().map(|way| Route::guard(way.destination, way.table))
    }

    fn add(&mut self, name: &str, tunnel: &Wireguard) {
        self.addresses.extend(tunnel.addresses.iter().map(|address| (name.to_owned(), *address)));
        let kernels: BTreeSet<_> = tunnel.addresses.iter().filter_map(connected).collect();
        let mut ways = kernels.clone();
        for destination in tunnel.peers.values().flat_map(|peer| &peer.allowed_ips) {
            let Some(table) = tunnel.table.of(*destination, tunnel.fwmark) else { continue };
            if tunnel.table == Table::Auto && destination.length() == 0 {
                let family = if destination.address().is_ipv6() { Family::V6 } else { Family::V4 };
                let kinds = [Kind::Unmarked { mark: mark(tunnel), table }, Kind::Specific];
                self.rules.extend(kinds.map(|kind| Rule { family, kind }));
            }
            let way = Way { destination: *destination, table };
            ways.insert(way);
            self.routes.insert(way, name.to_owned());
        }
        // The kernel makes those by itself.
        self.routes.retain(|way, of| of != name || !kernels.contains(way));
        if !tunnel.allow_fail_open {
            self.guards.extend(ways);
        }
    }
}

/// The firewall mark of what a tunnel sends: the one it asks for, or that of its default route.
pub(super) fn mark(tunnel: &Wireguard) -> u32 {
    let default = |tunnel: &Wireguard| {
        tunnel.peers.values().flat_map(|peer| &peer.allowed_ips).any(|prefix| prefix.length() == 0)
    };
    match (tunnel.fwmark, tunnel.table) {
        (0, Table::Auto) if default(tunnel) => MARK,
        (mark, _) => mark,
    }
}

/// The route that the kernel makes of an address by itself; none for a network of one address.
fn connected(address: &InterfaceAddress) -> Option<Way> {
    let whole = Prefix::from(address.address).length();
    let destination = Prefix::new(address.address, address.prefix_len).ok()?;
    (address.prefix_len < whole).then_some(Way { destination, table: MAIN })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use zeroize::Zeroizing;

    use super::*;

    fn network(text: &str) -> Network {
        let key = adit_noise::PrivateKey::from_bytes([9; 32]).to_base64();
        let secret = |_: &Path| Ok(Zeroizing::new(key.as_bytes().to_vec()));
        let public = adit_noise::PublicKey::from_bytes([7; 32]).to_base64();
        let text = format!(
            "[gateway]\nuser = \"root\"\n[wireguard.wg0]\nprivate_key_file = \"/k\"\n{}",
            text.replace("PEER", &format!("[wireguard.wg0.peer.a]\npublic_key = \"{public}\""))
        );
        Network::of(&crate::config::parse("test.toml", &text, &secret).unwrap())
    }

    fn way(destination: &str, table: u32) -> Way {
        Way { destination: destination.parse().unwrap(), table }
    }

    fn rules(family: Family, mark: u32) -> BTreeSet<Rule> {
        [Kind::Specific, Kind::Unmarked { mark, table: mark }].map(|kind| Rule { family, kind }).into()
    }

    #[test]
    fn behind_every_route_there_is_a_guard_also_behind_those_that_the_kernel_makes() {
        let network = network(
            "addresses = [\"10.20.0.1/24\", \"10.9.9.9/32\", \"fd20::1/64\"]\nPEER\nallowed_ips = [\"10.30.0.0/16\"]",
        );
        assert_eq!(network.routes, [(way("10.30.0.0/16", 254), "wg0".to_owned())].into());
        let guards = [way("10.20.0.0/24", 254), way("10.30.0.0/16", 254), way("fd20::/64", 254)];
        assert_eq!(network.guards, guards.into());
        assert_eq!(network.addresses.len(), 3);
        assert!(network.rules.is_empty());
    }

    #[test]
    fn a_default_route_has_a_table_and_a_rule_of_its_own() {
        let network = network("PEER\nallowed_ips = [\"0.0.0.0/0\", \"10.1.0.0/16\"]");
        assert_eq!(network.rules, rules(Family::V4, 51_820));
        let ways = [way("0.0.0.0/0", 51_820), way("10.1.0.0/16", 254)];
        assert_eq!(network.guards, ways.into());
        assert!(network.routes.keys().eq(&ways.into_iter().collect::<BTreeSet<_>>()));
    }

    #[test]
    fn the_operators_own_mark_names_the_table_too() {
        let network = network("fwmark = 7\nPEER\nallowed_ips = [\"::/0\"]");
        assert_eq!(network.rules, rules(Family::V6, 7));
    }

    #[test]
    fn routes_are_the_operators_with_table_off_and_all_in_one_table_with_a_number() {
        let off = network("table = \"off\"\nPEER\nallowed_ips = [\"10.1.0.0/16\"]");
        assert_eq!(off, Network::default());
        let numbered = network("table = 100\nPEER\nallowed_ips = [\"0.0.0.0/0\"]");
        assert!(numbered.rules.is_empty());
        assert_eq!(numbered.guards, [way("0.0.0.0/0", 100)].into());
    }

    #[test]
    fn who_allows_it_has_no_guards() {
        let open = network(
            "allow_fail_open = true\naddresses = [\"10.20.0.1/24\"]\nPEER\nallowed_ips = [\"10.30.0.0/16\"]",
        );
        assert!(open.guards.is_empty());
        assert_eq!(open.routes.len(), 1);
    }
}
