//! Who made which peer. Nobody takes away what another owner made: neither a reload what `wg set` added, nor `wg syncconf`
//! what the configuration file says. An allowed IP has one peer at a time, so to give it to another peer is to take it away:
//! the file may, and leases may from `wg`; nobody takes one from who comes before him.

use std::collections::HashMap;

use adit_noise::PublicKey;
use adit_wireguard::uapi::Change;
use adit_wireguard::{PeerChange, Prefix};

use crate::status::Owner;

/// The owners of an interface's peers. Whoever is not in it is [`Owner::Uapi`]'s.
#[derive(Debug, Default)]
pub(super) struct Owners(HashMap<PublicKey, Owner>);

impl Owners {
    /// A peer's owner.
    pub(super) fn of(&self, key: &PublicKey) -> Owner {
        self.0.get(key).copied().unwrap_or_default()
    }

    /// Looks at a change before it is made, and takes note of it.
    pub(super) fn admit(&mut self, change: &Change, by: Owner) -> Verdict {
        match change {
            // A lease would give it other addresses and another preshared key. Reloads change the file at any time, also between
            // the moment when a lease is granted and this one.
            Change::Peer(key, _) if by == Owner::Lease && self.of(key) == Owner::File => Verdict::Refuse,
            Change::Peer(key, change) => {
                // Everybody else may change anything of a peer. Who comes before its owner makes it his own.
                if by < self.of(key) && !change.update_only {
                    self.0.insert(*key, by);
                }
                Verdict::Go
            }
            Change::RemovePeer(key) if self.of(key) == by => {
                self.0.remove(key);
                Verdict::Go
            }
            Change::RemovePeer(_) => Verdict::Refuse,
            Change::ReplacePeers if self.0.is_empty() && by == Owner::Uapi => Verdict::Go,
            Change::ReplacePeers => Verdict::OwnOnly,
            Change::PrivateKey(_) | Change::Cipher(_) | Change::ListenPort(_) | Change::Fwmark(_) => {
                Verdict::Go
            }
        }
    }

    /// Takes out of a peer's change the allowed IPs that it would take away from a peer of somebody who comes first, and returns them
    /// with that peer. `has` tells which peer has exactly that range now.
    pub(super) fn withhold(
        &self,
        key: &PublicKey,
        change: &mut PeerChange,
        by: Owner,
        has: impl Fn(Prefix) -> Option<PublicKey>,
    ) -> Vec<(Prefix, PublicKey)> {
        let mut withheld = Vec::new();
        if by == Owner::File || self.0.is_empty() {
            return withheld;
        }
        change.allowed_ips.retain(|(add, prefix)| {
            let other = has(*prefix).filter(|other| *add && other != key && self.of(other) < by);
            withheld.extend(other.map(|other| (*prefix, other)));
            other.is_none()
        });
        withheld
    }
}

/// What becomes of a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It is made.
    Go,
    /// It is made as far as it concerns the caller's own peers.
    OwnOnly,
    /// It is not made.
    Refuse,
}

#[cfg(test)]
mod tests {
    use adit_wireguard::PeerChange;

    use super::*;

    const KEY: PublicKey = PublicKey::from_bytes([7; 32]);

    fn peer() -> Change {
        Change::Peer(KEY, PeerChange::default())
    }

    #[test]
    fn a_peer_of_the_file_is_not_removed_by_wg() {
        let mut owners = Owners::default();
        assert_eq!(owners.admit(&peer(), Owner::File), Verdict::Go);
        assert_eq!(owners.admit(&peer(), Owner::Uapi), Verdict::Go);
        assert_eq!(owners.of(&KEY), Owner::File, "who changes a peer does not own it");
        assert_eq!(owners.admit(&Change::RemovePeer(KEY), Owner::Uapi), Verdict::Refuse);
        assert_eq!(owners.admit(&Change::ReplacePeers, Owner::Uapi), Verdict::OwnOnly);
        assert_eq!(owners.admit(&Change::RemovePeer(KEY), Owner::File), Verdict::Go);
        assert_eq!(owners.of(&KEY), Owner::Uapi);
    }

