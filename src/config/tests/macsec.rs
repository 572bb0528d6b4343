//! `[macsec.NAME]`: what each key may be, and what keys must not be together.

mod between;
mod fixed;

use adit_macsec::{CipherSuite, Offset, Protection, Replay, Sci, SciEncoding, ValidateFrames};

use super::*;
use crate::config::EndpointName;
use crate::config::macsec::{Carrier, Keys, Macsec, Udp, Weakness};

/// A link with this carrier and these lines.
fn carried(carrier: &str, lines: &str) -> String {
    format!("[macsec.up]\n{carrier}\nprivate_key_file = \"up.key\"\npeer_public_key = \"{A}\"\n{lines}\n")
}

/// A link over Ethernet.
fn link(lines: &str) -> String {
    carried("link = \"eth1\"", lines)
}

/// A link over UDP.
fn udp(lines: &str) -> String {
    carried("udp = { listen = 4790 }", lines)
}

#[track_caller]
fn one(text: &str) -> Macsec {
    let mut config = read(text).unwrap_or_else(|errors| panic!("{errors}"));
    config.macsec.remove("up").unwrap()
}

#[test]
fn a_link_is_as_strict_as_can_be_unless_it_is_told_otherwise() {
    let found = one(&link(""));
    assert_eq!(found.carrier, Carrier::Link("eth1".to_owned()));
    assert_eq!((found.tap.as_str(), &found.bridge, found.mac, found.port), ("up", &None, None, 1));
    assert_eq!(found.suite, CipherSuite::GcmAesXpn256);
    assert_eq!(found.protection, Protection::Confidentiality(Offset::Zero));
    let settings = found.settings(Sci::new([2, 0, 0, 0, 0, 1], 1));
    assert_eq!(settings.sci_encoding, SciEncoding::Included);
    assert_eq!(settings.validate_frames, ValidateFrames::Strict);
    assert_eq!((settings.replay, settings.clear_tags), (Replay::Window(0), 0));
    assert_eq!((found.mtu, found.hooks.clone()), (None, crate::config::Hooks::default()));
    let Keys::Noise(keys) = &found.keys else { panic!("{found:?}") };
    assert_eq!((keys.peer.to_base64(), keys.preshared_key.is_none()), (A.to_owned(), true));
    assert_eq!(found.weaknesses(), []);
}

#[test]
fn a_link_has_the_address_of_its_carrier_unless_it_has_its_own() {
    let (theirs, ours) = ([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 1]);
    assert_eq!(one(&link("")).sci(Some(theirs)), Some(Sci::new(theirs, 1)));
    assert_eq!(one(&link("")).sci(None), None);
    assert_eq!(
        one(&link("mac = \"02:00:00:00:00:01\"\nport = 7")).sci(Some(theirs)),
        Some(Sci::new(ours, 7))
    );
}

#[test]
fn over_udp_the_address_is_made_from_the_public_key() {
    let found = one(&udp(""));
    let Keys::Noise(keys) = &found.keys else { panic!("{found:?}") };
    let [first, rest @ ..] = found.mac.unwrap();
    assert_eq!(rest, keys.private_key.public().as_bytes()[1..6]);
    assert_eq!(first & 3, 2, "locally administered, and no group's");
    assert_eq!(one(&udp("mac = \"02:00:00:00:00:01\"")).mac, Some([2, 0, 0, 0, 0, 1]));
}

#[test]
fn a_link_over_udp_has_a_port_or_a_peer() {
    let found = |text: &str| one(&carried(text, "")).carrier;
    let peer: EndpointName = "198.51.100.7:4790".parse().unwrap();
    let udp = |listen, peer: Option<&EndpointName>, fwmark| {
        Carrier::Udp(Udp { listen, peer: peer.cloned(), fwmark })
    };
    assert_eq!(found("udp = { listen = 4790 }"), udp(4790, None, 0));
    assert_eq!(found("udp = { peer = \"198.51.100.7:4790\" }"), udp(0, Some(&peer), 0));
    assert_eq!(
        found("udp = { listen = 0, peer = \"198.51.100.7:4790\", fwmark = \"0x7\" }"),
        udp(0, Some(&peer), 7)
    );
    let name = "gate.example.org:1".parse().unwrap();
    assert_eq!(found("udp = { listen = 1, peer = \"gate.example.org:1\" }"), udp(1, Some(&name), 0));
    for text in ["udp = {}", "udp = { listen = 0 }", "udp = { fwmark = 1 }"] {
        refused(&carried(text, ""), "macsec.up.udp", "neither a port nor a peer", "listen = PORT");
    }
}

