//! The text protocol: what `wg` sends and expects, and what nobody should send.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use adit_noise::{PresharedKey, PrivateKey, PublicKey};
use adit_wireguard::uapi::{
    Change, DeviceStatus, Errno, Error, MAX_LINE, MAX_REQUEST, Reason, Request, emit_errno, emit_get,
};
use adit_wireguard::{PeerId, PeerStatus, Prefix};
use proptest::prelude::*;

const KEY: &str = "b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33";
const OTHER: &str = "188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52";

fn changes(text: &str) -> Result<Vec<Change>, Error> {
    match Request::parse(text.as_bytes())? {
        Request::Set(changes) => Ok(changes),
        Request::Get => panic!("a get"),
    }
}

#[track_caller]
fn assert_refused(text: &str, line: usize, reason: Reason, errno: i32) {
    let error = Request::parse(text.as_bytes()).unwrap_err();
    assert_eq!((error.line, error.reason, error.errno().code()), (line, reason, errno), "{text:?}");
}

#[test]
fn reads_what_the_protocol_s_description_shows() {
    let text = format!(
        "set=1\n\
         private_key=e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a\n\
         fwmark=0\n\
         listen_port=12912\n\
         replace_peers=true\n\
         public_key={KEY}\n\
         preshared_key={OTHER}\n\
         replace_allowed_ips=true\n\
         allowed_ip=192.168.4.4/32\n\
         endpoint=[abcd:23::33%2]:51820\n\
         public_key={OTHER}\n\
         replace_allowed_ips=true\n\
         allowed_ip=192.168.4.6/32\n\
         allowed_ip=-10.0.0.0/8\n\
         persistent_keepalive_interval=111\n\
         endpoint=182.122.22.19:3233\n\
         public_key={KEY}\n\
         remove=true\n\
         \n"
    );
    let mut changes = changes(&text).unwrap().into_iter();
    let Some(Change::PrivateKey(Some(key))) = changes.next() else { panic!("a private key") };
    assert!(key.to_hex().starts_with("e84b5a6d"));
    assert!(matches!(changes.next(), Some(Change::Fwmark(0))));
    assert!(matches!(changes.next(), Some(Change::ListenPort(12912))));
    assert!(matches!(changes.next(), Some(Change::ReplacePeers)));
    let Some(Change::Peer(key, change)) = changes.next() else { panic!("a peer") };
    assert_eq!(key.to_hex(), KEY);
    assert_eq!(change.preshared_key, Some(PresharedKey::from_hex(OTHER).unwrap()));
    assert!(change.replace_allowed_ips && !change.update_only);
    assert_eq!(change.allowed_ips, [(true, "192.168.4.4/32".parse().unwrap())]);
    let Some(SocketAddr::V6(endpoint)) = change.endpoint else { panic!("an IPv6 endpoint") };
    assert_eq!((endpoint.scope_id(), endpoint.port()), (2, 51820));
    let Some(Change::Peer(_, change)) = changes.next() else { panic!("a peer") };
    let ranges = [(true, "192.168.4.6/32".parse().unwrap()), (false, "10.0.0.0/8".parse().unwrap())];
    assert_eq!(change.allowed_ips, ranges);
    assert_eq!(change.persistent_keepalive, Some(111));
    assert_eq!(change.endpoint, Some("182.122.22.19:3233".parse().unwrap()));
    assert!(matches!(changes.next(), Some(Change::RemovePeer(_))));
    assert!(changes.next().is_none());
}

#[test]
fn endpoints_may_name_their_interface_as_wg_does() {
    let text = format!("set=1\npublic_key={KEY}\nendpoint=[fe80::1%eth0]:51820\n\n");
    let scope = |name: &str| (name == "eth0").then_some(7);
    let Ok(Request::Set(changes)) = Request::parse_scoped(text.as_bytes(), &scope) else { panic!("a set") };
    let [Change::Peer(_, change)] = &changes[..] else { panic!("a peer") };
    assert_eq!(change.endpoint, Some("[fe80::1%7]:51820".parse().unwrap()));
    let other = Request::parse_scoped(text.as_bytes(), &|_| None);
    assert_eq!(other.unwrap_err(), Error { line: 3, reason: Reason::BadEndpoint });
}

