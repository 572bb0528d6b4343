//! Secure frame verification (IEEE 802.1AE-2018, clause 10.6).

use std::ops::Range;
use std::sync::Arc;

use adit_packet::Slot;

use crate::port::{ADDRESSES, addresses_first, tags_first};
use crate::seal::Layout;
use crate::sectag::{ICV, Tci};
use crate::window::{Accepted, Late};
use crate::{
    ControlledPort, KeyId, ReceiveCounters, ReceiveSa, ReceiveSc, Refused, Sci, SecTag, ValidateFrames,
};

/// Frames validated between two looks at the replay window.
const CHUNK: usize = 64;

/// What a batch brought.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Opened {
    /// Frames that were authentic and not replayed: their sender is who it should be.
    pub authentic: u64,
    /// A key under which the first authentic frame came: its sender has it. Told once for each association.
    pub confirmed: Option<KeyId>,
}

/// What is to be done with a received frame.
enum Fate {
    /// Delivered as it is.
    Untagged,
    /// Delivered without its SecTAG and ICV, which nobody looks at.
    Unvalidated(Layout),
    /// To be validated.
    Validated(Run),
}

/// What frames that are validated together have in common.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Run {
    /// The channel's place.
    channel: usize,
    tci: Tci,
    layout: Layout,
}

impl ControlledPort {
    /// Verifies received frames in place: each slot that is kept then is the frame for the stations behind the Controlled Port,
    /// without SecTAG and ICV, VLAN tags in clear where they were. `refused` hears why each of the others was dropped, and its
    /// bytes, of which what was encrypted means nothing. The replay window moves only after an ICV was right.
    pub fn open(
        &self,
        arena: &mut [u8],
        slots: &mut [Slot],
        mut refused: impl FnMut(Refused, &[u8]),
    ) -> Opened {
        let mut opened = Opened::default();
        let mut run: Option<(Run, Range<usize>)> = None;
        for at in 0..slots.len() {
            let Some(slot) = slots.get_mut(at) else { break };
            let fate = self.judge(arena, slot);
            slot.kept = fate.is_ok();
            let validated = match fate {
                Ok(Fate::Validated(next)) => Some(next),
                Ok(Fate::Unvalidated(layout)) => {
                    strip(arena, slot, layout);
                    None
                }
                Ok(Fate::Untagged) => None,
                Err(reason) => {
                    self.count(reason);
                    refused(reason, arena.get(slot.range()).unwrap_or_default());
                    None
                }
            };
            match (&mut run, validated) {
                (Some((run, range)), Some(next)) if *run == next && range.len() < CHUNK => range.end = at + 1,
                _ => {
                    let next = validated.map(|next| (next, at..at + 1));
                    if let Some((run, range)) = std::mem::replace(&mut run, next) {
                        let slots = slots.get_mut(range).unwrap_or_default();
                        self.validate(run, arena, slots, &mut opened, &mut refused);
                    }
                }
            }
        }
        if let Some((run, range)) = run {
            let slots = slots.get_mut(range).unwrap_or_default();
            self.validate(run, arena, slots, &mut opened, &mut refused);
        }
        opened
    }

