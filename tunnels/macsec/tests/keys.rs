//! Keys come and go while traffic runs (IEEE 802.1AE-2018, clauses 10.5.1, 10.6.1 and 10.7).

#![expect(clippy::unwrap_used, reason = "channels and keys that must be there")]

mod link;

use std::collections::HashSet;
use std::sync::Arc;

use adit_macsec::{
    An, CipherSuite, Error, Offset, Protection, Refused, Replay, Sci, SciEncoding, SecY, Settings, Ssci,
    TransmitKey,
};
use link::{EAST, LONGEST, Material, WEST, frame, open, opened, receiver, seal, sealed, sender};

const ENCRYPTED: Protection = Protection::Confidentiality(Offset::Zero);

fn key(seed: u8) -> Material {
    Material::new(CipherSuite::GcmAes256, ENCRYPTED, seed)
}

fn secy(sci: Sci) -> SecY {
    SecY::new(Settings::new(sci)).unwrap()
}

/// Nine keys, one after the other: the old one receives until it is retired, and association numbers come back.
#[test]
fn a_new_key_takes_the_next_number_while_the_old_one_still_receives() {
    let mut east = sender(Settings::new(EAST), An::ALL[0], &key(0), 1);
    let mut west = receiver(Settings::new(WEST), EAST, An::ALL[0], &key(0), 1);
    let mut an = An::ALL[0];
    for seed in 1..10 {
        an = an.next();
        let (old, new) = (key(seed - 1), key(seed));
        assert!(west.install_receive(EAST, an, new.to_receive(1)).unwrap().is_none(), "a free number");
        assert!(east.install_transmit(an, new.to_send(1)).unwrap().is_none(), "a free number");
        let under_way = [(); 2].map(|()| sealed(east.port(), &frame(80)));
        east.transmit_with(new.id).unwrap();

        let first = [(); 2].map(|()| sealed(east.port(), &frame(90)));
        assert!(first.iter().all(|frame| frame[14] & 3 == an.number() && frame[19] <= 2));
        let (fates, told) = open(west.port(), &first);
        assert!(fates.iter().all(Result::is_ok));
        assert_eq!((told.authentic, told.confirmed), (2, Some(new.id)), "told of by the first");
        let (_, told) = open(west.port(), &[sealed(east.port(), &frame(90))]);
        assert_eq!((told.authentic, told.confirmed), (1, None), "and once");

        assert!(opened(west.port(), &under_way[0]).is_ok(), "the old key goes on");
        assert_eq!((east.retire(old.id), west.retire(old.id)), (1, 1));
        assert_eq!(opened(west.port(), &under_way[1]), Err(Refused::NotUsingSa));
    }
}

/// What `ip macsec` and others got wrong: the number of the old key is that of a new one by now.
#[test]
fn retiring_an_old_key_spares_the_new_one_with_its_number() {
    let mut west = receiver(Settings::new(WEST), EAST, An::ALL[2], &key(1), 1);
    let displaced = west.install_receive(EAST, An::ALL[2], key(2).to_receive(1)).unwrap();
    assert_eq!(displaced.map(|sa| sa.sak().id()), Some(key(1).id));
    assert_eq!(west.retire(key(1).id), 0);
    let east = sender(Settings::new(EAST), An::ALL[2], &key(2), 1);
    assert!(opened(west.port(), &sealed(east.port(), &frame(80))).is_ok());

    let mut east = east;
    east.install_transmit(An::ALL[3], key(1).to_send(1)).unwrap();
    assert_eq!(east.retire(key(1).id), 1);
    assert!(seal(east.port(), &[frame(80)], LONGEST)[0].is_ok());
    assert_eq!(east.retire(key(2).id), 1);
    assert_eq!(seal(east.port(), &[frame(80)], LONGEST), [Err(Refused::NoTransmitSa)]);
}

#[test]
fn a_worker_that_has_not_heard_of_a_change_counts_and_receives_with_what_stays() {
    let east = sender(Settings::new(EAST), An::ALL[0], &key(1), 1);
    let mut west = receiver(Settings::new(WEST), EAST, An::ALL[0], &key(1), 1);
    let before = Arc::clone(west.port());
    west.add_channel(Sci::new([9; 6], 1)).unwrap();
    west.install_receive(EAST, An::ALL[1], key(2).to_receive(1)).unwrap();
    let (first, second) = (sealed(east.port(), &frame(80)), sealed(east.port(), &frame(80)));
    assert!(opened(&before, &second).is_ok());
    assert_eq!(opened(west.port(), &first), Err(Refused::Late), "one window for both");
    let channel = |port: &adit_macsec::ControlledPort| {
        let channel = port.receive().iter().find(|channel| channel.sci() == EAST).unwrap();
        (channel.counters().in_pkts_ok.total(), channel.counters().in_pkts_late.total())
    };
    assert_eq!((channel(&before), channel(west.port())), ((1, 1), (1, 1)));
}

