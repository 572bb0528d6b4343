//! Addresses of IPv4 as a network of IPv6 alone reaches them: behind the prefix of its NAT64 (RFC 6052), which a name with a
//! known address tells (RFC 7050).

use std::net::{Ipv4Addr, Ipv6Addr};

/// A name that has addresses of IPv4 alone: one of IPv6 is made by a DNS64 (RFC 7050, section 8.2).
pub(super) const NAME: &str = "ipv4only.arpa";
/// Those addresses.
const KNOWN: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 0, 170), Ipv4Addr::new(192, 0, 0, 171)];
/// Where the bytes of an address of IPv4 are, by the length of the prefix: 96, 64, 56, 48, 40, 32 (RFC 6052, section 2.2).
const PLACES: [[usize; 4]; 6] =
    [[12, 13, 14, 15], [9, 10, 11, 12], [7, 9, 10, 11], [6, 7, 9, 10], [5, 6, 7, 9], [4, 5, 6, 7]];

/// What leads to an address, where [`NAME`] was found at `found`.
#[must_use]
pub(super) fn synthesise(found: Ipv6Addr, address: Ipv4Addr) -> Option<Ipv6Addr> {
    let mut bytes = found.octets();
    let is_known =
        |places: &&[usize; 4]| KNOWN.iter().any(|known| places.map(|at| bytes[at]) == known.octets());
    let places = PLACES.iter().find(is_known)?;
    for (at, byte) in places.iter().zip(address.octets()) {
        bytes[*at] = byte;
    }
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6052, section 2.4: 192.0.2.33 behind prefixes of each length.
    #[test]
    fn the_examples_of_rfc_6052_come_out() {
        for (found, made) in [
            ("2001:db8:c000:aa::", "2001:db8:c000:221::"),
            ("2001:db8:1c0:0:aa::", "2001:db8:1c0:2:21::"),
            ("2001:db8:122:c000:0:aa00::", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:3c0:0:aa::", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344:c0:0:aa00::", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::192.0.0.170", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::192.0.0.171", "64:ff9b::192.0.2.33"),
        ] {
            let found: Ipv6Addr = found.parse().unwrap();
            assert_eq!(
                synthesise(found, Ipv4Addr::new(192, 0, 2, 33)),
                Some(made.parse().unwrap()),
                "{found}"
            );
        }
    }

    #[test]
    fn an_address_without_a_known_one_is_no_prefix() {
        assert_eq!(synthesise("2001:db8::1".parse().unwrap(), Ipv4Addr::new(192, 0, 2, 33)), None);
    }
}
