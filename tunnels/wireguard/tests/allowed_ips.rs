//! The routing table against a list that is searched from end to end.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_wireguard::{AllowedIps, Prefix};
use proptest::prelude::*;

/// What the table should do, in the simplest way.
#[derive(Default)]
struct Model(Vec<(Prefix, u8)>);

impl Model {
    fn insert(&mut self, prefix: Prefix, value: u8) -> Option<u8> {
        let old = self.0.iter().position(|(held, _)| *held == prefix);
        let old = old.map(|at| self.0.swap_remove(at).1);
        self.0.push((prefix, value));
        old
    }

    fn remove(&mut self, prefix: Prefix, value: u8) -> bool {
        let before = self.0.len();
        self.0.retain(|entry| *entry != (prefix, value));
        before != self.0.len()
    }

    fn lookup(&self, address: IpAddr) -> Option<u8> {
        let holding = self.0.iter().filter(|(held, _)| held.contains(address));
        holding.max_by_key(|(held, _)| held.length()).map(|(_, value)| *value)
    }

    fn get(&self, prefix: Prefix) -> Option<u8> {
        self.0.iter().find(|(held, _)| *held == prefix).map(|(_, value)| *value)
    }

    fn prefixes_of(&self, value: u8) -> Vec<Prefix> {
        let mut prefixes: Vec<_> =
            self.0.iter().filter(|(_, held)| *held == value).map(|(prefix, _)| *prefix).collect();
        prefixes.sort();
        prefixes
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Prefix, u8),
    Remove(Prefix, u8),
    RemoveAll(u8),
}

impl Step {
    fn prefix(&self) -> Option<Prefix> {
        match self {
            Self::Insert(prefix, _) | Self::Remove(prefix, _) => Some(*prefix),
            Self::RemoveAll(_) => None,
        }
    }
}

