//! Secure frame generation (IEEE 802.1AE-2018, clause 10.5).

use core::ops::Range;

use adit_aead::{Nonce, Span};
use adit_packet::Slot;

use crate::port::{ADDRESSES, addresses_first, tags_first};
use crate::sectag::{ICV, Tci};
use crate::{An, ControlledPort, Protection, Refused, SciEncoding, SecTag, TransmitSa};

/// What the cipher works on in a protected frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Layout {
    /// Octets of VLAN tags ahead of the addresses.
    pub(crate) clear: usize,
    /// Octets of the SecTAG.
    pub(crate) tag: usize,
    /// Octets of the data that are not encrypted, at most.
    pub(crate) offset: usize,
}

impl Layout {
    /// `nonce` is that of the frame in `slot`, whose VLAN tags stand first.
    #[inline]
    pub(crate) fn span(&self, slot: &Slot, nonce: Nonce) -> Span {
        let header = ADDRESSES + self.tag;
        let readable = self.offset.min(slot.len.saturating_sub(self.clear + header + ICV));
        let aad = header + readable;
        let start = slot.start + self.clear + aad;
        Span { start, len: slot.len.saturating_sub(self.clear + aad), nonce, aad }
    }
}

impl ControlledPort {
    /// Protects Ethernet frames in place: each slot that is kept then is the frame to be sent, with its packet number. Around
    /// each frame there must be [`Self::HEAD`] and [`Self::TAIL`]. `longest` is the most octets that a protected
    /// frame may have, without the checksum of the medium. `refused` hears why each of the others must not be sent.
    pub fn seal(
        &self,
        arena: &mut [u8],
        slots: &mut [Slot],
        longest: usize,
        mut refused: impl FnMut(Refused, &[u8]),
    ) {
        let (mut count, mut octets) = (0, 0);
        for slot in slots.iter_mut() {
            let admitted = self.admit(arena, slot, longest);
            slot.kept = admitted.is_ok();
            match admitted {
                Ok(data) => (count, octets) = (count + 1, octets + data as u64),
                Err(reason) => refused(reason, arena.get(slot.range()).unwrap_or_default()),
            }
        }
        let taken = self.transmit().ok_or(Refused::NoTransmitSa).and_then(|sa| Ok((sa, sa.reserve(count)?)));
        match taken {
            Ok((sa, numbers)) => {
                self.seal_under(sa, numbers, arena, slots);
                self.count_sealed(sa, count, octets);
            }
            Err(reason) => {
                for slot in slots.iter_mut().filter(|slot| slot.kept) {
                    slot.kept = false;
                    refused(reason, arena.get(slot.range()).unwrap_or_default());
                }
            }
        }
    }

    /// Seals what is kept with as many packet numbers.
    fn seal_under(&self, sa: &TransmitSa, numbers: Range<u64>, arena: &mut [u8], slots: &mut [Slot]) {
        let (tci, offset) = match sa.sak().protection() {
            Protection::IntegrityOnly => (self.tci(sa.an()), usize::MAX),
            Protection::Confidentiality(offset) => (self.tci(sa.an()).encrypted(), offset.octets()),
        };
        let (key, nonces) = (sa.sak().key(), sa.nonces());
        let layout = Layout { clear: 0, tag: tci.tag_len(), offset };
        let kept = slots.iter_mut().filter(|slot| slot.kept).zip(numbers);
        if self.settings.clear_tags == 0 {
            kept.for_each(|(slot, pn)| self.prepare(arena, slot, 0, tci, pn));
            let kept = slots.iter().filter(|slot| slot.kept);
            return key.seal_batch(arena, kept.map(|slot| layout.span(slot, nonces.of(slot.number))));
        }
        for (slot, pn) in kept {
            let clear = self.clear_len(arena.get(slot.range()).unwrap_or_default());
            self.prepare(arena, slot, clear, tci, pn);
            let span = Layout { clear, ..layout }.span(slot, nonces.of(pn));
            key.seal_batch(arena, std::iter::once(span));
            addresses_first(arena.get_mut(slot.start..slot.start + clear + ADDRESSES), clear);
        }
    }

    /// The octets of data in a frame that can be sealed (clauses 10.5 and 10.7).
    fn admit(&self, arena: &[u8], slot: &Slot, longest: usize) -> Result<usize, Refused> {
        let tag = self.tci(An::ALL[0]).tag_len();
        let frame = arena.get(slot.range()).ok_or(Refused::Length)?;
        let data = frame.len().saturating_sub(ADDRESSES + self.clear_len(frame));
        let room = slot.start >= tag && arena.len() - slot.range().end >= ICV;
        // An EtherType is the least that a frame has.
        if data < 2 || !room {
            return Err(Refused::Length);
        }
        if frame.len() + tag + ICV > longest {
            self.counters.out_pkts_too_long.add(1);
            return Err(Refused::TooLong);
        }
        let implied = matches!(self.settings.sci_encoding, SciEncoding::EndStation | SciEncoding::Broadcast);
        let source = frame.get(ADDRESSES / 2..ADDRESSES);
        if implied && source != Some(&self.settings.sci.address()) {
            return Err(Refused::ForeignSource);
        }
        Ok(data)
    }

    /// Puts the SecTAG into an admitted frame. VLAN tags, of which there are `clear` octets, then stand first.
    fn prepare(&self, arena: &mut [u8], slot: &mut Slot, clear: usize, tci: Tci, pn: u64) {
        let (tag, header) = (tci.tag_len(), clear + ADDRESSES);
        let (data, from) = (slot.len - header, slot.start);
        *slot = Slot { start: from - tag, len: slot.len + tag + ICV, number: pn, ..*slot };
        arena.copy_within(from..from + header, slot.start);
        let Some(head) = arena.get_mut(slot.start..from + header) else { return };
        let (moved, place) = head.split_at_mut(header);
        SecTag::of(tci, self.settings.sci, pn, data).emit(place);
        if clear > 0 {
            tags_first(Some(moved), clear);
        }
    }

    fn count_sealed(&self, sa: &TransmitSa, frames: u64, octets: u64) {
        for counters in [&*self.transmit_counters, sa.counters()] {
            let (of_frames, of_octets) = match sa.sak().protection() {
                Protection::IntegrityOnly => (&counters.out_pkts_protected, &counters.out_octets_protected),
                Protection::Confidentiality(_) => {
                    (&counters.out_pkts_encrypted, &counters.out_octets_encrypted)
                }
            };
            of_frames.add(frames);
            of_octets.add(octets);
        }
    }
}
