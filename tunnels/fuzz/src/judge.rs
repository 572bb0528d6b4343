//! What must become of a frame that a MACsec station receives (IEEE 802.1AE-2018, clauses 9.12 and 10.6), told plainly.

use std::collections::{BTreeSet, HashMap};

use adit_macsec::{ControlledPort, Refused, Replay, Sci, Settings, ValidateFrames};

use crate::macsec::{AN, EAST, NORTH};

/// What became of a frame, or must: it is delivered as these bytes, or refused.
pub(crate) type Fate = Result<Vec<u8>, Refused>;

/// What must become of a frame.
pub(crate) struct Verdict {
    pub(crate) fate: Fate,
    /// Whether it moves the window.
    pub(crate) authentic: bool,
}

impl From<Fate> for Verdict {
    fn from(fate: Fate) -> Self {
        Self { fate, authentic: false }
    }
}

/// Knows what was sealed, by whom, and what came.
pub(crate) struct Judge {
    settings: Settings,
    xpn: bool,
    stranger: bool,
    first: u64,
    next: u64,
    came: BTreeSet<u64>,
    /// Protected frames without tags in clear: what was protected, and the packet number.
    sealed: HashMap<Vec<u8>, (Vec<u8>, u64)>,
    sent: u64,
    counters: HashMap<&'static str, u64>,
}

impl Judge {
    pub(crate) fn new(settings: Settings, xpn: bool, first: u64, stranger: bool) -> Self {
        let (next, came, sealed, counters) = (first, BTreeSet::new(), HashMap::new(), HashMap::new());
        Self { settings, xpn, stranger, first, next, came, sealed, sent: first, counters }
    }

    /// The honest station sealed this.
    pub(crate) fn sealed(&mut self, protected: &[u8], clear: &[u8]) {
        let tags = 4 * self.tags(clear);
        assert_eq!(protected[..12 + tags], clear[..12 + tags], "what stays in clear stays as it is");
        let bare = [&protected[..12], &protected[12 + tags..]].concat();
        self.sealed.insert(bare, (clear[12 + tags..].to_vec(), self.sent));
        self.sent += 1;
    }

    /// Tags at the beginning that stay in clear.
    fn tags(&self, frame: &[u8]) -> usize {
        let tag = |at: &usize| frame.len() >= 16 + 4 * at && frame[12 + 4 * at..].starts_with(&[0x81, 0x00]);
        let service =
            |at: &usize| frame.len() >= 16 + 4 * at && frame[12 + 4 * at..].starts_with(&[0x88, 0xa8]);
        (0..self.settings.clear_tags.into()).take_while(|at| tag(at) || service(at)).count()
    }

    fn count(&mut self, counter: &'static str, number: usize) {
        *self.counters.entry(counter).or_default() += number as u64;
    }

    fn refuse(&mut self, counter: &'static str, reason: Refused) -> Verdict {
        self.count(counter, 1);
        Err(reason).into()
    }

    pub(crate) fn judge(&mut self, frame: &[u8]) -> Verdict {
        let strict = self.settings.validate_frames == ValidateFrames::Strict;
        if frame.len() < 14 {
            return Err(Refused::Length).into();
        }
        let tags = 4 * self.tags(frame);
        let bare = [&frame[..12], &frame[12 + tags..]].concat();
        if !bare[12..].starts_with(&[0x88, 0xe5]) {
            if strict {
                return self.refuse("InPktsNoTag", Refused::NoTag);
            }
            self.count("InPktsUntagged", 1);
            return Ok(frame.to_vec()).into();
        }
        if let Some(reason) = broken_rule(&bare) {
            return self.refuse("InPktsBadTag", reason);
        }
        let (tci, low) = (bare[14], u32::from_be_bytes([bare[16], bare[17], bare[18], bare[19]]));
        let known = self.channel(&bare);
        let ours = known == Some(EAST) && tci & 3 == AN.number();
        if low == 0 && !self.xpn {
            return self.refuse("InPktsBadTag", Refused::PnZero);
        }
        if tci & 0x0c == 0x08 {
            return Err(Refused::KayFrame).into();
        }
        let header = if tci & 0x20 != 0 { 28 } else { 20 };
        let short = usize::from(bare[15]);
        let bare = if short > 0 { &bare[..header + short + 16] } else { &bare };
        let readable = [&bare[..12], &frame[12..12 + tags], &bare[header..bare.len() - 16]].concat();
        let dropped = strict || tci & 4 != 0;
        match (known, ours, dropped) {
            (None, _, true) => return self.refuse("InPktsNoSCI", Refused::NoSci),
            (None, _, false) => self.count("InPktsUnknownSCI", 1),
            (_, false, true) => return self.refuse("InPktsNotUsingSA", Refused::NotUsingSa),
            (_, false, false) => self.count("InPktsUnusedSA", 1),
            (_, true, _) => return self.validate(tci, low, bare, frame, tags, readable),
        }
        Ok(readable).into()
    }

