//! Many packets of one arena in one call: the seam for a cipher that works across packets.

use crate::wide::{Limits, PACKETS, Packet};
use crate::{Key, Nonce, TAG};

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

    /// The span as the wide cipher takes it; `None` if it does not.
    #[inline]
    fn packet(&self, index: usize, arena: usize, longest: usize) -> Option<Packet> {
        let len = self.len.checked_sub(TAG)?;
        let mut nonce = [0; 16];
        *nonce.first_chunk_mut()? = self.nonce;
        let within = self.start.checked_add(self.len)? <= arena;
        (within && len <= longest && self.aad == 0).then_some(Packet { index, start: self.start, len, nonce })
    }
}

impl Key {
    /// Seals every span of `arena`, as [`Key::seal`] does one. Spans must not overlap.
    ///
    /// It fails closed: of a span that cannot be sealed, because it leaves the arena or is shorter
    /// than a tag, whatever lies inside the arena is overwritten with zeros, so that no plaintext
    /// is sent by mistake.
    pub fn seal_batch(&self, arena: &mut [u8], mut spans: impl Iterator<Item = Span> + Clone) {
        if let Some(wide) = self.wide().filter(|wide| enough(wide.limits(), &spans)) {
            let mut chunk = Chunk::new(wide.limits(), &spans);
            while enough(wide.limits(), &spans) {
                chunk.take_from(&mut spans, arena.len());
                wide.seal(arena, chunk.packets());
                chunk.apart().for_each(|(_, span)| self.seal_one(arena, &span));
            }
        }
        spans.for_each(|span| self.seal_one(arena, &span));
    }

    /// Opens every span of `arena`, as [`Key::open`] does one, and calls `verdict` once for each, in
    /// order, with its index in the batch and whether it verified. Spans must not overlap.
    pub fn open_batch(
        &self,
        arena: &mut [u8],
        mut spans: impl Iterator<Item = Span> + Clone,
        mut verdict: impl FnMut(usize, bool),
    ) {
        let mut next = 0;
        if let Some(wide) = self.wide().filter(|wide| enough(wide.limits(), &spans)) {
            let mut chunk = Chunk::new(wide.limits(), &spans);
            while enough(wide.limits(), &spans) {
                chunk.take_from(&mut spans, arena.len());
                let mut verified = wide.open(arena, chunk.packets());
                for (at, span) in chunk.apart() {
                    verified |= u64::from(self.open_one(arena, &span)) << at;
                }
                for at in 0..chunk.count {
                    verdict(next + at, verified & (1 << at) != 0);
                }
                next += chunk.count;
            }
        }
        for (at, span) in spans.enumerate() {
            verdict(next + at, self.open_one(arena, &span));
        }
    }

    #[inline]
    fn seal_one(&self, arena: &mut [u8], span: &Span) {
        let sealed = span.split(arena).is_some_and(|(aad, data)| self.seal(span.nonce, aad, data).is_ok());
        if !sealed {
            arena.iter_mut().skip(span.start).take(span.len).for_each(|byte| *byte = 0);
        }
    }

    #[inline]
    fn open_one(&self, arena: &mut [u8], span: &Span) -> bool {
        span.split(arena).is_some_and(|(aad, data)| self.open(span.nonce, aad, data).is_ok())
    }
}

/// Whether there are as many as the wide cipher is for, and not too long. A batch for which it is not costs no more than this.
#[inline]
fn enough(limits: &Limits, spans: &(impl Iterator<Item = Span> + Clone)) -> bool {
    if limits.longest(limits.fewest) == limits.longest(limits.packets) {
        return spans.clone().nth(limits.fewest - 1).is_some();
    }
    let longest = limits.longest(spans.clone().take(limits.packets).count()) + TAG;
    spans.clone().filter(|span| span.len <= longest).nth(limits.fewest - 1).is_some()
}

/// Spans in a chunk at most: as many as a mask has bits.
const SPANS: usize = 64;

/// Spans that follow one another, until there are as many for the wide cipher as it works on at once.
struct Chunk<Spans> {
    limits: &'static Limits,
    spans: Spans,
    count: usize,
    /// Those that the wide cipher takes.
    packets: [Packet; PACKETS],
    together: usize,
    /// A bit for each of the others.
    apart: u64,
}

impl<Spans: Iterator<Item = Span> + Clone> Chunk<Spans> {
    /// None yet.
    #[inline]
    fn new(limits: &'static Limits, spans: &Spans) -> Self {
        Self {
            limits,
            spans: spans.clone(),
            count: 0,
            packets: [Packet::default(); PACKETS],
            together: 0,
            apart: 0,
        }
    }

    /// The next of `spans`, in place of those before.
    #[inline]
    fn take_from(&mut self, spans: &mut Spans, arena: usize) {
        self.spans = spans.clone();
        let packets = self.limits.packets;
        let longest = self.limits.longest(packets);
        let (mut count, mut found, mut apart) = (0, 0, 0);
        while count < SPANS && found < packets {
            let Some(span) = spans.next() else { break };
            match self.packets.get_mut(found).zip(span.packet(count, arena, longest)) {
                Some((place, packet)) => {
                    *place = packet;
                    found += 1;
                }
                None => apart |= 1 << count,
            }
            count += 1;
        }
        let found = self.packets.get_mut(..found).unwrap_or_default();
        let together = self.limits.together(found);
        for packet in found.iter().skip(together) {
            apart |= 1 << packet.index;
        }
        (self.count, self.together, self.apart) = (count, together, apart);
    }

    fn packets(&mut self) -> &mut [Packet] {
        self.packets.get_mut(..self.together).unwrap_or_default()
    }

    /// The others, each with its place in the chunk.
    fn apart(&self) -> impl Iterator<Item = (usize, Span)> {
        let count = if self.apart == 0 { 0 } else { self.count };
        self.spans.clone().take(count).enumerate().filter(|(at, _)| self.apart & (1 << at) != 0)
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