    /// All that can be said before a cipher is asked (clauses 9.12, 10.6.1 and 10.6.2). Of a frame with a SecTAG the
    /// slot then has the packet number and no padding; unless it is refused, its VLAN tags stand first.
    fn judge(&self, arena: &mut [u8], slot: &mut Slot) -> Result<Fate, Refused> {
        let frame = arena.get_mut(slot.range()).ok_or(Refused::Length)?;
        if frame.len() < ADDRESSES + 2 {
            return Err(Refused::Length);
        }
        let clear = self.clear_len(frame);
        let Some(tag) = SecTag::parse(frame.get(ADDRESSES + clear..).unwrap_or_default()) else {
            if self.is_strict() {
                return Err(Refused::NoTag);
            }
            self.counters.in_pkts_untagged.add(1);
            return Ok(Fate::Untagged);
        };
        let tag = tag?;
        let channel = self.channel_of(&tag, frame);
        let sa = channel.and_then(|(_, sc)| sc.association(tag.tci.an()));
        let xpn = sa.map_or_else(|| self.is_xpn(), |sa| sa.sak().suite().is_xpn());
        if tag.pn == 0 && !xpn {
            return Err(Refused::PnZero);
        }
        let changed = tag.tci.has(Tci::C);
        if tag.tci.is_encrypted() && !changed {
            return Err(Refused::KayFrame);
        }
        let tag_len = tag.tci.tag_len();
        if tag.short_len > 0 {
            slot.len = clear + ADDRESSES + tag_len + usize::from(tag.short_len) + ICV;
        }
        let offset = if tag.tci.is_encrypted() { sa.map_or(0, |sa| sa.sak().offset()) } else { usize::MAX };
        let layout = Layout { clear, tag: tag_len, offset };
        let validated = self.associate(&tag, channel, sa, slot)?;
        tags_first(frame.get_mut(..clear + ADDRESSES).filter(|_| clear > 0), clear);
        Ok(match validated {
            Some(channel) => Fate::Validated(Run { channel, tci: tag.tci, layout }),
            None => Fate::Unvalidated(layout),
        })
    }

    /// The place of the channel with whose key the frame is to be validated; `None` if it is to be delivered without.
    fn associate(
        &self,
        tag: &SecTag,
        channel: Option<(usize, &ReceiveSc)>,
        sa: Option<&Arc<ReceiveSa>>,
        slot: &mut Slot,
    ) -> Result<Option<usize>, Refused> {
        let dropped = self.is_strict() || tag.tci.has(Tci::C);
        let Some((at, sc)) = channel else {
            self.counters.in_pkts_unknown_sci.add((!dropped).into());
            return if dropped { Err(Refused::NoSci) } else { Ok(None) };
        };
        let Some(sa) = sa else {
            let counters = sc.counters();
            let counter = if dropped { &counters.in_pkts_not_using_sa } else { &counters.in_pkts_unused_sa };
            counter.add(1);
            return if dropped { Err(Refused::NotUsingSa) } else { Ok(None) };
        };
        slot.number = sa.recover(tag.pn);
        let counters = [sc.counters(), sa.counters()];
        if sa.is_late(slot.number) {
            counters.iter().for_each(|counters| counters.in_pkts_late.add(1));
            return Err(Refused::Late);
        }
        if self.settings.validate_frames != ValidateFrames::Disabled || tag.tci.has(Tci::C) {
            return Ok(Some(at));
        }
        let delayed = sa.window().check(slot.number) == Ok(Accepted::Delayed);
        for counters in counters {
            let counter = if delayed { &counters.in_pkts_delayed } else { &counters.in_pkts_unchecked };
            counter.add(1);
        }
        Ok(None)
    }

    /// Whose a frame is (clauses 9.5, 9.9 and 10.6.1).
    fn channel_of(&self, tag: &SecTag, frame: &[u8]) -> Option<(usize, &ReceiveSc)> {
        let source = || frame.get(ADDRESSES / 2..)?.first_chunk().copied();
        let sci = match tag.sci {
            Some(sci) => sci,
            None if tag.tci.has(Tci::SCB) => Sci::new(source()?, Sci::BROADCAST_PORT),
            None if tag.tci.has(Tci::ES) => Sci::new(source()?, Sci::END_STATION_PORT),
            None => {
                let [only] = self.receive.as_slice() else { return None };
                return Some((0, only));
            }
        };
        self.channel(sci)
    }

    /// Counts a frame that was refused before it was known whose it is.
    fn count(&self, reason: Refused) {
        self.counters.in_pkts_no_tag.add((reason == Refused::NoTag).into());
        self.counters.in_pkts_no_sci.add((reason == Refused::NoSci).into());
        self.counters.in_pkts_bad_tag.add(reason.is_bad_tag().into());
    }

