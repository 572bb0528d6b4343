//! Many packets of one arena in one call: the seam for a cipher that works across packets.

use crate::{Key, Nonce};

/// Where a packet lies in its arena.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    /// Offset of the text in the arena, in bytes.
    pub start: usize,
    /// Length of text and tag together, in bytes.
    pub len: usize,
    /// The nonce of this packet.
    pub nonce: Nonce,
    /// How many bytes directly ahead of `start` are authenticated and left as they are.
    pub aad: usize,
}

impl Span {
    /// The bytes to authenticate and the bytes to work on; `None` if they leave the arena.
    fn split<'a>(&self, arena: &'a mut [u8]) -> Option<(&'a [u8], &'a mut [u8])> {
        let first = self.start.checked_sub(self.aad)?;
        let end = self.start.checked_add(self.len)?;
        let (aad, data) = arena.get_mut(first..end)?.split_at_mut_checked(self.aad)?;
        Some((aad, data))
    }
}

impl Key {
    /// Seals every span of `arena`, as [`Key::seal`] does one. Spans must not overlap.
    ///
    /// It fails closed: of a span that cannot be sealed, because it leaves the arena or is shorter
    /// than a tag, whatever lies inside the arena is overwritten with zeros, so that no plaintext
    /// is sent by mistake.
    pub fn seal_batch(&self, arena: &mut [u8], spans: impl Iterator<Item = Span> + Clone) {
        for span in spans {
            let sealed =
                span.split(arena).is_some_and(|(aad, data)| self.seal(span.nonce, aad, data).is_ok());
            if !sealed {
                arena.iter_mut().skip(span.start).take(span.len).for_each(|byte| *byte = 0);
            }
        }
    }

    /// Opens every span of `arena`, as [`Key::open`] does one, and calls `verdict` once for each, in
    /// order, with its index in the batch and whether it verified. Spans must not overlap.
    pub fn open_batch(
        &self,
        arena: &mut [u8],
        spans: impl Iterator<Item = Span> + Clone,
        mut verdict: impl FnMut(usize, bool),
    ) {
        for (index, span) in spans.enumerate() {
            let opened =
                span.split(arena).is_some_and(|(aad, data)| self.open(span.nonce, aad, data).is_ok());
            verdict(index, opened);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, Secret};

    fn key() -> Key {
        Key::new(Algorithm::Aes256Gcm, &Secret::from([7; 32]))
    }

    fn span(start: usize, len: usize, aad: usize) -> Span {
        Span { start, len, nonce: [0; 12], aad }
    }

    #[test]
    fn a_span_outside_its_arena_never_leaves_plaintext() {
        let broken = [
            span(90, 20, 0),
            span(90, usize::MAX, 0),
            span(100, 16, 0),
            span(usize::MAX, 16, 0),
            span(3, 40, 4),
            span(20, 15, 0),
        ];
        for span in broken {
            let mut arena = [0x5a; 100];
            key().seal_batch(&mut arena, [span].into_iter());
            let hit = |i: usize| i >= span.start && i - span.start < span.len;
            for (i, byte) in arena.into_iter().enumerate() {
                assert_eq!(byte, if hit(i) { 0 } else { 0x5a }, "{span:?} at {i}");
            }
        }
    }

    #[test]
    fn a_span_outside_its_arena_does_not_open() {
        let mut verdicts = Vec::new();
        let spans = [span(90, 20, 0), span(3, 40, 4), span(usize::MAX, 16, 0)];
        key().open_batch(&mut [0; 100], spans.into_iter(), |i, ok| verdicts.push((i, ok)));
        assert_eq!(verdicts, [(0, false), (1, false), (2, false)]);
    }

    #[test]
    fn one_bad_packet_does_not_spoil_its_neighbours() {
        let spans = [span(4, 40, 4), span(50, 40, 6), span(90, 30, 0)];
        let mut arena = [0x5a; 120];
        key().seal_batch(&mut arena, spans.into_iter());
        arena[60] ^= 1;
        let mut verdicts = Vec::new();
        key().open_batch(&mut arena, spans.into_iter(), |i, ok| verdicts.push((i, ok)));
        assert_eq!(verdicts, [(0, true), (1, false), (2, true)]);
        assert_eq!(arena[..28], [0x5a; 28]);
        assert_eq!(arena[90..104], [0x5a; 14]);
    }
}
