//! What holds for every frame, suite and setting.

mod link;

use adit_macsec::{
    An, CipherSuite, ControlledPort, Offset, Protection, Replay, Sci, SciEncoding, Settings, ValidateFrames,
};
use adit_packet::Slot;
use link::{EAST, LONGEST, Material, WEST, open, opened, receiver, seal, sender, suites};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A key of any suite, for any protection that it has, and a packet number to begin with.
fn material() -> impl Strategy<Value = (Material, u64)> {
    (select(suites()), any::<u8>(), any::<u64>()).prop_map(|((suite, protection), seed, pn)| {
        let pn = if suite.is_xpn() { pn >> 1 } else { pn >> 33 };
        (Material::new(suite, protection, seed), pn.max(1))
    })
}

/// How the channel is told, and the channel.
fn encoding() -> impl Strategy<Value = (SciEncoding, Sci)> {
    let address = EAST.address();
    select(vec![
        (SciEncoding::Included, Sci::new(address, 700)),
        (SciEncoding::EndStation, Sci::new(address, 1)),
        (SciEncoding::Broadcast, Sci::new(address, 0)),
        (SciEncoding::PointToPoint, Sci::new(address, 3)),
    ])
}

/// A frame from EAST, with up to three VLAN tags.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let tags = vec(select(vec![[0x81, 0x00], [0x88, 0xa8]]), 0..=3);
    let data = prop_oneof![vec(any::<u8>(), 2..70), vec(any::<u8>(), 2..1600)];
    (any::<[u8; 6]>(), tags, data).prop_map(|(to, tags, data)| {
        let mut frame = [to, EAST.address()].concat();
        for tag in tags {
            frame.extend(tag);
            frame.extend([0x20, 0x07]);
        }
        frame.extend(data);
        frame
    })
}