#[test]
fn a_window_is_for_links_and_over_udp_each_frame_is_taken_once() {
    assert_eq!(one(&udp("")).replay, Replay::Bitmap);
    assert_eq!(one(&link("replay_window = 64")).replay, Replay::Window(64));
    refused(&udp("replay_window = 0"), "macsec.up.replay_window", "0", "no such key with udp");
    for (cipher, most) in [("gcm-aes-xpn-128", 1_073_741_823_u32), ("gcm-aes-256", u32::MAX)] {
        let with = |window: i64| link(&format!("cipher = \"{cipher}\"\nreplay_window = {window}"));
        assert_eq!(one(&with(most.into())).replay, Replay::Window(most));
        for wrong in [-1, i64::from(most) + 1] {
            refused(
                &with(wrong),
                "macsec.up.replay_window",
                &wrong.to_string(),
                &format!("from 0 to {most}"),
            );
        }
    }
}

#[test]
fn words_stand_for_what_the_standard_calls_otherwise() {
    for suite in CipherSuite::ALL {
        assert_eq!(one(&link(&format!("cipher = \"{suite}\""))).suite, suite);
    }
    for (word, port, encoding) in [
        ("included", 1, SciEncoding::Included),
        ("end-station", 1, SciEncoding::EndStation),
        ("broadcast", 0, SciEncoding::Broadcast),
        ("none", 1, SciEncoding::PointToPoint),
    ] {
        let found = one(&link(&format!("sci = \"{word}\"")));
        assert_eq!((found.sci_encoding, found.port), (encoding, port));
    }
    for (octets, offset) in [(0, Offset::Zero), (30, Offset::Thirty), (50, Offset::Fifty)] {
        let found = one(&link(&format!("cipher = \"gcm-aes-128\"\nconfidentiality_offset = {octets}")));
        assert_eq!(found.protection, Protection::Confidentiality(offset));
    }
    assert_eq!(one(&link("clear_tags = 1")).clear_tags, 1);
    assert_eq!(one(&link("tap = \"msec0\"\nbridge = \"br0\"\nmtu = 9000")).mtu, Some(9000));
}

#[test]
fn what_is_weaker_takes_a_word_and_shows() {
    let weak = |lines: &str| one(&link(lines)).weaknesses();
    for (line, allow, weakness) in [
        ("integrity_only = true", "allow_integrity_only", Weakness::IntegrityOnly),
        ("validate = \"check\"", "allow_unvalidated", Weakness::Unvalidated(ValidateFrames::Check)),
        ("validate = \"disabled\"", "allow_unvalidated", Weakness::Unvalidated(ValidateFrames::Disabled)),
    ] {
        let (key, found) = line.split_once(" = ").unwrap();
        for without in [String::new(), format!("\n{allow} = false")] {
            let path = format!("macsec.up.{key}");
            refused(&link(&format!("{line}{without}")), &path, found, &format!("{allow} = true"));
        }
        assert_eq!(weak(&format!("{line}\n{allow} = true")), [weakness]);
    }
    assert_eq!(weak("allow_integrity_only = true\nallow_unvalidated = true\nallow_static = true"), []);
    assert_eq!(weak("integrity_only = false\nvalidate = \"strict\""), []);
    assert_eq!(
        weak("cipher = \"gcm-aes-256\"\nconfidentiality_offset = 30"),
        [Weakness::Offset(Offset::Thirty)]
    );
    assert_eq!(weak("clear_tags = 1\nreplay_window = 9"), [Weakness::ClearTags(1), Weakness::Window(9)]);
    assert_eq!(weak("key_log_file = \"k\""), [Weakness::KeyLog]);
}

