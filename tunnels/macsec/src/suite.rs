//! Cipher suites and what they do to the data (IEEE 802.1AE-2018, clauses 14.1 to 14.8).

use core::fmt;
use core::str::FromStr;

/// A cipher suite (table 14-1). All of them have ICVs of 16 octets.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CipherSuite {
    /// GCM-AES-128, the default (clause 14.5).
    GcmAes128,
    /// GCM-AES-256 (clause 14.6).
    GcmAes256,
    /// GCM-AES-XPN-128: packet numbers of 64 bits (clause 14.7).
    GcmAesXpn128,
    /// GCM-AES-XPN-256: packet numbers of 64 bits (clause 14.8).
    GcmAesXpn256,
}

impl CipherSuite {
    /// Every suite.
    pub const ALL: [Self; 4] = [Self::GcmAes128, Self::GcmAes256, Self::GcmAesXpn128, Self::GcmAesXpn256];

    /// What the default suite was called before it got its number in table 14-1. Still sent by some, so it is accepted.
    const OLD_DEFAULT: [u8; 8] = [0x00, 0x80, 0x02, 0x00, 0x01, 0x00, 0x00, 0x01];

    /// The identifier (table 14-1).
    #[must_use]
    pub const fn id(self) -> [u8; 8] {
        let number = match self {
            Self::GcmAes128 => 1,
            Self::GcmAes256 => 2,
            Self::GcmAesXpn128 => 3,
            Self::GcmAesXpn256 => 4,
        };
        [0x00, 0x80, 0xc2, 0x00, 0x01, 0x00, 0x00, number]
    }

    /// The suite of an identifier.
    #[must_use]
    pub fn from_id(id: [u8; 8]) -> Option<Self> {
        let old = (id == Self::OLD_DEFAULT).then_some(Self::GcmAes128);
        old.or_else(|| Self::ALL.into_iter().find(|suite| suite.id() == id))
    }

    /// Its name in a configuration, which is that of `ip macsec`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GcmAes128 => "gcm-aes-128",
            Self::GcmAes256 => "gcm-aes-256",
            Self::GcmAesXpn128 => "gcm-aes-xpn-128",
            Self::GcmAesXpn256 => "gcm-aes-xpn-256",
        }
    }

    /// Length of a key in octets.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::GcmAes128 | Self::GcmAesXpn128 => 16,
            Self::GcmAes256 | Self::GcmAesXpn256 => 32,
        }
    }

    /// Whether packet numbers have 64 bits, of which a frame carries the lower half.
    #[must_use]
    pub const fn is_xpn(self) -> bool {
        matches!(self, Self::GcmAesXpn128 | Self::GcmAesXpn256)
    }

    /// Where packet numbers end: this one is never used.
    pub(crate) const fn pn_end(self) -> u64 {
        if self.is_xpn() { u64::MAX } else { 1 << 32 }
    }

    /// From this packet number on a new key is due (IEEE 802.1X-2020, PendingPNExhaustion).
    #[must_use]
    pub const fn rekey_at(self) -> u64 {
        if self.is_xpn() { 0xc000_0000_0000_0000 } else { 0xc000_0000 }
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no cipher suite of this name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected gcm-aes-128, gcm-aes-256, gcm-aes-xpn-128 or gcm-aes-xpn-256")]
pub struct UnknownSuite;

impl FromStr for CipherSuite {
    type Err = UnknownSuite;

    fn from_str(name: &str) -> Result<Self, UnknownSuite> {
        Self::ALL.into_iter().find(|suite| suite.as_str() == name).ok_or(UnknownSuite)
    }
}

/// What is done to the data of a frame that is sent. Every frame is authenticated as a whole.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Protection {
    /// All of it stays readable.
    IntegrityOnly,
    /// It is encrypted, but for so many octets at its beginning.
    Confidentiality(Offset),
}

/// How many octets of the data stay readable, for switches that look at them (clause 10.5.4).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Offset {
    /// None: all is encrypted.
    #[default]
    Zero,
    /// 30 octets: an IPv4 and a TCP or UDP header's addresses and ports.
    Thirty,
    /// 50 octets: the same for IPv6.
    Fifty,
}

impl Offset {
    /// Octets.
    #[must_use]
    pub const fn octets(self) -> usize {
        match self {
            Self::Zero => 0,
            Self::Thirty => 30,
            Self::Fifty => 50,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_those_of_the_table_and_the_old_default_is_known() {
        let ids = CipherSuite::ALL.map(|suite| u64::from_be_bytes(suite.id()));
        assert_eq!(
            ids,
            [0x0080_c200_0100_0001, 0x0080_c200_0100_0002, 0x0080_c200_0100_0003, 0x0080_c200_0100_0004]
        );
        for suite in CipherSuite::ALL {
            assert_eq!(CipherSuite::from_id(suite.id()), Some(suite));
        }
        assert_eq!(
            CipherSuite::from_id(0x0080_0200_0100_0001_u64.to_be_bytes()),
            Some(CipherSuite::GcmAes128)
        );
        for unknown in [0, 0x0080_c200_0100_0000, 0x0080_c200_0100_0005, 0x0080_0200_0100_0002_u64] {
            assert_eq!(CipherSuite::from_id(unknown.to_be_bytes()), None);
        }
    }

    #[test]
    fn a_name_is_read_as_it_is_written_and_no_other() {
        for suite in CipherSuite::ALL {
            assert_eq!(suite.to_string().parse(), Ok(suite));
            assert!(UnknownSuite.to_string().contains(suite.as_str()));
        }
        for name in ["", "GCM-AES-128", "aes-256-gcm", "gcm-aes-xpn-256 "] {
            assert_eq!(name.parse::<CipherSuite>(), Err(UnknownSuite));
        }
    }
}
