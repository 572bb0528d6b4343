//! MACsec: what a station receives, from an honest one and from anybody.

use std::collections::HashMap;
use std::sync::Arc;

use adit_macsec::{
    An, CipherSuite, ControlledPort, KeyId, Offset, Protection, ReceiveKey, Replay, Sak, Sci, SciEncoding,
    SecY, Settings, Ssci, TransmitKey, ValidateFrames,
};
use adit_packet::Slot;

use crate::judge::{Fate, Judge, Verdict};
use crate::{Input, damage, keys};

pub(crate) const EAST: Sci = Sci::new([2, 0, 0, 0, 0, 1], 1);
pub(crate) const NORTH: Sci = Sci::new([2, 0, 0, 0, 0, 3], 1);
const WEST: Sci = Sci::new([2, 0, 0, 0, 0, 2], 1);
pub(crate) const AN: An = An::ALL[1];

/// Frames of one batch at most: more than are validated at once.
const BATCH: usize = 70;
/// Batches at most.
const BATCHES: usize = 6;

/// Batches of frames: sealed ones, these again, damaged ones, others. Each has the fate that a plain judge gives it, which knows
/// what was sealed and needs no cipher.
pub fn macsec_receive(data: &[u8]) {
    let mut input = Input::new(data);
    let encodings = [SciEncoding::Included, SciEncoding::EndStation, SciEncoding::PointToPoint];
    let pair = Pair::draw(&mut input, keys::seed(data), &encodings);
    let (one_by_one, together) = (pair.west(), pair.west());
    let mut judge = pair.judge();
    let mut known = Vec::new();
    for _ in 0..input.below(BATCHES) + 1 {
        let frames = 0..input.below(BATCH);
        let mut draw = |_| draw(&mut input, pair.east.port(), &mut judge, &mut known, clear);
        let frames: Vec<_> = frames.map(&mut draw).collect();
        let verdicts: Vec<_> = frames.iter().map(|frame| judge.judge(frame)).collect();
        for (frame, verdict) in frames.iter().zip(&verdicts) {
            let (fates, authentic) = open(one_by_one.port(), std::slice::from_ref(frame));
            assert_eq!(fates[0], verdict.fate, "{frame:02x?}");
            assert_eq!(authentic, u64::from(verdict.authentic));
        }
        // What is not authentic may be late sooner or later: the window moves once for many.
        let (fates, authentic) = open(together.port(), &frames);
        let is_authentic = |(_, verdict): &(&Fate, &Verdict)| verdict.authentic;
        assert!(
            fates.iter().zip(&verdicts).filter(is_authentic).all(|(fate, verdict)| *fate == verdict.fate)
        );
        assert_eq!(authentic, verdicts.iter().filter(|verdict| verdict.authentic).count() as u64);
    }
    judge.compare(one_by_one.port(), str::to_owned);
}

/// An honest station, and what another one that receives from it is set to.
pub(crate) struct Pair {
    pub(crate) east: SecY,
    pub(crate) settings: Settings,
    sak: Arc<Sak>,
    ssci: Option<Ssci>,
    first: u64,
    /// Whether the other one has a second channel.
    stranger: bool,
}

impl Pair {
    /// Any suite, protection and settings; the honest station says whose its frames are in one of these ways.
    pub(crate) fn draw(input: &mut Input<'_>, seed: u64, encodings: &[SciEncoding]) -> Self {
        let suite = input.one(&CipherSuite::ALL);
        let protection = match input.byte() % 4 {
            0 => Protection::IntegrityOnly,
            1 if !suite.is_xpn() => Protection::Confidentiality(Offset::Thirty),
            2 if !suite.is_xpn() => Protection::Confidentiality(Offset::Fifty),
            _ => Protection::Confidentiality(Offset::Zero),
        };
        let replay = input.one(&[Replay::Window(0), Replay::Window(5), Replay::Bitmap, Replay::Off]);
        let validate_frames =
            input.one(&[ValidateFrames::Strict, ValidateFrames::Check, ValidateFrames::Disabled]);
        let clear_tags = input.byte() % 3;
        let sci_encoding = input.one(encodings);
        // Where the lower half ends, some have an upper half to go on with, and the others have enough left.
        let first = if suite.is_xpn() {
            input.one(&[1, 0x7fff_fffe, 0xffff_fff0, 0x7_7fff_fff0, 0x7_ffff_fff0])
        } else {
            input.one(&[1, 0x7fff_fffe, (1 << 32) - (BATCH * BATCHES) as u64])
        };
        let settings = Settings { replay, validate_frames, clear_tags, ..Settings::new(WEST) };
        let sak = sak(suite, protection, seed);
        let ssci = Some(Ssci(9)).filter(|_| suite.is_xpn());
        let mut east = SecY::new(Settings { sci: EAST, sci_encoding, ..settings.clone() }).expect("settings");
        let key = TransmitKey { sak: Arc::clone(&sak), ssci, next_pn: first, bound: u64::MAX };
        east.install_transmit(AN, key).expect("a key");
        east.transmit_with(sak.id()).expect("the key");
        let stranger = input.flag();
        Self { east, settings, sak, ssci, first, stranger }
    }