    /// The channel, if it is known.
    fn channel(&self, bare: &[u8]) -> Option<Sci> {
        let of_source = |port| Sci::new([bare[6], bare[7], bare[8], bare[9], bare[10], bare[11]], port);
        let sci = match bare[14] & 0x70 {
            0x20 => Sci::from(<[u8; 8]>::try_from(&bare[20..28]).expect("eight octets")),
            0x40 => of_source(1),
            0 if self.stranger => return None,
            0 => EAST,
            _ => of_source(0),
        };
        (sci == EAST || (sci == NORTH && self.stranger)).then_some(sci)
    }

    fn lowest(&self) -> u64 {
        let size = match self.settings.replay {
            Replay::Off => 0,
            Replay::Window(size) => size.into(),
            Replay::Bitmap => 8192,
        };
        self.first.max(self.next.saturating_sub(size))
    }

    /// The frame is of a channel and an association that there are.
    fn validate(
        &mut self,
        tci: u8,
        low: u32,
        bare: &[u8],
        frame: &[u8],
        tags: usize,
        readable: Vec<u8>,
    ) -> Verdict {
        let off = self.settings.replay == Replay::Off;
        let (encrypted, lowest) = (tci & 8 != 0, self.lowest());
        let data = readable.len() - 12 - tags;
        // Far behind, across a half of all lower halves, a frame is taken for one far ahead.
        let pn = self.guess(low);
        let authentic = self.sealed.get(bare).filter(|(_, sent)| *sent == pn).cloned();
        if pn < lowest && !off {
            return self.refuse("InPktsLate", Refused::Late);
        }
        if self.settings.validate_frames == ValidateFrames::Disabled && !encrypted {
            self.count(if pn < lowest { "InPktsDelayed" } else { "InPktsUnchecked" }, 1);
            return Ok(readable).into();
        }
        let Some((inner, _)) = authentic else {
            if self.settings.validate_frames == ValidateFrames::Strict || encrypted {
                return self.refuse("InPktsNotValid", Refused::NotValid);
            }
            self.count("InPktsInvalid", 1);
            return Ok(readable).into();
        };
        let octets = if encrypted { "InOctetsDecrypted" } else { "InOctetsValidated" };
        if !self.came.insert(pn) && self.settings.replay == Replay::Bitmap {
            return self.refuse("InPktsLate", Refused::Late);
        }
        self.count(octets, data);
        self.count(if pn < lowest { "InPktsDelayed" } else { "InPktsOK" }, 1);
        self.next = self.next.max(pn + 1);
        Verdict { fate: Ok([&frame[..12 + tags], &inner].concat()), authentic: true }
    }

    /// The packet number that a frame is taken to have.
    fn guess(&self, low: u32) -> u64 {
        if !self.xpn {
            return low.into();
        }
        let reference = match self.settings.replay {
            Replay::Off => self.next.saturating_sub((1 << 30) - 1),
            Replay::Window(_) | Replay::Bitmap => self.lowest(),
        };
        let pn = reference >> 32 << 32 | u64::from(low);
        if reference as u32 >= 1 << 31 && low < 1 << 31 { pn + (1 << 32) } else { pn }
    }

    /// Every counter is what the verdicts make it; those that `name` gives one name are taken together.
    pub(crate) fn compare(&self, port: &ControlledPort, name: impl Fn(&str) -> String) {
        let mut counted: HashMap<String, u64> = HashMap::new();
        let channels = port.receive().iter().flat_map(|channel| channel.counters().iter());
        for (counter, total) in port.counters().iter().chain(channels).filter(|(_, total)| *total > 0) {
            *counted.entry(name(counter)).or_default() += total;
        }
        let mut expected: HashMap<String, u64> = HashMap::new();
        for (counter, total) in self.counters.iter().filter(|(_, total)| **total > 0) {
            *expected.entry(name(counter)).or_default() += total;
        }
        assert_eq!(counted, expected);
    }
}

/// The rule of clause 9.12 that a frame without tags in clear breaks.
fn broken_rule(bare: &[u8]) -> Option<Refused> {
    let [tci, sl, ..] = bare[14..] else { return Some(Refused::Truncated) };
    if bare.len() < 20 {
        return Some(Refused::Truncated);
    }
    let (version, es, sc, scb, e, c) =
        (tci & 0x80 != 0, tci & 0x40 != 0, tci & 0x20 != 0, tci & 0x10 != 0, tci & 8 != 0, tci & 4 != 0);
    let least = 12 + 8 + if sc { 8 } else { 0 } + if sl == 0 { 48 } else { usize::from(sl) } + 16;
    [
        (version, Refused::Version),
        (sc && (es || scb), Refused::SciTwice),
        (c && !e, Refused::ChangedText),
        (sl >= 64, Refused::Reserved),
        (sl >= 48, Refused::ShortLength),
        (bare.len() < least, Refused::Truncated),
    ]
    .into_iter()
    .find_map(|(broken, reason)| broken.then_some(reason))
}