#[test]
fn the_need_of_a_new_key_is_told_once_when_three_quarters_of_its_numbers_are_used() {
    for (suite, rekey) in
        [(CipherSuite::GcmAes128, 0xc000_0000_u64), (CipherSuite::GcmAesXpn128, 0xc000_0000_0000_0000)]
    {
        let key = Material::new(suite, ENCRYPTED, 5);
        let east = sender(Settings::new(EAST), An::ALL[0], &key, rekey - 2);
        assert_eq!(east.port().tell_rekey(), None);
        sealed(east.port(), &frame(80));
        assert_eq!(east.port().tell_rekey(), None);
        sealed(east.port(), &frame(80));
        assert_eq!(east.port().tell_rekey(), Some(key.id), "{suite}");
        assert_eq!(east.port().tell_rekey(), None, "once");
        assert!(east.port().transmit().unwrap().is_rekey_due());
        assert!(seal(east.port(), &[frame(80)], LONGEST)[0].is_ok(), "sending goes on");
    }
}

#[test]
fn a_key_is_installed_once_so_that_its_packet_numbers_never_begin_anew() {
    let mut east = sender(Settings::new(EAST), An::ALL[0], &key(1), 1);
    assert_eq!(east.install_transmit(An::ALL[1], key(1).to_send(1)).err(), Some(Error::KeyInUse));
    assert_eq!(east.install_transmit(An::ALL[0], key(1).to_send(1)).err(), Some(Error::KeyInUse));
    assert_eq!(east.install_transmit(An::ALL[0], key(2).to_send(1)).err(), Some(Error::AnInUse(An::ALL[0])));
    assert_eq!(east.transmit_with(key(2).id), Err(Error::UnknownKey));
    east.add_channel(WEST).unwrap();
    east.install_receive(WEST, An::ALL[0], key(1).to_receive(1)).unwrap();
    let again = east.install_receive(WEST, An::ALL[1], key(1).to_receive(1));
    assert_eq!(again.err(), Some(Error::KeyInUse));
}

#[test]
fn two_channels_never_share_a_nonce_under_one_key() {
    let mut east = secy(EAST);
    assert_eq!(east.add_channel(EAST), Err(Error::OwnSci(EAST)));
    east.add_channel(WEST).unwrap();
    assert_eq!(east.add_channel(WEST), Err(Error::ChannelExists(WEST)));

    let group = Material::new(CipherSuite::GcmAesXpn256, ENCRYPTED, 1);
    let ours = TransmitKey { ssci: Some(Ssci(1)), ..group.to_send(1) };
    let none = TransmitKey { ssci: None, ..group.to_send(1) };
    assert_eq!(east.install_transmit(An::ALL[0], none).err(), Some(Error::NoSsci));
    east.install_transmit(An::ALL[0], ours).unwrap();
    let theirs = |ssci| adit_macsec::ReceiveKey { ssci, ..group.to_receive(1) };
    let mut install = |sci, ssci| east.install_receive(sci, An::ALL[0], theirs(ssci)).map(|_| ());
    assert_eq!(install(WEST, Some(Ssci(1))), Err(Error::SsciInUse(Ssci(1))));
    assert_eq!(install(WEST, None), Err(Error::NoSsci));
    assert_eq!(install(WEST, Some(Ssci(2))), Ok(()));
    let north = Sci::new([2, 0, 0, 0, 0, 3], 1);
    assert_eq!(install(north, Some(Ssci(3))), Err(Error::NoChannel(north)));
    east.add_channel(north).unwrap();
    let theirs = adit_macsec::ReceiveKey { ssci: Some(Ssci(2)), ..group.to_receive(1) };
    assert_eq!(east.install_receive(north, An::ALL[1], theirs).err(), Some(Error::SsciInUse(Ssci(2))));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    for (sci_encoding, good) in [(SciEncoding::EndStation, 1), (SciEncoding::Broadcast, 0)] {
        for port in [0, 1, 2] {
            let sci = Sci::new([2; 6], port);
            let secy = SecY::new(Settings { sci_encoding, ..Settings::new(sci) });
            let expected = (port != good).then_some(Error::Port { found: port, expected: good });
            assert_eq!(secy.err(), expected);
        }
    }
    for (suite, found, works) in [
        (CipherSuite::GcmAesXpn128, Replay::XPN_MAX, true),
        (CipherSuite::GcmAesXpn128, 1 << 30, false),
        (CipherSuite::GcmAes128, u32::MAX, true),
    ] {
        let settings = Settings { replay: Replay::Window(found), ..Settings::new(WEST) };
        let mut west = SecY::new(settings).unwrap();
        west.add_channel(EAST).unwrap();
        let key = Material::new(suite, ENCRYPTED, 1);
        let installed = west.install_receive(EAST, An::ALL[0], key.to_receive(1)).map(|_| ());
        assert_eq!(installed, if works { Ok(()) } else { Err(Error::Window { found }) });
    }
}

