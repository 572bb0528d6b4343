//! Content of an answer, as it is framed on a connection (RFC 9112, sections 6 and 7).

use std::ops::Range;

use hyper::HeaderMap;

use super::head::{Framing, Malformed, headers};

/// Most bytes of all chunk extensions of one answer: nobody needs them.
const EXTENSIONS: usize = 16_384;
/// Most bytes of its trailers.
const TRAILERS: usize = 16_384;
/// Most of their fields.
const FIELDS: usize = 100;

/// What is left of it.
#[derive(Debug)]
pub enum Content {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunks),
    /// All that comes.
    End,
    /// Nothing.
    Over,
}

/// A part of it.
#[derive(Debug, PartialEq)]
pub enum Part {
    /// Those of the bytes.
    Data(Range<usize>),
    /// What follows the last chunk. Nothing else does.
    Trailers(HeaderMap),
    /// There is nothing more.
    Over,
    /// All bytes were used up, and more have to come.
    More,
}

/// Where in a chunk the next byte is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Place {
    /// In its length, ahead of the first digit.
    #[default]
    Start,
    /// In its length.
    Length,
    /// Behind its length.
    Blank,
    Extension,
    /// Ahead of the LF that ends its length.
    LengthEnd,
    Data,
    /// Behind its data.
    DataEnd,
    /// The same, behind CR.
    DataEndLf,
    Trailers,
}

/// Chunks as they come.
#[derive(Debug, Default)]
pub struct Chunks {
    place: Place,
    /// Bytes that are left of one.
    left: u64,
    /// Bytes of extensions so far.
    extensions: usize,
    trailers: Vec<u8>,
}

impl Content {
    /// All of it.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(0) => Self::Over,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunks::default()),
            Framing::End => Self::End,
        }
    }

    /// Whether there is nothing more.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// Whether it is whole, if the connection ends here.
    pub fn may_end(&self) -> bool {
        matches!(self, Self::Over | Self::End)
    }

    /// Bytes that will come, if that is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Over => Some(0),
            Self::Length(length) => Some(*length),
            Self::Chunked(_) | Self::End => None,
        }
    }

    /// The next part, and how many of `bytes` were used up with it. What follows its end is not.
    ///
    /// # Errors
    /// It is not framed as it should be.
    pub fn next(&mut self, bytes: &[u8]) -> Result<(Part, usize), Malformed> {
        let (part, used) = match self {
            Self::Over => (Part::Over, 0),
            _ if bytes.is_empty() => (Part::More, 0),
            Self::End => (Part::Data(0..bytes.len()), bytes.len()),
            Self::Length(left) => {
                let count = within(*left, bytes.len());
                *left -= count as u64;
                if *left == 0 {
                    *self = Self::Over;
                }
                (Part::Data(0..count), count)
            }
            Self::Chunked(chunks) => {
                let (part, used) = chunks.next(bytes)?;
                if matches!(part, Part::Trailers(_) | Part::Over) {
                    *self = Self::Over;
                }
                (part, used)
            }
        };
        Ok((part, used))
    }
}

impl Chunks {
    /// The next part, and how many of `bytes` were used up with it.
    fn next(&mut self, bytes: &[u8]) -> Result<(Part, usize), Malformed> {
        for (at, byte) in bytes.iter().enumerate() {
            if self.place == Place::Data {
                let count = within(self.left, bytes.len() - at);
                self.left -= count as u64;
                if self.left == 0 {
                    self.place = Place::DataEnd;
                }
                return Ok((Part::Data(at..at + count), at + count));
            }
            if self.place == Place::Trailers {
                if let Some(part) = self.trailer(*byte)? {
                    return Ok((part, at + 1));
                }
            } else {
                self.frame(*byte)?;
            }
        }
        Ok((Part::More, bytes.len()))
    }

    /// Takes a byte between data.
    fn frame(&mut self, byte: u8) -> Result<(), Malformed> {
        self.place = match (self.place, byte) {
            (Place::Start | Place::Length, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let longer = self.left.checked_mul(16).ok_or(Malformed::Chunks)?;
                self.left = longer + u64::from(digit);
                Place::Length
            }
            (Place::Length | Place::Blank, b' ' | b'\t') => self.extend(Place::Blank)?,
            (Place::Length | Place::Blank, b';') => Place::Extension,
            (Place::Length | Place::Blank | Place::Extension, b'\r') => Place::LengthEnd,
            // Some take it for the end of the line.
            (Place::Extension, b'\n') => return Err(Malformed::Chunks),
            (Place::Extension, _) => self.extend(Place::Extension)?,
            (Place::LengthEnd, b'\n') if self.left == 0 => Place::Trailers,
            (Place::LengthEnd, b'\n') => Place::Data,
            (Place::DataEnd, b'\r') => Place::DataEndLf,
            (Place::DataEndLf, b'\n') => Place::Start,
            _ => return Err(Malformed::Chunks),
        };
        Ok(())
    }

    /// Passes over one more byte that means nothing.
    fn extend(&mut self, place: Place) -> Result<Place, Malformed> {
        self.extensions += 1;
        if self.extensions > EXTENSIONS { Err(Malformed::Chunks) } else { Ok(place) }
    }

    /// Takes a byte behind the last chunk.
    fn trailer(&mut self, byte: u8) -> Result<Option<Part>, Malformed> {
        self.trailers.push(byte);
        if self.trailers == b"\r\n" {
            return Ok(Some(Part::Over));
        }
        if self.trailers.len() > TRAILERS {
            return Err(Malformed::Chunks);
        }
        if !self.trailers.ends_with(b"\r\n\r\n") {
            return Ok(None);
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let httparse::Status::Complete((length, fields)) =
            httparse::parse_headers(&self.trailers, &mut fields)?
        else {
            return Err(Malformed::Chunks);
        };
        // Where lines end in LF alone it could end sooner for others.
        if length != self.trailers.len() {
            return Err(Malformed::Chunks);
        }
        Ok(Some(Part::Trailers(headers(&self.trailers, fields)?)))
    }
}

/// So many of `there` as are left.
fn within(left: u64, there: usize) -> usize {
    usize::try_from(left).map_or(there, |left| left.min(there))
}

#[cfg(test)]
mod tests;
