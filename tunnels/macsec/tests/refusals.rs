//! What is refused, by which rule, and how it is counted (IEEE 802.1AE-2018, clauses 9.12, 10.5 and 10.6).

mod link;

use adit_macsec::{
    An, CipherSuite, ControlledPort, Offset, Protection, Refused, Replay, Sci, SciEncoding, SecY, Settings,
    ValidateFrames,
};
use link::{EAST, LONGEST, Material, WEST, counted, frame, opened, receiver, seal, sealed, sender};

const AN: An = An::ALL[1];
const ENCRYPTED: Protection = Protection::Confidentiality(Offset::Zero);

fn key(protection: Protection) -> Material {
    Material::new(CipherSuite::GcmAes128, protection, 7)
}

/// A station in the west that knows the one in the east.
fn west(validate_frames: ValidateFrames, replay: Replay) -> SecY {
    let settings = Settings { validate_frames, replay, ..Settings::new(WEST) };
    receiver(settings, EAST, AN, &key(ENCRYPTED), 1)
}

fn east(protection: Protection, next_pn: u64) -> SecY {
    sender(Settings::new(EAST), AN, &key(protection), next_pn)
}

/// All that a port has counted.
fn all(port: &ControlledPort) -> Vec<(&'static str, u64)> {
    let channels = port.receive().iter().flat_map(|channel| channel.counters().iter());
    counted(port.counters().iter().chain(channels))
}

#[test]
fn each_broken_rule_of_the_sectag_is_refused_and_counted_in_every_mode() {
    let short = sealed(east(ENCRYPTED, 1).port(), &frame(40));
    let long = sealed(east(ENCRYPTED, 1).port(), &frame(100));
    let with = |frame: &[u8], at: usize, octet: u8| {
        let mut frame = frame.to_vec();
        frame[at] = octet;
        frame
    };
    let mut zero = long.clone();
    zero[16..20].fill(0);
    let broken = [
        (with(&long, 14, 0xad), Refused::Version),
        (with(&long, 14, 0x6d), Refused::SciTwice),
        (with(&long, 14, 0x3d), Refused::SciTwice),
        (with(&long, 14, 0x7d), Refused::SciTwice),
        (with(&long, 14, 0x25), Refused::ChangedText),
        (with(&long, 15, 0x40), Refused::Reserved),
        (with(&long, 15, 0x80), Refused::Reserved),
        (with(&long, 15, 48), Refused::ShortLength),
        (with(&long, 15, 63), Refused::ShortLength),
        (zero, Refused::PnZero),
        (with(&short, 15, 0), Refused::Truncated),
        (with(&short, 15, 29), Refused::Truncated),
        (short[..short.len() - 1].to_vec(), Refused::Truncated),
        (long[..12 + 16 + 48 + 15].to_vec(), Refused::Truncated),
        (long[..15].to_vec(), Refused::Truncated),
    ];
    for validate in [ValidateFrames::Strict, ValidateFrames::Check, ValidateFrames::Disabled] {
        let west = west(validate, Replay::Window(0));
        for (at, (frame, reason)) in broken.iter().enumerate() {
            assert_eq!(opened(west.port(), frame), Err(*reason), "{at}, {validate:?}");
            assert_eq!(all(west.port()), [("InPktsBadTag", at as u64 + 1)], "{at}, {validate:?}");
        }
        assert!(opened(west.port(), &short).is_ok(), "what they were made of is good");
    }
}

#[test]
fn frames_of_the_key_agreement_entity_never_reach_the_controlled_port() {
    let mut frame = sealed(east(ENCRYPTED, 1).port(), &frame(100));
    frame[14] = 0x29;
    for validate in [ValidateFrames::Strict, ValidateFrames::Check, ValidateFrames::Disabled] {
        let west = west(validate, Replay::Off);
        assert_eq!(opened(west.port(), &frame), Err(Refused::KayFrame));
        assert_eq!(all(west.port()), []);
    }
}

#[test]
fn the_lower_half_of_an_extended_packet_number_may_be_zero() {
    let key = Material::new(CipherSuite::GcmAesXpn256, ENCRYPTED, 7);
    let east = sender(Settings::new(EAST), AN, &key, 1 << 32);
    let frame = sealed(east.port(), &frame(60));
    assert_eq!(frame[16..20], [0; 4]);
    let west = receiver(Settings::new(WEST), EAST, AN, &key, 0xffff_ff00);
    assert!(opened(west.port(), &frame).is_ok());
}

