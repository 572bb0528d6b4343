//! MAC addresses and SCIs as text.

use adit_macsec::Sci;
use adit_noise::PublicKey;

/// What a MAC address may be.
pub(super) const MAC: &str = "the MAC address of one station, as 02:00:5e:10:00:01";
/// What an SCI may be.
pub(super) const SCI: &str = "the MAC address of a station and its port, as 02:00:5e:10:00:01/1";
/// The first octet has it in the addresses of groups (IEEE 802-2014, clause 8.2).
const GROUP: u8 = 0x01;
/// The first octet has it in addresses that no manufacturer gave.
const LOCAL: u8 = 0x02;

/// Reads six pairs of hexadecimal digits. They are no group's address, and not all zero.
pub(super) fn mac(text: &str) -> Option<[u8; 6]> {
    let mut parts = text.split(':');
    let mut mac = [0; 6];
    for octet in &mut mac {
        let digits = parts.next().filter(|part| part.len() == 2)?;
        let digits = Some(digits).filter(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        *octet = u8::from_str_radix(digits, 16).ok()?;
    }
    (parts.next().is_none() && is_station(mac)).then_some(mac)
}

/// Reads `ADDRESS/PORT`.
pub(super) fn sci(text: &str) -> Option<Sci> {
    let (address, port) = text.split_once('/')?;
    // `u16::from_str` takes a sign, a port has none.
    let port = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(Sci::new(mac(address)?, port.parse().ok()?))
}

/// The SCI of the sixteen digits that `ip macsec show` has for it.
pub(super) fn sci_of_digits(text: &str) -> Option<Sci> {
    let mut bytes = [0; Sci::LEN];
    base16ct::mixed::decode(text, &mut bytes).ok().filter(|read| read.len() == Sci::LEN)?;
    Some(Sci::from(bytes)).filter(|sci| is_station(sci.address()))
}

/// `ADDRESS/PORT`, as the configuration file has it.
pub fn shown(sci: Sci) -> String {
    let [a, b, c, d, e, f] = sci.address();
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}/{}", sci.port())
}

/// The address of whoever has this key: its first six octets, marked as a station's and as locally administered.
pub(super) fn derived(key: &PublicKey) -> [u8; 6] {
    let [a, b, c, d, e, f, ..] = *key.as_bytes();
    [(a | LOCAL) & !GROUP, b, c, d, e, f]
}

fn is_station(mac: [u8; 6]) -> bool {
    let [first, ..] = mac;
    mac != [0; 6] && first & GROUP == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_six_pairs_of_digits_of_one_station() {
        assert_eq!(mac("02:00:5e:10:00:0A"), Some([2, 0, 0x5e, 0x10, 0, 10]));
        for wrong in [
            "",
            "02:00:5e:10:00",
            "02:00:5e:10:00:01:02",
            "2:0:5e:10:0:1",
            "02-00-5e-10-00-01",
            "02005e100001",
            "02:00:5e:10:00:0g",
            "02:00:5e:10:00:+1",
            "02:00:5e:10:00:01 ",
            "00:00:00:00:00:00",
            "01:80:c2:00:00:03",
            "ff:ff:ff:ff:ff:ff",
        ] {
            assert_eq!(mac(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_channel_is_an_address_and_a_port() {
        assert_eq!(sci("02:00:5e:10:00:01/258"), Some(Sci::new([2, 0, 0x5e, 0x10, 0, 1], 258)));
        for wrong in
            ["02:00:5e:10:00:01", "02:00:5e:10:00:01/", "02:00:5e:10:00:01/+1", "02:00:5e:10:00:01/65536"]
        {
            assert_eq!(sci(wrong), None, "{wrong}");
        }
        assert_eq!(sci_of_digits("02005E1000010102").map(shown).as_deref(), Some("02:00:5e:10:00:01/258"));
        for wrong in ["", "02005e10000101", "02005e100001010200", "01005e1000010102", "02005e100001010g"] {
            assert_eq!(sci_of_digits(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(octets: [u8; 6], port: u16) {
            prop_assume!(is_station(octets));
            let channel = Sci::new(octets, port);
            prop_assert_eq!(sci(&shown(channel)), Some(channel));
            prop_assert_eq!(sci_of_digits(&channel.to_string()), Some(channel));
        }

        #[test]
        fn a_derived_address_is_a_stations_and_locally_administered(key: [u8; 32]) {
            let [first, rest @ ..] = derived(&PublicKey::from_bytes(key));
            prop_assert_eq!((first & 3, first & 0xfc), (2, key[0] & 0xfc));
            prop_assert_eq!(&rest, &key[1..6]);
        }
    }
}