    /// Cryptographic validation and the replay check (clauses 10.6.3 and 10.6.4).
    fn validate(
        &self,
        run: Run,
        arena: &mut [u8],
        slots: &mut [Slot],
        opened: &mut Opened,
        refused: &mut impl FnMut(Refused, &[u8]),
    ) {
        let association = |sc: &ReceiveSc| sc.association(run.tci.an()).cloned();
        let Some((sc, sa)) = self.receive.get(run.channel).and_then(|sc| Some((sc, association(sc)?))) else {
            return;
        };
        let mut right = 0_u64;
        let spans = slots.iter().map(|slot| run.layout.span(slot, sa.nonces().of(slot.number)));
        sa.sak().key().open_batch(arena, spans, |at, ok| right |= u64::from(ok) << at);

        let dropped = self.is_strict() || run.tci.has(Tci::C);
        let mut tally = Tally::default();
        let mut window = sa.window();
        for (at, slot) in slots.iter_mut().enumerate() {
            let right = right & 1 << at != 0;
            let accepted = if right { window.accept(slot.number) } else { window.check(slot.number) };
            let verdict = tally.count(right, accepted, dropped, data_len(slot, run.layout));
            slot.kept = verdict.is_ok();
            match verdict {
                Ok(()) => strip(arena, slot, run.layout),
                Err(reason) => {
                    let clear = run.layout.clear;
                    let header = arena.get_mut(slot.start..slot.start + clear + ADDRESSES);
                    addresses_first(header.filter(|_| clear > 0), clear);
                    refused(reason, arena.get(slot.range()).unwrap_or_default());
                }
            }
        }
        sa.publish(&window);
        drop(window);
        for counters in [sc.counters(), sa.counters()] {
            tally.add_to(counters, run.tci.is_encrypted());
        }
        opened.authentic += tally.ok + tally.delayed;
        if tally.ok + tally.delayed > 0 && opened.confirmed.is_none() {
            opened.confirmed = sa.confirm();
        }
    }
}

/// What became of the frames of a run.
#[derive(Default)]
struct Tally {
    ok: u64,
    delayed: u64,
    late: u64,
    invalid: u64,
    not_valid: u64,
    octets: u64,
}

impl Tally {
    /// The fate of a frame whose ICV is right or not, and whose packet number is in time or not.
    fn count(
        &mut self,
        right: bool,
        accepted: Result<Accepted, Late>,
        dropped: bool,
        octets: usize,
    ) -> Result<(), Refused> {
        let (counter, verdict) = match accepted {
            Err(Late) => (&mut self.late, Err(Refused::Late)),
            Ok(_) if !right && dropped => (&mut self.not_valid, Err(Refused::NotValid)),
            Ok(_) if !right => (&mut self.invalid, Ok(())),
            Ok(Accepted::InTime) => (&mut self.ok, Ok(())),
            Ok(Accepted::Delayed) => (&mut self.delayed, Ok(())),
        };
        *counter += 1;
        self.octets += if right && verdict.is_ok() { octets as u64 } else { 0 };
        verdict
    }

    fn add_to(&self, counters: &ReceiveCounters, encrypted: bool) {
        let octets = if encrypted { &counters.in_octets_decrypted } else { &counters.in_octets_validated };
        octets.add(self.octets);
        counters.in_pkts_ok.add(self.ok);
        counters.in_pkts_delayed.add(self.delayed);
        counters.in_pkts_late.add(self.late);
        counters.in_pkts_invalid.add(self.invalid);
        counters.in_pkts_not_valid.add(self.not_valid);
    }
}

/// Octets of data in a protected frame.
fn data_len(slot: &Slot, layout: Layout) -> usize {
    slot.len.saturating_sub(layout.clear + ADDRESSES + layout.tag + ICV)
}

/// Takes SecTAG and ICV out of a frame whose VLAN tags stand first.
fn strip(arena: &mut [u8], slot: &mut Slot, layout: Layout) {
    let Layout { clear, tag, .. } = layout;
    let (header, from) = (clear + ADDRESSES, slot.start);
    *slot = Slot { start: from + tag, len: slot.len - tag - ICV, ..*slot };
    arena.copy_within(from..from + header, slot.start);
    if clear > 0 {
        addresses_first(arena.get_mut(slot.start..slot.start + header), clear);
    }
}
