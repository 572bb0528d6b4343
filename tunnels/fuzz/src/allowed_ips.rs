//! The routing table, against a list; and prefixes as text.

use std::net::IpAddr;

use adit_wireguard::{AllowedIps, Prefix};

use crate::Input;

/// Operations on a table of four owners, or a text.
pub fn wireguard_allowed_ips(data: &[u8]) {
    match data.split_first() {
        Some((b'/', text)) => str::from_utf8(text).map_or((), prefix),
        Some(_) => operations(Input::new(data)),
        None => {}
    }
}

/// What is read is shown as it is understood, and the bits behind the length mean nothing.
fn prefix(text: &str) {
    let Ok(prefix) = text.parse::<Prefix>() else { return };
    assert_eq!(prefix.to_string().parse(), Ok(prefix));
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    let address: IpAddr = address.parse().expect("a prefix begins with an address");
    assert!(prefix.contains(address) && prefix.contains(prefix.address()));
    assert!(length.bytes().all(|digit| digit.is_ascii_digit()));
    let bits = if address.is_ipv4() { 32 } else { 128 };
    assert_eq!(length.parse().unwrap_or(bits), prefix.length());
    assert!(prefix.length() <= bits);
    assert_eq!(Prefix::new(address, prefix.length()), Ok(prefix));
}

fn operations(mut input: Input<'_>) {
    let mut table = AllowedIps::new();
    let mut list: Vec<(Prefix, u8)> = Vec::new();
    let mut addresses = Vec::new();
    while !input.is_empty() && list.len() < 64 {
        let operation = input.byte();
        let owner = operation >> 6;
        let address = address(&mut input);
        addresses.push(address);
        let Ok(prefix) = Prefix::new(address, input.byte()) else { continue };
        let held = list.iter().position(|(other, _)| *other == prefix);
        match operation & 7 {
            0 => {
                list.retain(|(_, other)| *other != owner);
                table.remove_all(owner);
            }
            1 | 2 => {
                let held = held.filter(|at| list[*at].1 == owner).map(|at| list.swap_remove(at));
                assert_eq!(table.remove(prefix, owner), held.is_some());
            }
            _ => {
                let before = held.map(|at| list.swap_remove(at).1);
                list.push((prefix, owner));
                assert_eq!(table.insert(prefix, owner), before);
            }
        }
    }
    list.sort_unstable();
    for owner in 0..4 {
        let own: Vec<_> =
            list.iter().filter(|(_, other)| *other == owner).map(|(prefix, _)| *prefix).collect();
        assert_eq!(table.prefixes_of(owner), own);
    }
    let ends = list.iter().map(|(prefix, _)| prefix.address());
    for address in ends.collect::<Vec<_>>().into_iter().chain(addresses) {
        let holding = list.iter().filter(|(prefix, _)| prefix.contains(address));
        let longest = holding.max_by_key(|(prefix, _)| prefix.length()).map(|(_, owner)| *owner);
        assert_eq!(table.lookup(address), longest, "{address}");
    }
}

fn address(input: &mut Input<'_>) -> IpAddr {
    if input.flag() { IpAddr::from(input.array::<4>()) } else { IpAddr::from(input.array::<16>()) }
}