/// Addresses that often share long prefixes: few distinct bytes.
fn address() -> impl Strategy<Value = IpAddr> {
    (any::<bool>(), any::<[u8; 16]>()).prop_map(|(v4, bytes)| {
        let bytes = bytes.map(|byte| match byte % 5 {
            0 => byte,
            1 => 1,
            2 => 0x80,
            3 => 0xff,
            _ => 0,
        });
        if v4 {
            let [a, b, c, d, ..] = bytes;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        } else {
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
    })
}

fn prefix() -> impl Strategy<Value = Prefix> {
    (address(), any::<u8>()).prop_map(|(address, length)| {
        let width = if address.is_ipv4() { 33 } else { 129 };
        Prefix::new(address, (u16::from(length) % width) as u8).unwrap()
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prefix(), 0..4_u8).prop_map(|(prefix, value)| Step::Insert(prefix, value)),
        2 => (prefix(), 0..4_u8).prop_map(|(prefix, value)| Step::Remove(prefix, value)),
        1 => (0..4_u8).prop_map(Step::RemoveAll),
    ]
}

proptest! {
    #[test]
    fn table_agrees_with_a_list(
        steps in prop::collection::vec((step(), any::<prop::sample::Index>(), any::<bool>()), 1..120),
        addresses in prop::collection::vec(address(), 40),
    ) {
        let mut table = AllowedIps::new();
        let mut model = Model::default();
        let prefixes: Vec<_> = steps.iter().filter_map(|(step, ..)| step.prefix()).collect();
        for (step, pick, known) in steps {
            // Half of the removals aim at what is there.
            let step = match step {
                Step::Remove(..) if known && !model.0.is_empty() => {
                    let (prefix, value) = *pick.get(&model.0);
                    Step::Remove(prefix, value)
                }
                step @ (Step::Insert(..) | Step::Remove(..) | Step::RemoveAll(_)) => step,
            };
            match step {
                Step::Insert(prefix, value) => {
                    prop_assert_eq!(table.insert(prefix, value), model.insert(prefix, value));
                }
                Step::Remove(prefix, value) => {
                    prop_assert_eq!(table.remove(prefix, value), model.remove(prefix, value));
                }
                Step::RemoveAll(value) => {
                    table.remove_all(value);
                    model.0.retain(|(_, held)| *held != value);
                }
            }
            for address in &addresses {
                prop_assert_eq!(table.lookup(*address), model.lookup(*address));
            }
            for (prefix, _) in &model.0 {
                let address = prefix.address();
                prop_assert_eq!(table.lookup(address), model.lookup(address));
            }
            for prefix in &prefixes {
                prop_assert_eq!(table.get(*prefix), model.get(*prefix));
            }
        }
        for value in 0..4 {
            prop_assert_eq!(table.prefixes_of(value), model.prefixes_of(value));
        }
    }

    #[test]
    fn shown_prefixes_read_back(prefix in prefix()) {
        prop_assert_eq!(prefix.to_string().parse::<Prefix>().unwrap(), prefix);
    }
}

fn table(entries: &[(&str, u8)]) -> AllowedIps<u8> {
    let mut table = AllowedIps::new();
    for (prefix, value) in entries {
        table.insert(prefix.parse().unwrap(), *value);
    }
    table
}

#[track_caller]
fn assert_owner(table: &AllowedIps<u8>, address: &str, owner: Option<u8>) {
    assert_eq!(table.lookup(address.parse().unwrap()), owner, "{address}");
}

#[test]
fn longest_prefix_wins_over_nested_and_default_routes() {
    let table = table(&[
        ("0.0.0.0/0", 0),
        ("10.0.0.0/8", 1),
        ("10.1.0.0/16", 2),
        ("10.1.2.0/24", 3),
        ("10.1.2.3/32", 4),
        ("10.1.2.128/25", 5),
        ("::/0", 6),
        ("2607:5300:60:6b0::/64", 7),
        ("2607:5300:60:6b0::c05f:543/128", 8),
    ]);
    for (address, owner) in [
        ("9.255.255.255", 0),
        ("11.0.0.0", 0),
        ("10.0.0.0", 1),
        ("10.255.255.255", 1),
        ("10.1.255.255", 2),
        ("10.1.2.2", 3),
        ("10.1.2.3", 4),
        ("10.1.2.127", 3),
        ("10.1.2.128", 5),
        ("::", 6),
        ("2607:5300:60:6b0:ffff::1", 7),
        ("2607:5300:60:6b0::c05f:543", 8),
        ("2607:5300:60:6b1::", 6),
    ] {
        assert_owner(&table, address, Some(owner));
    }
}

#[test]
fn a_prefix_moves_to_the_last_who_claims_it() {
    let mut table = table(&[("192.168.4.0/24", 1)]);
    let prefix = "192.168.4.77/24".parse().unwrap();
    assert_eq!(table.insert(prefix, 2), Some(1));
    assert_owner(&table, "192.168.4.4", Some(2));
    assert!(!table.remove(prefix, 1), "it is no longer 1's to remove");
    assert_owner(&table, "192.168.4.4", Some(2));
    assert!(table.remove(prefix, 2));
    assert_owner(&table, "192.168.4.4", None);
}

#[test]
fn families_do_not_mix() {
    let table = table(&[("0.0.0.0/0", 1)]);
    assert_owner(&table, "0.0.0.0", Some(1));
    assert_owner(&table, "::", None);
    assert_owner(&table, "::ffff:1.2.3.4", None);
}

#[test]
fn removal_leaves_the_ranges_around_it() {
    let mut table = table(&[
        ("1.0.0.0/32", 1),
        ("64.0.0.0/32", 2),
        ("128.0.0.0/32", 3),
        ("192.0.0.0/32", 4),
        ("255.0.0.0/32", 5),
        ("0.0.0.0/1", 6),
    ]);
    table.remove_all(3);
    table.remove_all(1);
    assert_owner(&table, "1.0.0.0", Some(6));
    assert_owner(&table, "64.0.0.0", Some(2));
    assert_owner(&table, "128.0.0.0", None);
    assert_owner(&table, "192.0.0.0", Some(4));
    assert_owner(&table, "255.0.0.0", Some(5));
    for value in [2, 4, 5, 6] {
        table.remove_all(value);
    }
    assert_owner(&table, "64.0.0.0", None);
    assert_eq!(table.insert("0.0.0.0/0".parse().unwrap(), 9), None);
    assert_owner(&table, "64.0.0.0", Some(9));
}