    #[test]
    fn a_peer_of_wg_is_not_removed_by_the_file() {
        let mut owners = Owners::default();
        assert_eq!(owners.admit(&peer(), Owner::Uapi), Verdict::Go);
        assert_eq!(owners.admit(&Change::RemovePeer(KEY), Owner::File), Verdict::Refuse);
        assert_eq!(owners.admit(&Change::RemovePeer(KEY), Owner::Uapi), Verdict::Go);
    }

    #[test]
    fn the_file_takes_over_a_peer_that_it_names() {
        let mut owners = Owners::default();
        assert_eq!(owners.admit(&peer(), Owner::Uapi), Verdict::Go);
        assert_eq!(owners.admit(&peer(), Owner::File), Verdict::Go);
        assert_eq!(owners.of(&KEY), Owner::File);
    }

    #[test]
    fn an_allowed_ip_of_the_file_goes_to_no_other_peer_but_by_the_file() {
        let prefix = |text: &str| text.parse::<Prefix>().unwrap();
        let (ours, theirs) = (prefix("10.30.0.0/16"), prefix("10.40.0.0/16"));
        let has = |prefix| (prefix == ours).then_some(KEY);
        let other = PublicKey::from_bytes([8; 32]);
        let wanted =
            || PeerChange { allowed_ips: vec![(true, ours), (true, theirs)], ..PeerChange::default() };
        let mut owners = Owners::default();
        let withheld = |owners: &Owners, key, by, mut change| {
            (owners.withhold(key, &mut change, by, has), change.allowed_ips.len())
        };
        assert_eq!(withheld(&owners, &other, Owner::Uapi, wanted()), (vec![], 2), "there is no file");
        owners.admit(&peer(), Owner::File);
        assert_eq!(withheld(&owners, &other, Owner::Uapi, wanted()), (vec![(ours, KEY)], 1));
        assert_eq!(withheld(&owners, &other, Owner::File, wanted()), (vec![], 2));
        assert_eq!(withheld(&owners, &KEY, Owner::Uapi, wanted()), (vec![], 2), "it is its own");
        let gives_back = PeerChange { allowed_ips: vec![(false, ours)], ..PeerChange::default() };
        assert_eq!(withheld(&owners, &other, Owner::Uapi, gives_back), (vec![], 1));
    }

    #[test]
    fn a_peer_of_a_lease_is_taken_away_neither_by_the_file_nor_by_wg() {
        let mut owners = Owners::default();
        assert_eq!(owners.admit(&peer(), Owner::Lease), Verdict::Go);
        assert_eq!(owners.admit(&peer(), Owner::Uapi), Verdict::Go);
        for by in [Owner::File, Owner::Uapi] {
            assert_eq!(owners.admit(&Change::RemovePeer(KEY), by), Verdict::Refuse);
            assert_eq!(owners.admit(&Change::ReplacePeers, by), Verdict::OwnOnly);
        }
        assert_eq!(owners.admit(&peer(), Owner::File), Verdict::Go);
        assert_eq!(owners.of(&KEY), Owner::File, "the file has the last word");
        assert_eq!(owners.admit(&Change::RemovePeer(KEY), Owner::Lease), Verdict::Refuse);
    }

    #[test]
    fn a_lease_changes_no_peer_of_the_file() {
        let mut owners = Owners::default();
        owners.admit(&peer(), Owner::File);
        assert_eq!(owners.admit(&peer(), Owner::Lease), Verdict::Refuse);
        assert_eq!(owners.of(&KEY), Owner::File);
    }

    #[test]
    fn a_leased_address_goes_to_no_peer_of_wg_and_one_of_wg_to_a_lease() {
        let leased: Prefix = "10.9.0.2/32".parse().unwrap();
        let other = PublicKey::from_bytes([8; 32]);
        let mut owners = Owners::default();
        owners.admit(&peer(), Owner::Lease);
        let withheld = |key, by, holder| {
            let mut change = PeerChange { allowed_ips: vec![(true, leased)], ..PeerChange::default() };
            owners.withhold(&key, &mut change, by, |_| Some(holder)).len()
        };
        assert_eq!(withheld(other, Owner::Uapi, KEY), 1);
        assert_eq!(withheld(KEY, Owner::Lease, other), 0);
    }

    #[test]
    fn without_peers_of_the_file_everything_is_wgs() {
        assert_eq!(Owners::default().admit(&Change::ReplacePeers, Owner::Uapi), Verdict::Go);
    }
}
