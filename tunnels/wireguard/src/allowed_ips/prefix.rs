//! An address and how many of its leading bits count.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// A range of addresses, as `10.0.0.0/8`. The bits behind `length` are always zero, so equal ranges are equal values.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

/// A text that is no prefix, or a length past the end of the address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an address with an optional prefix length")]
pub struct InvalidPrefix;

impl Prefix {
    /// The range of `length` leading bits of `address`; the other bits are cleared.
    ///
    /// # Errors
    /// [`InvalidPrefix`] if `length` is above 32 (IPv4) or 128 (IPv6).
    pub fn new(address: IpAddr, length: u8) -> Result<Self, InvalidPrefix> {
        let address = match address {
            IpAddr::V4(v4) if length <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) if length <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
            IpAddr::V4(_) | IpAddr::V6(_) => return Err(InvalidPrefix),
        };
        Ok(Self { address, length })
    }

    /// The first address of the range.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits count.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    /// True if the range holds `address`.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && Self::new(address, self.length).is_ok_and(|range| range == *self)
    }
}

impl From<IpAddr> for Prefix {
    /// The range of this one address.
    fn from(address: IpAddr) -> Self {
        let length = if address.is_ipv4() { 32 } else { 128 };
        Self { address, length }
    }
}

impl FromStr for Prefix {
    type Err = InvalidPrefix;

    /// Reads `ADDRESS/LENGTH`, or an address alone, which means all its bits.
    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let Some((address, length)) = text.split_once('/') else {
            return text.parse::<IpAddr>().map(Self::from).map_err(|_| InvalidPrefix);
        };
        // `u8::from_str` takes a sign, a prefix length has none.
        if !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidPrefix);
        }
        let address = address.parse().map_err(|_| InvalidPrefix)?;
        let length = length.parse().map_err(|_| InvalidPrefix)?;
        Self::new(address, length)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_cleared() {
        for (text, shown) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("255.255.255.255/0", "0.0.0.0/0"),
            ("192.168.4.4/30", "192.168.4.4/30"),
            ("fd00:1:2::3/17", "fd00::/17"),
            ("::1", "::1/128"),
            ("ffff::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "::/129",
            "::/256",
            "10.0.0.0/8/8",
            " 10.0.0.0/8",
            "[::1]/128",
        ] {
            assert_eq!(text.parse::<Prefix>(), Err(InvalidPrefix), "{text}");
        }
    }

    #[test]
    fn a_range_holds_its_family_only() {
        let all: Prefix = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("9.9.9.9".parse().unwrap()));
        assert!(!all.contains("::".parse().unwrap()));
    }
}
