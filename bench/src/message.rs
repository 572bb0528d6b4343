//! What is in a datagram of the generator.

/// Bytes ahead of the filling: kind (8), run (8), number (8), all big-endian.
pub const HEADER: usize = 24;

/// Bytes of a report: the header and five counts.
pub(crate) const REPORT: usize = HEADER + 40;

/// The upper bytes of a kind, to tell our datagrams from others.
const MAGIC: u64 = 0x6164_6974_6c6f_6100;

/// What a datagram is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Load, to be counted by the sink.
    Data,
    /// Asks the sink for its counts of the run.
    Query,
    /// The sink's counts.
    Report,
    /// To be sent back as it is, but for its kind.
    Ping,
    /// A ping that was sent back.
    Pong,
}

const KINDS: [Kind; 5] = [Kind::Data, Kind::Query, Kind::Report, Kind::Ping, Kind::Pong];

/// The header of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    /// Which run it belongs to. A later run has a greater number.
    pub(crate) run: u64,
    /// Counts the datagrams of a run; in a ping, the time of sending in nanoseconds since its run began.
    pub(crate) number: u64,
}

impl Message {
    /// Reads the header; `None` if it is none of ours.
    pub(crate) fn parse(datagram: &[u8]) -> Option<Self> {
        let (tag, run, number) = (word(datagram, 0)?, word(datagram, 8)?, word(datagram, 16)?);
        let kind = *KINDS.get(usize::try_from(tag ^ MAGIC).ok()?)?;
        Some(Self { kind, run, number })
    }

    /// Writes the header over the first [`HEADER`] bytes.
    ///
    /// # Panics
    /// If there are fewer.
    pub(crate) fn emit(&self, datagram: &mut [u8]) {
        put(datagram, 0, MAGIC | self.kind as u64);
        put(datagram, 8, self.run);
        put(datagram, 16, self.number);
    }
}

/// The 64-bit word at an offset; `None` behind the end.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Writes a 64-bit word at an offset.
pub(crate) fn put(bytes: &mut [u8], at: usize, word: u64) {
    bytes[at..at + 8].copy_from_slice(&word.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_as_it_was_written() {
        for kind in KINDS {
            let message = Message { kind, run: 7 << 40, number: u64::MAX };
            let mut bytes = [0; HEADER];
            message.emit(&mut bytes);
            assert_eq!(Message::parse(&bytes), Some(message));
            assert_eq!(Message::parse(&bytes[..HEADER - 1]), None);
        }
    }

    #[test]
    fn other_peoples_datagrams_are_not_read() {
        assert_eq!(Message::parse(&[0; HEADER]), None);
        let mut bytes = [0; HEADER];
        put(&mut bytes, 0, MAGIC | KINDS.len() as u64);
        assert_eq!(Message::parse(&bytes), None);
    }
}