#[test]
fn zeros_take_the_private_key_away() {
    let zeros = "0".repeat(64);
    let changes = changes(&format!("set=1\nprivate_key={zeros}\n\n")).unwrap();
    assert!(matches!(changes[..], [Change::PrivateKey(None)]));
}

#[test]
fn an_empty_set_and_a_get_are_requests() {
    assert!(changes("set=1\n\n").unwrap().is_empty());
    assert!(matches!(Request::parse(b"get=1\n\n"), Ok(Request::Get)));
}

#[test]
fn a_request_ends_with_its_first_blank_line() {
    assert_eq!(Request::split(b"get=1\n\n"), Some(7));
    for part in ["", "\n", "get=1", "get=1\n", "set=1\nlisten_port=1\n"] {
        assert_eq!(Request::split(part.as_bytes()), None, "{part:?}");
    }
    assert_eq!(Request::split(b"set=1\n\nget=1\n"), Some(7), "though the next is not whole");
    assert_eq!(Request::split(b"\n\nget=1\n\n"), Some(2), "wrong, and over");
}

#[test]
fn requests_in_one_write_are_told_apart() {
    let written = b"set=1\nlisten_port=1\n\nget=1\n\nset=1\nfwmark=2\n\nget=";
    let (mut rest, mut requests) = (&written[..], Vec::new());
    while let Some(len) = Request::split(rest) {
        let (request, next) = rest.split_at(len);
        requests.push(Request::parse(request).unwrap());
        rest = next;
    }
    assert!(matches!(&requests[0], Request::Set(changes) if matches!(changes[..], [Change::ListenPort(1)])));
    assert!(matches!(&requests[1], Request::Get));
    assert!(matches!(&requests[2], Request::Set(changes) if matches!(changes[..], [Change::Fwmark(2)])));
    assert_eq!((requests.len(), rest), (3, &b"get="[..]));
}

proptest! {
    /// However a request comes in, to search on from the last byte finds the same end as to search all of it.
    #[test]
    fn the_end_of_a_request_is_found_in_pieces(text in "[a\n]{0,40}", cut in 1_usize..40) {
        let bytes = text.as_bytes();
        let cut = cut.min(bytes.len());
        let before = Request::split(&bytes[..cut]);
        let seen = cut.saturating_sub(1);
        let pieces = before.or_else(|| Request::split(&bytes[seen..]).map(|len| seen + len));
        prop_assert_eq!(pieces, Request::split(bytes));
        prop_assert_eq!(Request::split(bytes), text.find("\n\n").map(|at| at + 2));
    }
}

#[test]
fn what_is_not_a_request_is_refused_with_its_line() {
    use Reason::*;
    assert_refused("", 1, Unfinished, -71);
    assert_refused("hello\n\n", 1, UnknownOperation, -71);
    assert_refused("get=2\n\n", 1, UnknownOperation, -71);
    assert_refused("get=1\nx=y\n\n", 2, Trailing, -22);
    assert_refused("set=1\n\nget=1\n\n", 3, Trailing, -22);
    assert_refused("set=1\n", 2, Unfinished, -71);
    assert_refused("set=1", 1, Unfinished, -71);
    assert_refused("set=1\nlisten_port=1", 2, Unfinished, -71);
    assert_refused("set=1\nlisten_port\n\n", 2, NotKeyValue, -71);
    assert_refused(&format!("set=1\n{}=1\n\n", "x".repeat(MAX_LINE)), 2, LineTooLong, -71);
    assert_refused(&format!("set=1\n{}\n\n", "x=1\n".repeat(MAX_REQUEST / 4)), 1, RequestTooLong, -71);
    let error = Request::parse(b"set=1\nlisten_port=\xff\n\n").unwrap_err();
    assert_eq!((error.line, error.reason), (2, NotText));
}