/// Octets of tags at the beginning of a frame, at most `most` tags.
fn tags(frame: &[u8], most: u8) -> usize {
    let is_tag = |at: &usize| matches!(frame.get(12 + at..14 + at), Some([0x81, 0x00] | [0x88, 0xa8]));
    // A tag without an EtherType behind it is none that a frame can be sent with.
    (0..usize::from(most)).map(|tag| 4 * tag).take_while(is_tag).count() * 4
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_was_sealed_opens_to_the_same(
        (key, pn) in material(), (sci_encoding, sci) in encoding(), an in 0..4_u8, clear_tags in 0..3_u8,
        replay in select(vec![Replay::Off, Replay::Window(0), Replay::Window(100), Replay::Bitmap]),
        frames in vec(frame(), 1..150),
    ) {
        let an = An::new(an).unwrap();
        let settings = Settings { sci_encoding, clear_tags, ..Settings::new(sci) };
        let east = sender(settings, an, &key, pn);
        // What ends within its tags cannot be sent.
        let whole = |frame: &Vec<u8>| frame.len() >= 14 + tags(frame, clear_tags);
        let frames: Vec<_> = frames.into_iter().filter(whole).collect();
        let protected: Vec<_> = seal(east.port(), &frames, LONGEST).into_iter().map(Result::unwrap).collect();
        for (clear, protected) in frames.iter().zip(&protected) {
            let tags = tags(clear, clear_tags);
            prop_assert_eq!(&protected[..12 + tags], &clear[..12 + tags]);
            prop_assert_eq!(&protected[12 + tags..14 + tags], [0x88, 0xe5]);
            prop_assert_eq!(protected.len(), clear.len() + east.port().overhead());
        }
        let settings = Settings { clear_tags, replay, ..Settings::new(WEST) };
        let west = receiver(settings, sci, an, &key, pn);
        let (fates, told) = open(west.port(), &protected);
        prop_assert_eq!(told.authentic, frames.len() as u64);
        prop_assert_eq!(fates, frames.into_iter().map(Ok).collect::<Vec<_>>());
    }

    #[test]
    fn any_flipped_bit_is_refused(
        (key, pn) in material(), (sci_encoding, sci) in encoding(), frame in frame(), at: Index,
    ) {
        let east = sender(Settings { sci_encoding, ..Settings::new(sci) }, An::ALL[1], &key, pn);
        let mut protected = seal(east.port(), &[frame], LONGEST).remove(0).unwrap();
        let bit = at.index(protected.len() * 8);
        protected[bit / 8] ^= 1 << (bit % 8);
        let west = receiver(Settings::new(WEST), sci, An::ALL[1], &key, pn);
        prop_assert!(opened(west.port(), &protected).is_err(), "bit {} of {}", bit % 8, bit / 8);
    }

    #[test]
    fn a_key_that_differs_in_one_bit_opens_nothing((key, pn) in material(), frame in frame(), at: Index) {
        let mut other = key.clone();
        let bit = at.index(other.secret.len() * 8);
        other.secret[bit / 8] ^= 1 << (bit % 8);
        let east = sender(Settings::new(EAST), An::ALL[0], &key, pn);
        let protected = seal(east.port(), &[frame], LONGEST).remove(0).unwrap();
        let west = receiver(Settings::new(WEST), EAST, An::ALL[0], &other, pn);
        prop_assert!(opened(west.port(), &protected).is_err());
    }

    /// Late, doubled and lost frames: each is delivered as a list of what came says it must be.
    #[test]
    fn the_bitmap_delivers_each_frame_once_in_any_order(order in vec(0..60_usize, 1..200)) {
        let key = Material::new(CipherSuite::GcmAesXpn256, Protection::Confidentiality(Offset::Zero), 1);
        let east = sender(Settings::new(EAST), An::ALL[0], &key, (1 << 32) - 30);
        let frames = vec![link::frame(64); 60];
        let protected: Vec<_> = seal(east.port(), &frames, LONGEST).into_iter().map(Result::unwrap).collect();
        let settings = Settings { replay: Replay::Bitmap, ..Settings::new(WEST) };
        let west = receiver(settings, EAST, An::ALL[0], &key, (1 << 32) - 30);
        let came: Vec<_> = order.iter().map(|at| protected[*at].clone()).collect();
        let fates = open(west.port(), &came).0;
        for (at, fate) in fates.iter().enumerate() {
            prop_assert_eq!(fate.is_ok(), !order[..at].contains(&order[at]), "{}", at);
        }
    }

    /// Slots that overlap nothing else: arbitrary bytes, in any mode, with any room.
    #[test]
    fn nothing_panics_and_nothing_beyond_a_slot_is_touched(
        (key, pn) in material(), (sci_encoding, sci) in encoding(), clear_tags in 0..3_u8,
        validate_frames in select(vec![ValidateFrames::Strict, ValidateFrames::Check, ValidateFrames::Disabled]),
        bytes in vec(any::<u8>(), 0..200), macsec: bool, tci: u8, short_len in 0..64_u8,
        start in 0..220_usize, len in prop_oneof![0..220_usize, Just(usize::MAX)],
    ) {
        let mut bytes = bytes;
        let tag = [0x88, 0xe5, tci, short_len];
        if let Some(place) = bytes.get_mut(start..).and_then(|frame| frame.get_mut(12..16)).filter(|_| macsec) {
            place.copy_from_slice(&tag);
        }
        let settings = Settings { sci_encoding, clear_tags, validate_frames, ..Settings::new(sci) };
        let port = receiver(Settings { sci: WEST, sci_encoding: SciEncoding::Included, ..settings.clone() },
            sci, An::ALL[0], &key, 1);
        let slot = Slot { start, len, ..Slot::default() };
        let end = start.saturating_add(len).min(bytes.len());
        let untouched = |before: &[u8], after: &[u8], head: usize, tail: usize| {
            let same = |at: &usize| before[*at] == after[*at];
            let (low, high) = (start.saturating_sub(head), end + tail);
            (0..before.len()).filter(|at| *at < low || *at >= high).all(|at| same(&at))
        };
        let mut arena = bytes.clone();
        port.port().open(&mut arena, &mut [slot], |_, _| ());
        prop_assert!(untouched(&bytes, &arena, 0, 0));

        let east = sender(settings, An::ALL[0], &key, pn);
        let (mut arena, mut slots) = (bytes.clone(), [slot]);
        east.port().seal(&mut arena, &mut slots, LONGEST, |_, _| ());
        prop_assert!(untouched(&bytes, &arena, ControlledPort::HEAD, ControlledPort::TAIL));
        prop_assert!(slots[0].kept || bytes == arena, "what is refused stays as it is");
    }
}
