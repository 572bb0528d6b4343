//! Requests of `wg`, and the answers.

use std::collections::BTreeMap;
use std::time::Duration;

use adit_noise::{Now, PublicKey, Time};
use adit_wireguard::uapi::{self, Change, DeviceStatus, MAX_LINE, Request};
use adit_wireguard::{Output, PeerError, PeerStatus, Tunnel};

const NOW: Now = Now { mono: Time::from_secs(1_000), wall: Duration::from_secs(1_700_000_000) };

/// One request. A wrong one changes nothing; a right one is carried out, told back, and carried out again from that.
pub fn wireguard_uapi(data: &[u8]) {
    match Request::parse(data) {
        Ok(Request::Get) => assert_eq!(data, b"get=1\n\n"),
        Ok(Request::Set(changes)) => {
            form(data, &changes);
            let (port, mark) = numbers(&changes);
            let tunnel = apply(changes);
            let told = tell(&tunnel, port, mark);
            let again = again(&told);
            assert_eq!(tell(&again, port, mark), told, "what is told can be set");
            assert_eq!(peers(&again), peers(&tunnel), "all is told");
        }
        Err(error) => {
            let lines = data.split(|octet| *octet == b'\n').count();
            assert!((1..=lines).contains(&error.line), "{error} of {lines}");
            assert!(error.errno().code() < 0);
            assert!(!error.to_string().is_empty());
        }
    }
}

/// What every request that is taken looks like, and that no damage to its frame is overlooked.
fn form(data: &[u8], changes: &[Change]) {
    assert_eq!(Request::split(data), Some(data.len()));
    let text = str::from_utf8(data).expect("keys and values are text");
    let body = text.strip_prefix("set=1\n").and_then(|rest| rest.strip_suffix('\n')).expect("a frame");
    assert!(body.lines().all(|line| line.contains('=') && line.len() <= MAX_LINE));
    let peers = changes.iter().filter(|change| matches!(change, Change::Peer(..) | Change::RemovePeer(_)));
    let named = body.lines().filter(|line| line.starts_with("public_key="));
    assert_eq!(peers.count(), named.count(), "each peer that is named is changed, and no other");
    let prefixes = |change: &Change| match change {
        Change::Peer(_, change) => change.allowed_ips.len(),
        Change::PrivateKey(_)
        | Change::Cipher(_)
        | Change::ListenPort(_)
        | Change::Fwmark(_)
        | Change::ReplacePeers
        | Change::RemovePeer(_) => 0,
    };
    let ranges = body.lines().filter(|line| line.starts_with("allowed_ip=")).count();
    assert!(changes.iter().map(prefixes).sum::<usize>() <= ranges);

    let whole = &data[..data.len() - 1];
    for bad in ["bogus=1\n\n", "\n\n", "listen_port=-1\n\n", "public_key=00\n\n", "=\n\n", "x", "\u{0}\n\n"] {
        let text = [whole, bad.as_bytes()].concat();
        assert!(Request::parse(&text).is_err(), "{bad:?} at the end");
    }
    assert!(Request::parse(whole).is_err(), "unfinished");
}

/// The last port and mark that were set.
fn numbers(changes: &[Change]) -> (u16, u32) {
    let (mut port, mut mark) = (0, 0);
    for change in changes {
        match change {
            Change::ListenPort(number) => port = *number,
            Change::Fwmark(number) => mark = *number,
            Change::PrivateKey(_)
            | Change::Cipher(_)
            | Change::ReplacePeers
            | Change::Peer(..)
            | Change::RemovePeer(_) => {}
        }
    }
    (port, mark)
}

fn apply(changes: Vec<Change>) -> Tunnel {
    let mut tunnel = Tunnel::new();
    for change in changes {
        match change {
            Change::PrivateKey(key) => tunnel.set_private_key(key, NOW),
            Change::Cipher(cipher) => unreachable!("no request asks for {cipher}"),
            Change::ReplacePeers => tunnel.remove_all_peers(),
            Change::RemovePeer(key) => tunnel.remove_peer(&key),
            Change::Peer(key, change) => match tunnel.change_peer(&key, change, NOW) {
                Ok(_) => {}
                Err(error) => assert_eq!(error, PeerError::OwnKey),
            },
            Change::ListenPort(_) | Change::Fwmark(_) => {}
        }
    }
    while let Some(output) = tunnel.poll_output() {
        assert!(
            matches!(output, Output::Peer(..) | Output::Routes(_)),
            "an interface that is down is silent"
        );
    }
    assert_eq!(tunnel.poll_timeout(), None);
    tunnel
}

fn tell(tunnel: &Tunnel, listen_port: u16, fwmark: u32) -> String {
    let device = DeviceStatus { private_key: tunnel.private_key(), listen_port, fwmark };
    uapi::emit_get(device, tunnel.peers()).to_string()
}

/// All that can be set of the peers.
fn peers(tunnel: &Tunnel) -> BTreeMap<PublicKey, String> {
    let settings = |peer: PeerStatus| {
        let preshared = peer.preshared_key.to_hex();
        let shown = (preshared.as_str(), peer.endpoint, peer.persistent_keepalive, peer.allowed_ips);
        (peer.public_key, format!("{shown:?}"))
    };
    tunnel.peers().map(settings).collect()
}

/// Sets what was told: without the lines that only tell.
fn again(told: &str) -> Tunnel {
    let told = told.strip_suffix("errno=0\n\n").expect("an answer ends so");
    let tells = ["last_handshake_time_sec=", "last_handshake_time_nsec=", "tx_bytes=", "rx_bytes="];
    let lines = told.lines().filter(|line| !tells.iter().any(|key| line.starts_with(key)));
    let request: String = ["set=1"].into_iter().chain(lines).flat_map(|line| [line, "\n"]).collect();
    match Request::parse([request.as_bytes(), b"\n"].concat().as_slice()) {
        Ok(Request::Set(changes)) => apply(changes),
        Ok(Request::Get) => panic!("a get out of a set"),
        Err(error) => panic!("{error} in\n{request}"),
    }
}
