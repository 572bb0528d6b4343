//! The two transports whose packets are cut and joined.

use crate::field::u16_at;

/// TCP flags, the low octet of the word at offset 12 (RFC 9293, section 3.1).
pub(crate) mod flag {
    pub(crate) const FIN: u16 = 0x01;
    pub(crate) const SYN: u16 = 0x02;
    pub(crate) const PSH: u16 = 0x08;
    pub(crate) const ACK: u16 = 0x10;
    pub(crate) const CWR: u16 = 0x80;
    /// All bits of the word at offset 12 but the data offset: flags and reserved bits, the AE flag
    /// of accurate ECN among them.
    pub(crate) const ALL: u16 = 0x0fff;
}

/// Offset of the TCP sequence number.
pub(crate) const TCP_SEQUENCE: usize = 4;
/// Offset of the TCP word of data offset and flags.
pub(crate) const TCP_FLAGS: usize = 12;
/// Offset of the UDP length.
pub(crate) const UDP_LENGTH: usize = 4;

const TCP_LEN: usize = 20;
const UDP_LEN: usize = 8;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    pub(crate) const fn of(protocol: u8) -> Option<Self> {
        match protocol {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }

    pub(crate) const fn protocol(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// Where the checksum lies in the transport header.
    pub(crate) const fn checksum_offset(self) -> usize {
        match self {
            Self::Tcp => 16,
            Self::Udp => 6,
        }
    }

    /// Bytes of the transport header at the start of `data`; `None` if it is not whole.
    pub(crate) fn header_len(self, data: &[u8]) -> Option<usize> {
        let len = match self {
            Self::Tcp => usize::from(u16_at(data, TCP_FLAGS)? >> 12) * 4,
            Self::Udp => UDP_LEN,
        };
        let least = match self {
            Self::Tcp => TCP_LEN,
            Self::Udp => UDP_LEN,
        };
        (len >= least && len <= data.len()).then_some(len)
    }
}