#[test]
fn a_wrong_key_is_told_with_what_is_allowed() {
    for (text, key, found, allowed) in [
        (link("cipher = \"aes-256-gcm\""), "cipher", "\"aes-256-gcm\"", "\"gcm-aes-xpn-256\", "),
        (link("validate = \"loose\""), "validate", "\"loose\"", "\"strict\", \"check\" or \"disabled\""),
        (link("sci = \"off\""), "sci", "\"off\"", "\"included\", "),
        (link("keys = \"mka\""), "keys", "\"mka\"", "\"noise\" or \"static\""),
        (link("mac = \"01:00:5e:00:00:01\""), "mac", "\"01:00:5e:00:00:01\"", "one station"),
        (link("port = 0"), "port", "0", "from 1 to 65535"),
        (link("port = 65536"), "port", "65536", "from 1 to 65535"),
        (link("sci = \"end-station\"\nport = 2"), "port", "2", "1, which sci = \"end-station\""),
        (link("sci = \"broadcast\"\nport = 1"), "port", "1", "0, which sci = \"broadcast\""),
        (link("confidentiality_offset = 30"), "confidentiality_offset", "30", "0: gcm-aes-xpn-256 has no"),
        (
            link("cipher = \"gcm-aes-128\"\nconfidentiality_offset = 20"),
            "confidentiality_offset",
            "20",
            "0, 30 or 50",
        ),
        (
            link(
                "cipher = \"gcm-aes-128\"\nintegrity_only = true\nallow_integrity_only = true\nconfidentiality_offset = 50",
            ),
            "confidentiality_offset",
            "50",
            "nothing is encrypted",
        ),
        (link("clear_tags = 2"), "clear_tags", "2", "0 or 1"),
        (udp("clear_tags = 1"), "clear_tags", "1", "nothing on the way looks at tags"),
        (link("mtu = 575"), "mtu", "575", "from 576 to 65521"),
        (link("mtu = 65522"), "mtu", "65522", "from 576 to 65521"),
        (link("tap = \"a/b\""), "tap", "\"a/b\"", "1 to 15 visible bytes"),
        (link("bridge = \"\""), "bridge", "\"\"", "1 to 15 visible bytes"),
        (
            link("bridge = \"br0\"\nsci = \"end-station\""),
            "sci",
            "\"end-station\" with bridge = \"br0\"",
            "each host behind the bridge",
        ),
        (carried("udp = { listen = 70000 }", ""), "udp.listen", "70000", "from 0 to 65535"),
        (carried("udp = { peer = \"there\" }", ""), "udp.peer", "\"there\"", "HOST:PORT"),
        (carried("link = \"eth 1\"", ""), "link", "\"eth 1\"", "1 to 15 visible bytes"),
        (carried("link = \"eth1\"\nudp = { listen = 1 }", ""), "udp", "udp beside link", "one of them"),
        (carried("", ""), "link", "nothing", "udp = { listen = PORT"),
        (carried("udp = 4790", ""), "udp", "4790", "a table"),
    ] {
        refused(&text, &format!("macsec.up.{key}"), found, allowed);
    }
    refused("macsec.up = 3", "macsec.up", "3", "a table");
    refused(&link("").replace(".up]", ".\"a b\"]"), "macsec.\"a b\"", "\"a b\"", "1 to 15 visible bytes");
}

#[test]
fn both_ends_have_keys_of_their_own() {
    let key = |name: &str| PrivateKey::from_bytes(name.repeat(16).into_bytes().try_into().unwrap()).public();
    let text = link("").replace(A, &key("up").to_base64());
    let found = format!("\"{}\", the link's own key", key("up"));
    refused(&text, "macsec.up.peer_public_key", &found, "the peer's public key");
    let without = |key: &str| {
        link("")
            .lines()
            .filter(|line| !line.starts_with(key))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    refused(&without("private_key_file"), "macsec.up.private_key_file", "nothing", "wg genkey");
    refused(&without("peer_public_key"), "macsec.up.peer_public_key", "nothing", "wg pubkey");
    let with = one(&link("preshared_key_file = \"up.psk\""));
    assert!(matches!(with.keys, Keys::Noise(keys) if !keys.preshared_key.is_none()));
}

#[test]
fn every_mistake_is_told_at_once() {
    let told = told(&link(
        "cipher = \"none\"\nvalidate = \"check\"\nreplay_window = -1\nport = 0\nencrypt = false\npublic_key = \"x\"\n\
         tap = \"\"\n[macsec.up.hooks]\nup = []",
    ));
    let keys: Vec<_> = told.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    let expected =
        ["cipher", "validate", "replay_window", "port", "encrypt", "public_key", "tap", "hooks.up"];
    assert_eq!(keys, expected.map(|key| format!("macsec.up.{key}")), "{told}");
    assert!(
        told.contains("(did you mean peer_public_key?)") && told.contains("(it always does, but for "),
        "{told}"
    );
}
