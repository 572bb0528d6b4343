//! How long datagrams are.

use std::str::FromStr;

use crate::message::HEADER;

/// The largest UDP payload in IPv4.
const LARGEST: usize = 65_507;
/// Packets of 64, 576 and 1,420 bytes in the ratio 7:4:1 as at Internet exchanges, never the same for long.
const IMIX: [usize; 12] = [36, 548, 36, 36, 548, 36, 1392, 36, 548, 36, 548, 36];

/// Bytes of UDP payload, datagram after datagram, over and over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sizes(Vec<usize>);

impl Sizes {
    /// The one size of all, if there is one.
    pub(crate) fn all(&self) -> Option<usize> {
        let first = *self.0.first()?;
        self.0.iter().all(|size| *size == first).then_some(first)
    }

    /// The size of one datagram.
    pub(crate) fn of(&self, number: u64) -> usize {
        self.0[(number % self.0.len() as u64) as usize]
    }

    /// The greatest.
    pub(crate) fn greatest(&self) -> usize {
        self.0.iter().copied().max().unwrap_or(HEADER)
    }
}

impl FromStr for Sizes {
    type Err = String;

    /// Reads a size, sizes with commas between them, or `imix`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "imix" {
            return Ok(Self(IMIX.to_vec()));
        }
        let size = |word: &str| word.parse().ok().filter(|size| (HEADER..=LARGEST).contains(size));
        let sizes: Option<Vec<_>> = text.split(',').map(size).collect();
        sizes.map(Self).ok_or_else(|| {
            format!("expected bytes from {HEADER} to {LARGEST}, some with commas, or \"imix\"")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_seven_small_four_middle_and_one_large() {
        let sizes: Sizes = "imix".parse().unwrap();
        let count = |size| (12..24).filter(|number| sizes.of(*number) == size).count();
        assert_eq!([36, 548, 1392].map(count), [7, 4, 1]);
        assert_eq!((sizes.all(), sizes.greatest()), (None, 1392));
    }

    #[test]
    fn one_size_is_that_of_all() {
        let sizes: Sizes = "4000".parse().unwrap();
        assert_eq!((sizes.all(), sizes.of(7)), (Some(4_000), 4_000));
        assert_eq!("64,64".parse::<Sizes>().unwrap().all(), Some(64));
        for wrong in ["", "23", "65508", "64,,64", "mix"] {
            assert!(wrong.parse::<Sizes>().is_err(), "{wrong}");
        }
    }
}
