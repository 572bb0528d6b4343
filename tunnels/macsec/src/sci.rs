//! What secure channels and associations are called (IEEE 802.1AE-2018, clause 7.1).

use core::fmt;

/// Length of a MAC address in octets.
pub(crate) const ADDRESS: usize = 6;

/// A Secure Channel Identifier: the MAC address of a station and a port of it (clauses 7.1 and 9.9). Globally unique.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Sci([u8; 8]);

impl Sci {
    /// Length in octets.
    pub const LEN: usize = 8;
    /// The port of a station that has one only, and sends the ES bit (clause 9.5).
    pub const END_STATION_PORT: u16 = 1;
    /// The port of single copy broadcast on a passive optical network (clause 9.5).
    pub const BROADCAST_PORT: u16 = 0;

    /// The channel of `port` at `address`.
    #[must_use]
    pub const fn new(address: [u8; ADDRESS], port: u16) -> Self {
        let [a, b, c, d, e, f] = address;
        let [high, low] = port.to_be_bytes();
        Self([a, b, c, d, e, f, high, low])
    }

    /// As it stands in a SecTAG.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        self.0
    }

    /// The MAC address.
    #[must_use]
    pub const fn address(self) -> [u8; ADDRESS] {
        let [a, b, c, d, e, f, _, _] = self.0;
        [a, b, c, d, e, f]
    }

    /// The port.
    #[must_use]
    pub const fn port(self) -> u16 {
        let [.., high, low] = self.0;
        u16::from_be_bytes([high, low])
    }
}

impl From<[u8; 8]> for Sci {
    fn from(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

/// Sixteen hexadecimal digits, as `ip macsec show` writes them.
impl fmt::Display for Sci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// A Short SCI: stands for an SCI in the nonces of extended packet numbering (clause 14.7). Two channels
/// under one key never have the same.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Ssci(pub u32);

/// An Association Number: which of a channel's four associations a frame belongs to (clause 9.6).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct An(u8);

impl An {
    /// All four, in order.
    pub const ALL: [Self; 4] = [Self(0), Self(1), Self(2), Self(3)];

    /// The association `number`; `None` beyond 3.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number < 4 { Some(Self(number)) } else { None }
    }

    /// The association of a TCI and AN octet.
    pub(crate) const fn of(octet: u8) -> Self {
        Self(octet & 3)
    }

    /// 0 to 3.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The one that a new key goes to.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::of(self.0 + 1)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for An {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sci_is_an_address_and_a_port() {
        let sci = Sci::new([0x52, 0x54, 0, 0, 0, 1], 0x0102);
        assert_eq!((sci.address(), sci.port()), ([0x52, 0x54, 0, 0, 0, 1], 0x0102));
        assert_eq!(Sci::from(sci.to_bytes()), sci);
        assert_eq!(sci.to_string(), "5254000000010102");
    }

    #[test]
    fn associations_go_round_after_three() {
        assert_eq!(An::new(4), None);
        assert_eq!(An::ALL.map(|an| an.next().number()), [1, 2, 3, 0]);
        assert_eq!(An::ALL.map(|an| An::new(an.number())), An::ALL.map(Some));
    }
}
