//! What clients of a tunnel reach, by the addresses of an opened packet.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use adit_wireguard::{AllowedIps, Prefix};

/// The rules for packets from clients' addresses. Others are not their business: fixed peers reach what routing lets them.
#[derive(Clone, Debug)]
pub struct Access {
    clients: Vec<RangeInclusive<IpAddr>>,
    reach: AllowedIps<()>,
    between_clients: bool,
}

impl Access {
    /// Whoever has an address of `clients` reaches these networks, and the others of them only with `between_clients`.
    #[must_use]
    pub fn new(clients: Vec<RangeInclusive<IpAddr>>, networks: &[Prefix], between_clients: bool) -> Self {
        let mut reach = AllowedIps::new();
        for network in networks {
            reach.insert(*network, ());
        }
        Self { clients, reach, between_clients }
    }

    fn is_client(&self, address: IpAddr) -> bool {
        self.clients.iter().any(|range| range.contains(&address))
    }

    /// Whether a packet may go on. Its source is its peer's: that was looked at before.
    pub(super) fn admits(&self, source: IpAddr, destination: IpAddr) -> bool {
        if !self.is_client(source) {
            return true;
        }
        if self.is_client(destination) {
            return self.between_clients;
        }
        self.reach.lookup(destination).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(between_clients: bool, reach: &[&str]) -> Access {
        let range = |first: &str, last: &str| first.parse().unwrap()..=last.parse().unwrap();
        let clients = vec![range("10.9.0.2", "10.9.0.99"), range("fd09::2", "fd09::99")];
        let reach: Vec<_> = reach.iter().map(|prefix| prefix.parse().unwrap()).collect();
        Access::new(clients, &reach, between_clients)
    }

    #[test]
    fn a_client_reaches_the_listed_networks_and_no_other_client() {
        let access = access(false, &["10.20.0.0/16", "10.9.0.0/24", "fd20::/48"]);
        for (source, destination, admitted) in [
            ("10.9.0.2", "10.20.7.7", true),
            ("10.9.0.2", "10.21.7.7", false),
            ("10.9.0.2", "10.9.0.1", true),
            ("10.9.0.2", "10.9.0.3", false),
            ("10.9.0.2", "10.9.0.100", true),
            ("10.9.0.99", "10.9.0.2", false),
            ("fd09::7", "fd20::1", true),
            ("fd09::7", "fd21::1", false),
            ("fd09::7", "fd09::8", false),
            ("fd09::7", "fd09::7", false),
        ] {
            let packet = (source.parse().unwrap(), destination.parse().unwrap());
            assert_eq!(access.admits(packet.0, packet.1), admitted, "{source} to {destination}");
        }
    }

    #[test]
    fn clients_reach_one_another_where_that_is_allowed_and_fixed_peers_what_they_like() {
        let access = access(true, &[]);
        let admits = |source: &str, destination: &str| {
            access.admits(source.parse().unwrap(), destination.parse().unwrap())
        };
        assert!(admits("10.9.0.2", "10.9.0.3") && !admits("10.9.0.2", "10.20.7.7"));
        assert!(admits("10.30.0.1", "10.20.7.7") && admits("10.30.0.1", "10.9.0.3"));
    }
}
