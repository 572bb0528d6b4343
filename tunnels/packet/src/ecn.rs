//! Explicit congestion notification across a tunnel (RFC 3168, RFC 6040).

use crate::checksum;
use crate::field::{put_u16, u16_at};
use crate::ip::Version;

/// The congestion field: the low two bits of the IPv4 TOS or the IPv6 traffic class (RFC 3168,
/// section 5).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(u8)]
pub enum Ecn {
    /// The transport does not understand congestion marks.
    #[default]
    NotEct = 0b00,
    /// It does; codepoint 1.
    Ect1 = 0b01,
    /// It does; codepoint 0, the usual one.
    Ect0 = 0b10,
    /// Congestion was experienced.
    Ce = 0b11,
}

/// The outer header was marked by a congested router, and the inner transport would not understand
/// the mark: the packet has to be dropped, as that router would have done (RFC 6040, section 4.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("congestion marked on a packet whose transport does not know marks")]
pub struct CongestionDropped;

impl Ecn {
    /// The low two bits of a TOS or traffic class octet.
    pub const fn from_tos(tos: u8) -> Self {
        match tos & 0b11 {
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            0b11 => Self::Ce,
            _ => Self::NotEct,
        }
    }

    /// The field of an IP packet; [`Ecn::NotEct`] for whatever is not one.
    ///
    /// It is also what the outer header has to carry: encapsulation in normal mode copies the field
    /// (RFC 6040, section 4.1).
    pub fn of(packet: &[u8]) -> Self {
        first_word(packet)
            .map_or(Self::NotEct, |(version, word)| Self::from_tos((word >> version.ecn_shift()) as u8))
    }

    /// The field that leaves a tunnel (RFC 6040, figure 4).
    ///
    /// # Errors
    /// [`CongestionDropped`] if `outer` is CE and `self`, the inner one, is Not-ECT.
    pub const fn decapsulated(self, outer: Self) -> Result<Self, CongestionDropped> {
        match (self, outer) {
            (Self::NotEct, Self::Ce) => Err(CongestionDropped),
            (Self::Ect0 | Self::Ect1 | Self::Ce, Self::Ce) => Ok(Self::Ce),
            (Self::Ect0, Self::Ect1) => Ok(Self::Ect1),
            (inner, Self::NotEct | Self::Ect0 | Self::Ect1) => Ok(inner),
        }
    }
}

/// Carries a mark of the outer header over into the `inner` packet (RFC 6040, section 4.2), and
/// mends the IPv4 header checksum. What is not an IP packet stays as it is.
///
/// # Errors
/// [`CongestionDropped`] if the packet must not be forwarded.
pub fn decapsulate(inner: &mut [u8], outer: Ecn) -> Result<(), CongestionDropped> {
    let before = Ecn::of(inner);
    let after = before.decapsulated(outer)?;
    if after != before {
        mark(inner, after);
    }
    Ok(())
}

impl Version {
    /// Where the field lies in the first 16 bits of the header: behind the DSCP in the second octet
    /// of IPv4; in IPv6 the traffic class begins with the fifth bit.
    const fn ecn_shift(self) -> u32 {
        match self {
            Self::V4 => 0,
            Self::V6 => 4,
        }
    }
}

fn first_word(packet: &[u8]) -> Option<(Version, u16)> {
    Some((Version::of(packet)?, u16_at(packet, 0)?))
}

fn mark(packet: &mut [u8], ecn: Ecn) -> Option<()> {
    let (version, old) = first_word(packet)?;
    let shift = version.ecn_shift();
    let new = old & !(0b11 << shift) | (ecn as u16) << shift;
    if version == Version::V4 {
        let checksum = u16_at(packet, 10)?;
        put_u16(packet, 10, checksum::update(checksum, old, new))?;
    }
    put_u16(packet, 0, new)
}

#[cfg(test)]
mod tests {
    use super::Ecn::{Ce, Ect0, Ect1, NotEct};
    use super::*;
    use crate::Sum;

    const ALL: [Ecn; 4] = [NotEct, Ect0, Ect1, Ce];

    /// RFC 6040, figure 4: rows are the inner field, columns the outer one, both in the order of
    /// `ALL`. `None` is "drop".
    const FIGURE_4: [[Option<Ecn>; 4]; 4] = [
        [Some(NotEct), Some(NotEct), Some(NotEct), None],
        [Some(Ect0), Some(Ect0), Some(Ect1), Some(Ce)],
        [Some(Ect1), Some(Ect1), Some(Ect1), Some(Ce)],
        [Some(Ce), Some(Ce), Some(Ce), Some(Ce)],
    ];

    fn v4(tos: u8) -> Vec<u8> {
        let mut packet = vec![0x45, tos, 0, 20, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0];
        packet.extend([10, 0, 0, 1, 192, 168, 7, 9]);
        let checksum = Sum::of(&packet).checksum();
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet
    }

    fn v6(class: u8) -> Vec<u8> {
        let mut packet = vec![0; 40];
        packet[0] = 0x60 | class >> 4;
        packet[1] = class << 4 | 0x0d;
        packet
    }

    fn tos(packet: &[u8]) -> u8 {
        match packet[0] >> 4 {
            4 => packet[1],
            _ => packet[0] << 4 | packet[1] >> 4,
        }
    }

    #[test]
    fn decapsulation_follows_rfc_6040_figure_4() {
        for (inner, row) in ALL.into_iter().zip(FIGURE_4) {
            for (outer, expected) in ALL.into_iter().zip(row) {
                for build in [v4, v6] {
                    let mut packet = build(0xb8 | inner as u8);
                    let before = packet.clone();
                    let result = decapsulate(&mut packet, outer);
                    assert_eq!(result.is_err(), expected.is_none(), "{inner:?} {outer:?}");
                    let after = expected.unwrap_or(inner);
                    assert_eq!(Ecn::of(&packet), after, "{inner:?} {outer:?}");
                    assert_eq!(tos(&packet) & !3, 0xb8, "DSCP is kept");
                    if packet[0] == 0x45 {
                        assert_eq!(Sum::of(&packet).fold(), 0xffff, "header checksum");
                        assert_eq!(packet[12..], before[12..]);
                    } else {
                        assert_eq!(packet[1] & 0x0f, 0x0d, "flow label is kept");
                        assert_eq!(packet[2..], before[2..]);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_ip_stays_as_it_is() {
        for bytes in [vec![], vec![0x45], vec![0x60], vec![0x75; 40]] {
            let mut packet = bytes.clone();
            assert_eq!(Ecn::of(&packet), NotEct);
            assert_eq!(decapsulate(&mut packet, Ect0), Ok(()));
            assert_eq!(packet, bytes);
        }
    }

    #[test]
    fn tos_octets_map_to_codepoints() {
        let points = [0, 1, 2, 3, 0xfc].map(Ecn::from_tos);
        assert_eq!(points, [NotEct, Ect1, Ect0, Ce, NotEct]);
    }
}
