//! As much of DER (X.690) as an OCSP response needs.
#![deny(clippy::indexing_slicing)]

/// Elements that follow one another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Der<'a>(&'a [u8]);

/// One element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    /// The identifier octet: class, constructed or not, number.
    pub(super) tag: u8,
    /// All of it.
    pub(super) whole: &'a [u8],
    /// What is in it.
    pub(super) body: &'a [u8],
}

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
/// A constructed element of the context with this number.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next element, if it is whole.
    pub(super) fn next(&mut self) -> Option<Element<'a>> {
        let (tag, length, rest) = match self.0 {
            [tag, length @ 0..=0x7f, rest @ ..] => (*tag, usize::from(*length), rest),
            [tag, 0x81, a, rest @ ..] => (*tag, usize::from(*a), rest),
            [tag, 0x82, a, b, rest @ ..] => (*tag, usize::from(*a) << 8 | usize::from(*b), rest),
            [tag, 0x83, a, b, c, rest @ ..] => {
                (*tag, usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c), rest)
            }
            _ => return None,
        };
        let (body, behind) = rest.split_at_checked(length)?;
        let whole = self.0.get(..self.0.len() - behind.len())?;
        self.0 = behind;
        Some(Element { tag, whole, body })
    }

    /// The next element, if it has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        self.next().filter(|element| element.tag == tag)
    }

    /// The next element, only if it has this tag; else nothing is taken.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let element = ahead.expect(tag)?;
        *self = ahead;
        Some(element)
    }

    /// What is in the next element, if it is a sequence.
    pub(super) fn sequence(&mut self) -> Option<Self> {
        self.expect(SEQUENCE).map(|element| Self(element.body))
    }
}