/// Figure 10-5, a row for each way through it.
#[test]
fn each_mode_delivers_drops_and_counts_as_the_standard_says() {
    use ValidateFrames::{Check, Disabled, Strict};
    let clear = frame(100);
    let from = |protection, pn| sealed(east(protection, pn).port(), &clear);
    let integrity = |pn| from(Protection::IntegrityOnly, pn);
    let forged = |mut frame: Vec<u8>| {
        *frame.last_mut().unwrap() ^= 1;
        frame
    };
    let of_stranger = |mut frame: Vec<u8>| {
        frame[27] = 9;
        frame
    };
    let without_key = |mut frame: Vec<u8>| {
        frame[14] ^= 2;
        frame
    };
    let dropped = |reason: Refused| Some(reason);
    type Row<'a> = (&'a str, Vec<u8>, [(Option<Refused>, &'a str); 3]);
    let rows: [Row<'_>; 10] = [
        (
            "no SecTAG",
            clear.clone(),
            [(dropped(Refused::NoTag), "InPktsNoTag"), (None, "InPktsUntagged"), (None, "InPktsUntagged")],
        ),
        (
            "unknown SCI, encrypted",
            of_stranger(from(ENCRYPTED, 50)),
            [(dropped(Refused::NoSci), "InPktsNoSCI"); 3],
        ),
        (
            "unknown SCI",
            of_stranger(integrity(50)),
            [
                (dropped(Refused::NoSci), "InPktsNoSCI"),
                (None, "InPktsUnknownSCI"),
                (None, "InPktsUnknownSCI"),
            ],
        ),
        (
            "no association, encrypted",
            without_key(from(ENCRYPTED, 50)),
            [(dropped(Refused::NotUsingSa), "InPktsNotUsingSA"); 3],
        ),
        (
            "no association",
            without_key(integrity(50)),
            [
                (dropped(Refused::NotUsingSa), "InPktsNotUsingSA"),
                (None, "InPktsUnusedSA"),
                (None, "InPktsUnusedSA"),
            ],
        ),
        ("late", integrity(39), [(dropped(Refused::Late), "InPktsLate"); 3]),
        (
            "forged, encrypted",
            forged(from(ENCRYPTED, 50)),
            [(dropped(Refused::NotValid), "InPktsNotValid"); 3],
        ),
        (
            "forged",
            forged(integrity(50)),
            [
                (dropped(Refused::NotValid), "InPktsNotValid"),
                (None, "InPktsInvalid"),
                (None, "InPktsUnchecked"),
            ],
        ),
        ("good, encrypted", from(ENCRYPTED, 50), [(None, "InPktsOK InOctetsDecrypted"); 3]),
        (
            "good",
            integrity(50),
            [
                (None, "InPktsOK InOctetsValidated"),
                (None, "InPktsOK InOctetsValidated"),
                (None, "InPktsUnchecked"),
            ],
        ),
    ];
    for (name, frame, expected) in rows {
        for (validate, (reason, counters)) in [Strict, Check, Disabled].into_iter().zip(expected) {
            let settings = Settings { validate_frames: validate, ..Settings::new(WEST) };
            let west = receiver(settings, EAST, AN, &key(ENCRYPTED), 40);
            let fate = opened(west.port(), &frame);
            assert_eq!(fate, reason.map_or_else(|| Ok(clear.clone()), Err), "{name}, {validate:?}");
            let names: Vec<_> = all(west.port()).iter().map(|(name, _)| *name).collect();
            assert_eq!(names.join(" "), counters, "{name}, {validate:?}");
            let data = if counters.contains("Octets") { 88 } else { 0 };
            let total: u64 = all(west.port()).iter().map(|(_, total)| total).sum();
            assert_eq!(total, 1 + data, "{name}, {validate:?}");
        }
    }
}

#[test]
fn a_window_that_is_not_enforced_delivers_late_frames_as_delayed() {
    for validate in [ValidateFrames::Strict, ValidateFrames::Check, ValidateFrames::Disabled] {
        let west = west(validate, Replay::Off);
        let seen = sealed(east(Protection::IntegrityOnly, 5).port(), &frame(80));
        let encrypted = sealed(east(ENCRYPTED, 9).port(), &frame(80));
        assert!(opened(west.port(), &encrypted).is_ok());
        assert!(opened(west.port(), &seen).is_ok(), "{validate:?}");
        let delayed = west.port().receive()[0].counters().in_pkts_delayed.total();
        assert_eq!(delayed, 1, "{validate:?}");
    }
}

#[test]
fn a_forged_frame_moves_no_window() {
    for replay in [Replay::Window(0), Replay::Window(64), Replay::Bitmap, Replay::Off] {
        let west = west(ValidateFrames::Check, replay);
        for protection in [ENCRYPTED, Protection::IntegrityOnly] {
            let mut forged = sealed(east(protection, 1 << 30).port(), &frame(80));
            *forged.last_mut().unwrap() ^= 0x80;
            assert_eq!(opened(west.port(), &forged).is_ok(), protection == Protection::IntegrityOnly);
        }
        let sa = west.port().receive()[0].association(AN).unwrap();
        assert_eq!((sa.next_pn(), sa.lowest_pn(), sa.is_confirmed()), (1, 1, false), "{replay:?}");
        assert!(opened(west.port(), &sealed(east(ENCRYPTED, 1).port(), &frame(80))).is_ok());
        assert_eq!((sa.next_pn(), sa.is_confirmed()), (2, true));
    }
}

/// The standard's window lets a frame come twice; the bitmap does not, and says so before the cipher is asked or after.
#[test]
fn a_replayed_frame_is_late_where_each_comes_once() {
    let east = east(ENCRYPTED, 1);
    let frames: Vec<_> = (0..3).map(|_| sealed(east.port(), &frame(80))).collect();
    for (replay, again) in [
        (Replay::Window(0), Some(Refused::Late)),
        (Replay::Window(2), None),
        (Replay::Bitmap, Some(Refused::Late)),
        (Replay::Off, None),
    ] {
        let west = west(ValidateFrames::Strict, replay);
        assert!(frames.iter().all(|frame| opened(west.port(), frame).is_ok()), "{replay:?}");
        assert_eq!(opened(west.port(), &frames[1]).err(), again, "{replay:?}");
    }
}

#[test]
fn receivers_find_a_channel_that_the_sectag_does_not_name() {
    let address = EAST.address();
    for (sci_encoding, port, tci) in [
        (SciEncoding::EndStation, Sci::END_STATION_PORT, 0x4d),
        (SciEncoding::Broadcast, Sci::BROADCAST_PORT, 0x1d),
        (SciEncoding::PointToPoint, 7, 0x0d),
    ] {
        let sci = Sci::new(address, port);
        let settings = Settings { sci_encoding, ..Settings::new(sci) };
        let east = sender(settings, AN, &key(ENCRYPTED), 1);
        let protected = sealed(east.port(), &frame(100));
        assert_eq!((protected[14], protected.len()), (tci, 100 + 8 + 16));
        assert_eq!(east.port().overhead(), 24);
        let mut west = receiver(Settings::new(WEST), sci, AN, &key(ENCRYPTED), 1);
        west.add_channel(Sci::new(address, 99)).unwrap();
        let fate = opened(west.port(), &protected);
        if sci_encoding == SciEncoding::PointToPoint {
            assert_eq!(fate, Err(Refused::NoSci), "which of the two?");
            assert!(west.remove_channel(Sci::new(address, 99)));
            assert_eq!(opened(west.port(), &protected), Ok(frame(100)));
        } else {
            assert_eq!(fate, Ok(frame(100)));
        }
    }
}

#[test]
fn a_frame_of_another_station_is_not_sent_where_receivers_would_take_it_for_ours() {
    for (sci_encoding, port) in [(SciEncoding::EndStation, 1), (SciEncoding::Broadcast, 0)] {
        let settings = Settings { sci_encoding, ..Settings::new(Sci::new(EAST.address(), port)) };
        let east = sender(settings, AN, &key(ENCRYPTED), 1);
        let mut foreign = frame(100);
        foreign[11] ^= 1;
        let fates = seal(east.port(), &[frame(100), foreign, frame(100)], LONGEST);
        assert_eq!(fates[1], Err(Refused::ForeignSource));
        let pns = [&fates[0], &fates[2]].map(|fate| fate.as_ref().unwrap()[19]);
        assert_eq!(pns, [1, 2], "no packet number is spent on it");
    }
}

#[test]
fn a_frame_that_would_be_too_long_is_not_sent_but_counted() {
    let east = east(ENCRYPTED, 1);
    let fates = seal(east.port(), &[frame(1482), frame(1483), frame(14), frame(13), frame(0)], 1514);
    let reasons: Vec<_> = fates.iter().map(|fate| fate.as_ref().err().copied()).collect();
    let expected = [None, Some(Refused::TooLong), None, Some(Refused::Length), Some(Refused::Length)];
    assert_eq!(reasons, expected);
    assert_eq!(counted(east.port().counters().iter()), [("OutPktsTooLong", 1)]);
    let transmitted = counted(east.port().transmit_counters().iter());
    assert_eq!(transmitted, [("OutPktsEncrypted", 2), ("OutOctetsEncrypted", 1470 + 2)]);
}

#[test]
fn nothing_is_sent_without_a_key() {
    let mut east = SecY::new(Settings::new(EAST)).unwrap();
    let frames = [frame(100), frame(60)];
    assert_eq!(seal(east.port(), &frames, LONGEST), vec![Err(Refused::NoTransmitSa); 2]);
    let key = key(ENCRYPTED);
    east.install_transmit(AN, key.to_send(1)).unwrap();
    assert_eq!(seal(east.port(), &frames, LONGEST), vec![Err(Refused::NoTransmitSa); 2], "not told to");
    east.transmit_with(key.id).unwrap();
    assert!(seal(east.port(), &frames, LONGEST).iter().all(Result::is_ok));
    east.stop_transmitting();
    assert_eq!(seal(east.port(), &frames, LONGEST), vec![Err(Refused::NoTransmitSa); 2]);
}

#[test]
fn packet_numbers_end_before_they_wrap_and_none_is_used_twice() {
    for (suite, last) in
        [(CipherSuite::GcmAes256, u64::from(u32::MAX)), (CipherSuite::GcmAesXpn256, u64::MAX - 1)]
    {
        let key = Material::new(suite, ENCRYPTED, 3);
        let east = sender(Settings::new(EAST), AN, &key, last - 2);
        let two = || seal(east.port(), &[frame(60), frame(60)], LONGEST);
        let pn = |fate: &link::Fate| u32::from_be_bytes(fate.as_ref().unwrap()[16..20].try_into().unwrap());
        assert_eq!(two().iter().map(pn).collect::<Vec<_>>(), [(last - 2) as u32, (last - 1) as u32]);
        assert_eq!(two(), vec![Err(Refused::PnExhausted); 2], "one is left, two were asked for");
        let sa = east.port().transmit().unwrap();
        assert!(!sa.is_exhausted());
        assert_eq!(pn(&seal(east.port(), &[frame(60)], LONGEST)[0]), last as u32);
        for _ in 0..3 {
            assert_eq!(seal(east.port(), &[frame(60)], LONGEST), [Err(Refused::PnExhausted)]);
        }
        assert!(sa.is_exhausted());
    }
}

#[test]
fn packet_numbers_beyond_the_bound_wait_until_it_is_raised() {
    let key = key(ENCRYPTED);
    let mut east = SecY::new(Settings::new(EAST)).unwrap();
    let bounded = adit_macsec::TransmitKey { bound: 12, ..key.to_send(10) };
    east.install_transmit(AN, bounded).unwrap();
    east.transmit_with(key.id).unwrap();
    let one = || seal(east.port(), &[frame(60)], LONGEST).remove(0);
    assert!(one().is_ok() && one().is_ok());
    assert_eq!(one(), Err(Refused::PnBound));
    let sa = east.port().transmit().unwrap();
    sa.allow_below(13);
    sa.allow_below(5);
    assert_eq!(one().unwrap()[16..20], [0, 0, 0, 12]);
    assert_eq!(one(), Err(Refused::PnBound));
}

#[test]
fn an_offset_leaves_so_many_octets_readable_and_authentic() {
    for suite in [CipherSuite::GcmAes128, CipherSuite::GcmAes256] {
        for offset in [Offset::Zero, Offset::Thirty, Offset::Fifty] {
            let key = Material::new(suite, Protection::Confidentiality(offset), 9);
            let east = sender(Settings::new(EAST), AN, &key, 1);
            for len in [14, 40, 42, 43, 61, 62, 63, 90, 1500] {
                let clear = frame(len);
                let protected = sealed(east.port(), &clear);
                let readable = offset.octets().min(len - 12);
                let data = &protected[28..28 + len - 12];
                assert_eq!(data[..readable], clear[12..12 + readable]);
                // By chance one octet may be what it was, not sixteen.
                let hidden = &data[readable..];
                assert!(hidden.len() < 16 || hidden != &clear[12 + readable..], "{len}, {offset:?}");
                for at in 0..readable {
                    let mut changed = protected.clone();
                    changed[28 + at] ^= 1;
                    let west = receiver(Settings::new(WEST), EAST, AN, &key, 1);
                    assert_eq!(opened(west.port(), &changed), Err(Refused::NotValid));
                }
                let west = receiver(Settings::new(WEST), EAST, AN, &key, 1);
                assert_eq!(opened(west.port(), &protected), Ok(clear));
            }
        }
    }
}

#[test]
fn padding_behind_a_short_frame_is_taken_off() {
    let east = east(ENCRYPTED, 1);
    for len in [14, 20, 59] {
        let mut padded = sealed(east.port(), &frame(len));
        padded.resize(padded.len() + 22, 0);
        assert_eq!(opened(west(ValidateFrames::Strict, Replay::Off).port(), &padded), Ok(frame(len)));
    }
    let mut longer = sealed(east.port(), &frame(60));
    longer.push(0);
    assert_eq!(
        opened(west(ValidateFrames::Strict, Replay::Off).port(), &longer),
        Err(Refused::NotValid),
        "a long frame has no padding"
    );
}