/// Three stations under one key, as MKA gives it out; each batch has frames of two of them, under two keys.
#[test]
fn frames_of_several_channels_and_keys_are_told_apart_in_one_batch() {
    let stations = [1, 2].map(|number| Sci::new([2, 0, 0, 0, 0, number], 1));
    let mut west = secy(Sci::new([2, 0, 0, 0, 0, 3], 1));
    let senders = stations.map(|sci| {
        west.add_channel(sci).unwrap();
        [1, 2].map(|seed| {
            let an = An::new(seed).unwrap();
            west.install_receive(sci, an, key(seed).to_receive(1)).unwrap();
            sender(Settings::new(sci), an, &key(seed), 1)
        })
    });
    let order = [(0, 0), (0, 0), (1, 0), (0, 1), (1, 1), (1, 1), (0, 0), (1, 0)];
    let mut frames: Vec<_> =
        order.iter().map(|(station, seed)| sealed(senders[*station][*seed].port(), &frame(99))).collect();
    *frames[4].last_mut().unwrap() ^= 1;
    let (fates, told) = open(west.port(), &frames);
    for (at, fate) in fates.iter().enumerate() {
        assert_eq!(*fate, if at == 4 { Err(Refused::NotValid) } else { Ok(frame(99)) }, "{at}");
    }
    assert_eq!(told.authentic, 7);
    let ok = |sci: Sci| {
        let channel = west.port().receive().iter().find(|channel| channel.sci() == sci).unwrap();
        let each = channel.associations().map(|sa| sa.counters().in_pkts_ok.total());
        (channel.counters().in_pkts_ok.total(), each.collect::<Vec<_>>())
    };
    assert_eq!(stations.map(ok), [(4, vec![3, 1]), (3, vec![2, 1])]);
}

#[test]
fn several_threads_share_a_port_without_sharing_a_packet_number_or_losing_a_count() {
    const THREADS: usize = 4;
    const BATCHES: usize = 40;
    let settings = |sci| Settings { replay: Replay::Bitmap, ..Settings::new(sci) };
    let east = sender(settings(EAST), An::ALL[0], &key(1), 1);
    let west = receiver(settings(WEST), EAST, An::ALL[0], &key(1), 1);
    let batch = vec![frame(70); 5];
    let work = || {
        let send = || seal(east.port(), &batch, LONGEST).into_iter().map(Result::unwrap).collect::<Vec<_>>();
        let frames: Vec<_> = (0..BATCHES).flat_map(|_| send()).collect();
        let fates = open(west.port(), &frames).0;
        assert!(fates.iter().all(|fate| fate.as_ref() == Ok(&batch[0])));
        frames.iter().map(|frame| frame[16..20].to_vec()).collect::<Vec<_>>()
    };
    let numbers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let frames = THREADS * BATCHES * batch.len();
    assert_eq!(numbers.iter().collect::<HashSet<_>>().len(), frames);
    assert_eq!(east.port().transmit_counters().out_pkts_encrypted.total(), frames as u64);
    assert_eq!(east.port().transmit_counters().out_octets_encrypted.total(), 58 * frames as u64);
    let counters = west.port().receive()[0].counters();
    assert_eq!(counters.in_pkts_ok.total(), frames as u64);
    assert_eq!(counters.in_octets_decrypted.total(), 58 * frames as u64);
}
