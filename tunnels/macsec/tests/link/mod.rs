//! A SecY to seal with and one to open with, and frames between them.
#![allow(dead_code, reason = "each test program has its own share of it")]

use std::collections::HashMap;
use std::sync::Arc;

use adit_macsec::{
    An, CipherSuite, ControlledPort, KeyId, Offset, Opened, Protection, ReceiveKey, Refused, Sak, Sci, SecY,
    Settings, Ssci, TransmitKey,
};
use adit_packet::Slot;

/// The most octets that a frame may have here.
pub(crate) const LONGEST: usize = 9216;
/// Who sends.
pub(crate) const EAST: Sci = Sci::new([0x02, 0, 0, 0, 0, 1], 1);
/// Who receives.
pub(crate) const WEST: Sci = Sci::new([0x02, 0, 0, 0, 0, 2], 1);

/// A key and what belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct Material {
    pub(crate) id: KeyId,
    pub(crate) suite: CipherSuite,
    pub(crate) protection: Protection,
    pub(crate) secret: Vec<u8>,
    pub(crate) salt: Option<[u8; 12]>,
    pub(crate) ssci: Option<Ssci>,
}

impl Material {
    /// A key of this suite, made of `seed`.
    pub(crate) fn new(suite: CipherSuite, protection: Protection, seed: u8) -> Self {
        let xpn = suite.is_xpn();
        Self {
            id: KeyId([seed; 16]),
            suite,
            protection,
            secret: (0..suite.key_len()).map(|at| seed.wrapping_mul(31) ^ at as u8).collect(),
            salt: xpn.then_some([seed; 12]),
            ssci: xpn.then_some(Ssci(0x0102_0304)),
        }
    }

    pub(crate) fn sak(&self) -> Arc<Sak> {
        let sak = Sak::new(self.id, self.suite, self.protection, &self.secret, self.salt.as_ref());
        Arc::new(sak.expect("a key of its suite"))
    }

    pub(crate) fn to_send(&self, next_pn: u64) -> TransmitKey {
        TransmitKey { sak: self.sak(), ssci: self.ssci, next_pn, bound: u64::MAX }
    }

    pub(crate) fn to_receive(&self, lowest_pn: u64) -> ReceiveKey {
        ReceiveKey { sak: self.sak(), ssci: self.ssci, lowest_pn }
    }
}

/// Every suite with every protection that it has.
pub(crate) fn suites() -> Vec<(CipherSuite, Protection)> {
    let offsets = |suite: CipherSuite| match suite.is_xpn() {
        true => vec![Offset::Zero],
        false => vec![Offset::Zero, Offset::Thirty, Offset::Fifty],
    };
    let protections = |suite| {
        let encrypted = offsets(suite).into_iter().map(Protection::Confidentiality);
        encrypted.chain([Protection::IntegrityOnly]).map(move |protection| (suite, protection))
    };
    CipherSuite::ALL.into_iter().flat_map(protections).collect()
}

/// A SecY that sends with this key.
pub(crate) fn sender(settings: Settings, an: An, key: &Material, next_pn: u64) -> SecY {
    let mut secy = SecY::new(settings).expect("settings");
    secy.install_transmit(an, key.to_send(next_pn)).expect("a key to send with");
    secy.transmit_with(key.id).expect("the key is installed");
    secy
}

/// A SecY that receives from `sci` with this key.
pub(crate) fn receiver(settings: Settings, sci: Sci, an: An, key: &Material, lowest_pn: u64) -> SecY {
    let mut secy = SecY::new(settings).expect("settings");
    secy.add_channel(sci).expect("another station");
    secy.install_receive(sci, an, key.to_receive(lowest_pn)).expect("a key to receive with");
    secy
}

/// What became of a frame.
pub(crate) type Fate = Result<Vec<u8>, Refused>;

/// The frames in one arena, each with room around it.
fn arena(frames: &[Vec<u8>]) -> (Vec<u8>, Vec<Slot>) {
    let (mut arena, mut slots) = (Vec::new(), Vec::new());
    for frame in frames {
        arena.resize(arena.len() + ControlledPort::HEAD, 0xee);
        slots.push(Slot { start: arena.len(), len: frame.len(), ..Slot::default() });
        arena.extend(frame);
        arena.resize(arena.len() + ControlledPort::TAIL, 0xee);
    }
    (arena, slots)
}

/// What became of each slot, once `work` has told of those that it refused, each once.
fn fates<R>(
    frames: &[Vec<u8>],
    work: impl FnOnce(&mut [u8], &mut [Slot], &mut dyn FnMut(Refused, &[u8])) -> R,
) -> (Vec<Fate>, R) {
    let (mut arena, mut slots) = arena(frames);
    let base = arena.as_ptr() as usize;
    let mut reasons = HashMap::new();
    let result = work(&mut arena, &mut slots, &mut |reason, bytes| {
        let twice = reasons.insert(bytes.as_ptr() as usize - base, reason);
        assert_eq!(twice, None, "told of twice");
    });
    let fate = |slot: &Slot| match reasons.remove(&slot.start) {
        None => Ok(arena[slot.range()].to_vec()),
        Some(reason) => Err(reason),
    };
    let fates: Vec<_> = slots.iter().map(fate).collect();
    assert!(slots.iter().zip(&fates).all(|(slot, fate)| slot.kept == fate.is_ok()));
    assert!(reasons.is_empty(), "told of nothing that there is: {reasons:?}");
    (fates, result)
}

/// Seals frames as one batch.
pub(crate) fn seal(port: &ControlledPort, frames: &[Vec<u8>], longest: usize) -> Vec<Fate> {
    fates(frames, |arena, slots, refused| port.seal(arena, slots, longest, refused)).0
}

/// Seals one frame that must be sealed.
pub(crate) fn sealed(port: &ControlledPort, frame: &[u8]) -> Vec<u8> {
    seal(port, &[frame.to_vec()], LONGEST).remove(0).expect("sealed")
}

/// Opens frames as one batch.
pub(crate) fn open(port: &ControlledPort, frames: &[Vec<u8>]) -> (Vec<Fate>, Opened) {
    fates(frames, |arena, slots, refused| port.open(arena, slots, refused))
}

/// Opens one frame.
pub(crate) fn opened(port: &ControlledPort, frame: &[u8]) -> Fate {
    open(port, &[frame.to_vec()]).0.remove(0)
}

/// A frame of so many octets from EAST to WEST.
pub(crate) fn frame(len: usize) -> Vec<u8> {
    let mut frame = [WEST.address(), EAST.address()].concat();
    frame.extend([0x08, 0x00]);
    frame.extend((frame.len()..len.max(frame.len())).map(|at| at as u8));
    frame.truncate(len);
    frame
}

/// Counters that are not zero.
pub(crate) fn counted(counters: impl Iterator<Item = (&'static str, u64)>) -> Vec<(&'static str, u64)> {
    counters.filter(|(_, total)| *total > 0).collect()
}