#[test]
fn wrong_values_are_refused_with_their_line() {
    use Reason::*;
    for (line, reason) in [
        ("colour=blue", UnknownDeviceKey),
        ("endpoint=1.2.3.4:5", UnknownDeviceKey),
        ("private_key=00", BadKey),
        ("listen_port=65536", BadNumber),
        ("listen_port=-1", BadNumber),
        ("listen_port=+1", BadNumber),
        ("listen_port=", BadNumber),
        ("fwmark=4294967296", BadNumber),
        ("fwmark=0x1", BadNumber),
        ("replace_peers=false", NotTrue),
        ("public_key=zz", BadKey),
    ] {
        assert_refused(&format!("set=1\n{line}\n\n"), 2, reason, -22);
    }
    for (line, reason) in [
        ("private_key=00", UnknownPeerKey),
        ("last_handshake_time_sec=1", UnknownPeerKey),
        ("remove=1", NotTrue),
        ("update_only=yes", NotTrue),
        ("replace_allowed_ips=", NotTrue),
        ("preshared_key=12", BadKey),
        ("protocol_version=2", BadVersion),
        ("persistent_keepalive_interval=65536", BadNumber),
        ("persistent_keepalive_interval=off", BadNumber),
        ("endpoint=1.2.3.4", BadEndpoint),
        ("endpoint=1.2.3.4:", BadEndpoint),
        ("endpoint=::1:51820", BadEndpoint),
        ("endpoint=[::1]", BadEndpoint),
        ("endpoint=[::1%eth0]:1", BadEndpoint),
        ("endpoint=example.com:1", BadEndpoint),
        ("allowed_ip=10.0.0.0/33", BadAllowedIp),
        ("allowed_ip=--10.0.0.0/8", BadAllowedIp),
        ("allowed_ip=", BadAllowedIp),
    ] {
        assert_refused(&format!("set=1\npublic_key={KEY}\n{line}\n\n"), 3, reason, -22);
    }
}

#[test]
fn an_error_never_repeats_the_value() {
    let secret = "e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba5202zz";
    let error = Request::parse(format!("set=1\nprivate_key={secret}\n\n").as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "line 2: not a key of 64 hexadecimal digits");
}

fn peer() -> PeerStatus {
    PeerStatus {
        id: PeerId::new(0),
        public_key: PublicKey::from_hex(KEY).unwrap(),
        preshared_key: PresharedKey::default(),
        endpoint: Some("[fe80::1%3]:51820".parse().unwrap()),
        persistent_keepalive: 25,
        allowed_ips: vec!["10.0.0.0/8".parse().unwrap(), "::/0".parse().unwrap()],
        last_handshake: Some(Duration::new(1_700_000_000, 5)),
        last_handshake_at: None,
        trying_since: None,
        sent_bytes: 7,
        received_bytes: u64::MAX,
    }
}

#[test]
fn writes_what_wg_reads() {
    let private = PrivateKey::from_bytes([0x77; 32]);
    let device = DeviceStatus { private_key: Some(&private), listen_port: 51820, fwmark: 0x42 };
    let hex = private.to_hex();
    let zeros = "0".repeat(64);
    let expected = format!(
        "private_key={}\nlisten_port=51820\nfwmark=66\npublic_key={KEY}\npreshared_key={zeros}\n\
         protocol_version=1\nendpoint=[fe80::1%3]:51820\nlast_handshake_time_sec=1700000000\n\
         last_handshake_time_nsec=5\ntx_bytes=7\nrx_bytes=18446744073709551615\n\
         persistent_keepalive_interval=25\nallowed_ip=10.0.0.0/8\nallowed_ip=::/0\nerrno=0\n\n",
        hex.as_str()
    );
    assert_eq!(emit_get(device, [peer()].into_iter()).as_str(), expected);
}

#[test]
fn an_empty_interface_tells_nothing() {
    let text = emit_get(DeviceStatus::default(), std::iter::empty());
    assert_eq!(text.as_str(), "errno=0\n\n");
    assert_eq!(emit_errno(Errno::PortInUse), "errno=-98\n\n");
}

