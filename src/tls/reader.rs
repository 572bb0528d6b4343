//! The presentation language of TLS (RFC 8446, section 3): numbers in network order, vectors behind their lengths.
#![deny(clippy::indexing_slicing)]

/// Bytes that are left to read. `None` means that they are too few.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next `len` bytes.
    pub(super) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.number(2).map(|number| number as u16)
    }

    /// Three bytes.
    pub(super) fn u24(&mut self) -> Option<usize> {
        self.number(3)
    }

    fn number(&mut self, len: usize) -> Option<usize> {
        Some(self.bytes(len)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A vector of up to 2^8 - 1 bytes.
    pub(super) fn vector8(&mut self) -> Option<&'a [u8]> {
        let len = self.number(1)?;
        self.bytes(len)
    }

    /// A vector of up to 2^16 - 1 bytes.
    pub(super) fn vector16(&mut self) -> Option<&'a [u8]> {
        let len = self.number(2)?;
        self.bytes(len)
    }
}

/// A list of 16-bit numbers: suites, groups, versions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Numbers<'a>(&'a [u8]);

impl<'a> Numbers<'a> {
    /// A list of at least one number and no half ones.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        (!bytes.is_empty() && bytes.len().is_multiple_of(2)).then_some(Self(bytes))
    }

    pub(super) fn iter(self) -> impl Iterator<Item = u16> + 'a {
        self.0.chunks_exact(2).filter_map(|pair| pair.try_into().ok().map(u16::from_be_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_read_to_their_end_and_not_beyond() {
        let mut reader = Reader::new(&[1, 2, 3, 2, 9, 8, 0, 1, 7, 0, 2, 5]);
        assert_eq!(reader.u24(), Some(0x01_02_03));
        assert_eq!(reader.vector8(), Some(&[9, 8][..]));
        assert_eq!(reader.vector16(), Some(&[7][..]));
        assert_eq!(reader.vector16(), None);
        assert_eq!((reader.u16(), reader.u8()), (None, Some(5)));
        assert!(reader.is_empty());
    }

    #[test]
    fn a_list_of_numbers_is_whole_and_not_empty() {
        assert_eq!(Numbers::new(&[]), None);
        assert_eq!(Numbers::new(&[1, 2, 3]), None);
        assert!(Numbers::new(&[1, 2, 3, 4]).is_some_and(|list| list.iter().eq([0x0102, 0x0304])));
    }
}
