//! The Internet checksum (RFC 1071), its pseudo-headers, and its incremental update (RFC 1624).

use core::ops::Add;

/// A one's complement sum of 16-bit words, not folded yet.
///
/// Words are added in the byte order they have in memory; [`fold`](Self::fold) swaps once at the
/// end, which RFC 1071, section 2 (B), allows. Arithmetic is modulo 2^64 - 1, a multiple of
/// 2^16 - 1, so that sums of any length and number can be added without loss.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of `data`; an odd last byte counts as if a zero followed it.
    ///
    /// To add sums of adjoining pieces, every piece but the last must have an even length.
    pub fn of(data: &[u8]) -> Self {
        let (blocks, rest) = data.as_chunks::<BLOCK>();
        let (words, rest) = rest.as_chunks::<8>();
        let (halves, last) = rest.as_chunks::<2>();
        let mut sum = Self(0);
        if !blocks.is_empty() {
            sum = sum_blocks(blocks);
        }
        for word in words {
            sum = sum + Self(u64::from_ne_bytes(*word));
        }
        for half in halves {
            sum = sum + Self(u16::from_ne_bytes(*half).into());
        }
        if let [byte] = last {
            sum = sum + Self(u16::from_ne_bytes([*byte, 0]).into());
        }
        sum
    }

    /// The sum of the pseudo-header that TCP, UDP and ICMPv6 checksums include (RFC 9293, section
    /// 3.1, for IPv4; RFC 8200, section 8.1, for IPv6).
    ///
    /// `addresses` are source and destination as they adjoin in the IP header, see
    /// [`ip::addresses`](crate::ip::addresses); `len` is the length of transport header and data.
    pub fn pseudo(addresses: &[u8], protocol: u8, len: u32) -> Self {
        let len = u32::from_ne_bytes(len.to_be_bytes());
        Self::of(addresses).with(protocol.into()) + Self(len.into())
    }

    /// Adds one word, given as the number it stands for.
    #[must_use]
    pub fn with(self, word: u16) -> Self {
        self + Self(u16::from_ne_bytes(word.to_be_bytes()).into())
    }

    /// Takes one word away again.
    #[must_use]
    pub fn without(self, word: u16) -> Self {
        self.with(!word)
    }

    /// The sum in 16 bits, not complemented: what a partial checksum holds.
    ///
    /// Over data that includes a correct checksum it is 0xffff.
    pub const fn fold(self) -> u16 {
        let sum = (self.0 & 0xffff_ffff) + (self.0 >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = (sum & 0xffff) + (sum >> 16);
        (sum as u16).to_be()
    }

    /// The checksum as it is sent: the complement of [`fold`](Self::fold).
    pub const fn checksum(self) -> u16 {
        !self.fold()
    }

    /// The checksum as UDP sends it: never 0, which means "none" there (RFC 768).
    pub const fn udp_checksum(self) -> u16 {
        match self.checksum() {
            0 => 0xffff,
            checksum => checksum,
        }
    }
}

impl Add for Sum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let (sum, carry) = self.0.overflowing_add(other.0);
        // With a carry, `sum` is at most 2^64 - 2.
        Self(sum.wrapping_add(carry.into()))
    }
}

/// The `checksum` of data in which one word changed from `old` to `new` (RFC 1624, equation 3).
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    Sum::default().with(!checksum).without(old).with(new).checksum()
}

/// Bytes summed at a time: enough independent accumulators that additions need not wait for one another.
const BLOCK: usize = 64;

/// Sums whole blocks by words of 32 bits, each widened to 64 bits: up to 2^32 of them cannot overflow.
fn sum_blocks(blocks: &[[u8; BLOCK]]) -> Sum {
    let mut sums = [0_u64; BLOCK / 4];
    for block in blocks {
        for (sum, word) in sums.iter_mut().zip(block.as_chunks().0) {
            *sum += u64::from(u32::from_ne_bytes(*word));
        }
    }
    sums.iter().fold(Sum(0), |all, sum| all + Sum(*sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071, section 1, word by word.
    fn naive(data: &[u8]) -> u16 {
        let mut sum = 0_u64;
        for pair in data.chunks(2) {
            sum += u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u64::from(low));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn sums_the_example_of_rfc_1071_section_3() {
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(&data).fold(), 0xddf2);
    }

    #[test]
    fn updates_the_example_of_rfc_1624_section_4() {
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn carries_out_of_every_lane_are_kept() {
        for len in 0..400 {
            let data = vec![0xff; len];
            assert_eq!(Sum::of(&data).fold(), naive(&data), "{len} bytes");
        }
        let long = vec![0xff; 1 << 20];
        assert_eq!(Sum::of(&long).fold(), 0xffff);
    }

    #[test]
    fn a_udp_checksum_is_never_zero() {
        assert_eq!(Sum::of(&[0xff, 0xff]).checksum(), 0);
        assert_eq!(Sum::of(&[0xff, 0xff]).udp_checksum(), 0xffff);
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_sum_at_any_length_and_alignment(
            data in proptest::collection::vec(any::<u8>(), 0..2000),
            skip in 0_usize..64,
        ) {
            let data = data.get(skip..).unwrap_or(&[]);
            prop_assert_eq!(Sum::of(data).fold(), naive(data));
        }

        #[test]
        fn pieces_of_even_length_add_up(
            data in proptest::collection::vec(any::<u8>(), 0..500),
            cut in 0_usize..250,
        ) {
            let (head, tail) = data.split_at((2 * cut).min(data.len() & !1));
            prop_assert_eq!((Sum::of(head) + Sum::of(tail)).fold(), naive(&data));
        }

        #[test]
        fn an_updated_checksum_equals_a_fresh_one(
            mut data in proptest::collection::vec(any::<u8>(), 2..100),
            new: [u8; 2],
            at: proptest::sample::Index,
        ) {
            let at = at.index(data.len() / 2) * 2;
            let before = !naive(&data);
            let old = u16::from_be_bytes([data[at], data[at + 1]]);
            data[at..at + 2].copy_from_slice(&new);
            // All zero data has no 0xffff in fresh form; RFC 1624 section 3 on the two zeros.
            prop_assume!(data.iter().any(|&byte| byte != 0));
            prop_assert_eq!(update(before, old, u16::from_be_bytes(new)), !naive(&data));
        }

        #[test]
        fn words_added_and_taken_away_leave_the_sum(
            data in proptest::collection::vec(any::<u8>(), 1..100),
            word: u16,
        ) {
            prop_assume!(data.iter().any(|&byte| byte != 0));
            prop_assert_eq!(Sum::of(&data).with(word).without(word).fold(), naive(&data));
        }

        #[test]
        fn the_pseudo_header_is_summed_as_laid_out(
            addresses in prop_oneof![
                proptest::collection::vec(any::<u8>(), 8..=8),
                proptest::collection::vec(any::<u8>(), 32..=32),
            ],
            protocol: u8,
            len: u32,
        ) {
            let mut header = addresses.clone();
            header.extend(len.to_be_bytes());
            header.extend([0, 0, 0, protocol]);
            prop_assert_eq!(Sum::pseudo(&addresses, protocol, len).fold(), naive(&header));
        }
    }
}
