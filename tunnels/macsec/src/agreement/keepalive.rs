//! The frame that says that we are there.
//!
//! MACsec has none of its own. This is an ordinary frame to the stations that MACsec serves, protected like any other; what
//! it is for is to be authentic. It goes to a group address that no bridge forwards (IEEE 802.1Q-2018, table 8-1), so no
//! host's frame is mistaken for it, and the other side swallows it.

use crate::Sci;

/// Length of the frame in octets.
pub const LEN: usize = 14 + TEXT.len();

/// The Port Access Entity group address, and the second EtherType for local experiments (IEEE 802-2014, table 2).
const DESTINATION: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0x03];
const ETHERTYPE: [u8; 2] = [0x88, 0xb6];
const TEXT: &[u8; 16] = b"adit link, alive";

/// The frame that the station of this channel sends.
#[must_use]
pub fn frame(from: Sci) -> Vec<u8> {
    [&DESTINATION[..], &from.address(), &ETHERTYPE, TEXT].concat()
}

/// Whether an authentic frame is one. For a frame that is longer this is one comparison.
#[must_use]
#[inline]
pub fn is(frame: &[u8]) -> bool {
    frame.len() == LEN
        && frame.starts_with(&DESTINATION)
        && frame.get(12..).is_some_and(|rest| rest.starts_with(&ETHERTYPE) && rest.ends_with(TEXT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_by_every_octet_but_its_source() {
        let alive = frame(Sci::new([2, 3, 4, 5, 6, 7], 1));
        assert!(is(&alive));
        for at in 0..LEN {
            let mut other = alive.clone();
            other[at] ^= 1;
            assert_eq!(is(&other), (6..12).contains(&at), "octet {at}");
        }
        assert!(!is(&alive[..LEN - 1]) && !is(&[&alive[..], &[0]].concat()) && !is(&[]));
    }
}