#[test]
fn the_longest_answer_has_room_so_that_no_copy_of_a_key_is_left_behind() {
    let peer = PeerStatus {
        endpoint: Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535".parse().unwrap()),
        allowed_ips: vec!["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128".parse().unwrap(); 100],
        last_handshake: Some(Duration::new(u64::MAX, 999_999_999)),
        last_handshake_at: None,
        trying_since: None,
        sent_bytes: u64::MAX,
        received_bytes: u64::MAX,
        persistent_keepalive: u16::MAX,
        ..peer()
    };
    let private = PrivateKey::generate();
    let device = DeviceStatus { private_key: Some(&private), listen_port: u16::MAX, fwmark: u32::MAX };
    let text = emit_get(device, [peer.clone(), peer].into_iter());
    let room = 256 + 2 * 640 + 200 * 64;
    assert!(text.len() <= room);
    assert_eq!(text.capacity(), room, "it never grew");
}

prop_compose! {
    fn any_peer()(
        key: [u8; 32],
        preshared: [u8; 32],
        endpoint in proptest::option::of((any::<std::net::IpAddr>(), any::<u16>())),
        persistent_keepalive: u16,
        ranges in prop::collection::vec((any::<std::net::IpAddr>(), 0..=32_u8), 0..5),
    ) -> PeerStatus {
        let endpoint = endpoint.map(|(address, port)| SocketAddr::new(address.to_canonical(), port));
        let allowed_ips = ranges.iter().map(|(address, length)| Prefix::new(*address, *length).unwrap());
        PeerStatus {
            public_key: PublicKey::from_bytes(key),
            preshared_key: PresharedKey::from_bytes(preshared),
            endpoint,
            persistent_keepalive,
            allowed_ips: allowed_ips.collect(),
            ..peer()
        }
    }
}

proptest! {
    /// What is shown, less what only is shown, sets the same.
    #[test]
    fn an_answer_reads_back_as_a_request(peers in prop::collection::vec(any_peer(), 0..4), port: u16) {
        let private = PrivateKey::generate();
        let device = DeviceStatus { private_key: Some(&private), listen_port: port, fwmark: 0 };
        let text = emit_get(device, peers.clone().into_iter());
        let only_shown = ["last_handshake", "tx_bytes", "rx_bytes", "errno"];
        let lines = text.lines().filter(|line| !only_shown.iter().any(|key| line.starts_with(key)));
        let lines: String = lines.filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
        let request = format!("set=1\n{lines}\n");
        let mut seen = Vec::new();
        for change in changes(&request).unwrap() {
            match change {
                Change::PrivateKey(key) => prop_assert_eq!(key.as_ref(), Some(&private)),
                Change::ListenPort(shown) => prop_assert_eq!(shown, port),
                Change::Peer(key, change) => seen.push((key, change)),
                Change::Cipher(_) | Change::Fwmark(_) | Change::ReplacePeers | Change::RemovePeer(_) => {
                    prop_assert!(false, "never shown");
                }
            }
        }
        prop_assert_eq!(seen.len(), peers.len());
        for ((key, change), peer) in seen.into_iter().zip(peers) {
            prop_assert_eq!(key, peer.public_key);
            prop_assert_eq!(change.preshared_key, Some(peer.preshared_key));
            prop_assert_eq!(change.endpoint, peer.endpoint);
            prop_assert_eq!(change.persistent_keepalive, Some(peer.persistent_keepalive));
            let ranges: Vec<_> = peer.allowed_ips.into_iter().map(|prefix| (true, prefix)).collect();
            prop_assert_eq!(change.allowed_ips, ranges);
        }
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Request::parse(&bytes);
    }

    #[test]
    fn arbitrary_lines_are_read_or_refused_with_a_line_that_is_there(
        lines in prop::collection::vec(prop_oneof![
            Just(format!("public_key={KEY}")),
            Just("allowed_ip=10.0.0.0/8".to_owned()),
            Just("remove=true".to_owned()),
            Just("listen_port=1".to_owned()),
            Just(String::new()),
            "[a-z_]{0,20}=[ -~]{0,40}",
            "[ -~]{0,30}",
        ], 0..12),
    ) {
        let text = format!("set=1\n{}\n\n", lines.join("\n"));
        if let Err(error) = Request::parse(text.as_bytes()) {
            prop_assert!((1..=text.lines().count() + 1).contains(&error.line));
        }
    }
}