    /// The station that receives.
    pub(crate) fn west(&self) -> SecY {
        let mut west = SecY::new(self.settings.clone()).expect("settings");
        west.add_channel(EAST).expect("a channel");
        if self.stranger {
            west.add_channel(NORTH).expect("a channel");
        }
        let key = ReceiveKey { sak: Arc::clone(&self.sak), ssci: self.ssci, lowest_pn: self.first };
        west.install_receive(EAST, AN, key).expect("a key");
        west
    }

    /// Who knows what has to become of what it receives.
    pub(crate) fn judge(&self) -> Judge {
        Judge::new(self.settings.clone(), self.sak.suite().is_xpn(), self.first, self.stranger)
    }

    /// The name of the key.
    pub(crate) fn key(&self) -> KeyId {
        self.sak.id()
    }
}

/// A frame of the honest station's hosts.
fn clear(input: &mut Input<'_>) -> Vec<u8> {
    let mut clear = [[2, 0, 0, 0, 0, 2], EAST.address()].concat();
    (0..input.below(4)).for_each(|_| clear.extend([0x81, 0x00, 0x00, 0x05]));
    clear.extend([0x08, 0x00]);
    let len = if input.flag() { input.byte().into() } else { input.below(50) };
    let filled = clear.len() + len;
    clear.resize(filled, input.byte());
    clear
}

fn sak(suite: CipherSuite, protection: Protection, seed: u64) -> Arc<Sak> {
    let mut secret = [3; 32];
    secret[..8].copy_from_slice(&seed.to_le_bytes());
    let salt = Some([5; 12]).filter(|_| suite.is_xpn());
    let sak = Sak::new(KeyId([1; 16]), suite, protection, &secret[..suite.key_len()], salt.as_ref());
    Arc::new(sak.expect("a key of its suite"))
}

/// A frame of `clear` that is sealed, or one from before, whole or damaged; or any.
pub(crate) fn draw(
    input: &mut Input<'_>,
    east: &ControlledPort,
    judge: &mut Judge,
    known: &mut Vec<Vec<u8>>,
    clear: impl FnOnce(&mut Input<'_>) -> Vec<u8>,
) -> Vec<u8> {
    let again =
        |input: &mut Input<'_>, known: &[Vec<u8>]| known.get(input.below(known.len().max(1))).cloned();
    let mut frame = match input.byte() % 6 {
        0 | 1 => {
            let clear = clear(input);
            let protected = seal(east, &clear);
            judge.sealed(&protected, &clear);
            known.push(protected.clone());
            return protected;
        }
        2 => return again(input, known).unwrap_or_default(),
        3 | 4 => again(input, known).unwrap_or_default(),
        _ => {
            let sci = input.one(&[EAST, NORTH, WEST]);
            let mut frame = [[2, 0, 0, 0, 0, 2], sci.address()].concat();
            frame.extend(if input.flag() { [0x88, 0xe5] } else { input.array() });
            frame.extend([input.byte(), input.one(&[0, 0, 1, 30, 47, 48, 64, 200])]);
            frame.extend(input.one(&[0_u32, 1, 0x8000_0000, u32::MAX]).to_be_bytes());
            frame.extend(sci.to_bytes());
            let len = frame.len() + usize::from(input.byte());
            frame.resize(len, input.byte());
            return frame;
        }
    };
    damage::damage(&mut frame, input);
    frame
}

fn seal(east: &ControlledPort, clear: &[u8]) -> Vec<u8> {
    let mut arena = vec![0xee; ControlledPort::HEAD + clear.len() + ControlledPort::TAIL];
    arena[ControlledPort::HEAD..][..clear.len()].copy_from_slice(clear);
    let mut slots = [Slot { start: ControlledPort::HEAD, len: clear.len(), ..Slot::default() }];
    east.seal(&mut arena, &mut slots, usize::MAX, |reason, _| panic!("{reason}"));
    assert_eq!(slots[0].len, clear.len() + east.overhead());
    arena[slots[0].range()].to_vec()
}

/// Opens a batch: what became of each frame, and how many were authentic.
fn open(west: &ControlledPort, frames: &[Vec<u8>]) -> (Vec<Fate>, u64) {
    let (mut arena, mut slots) = (Vec::new(), Vec::new());
    for frame in frames {
        arena.push(0xee);
        slots.push(Slot { start: arena.len(), len: frame.len(), ..Slot::default() });
        arena.extend(frame);
    }
    let base = arena.as_ptr() as usize;
    let mut reasons = HashMap::new();
    let opened = west.open(&mut arena, &mut slots, |reason, bytes| {
        assert_eq!(reasons.insert(bytes.as_ptr() as usize - base, reason), None, "told of twice");
    });
    let fate = |slot: &Slot| match reasons.remove(&slot.start) {
        Some(reason) => Err(reason),
        None => Ok(arena[slot.range()].to_vec()),
    };
    let fates: Vec<_> = slots.iter().map(fate).collect();
    assert!(reasons.is_empty() && slots.iter().zip(&fates).all(|(slot, fate)| slot.kept == fate.is_ok()));
    (fates, opened.authentic)
}
