//! The tag that stands between the addresses and the data of a protected frame (IEEE 802.1AE-2018, clause 9).
//!
//! ```text
//!        octets   2        1        1     4    0 or 8
//!   ... | SA | 0x88E5 | TCI, AN |  SL  | PN |  SCI  | secure data | ICV, 16 octets
//!                        |
//!              V ES SC SCB E C AN AN
//! ```

use adit_aead::TAG;

use crate::{An, Refused, Sci};

/// The EtherType of MACsec (clause 9.4).
pub const ETHERTYPE: u16 = 0x88e5;
/// Length of the ICV in octets (clause 9.11); the same for every suite here.
pub const ICV: usize = TAG;
/// Data of so many octets or more has no short length (clause 9.7).
const NOT_SHORT: usize = 48;

/// The TAG Control Information and the association number: one octet (clauses 9.5 and 9.6).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Tci(u8);

impl Tci {
    const VERSION: u8 = 0x80;
    /// The SCI is the source address and port 1.
    pub(crate) const ES: u8 = 0x40;
    /// The SCI follows.
    pub(crate) const SC: u8 = 0x20;
    /// The SCI is the source address and port 0.
    pub(crate) const SCB: u8 = 0x10;
    /// The data is encrypted.
    pub(crate) const E: u8 = 0x08;
    /// The data is not what it was.
    pub(crate) const C: u8 = 0x04;

    /// Of these bits, and an association.
    pub(crate) const fn new(bits: u8, an: An) -> Self {
        Self(bits | an.number())
    }

    /// The same, of encrypted data.
    pub(crate) const fn encrypted(self) -> Self {
        Self(self.0 | Self::E | Self::C)
    }

    /// Whether any of these bits is set.
    pub(crate) const fn has(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    /// The association.
    #[must_use]
    pub const fn an(self) -> An {
        An::of(self.0)
    }

    /// Whether the data is encrypted.
    #[must_use]
    pub const fn is_encrypted(self) -> bool {
        self.has(Self::E)
    }

    /// Length of the whole SecTAG in octets.
    #[must_use]
    pub const fn tag_len(self) -> usize {
        if self.has(Self::SC) { SecTag::MAX } else { SecTag::MIN }
    }
}

/// A SecTAG that breaks no rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SecTag {
    /// What and whose the frame is.
    pub tci: Tci,
    /// Length of the data in octets if it is short, else 0.
    pub short_len: u8,
    /// The packet number; of extended ones the lower half.
    pub pn: u32,
    /// The channel, if the tag names it.
    pub sci: Option<Sci>,
}

impl SecTag {
    /// Length without an SCI, in octets, the EtherType included.
    pub const MIN: usize = 8;
    /// Length with an SCI.
    pub const MAX: usize = 16;

    /// Reads the tag of a frame from its EtherType on, to the frame's end. `None` if the frame has none.
    ///
    /// A packet number of zero passes: whether it may be depends on the suite.
    ///
    /// # Errors
    /// One of the reasons that [`Refused::is_bad_tag`] names: the frame breaks a rule of clause 9.12.
    pub fn parse(frame: &[u8]) -> Option<Result<Self, Refused>> {
        let (ethertype, rest) = frame.split_first_chunk()?;
        (u16::from_be_bytes(*ethertype) == ETHERTYPE).then(|| Self::parse_fields(rest, frame.len()))
    }

    fn parse_fields(fields: &[u8], len: usize) -> Result<Self, Refused> {
        let (&[tci, short_len, a, b, c, d], rest) = fields.split_first_chunk().ok_or(Refused::Truncated)?;
        let (tci, pn) = (Tci(tci), u32::from_be_bytes([a, b, c, d]));
        if tci.has(Tci::VERSION) {
            return Err(Refused::Version);
        }
        if tci.has(Tci::SC) && tci.has(Tci::ES | Tci::SCB) {
            return Err(Refused::SciTwice);
        }
        if tci.has(Tci::C) && !tci.has(Tci::E) {
            return Err(Refused::ChangedText);
        }
        if short_len & 0xc0 != 0 {
            return Err(Refused::Reserved);
        }
        let data = match usize::from(short_len) {
            0 => NOT_SHORT,
            short if short < NOT_SHORT => short,
            _ => return Err(Refused::ShortLength),
        };
        if len < tci.tag_len() + data + ICV {
            return Err(Refused::Truncated);
        }
        let sci = rest.first_chunk().filter(|_| tci.has(Tci::SC)).map(|sci| Sci::from(*sci));
        Ok(Self { tci, short_len, pn, sci })
    }

    /// The tag of `data` octets to be sent with this TCI (clause 10.5.3).
    #[inline]
    pub(crate) fn of(tci: Tci, sci: Sci, pn: u64, data: usize) -> Self {
        let short_len = if data < NOT_SHORT { data as u8 } else { 0 };
        Self { tci, short_len, pn: pn as u32, sci: tci.has(Tci::SC).then_some(sci) }
    }

