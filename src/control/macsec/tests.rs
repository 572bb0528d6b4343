//! Two links in one network namespace, which are each other's ends.

use std::path::Path;
use std::time::{Duration, Instant};

use adit_macsec::{CipherSuite, Offset, Protection, Replay, SciEncoding, ValidateFrames};
use adit_noise::{PresharedKey, PrivateKey};

use super::{Encryptor, Setup};
use crate::config::EndpointName;
use crate::config::macsec::{Carrier, Keys, Macsec, Noise, Udp};
use crate::net::isolated::{Tapped, isolated, make_link, set_up};
use crate::net::link;
use crate::net::offload::Offloads;
use crate::status;
use crate::test_folder::Folder;

const PATIENCE: Duration = Duration::from_secs(5);
const ADDRESSES: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

fn config(end: usize, carrier: Carrier) -> Macsec {
    let keys: [PrivateKey; 2] = [1, 2].map(|byte| PrivateKey::from_bytes([byte; 32]));
    Macsec {
        carrier,
        tap: format!("tap{end}"),
        bridge: None,
        mac: Some(ADDRESSES[end]),
        port: 1,
        suite: CipherSuite::GcmAesXpn256,
        protection: Protection::Confidentiality(Offset::Zero),
        replay: Replay::Bitmap,
        validate_frames: ValidateFrames::Strict,
        sci_encoding: SciEncoding::Included,
        clear_tags: 0,
        mtu: None,
        keys: Keys::Noise(Noise {
            private_key: keys[end].clone(),
            peer: keys[1 - end].public(),
            preshared_key: PresharedKey::default(),
        }),
        key_log_file: None,
        hooks: Default::default(),
    }
}

fn start(config: &Macsec, state: &Path) -> Encryptor {
    let setup = Setup { state, offloads: Offloads::default(), pin: false };
    let link = Encryptor::start("link", config, &setup).unwrap();
    set_up(link.index(), true);
    link
}

fn until(link: &Encryptor, is: impl Fn(&status::Macsec) -> bool) -> status::Macsec {
    let begin = Instant::now();
    loop {
        let report = link.remote().report().unwrap();
        if is(&report) {
            return report;
        }
        assert!(begin.elapsed() < PATIENCE, "{report:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A frame that a host sends into one device comes out of the other.
fn assert_crosses(from: &Encryptor, to: &Encryptor) {
    let (sender, receiver) = (Tapped::all(from.index()), Tapped::all(to.index()));
    let frame = [&ADDRESSES[1][..], &ADDRESSES[0], &0x88b7_u16.to_be_bytes(), &[0x5a; 100]].concat();
    assert!(sender.send(&frame));
    assert!(receiver.hear(|heard| heard == frame).is_some(), "{:?}", to.remote().report());
}

#[test]
fn frames_cross_over_udp_once_both_ends_agreed_on_keys() {
    isolated(|| {
        let folder = Folder::new();
        let udp = |listen, peer: &str| {
            let peer = Some(EndpointName::Address(peer.parse().unwrap()));
            Carrier::Udp(Udp { listen, peer, fwmark: 0 })
        };
        let here = start(&config(0, udp(4_790, "127.0.0.1:4791")), folder.path());
        let there = start(&config(1, udp(4_791, "127.0.0.1:4790")), folder.path());
        for link in [&here, &there] {
            let report =
                until(link, |report| report.state == status::State::Up && !report.receive.is_empty());
            assert_eq!(report.receive.len(), 1);
        }
        assert_crosses(&here, &there);
        assert_crosses(&there, &here);
        let mut report = there.remote().report().unwrap();
        // What the stack of this machine says as soon as the device is up, before there are keys.
        report.drops.remove("no_transmit_sa");
        assert!(report.drops.is_empty(), "{:?}", report.drops);
        assert_eq!(report.counters["InPktsNoTag"], 0);
    });
}

#[test]
fn frames_cross_a_link_of_their_own() {
    isolated(|| {
        let folder = Folder::new();
        make_link("eth0");
        for name in ["eth0", "eth0-peer"] {
            set_up(link::find(name).unwrap().index, true);
        }
        let on = |name: &str| Carrier::Link(name.to_owned());
        let strict = |end, name| Macsec { replay: Replay::Window(0), ..config(end, on(name)) };
        let here = start(&strict(0, "eth0"), folder.path());
        let there = start(&strict(1, "eth0-peer"), folder.path());
        for link in [&here, &there] {
            let report =
                until(link, |report| report.state == status::State::Up && !report.receive.is_empty());
            assert_eq!(report.mtu, 1_468);
        }
        assert_crosses(&here, &there);
        assert_crosses(&there, &here);

        // What is no message of the key agreement, and what is too long for one.
        let wire = Tapped::all(link::find("eth0-peer").unwrap().index);
        for len in [20, 1_000] {
            let header = [&ADDRESSES[0][..], &ADDRESSES[1], &0x88b5_u16.to_be_bytes()].concat();
            assert!(wire.send(&[header, vec![9; len]].concat()));
        }
        let count = |report: &status::Macsec, reason| report.drops.get(reason).copied();
        until(&here, |report| {
            (count(report, "not_macsec"), count(report, "truncated")) == (Some(1), Some(1))
        });
    });
}