    /// Writes the tag to the beginning of `to`, which has room for it.
    #[inline]
    pub fn emit(&self, to: &mut [u8]) {
        let ([high, low], [a, b, c, d]) = (ETHERTYPE.to_be_bytes(), self.pn.to_be_bytes());
        let Some((fixed, rest)) = to.split_first_chunk_mut() else { return };
        *fixed = [high, low, self.tci.0, self.short_len, a, b, c, d];
        if let Some((sci, place)) = self.sci.zip(rest.first_chunk_mut()) {
            *place = sci.to_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame from its EtherType on: with an SCI, and `data` octets of data.
    fn frame(tci: u8, short_len: u8, pn: u32, data: usize) -> Vec<u8> {
        let mut frame = vec![0x88, 0xe5, tci, short_len];
        frame.extend(pn.to_be_bytes());
        if tci & Tci::SC != 0 {
            frame.extend([7; 8]);
        }
        frame.resize(frame.len() + data + ICV, 0x5a);
        frame
    }

    fn parse(frame: &[u8]) -> Result<SecTag, Refused> {
        SecTag::parse(frame).expect("the EtherType is that of MACsec")
    }

    #[test]
    fn each_combination_of_bits_is_valid_or_refused_for_its_own_reason() {
        for tci in 0..=u8::MAX {
            let (es, sc, scb, e, c) = (tci & 0x40, tci & 0x20, tci & 0x10, tci & 8, tci & 4);
            let expected = match () {
                () if tci & 0x80 != 0 => Err(Refused::Version),
                () if sc != 0 && (es != 0 || scb != 0) => Err(Refused::SciTwice),
                () if c != 0 && e == 0 => Err(Refused::ChangedText),
                () => {
                    let sci = (sc != 0).then(|| Sci::from([7; 8]));
                    Ok(SecTag { tci: Tci(tci), short_len: 0, pn: 9, sci })
                }
            };
            assert_eq!(parse(&frame(tci, 0, 9, 48)), expected, "{tci:#04x}");
        }
    }

    #[test]
    fn each_short_length_is_valid_or_refused_for_its_own_reason() {
        for octet in 0..=u8::MAX {
            let verdict = parse(&frame(0x2c, octet, 1, 48)).map(|tag| tag.short_len);
            let expected = match octet {
                0..48 => Ok(octet),
                48..64 => Err(Refused::ShortLength),
                64.. => Err(Refused::Reserved),
            };
            assert_eq!(verdict, expected, "{octet}");
        }
    }

    #[test]
    fn a_frame_is_as_long_as_its_tag_says_or_padded() {
        for tci in [0x2c, 0x0c] {
            for short_len in 0..48 {
                let data = if short_len == 0 { 48 } else { usize::from(short_len) };
                for (data, expected) in
                    [(data, Ok(())), (data + 9, Ok(())), (data - 1, Err(Refused::Truncated))]
                {
                    let verdict = parse(&frame(tci, short_len, 1, data)).map(|_| ());
                    assert_eq!(verdict, expected, "{tci:#x}, {short_len}, {data}");
                }
            }
        }
    }

    #[test]
    fn a_frame_that_ends_in_its_tag_is_truncated_and_one_without_the_ethertype_has_none() {
        let whole = frame(0x2c, 1, 1, 1);
        for len in 2..whole.len() {
            assert_eq!(parse(&whole[..len]), Err(Refused::Truncated), "{len}");
        }
        for none in [&[][..], &[0x88], &[0x88, 0xe6, 0, 0], &[0x88, 0x8e]] {
            assert_eq!(SecTag::parse(none), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed_to_the_same(
            bits in prop::sample::select(vec![0, 0x0c, 0x20, 0x2c, 0x40, 0x4c, 0x10, 0x1c, 0x50]),
            an in 0..4_u8, pn: u64, sci: [u8; 8], data in 1..100_usize,
        ) {
            let tci = Tci::new(bits, An::new(an).unwrap());
            let tag = SecTag::of(tci, Sci::from(sci), pn, data);
            let mut bytes = vec![0xee; tci.tag_len() + data + ICV];
            tag.emit(&mut bytes);
            prop_assert_eq!(SecTag::parse(&bytes), Some(Ok(tag)));
            prop_assert!(bytes[tci.tag_len()..].iter().all(|octet| *octet == 0xee));
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..90), macsec: bool) {
            let mut bytes = bytes;
            if let Some(ethertype) = bytes.first_chunk_mut().filter(|_| macsec) {
                *ethertype = ETHERTYPE.to_be_bytes();
            }
            if let Some(Ok(tag)) = SecTag::parse(&bytes) {
                tag.emit(&mut bytes);
            }
        }
    }
}
