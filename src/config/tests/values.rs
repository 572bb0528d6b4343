//! What each key may be.

use std::net::SocketAddr;

use adit_wireguard::Cipher;
use proptest::prelude::*;

use super::*;
use crate::config::{EndpointName, InterfaceAddress, Peer, Table, Wireguard};

fn one(lines: &str) -> Wireguard {
    let mut config = read(&tunnel(lines)).unwrap_or_else(|errors| panic!("{errors}"));
    config.wireguard.remove("wg0").unwrap()
}

fn one_peer(lines: &str) -> Peer {
    let mut config = read(&peer(lines)).unwrap_or_else(|errors| panic!("{errors}"));
    config.wireguard.remove("wg0").unwrap().peers.remove("a").unwrap()
}

fn prefixes(peer: &Peer) -> Vec<String> {
    peer.allowed_ips.iter().map(ToString::to_string).collect()
}

#[test]
fn numbers_are_taken_within_their_bounds_and_refused_beyond() {
    for (key, least, most) in [
        ("listen_port", 0, 65_535),
        ("mtu", 576, 65_535),
        ("fwmark", 0, i64::from(u32::MAX)),
        ("table", 1, i64::from(u32::MAX)),
    ] {
        for number in [least, most] {
            read(&tunnel(&format!("{key} = {number}"))).unwrap();
        }
        for number in [least - 1, most + 1] {
            let path = format!("wireguard.wg0.{key}");
            refused(&tunnel(&format!("{key} = {number}")), &path, &number.to_string(), &most.to_string());
        }
    }
    for (workers, right) in [(0, false), (1, true), (64, true), (65, false)] {
        assert_eq!(read(&format!("gateway.workers = {workers}")).is_ok(), right, "{workers}");
    }
    for (seconds, right) in [(-1, false), (0, true), (65_535, true), (65_536, false)] {
        assert_eq!(read(&peer(&format!("persistent_keepalive = {seconds}"))).is_ok(), right, "{seconds}");
    }
    let huge = "9".repeat(50);
    // It may be a key in hex that happens to have no letters.
    assert!(told(&tunnel(&format!("mtu = {huge}"))).contains("wireguard.wg0.mtu: found 50 characters"));
    assert_eq!(one("mtu = 0x5_00").mtu, 1280);
}

#[test]
fn words_stand_for_some_numbers() {
    assert_eq!(one("table = \"auto\"").table, Table::Auto);
    assert_eq!(one("table = \"off\"").table, Table::Off);
    assert_eq!(one("table = 7").table, Table::Number(7));
    assert_eq!(one("fwmark = \"0xCA6c\"").fwmark, 51_820);
    assert_eq!(one_peer("persistent_keepalive = \"off\"").persistent_keepalive, 0);
    assert_eq!(one_peer("persistent_keepalive = 25").persistent_keepalive, 25);
    for (line, found) in [("table = \"main\"", "\"main\""), ("table = true", "true")] {
        refused(&tunnel(line), "wireguard.wg0.table", found, "\"auto\", \"off\" or a number");
    }
    for found in ["\"51820\"", "\"0x\"", "\"0x+1\"", "\"0x100000000\"", "\"off\"", "1.0"] {
        refused(&tunnel(&format!("fwmark = {found}")), "wireguard.wg0.fwmark", found, "\"0xca6c\"");
    }
    let key = "wireguard.wg0.peer.a.persistent_keepalive";
    refused(&peer("persistent_keepalive = \"25\""), key, "\"25\"", "\"off\"");
}

#[test]
fn a_tunnel_is_wireguards_unless_it_has_the_other_cipher() {
    assert_eq!(one("").cipher, Cipher::ChaCha20Poly1305);
    assert_eq!(one("cipher = \"chacha20-poly1305\"").cipher, Cipher::ChaCha20Poly1305);
    assert_eq!(one("cipher = \"aes-256-gcm\"").cipher, Cipher::Aes256Gcm);
    for found in ["\"aes-128-gcm\"", "\"AES-256-GCM\"", "\"\"", "true", "256"] {
        let allowed = "\"chacha20-poly1305\" or \"aes-256-gcm\"";
        refused(&tunnel(&format!("cipher = {found}")), "wireguard.wg0.cipher", found, allowed);
    }
}

#[test]
fn an_interface_with_ipv6_needs_its_least_mtu() {
    assert_eq!(one("mtu = 576\naddresses = [\"10.0.0.1/24\"]").mtu, 576);
    assert_eq!(one("mtu = 1280\naddresses = [\"fd00::1/64\"]").mtu, 1280);
    refused(
        &tunnel("mtu = 1279\naddresses = [\"fd00::1/64\"]"),
        "wireguard.wg0.mtu",
        "1279",
        "1280 to 65535",
    );
}

#[test]
fn an_interface_that_ipv6_is_routed_to_needs_its_least_mtu() {
    let routed = |lines: &str| {
        peer("allowed_ips = [\"10.0.0.0/8\", \"fd00::/64\"]").replacen('\n', &format!("\n{lines}\n"), 1)
    };
    refused(&routed("mtu = 1279"), "wireguard.wg0.mtu", "1279", "1280 to 65535");
    refused(&routed("mtu = 1279\ntable = 7"), "wireguard.wg0.mtu", "1279", "1280 to 65535");
    read(&routed("mtu = 1280")).unwrap();
    // Nothing is routed.
    read(&routed("mtu = 576\ntable = \"off\"")).unwrap();
}

#[test]
fn a_mark_cannot_lead_a_default_route_into_a_table_of_the_system() {
    let with = |lines: &str, prefix: &str| {
        peer(&format!("allowed_ips = [\"{prefix}\"]")).replacen('\n', &format!("\n{lines}\n"), 1)
    };
    for (mark, right) in [(252, true), (253, false), (254, false), (255, false), (256, true)] {
        let line = format!("fwmark = {mark}");
        for default in ["0.0.0.0/0", "::/0"] {
            if right {
                read(&with(&line, default)).unwrap();
            } else {
                refused(&with(&line, default), "wireguard.wg0.fwmark", &mark.to_string(), "253 to 255");
            }
            read(&with(&format!("{line}\ntable = 7"), default)).unwrap();
            read(&with(&format!("{line}\ntable = \"off\""), default)).unwrap();
        }
        read(&with(&line, "10.0.0.0/8")).unwrap();
    }
}

#[test]
fn addresses_keep_what_is_behind_their_prefix() {
    let addresses = one("addresses = [\"10.20.0.1/24\", \"fd20::1/64\", \"10.9.9.9\"]").addresses;
    let shown: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.20.0.1/24", "fd20::1/64", "10.9.9.9/32"]);
    for wrong in ["", "10.0.0.1/33", "0.0.0.0/0", "ff02::1/64", "10.0.0.1/", "wg0", "10.0.0.1/24 "] {
        let text = tunnel(&format!("addresses = [\"10.0.0.9\", \"{wrong}\"]"));
        refused(&text, "wireguard.wg0.addresses[1]", &format!("\"{wrong}\""), "10.20.0.1/24");
    }
    refused(
        &tunnel("addresses = [\"10.0.0.1/24\", \"10.0.0.1/16\"]"),
        "wireguard.wg0.addresses[1]",
        "\"10.0.0.1/16\", after wireguard.wg0.addresses[0] (line 3)",
        "each address once",
    );
    refused(&tunnel("addresses = \"10.0.0.1/24\""), "wireguard.wg0.addresses", "\"10.0.0.1/24\"", "a list");
}

#[test]
fn allowed_ips_are_masked_sorted_and_there_once() {
    let found =
        prefixes(&one_peer("allowed_ips = [\"fd00::1/64\", \"10.1.2.3/8\", \"10.0.0.0/8\", \"10.1.2.3\"]"));
    assert_eq!(found, ["10.0.0.0/8", "10.1.2.3/32", "fd00::/64"]);
    for wrong in ["10.0.0.0/33", "10.0.0/8", "::/129", "all", ""] {
        let text = peer(&format!("allowed_ips = [\"{wrong}\"]"));
        refused(&text, "wireguard.wg0.peer.a.allowed_ips[0]", &format!("\"{wrong}\""), "10.30.0.0/16");
    }
}

#[test]
fn endpoints_are_addresses_or_names_with_a_port() {
    let address = |text: &str| Some(EndpointName::Address(text.parse().unwrap()));
    assert_eq!(one_peer("endpoint = \"198.51.100.7:51820\"").endpoint, address("198.51.100.7:51820"));
    assert_eq!(one_peer("endpoint = \"[2001:db8::7]:51820\"").endpoint, address("[2001:db8::7]:51820"));
    for host in
        ["gate.example.org", "gate", "a_b.example.org.", "xn--bcher-kva.example", "9.example", "1-2.a-b"]
    {
        let name = EndpointName::Dns { host: host.to_owned(), port: 1 };
        assert_eq!(one_peer(&format!("endpoint = \"{host}:1\"")).endpoint, Some(name));
    }
    let (label, long) = ("a".repeat(64), format!("{}a", "a.".repeat(127)));
    for host in [
        "",
        ".",
        "a..b",
        "-a",
        "a-",
        "10.0.0",
        "10.0.0.256",
        "0x7f.0x1",
        "b\u{fc}cher.example",
        "a b",
        "a/b",
        "[::1",
        "::1",
        "0.0.0.0",
        "[::]",
        "224.0.0.1",
        &label,
        &long,
    ] {
        let text = peer(&format!("endpoint = \"{host}:51820\""));
        assert_eq!(read(&text).expect_err(host).iter().count(), 1, "{host}");
    }
    for port in ["", ":", ":0", ":65536", ":+1", ":-1", ": 1", ":1 ", ":http"] {
        let text = peer(&format!("endpoint = \"gate.example.org{port}\""));
        refused(&text, "wireguard.wg0.peer.a.endpoint", &format!("\"gate.example.org{port}\""), "HOST:PORT");
        assert!(read(&peer(&format!("endpoint = \"10.0.0.1{port}\""))).is_err(), "{port}");
    }
}

#[test]
fn names_of_interfaces_and_peers_are_those_that_files_and_logs_can_have() {
    for name in ["wg0", "\"site-b.1\"", "abcdefghijklmno"] {
        read(&format!("[wireguard.{name}]\nprivate_key_file = \"k\"")).unwrap();
    }
    for name in ["abcdefghijklmnop", "\"a/b\"", "\".\"", "\"\"", "\"wg%d\"", "\"a b\""] {
        let told = told(&format!("[wireguard.{name}]\nprivate_key_file = \"k\""));
        assert!(told.lines().count() == 1 && told.contains("1 to 15 visible bytes"), "{told}");
    }
    let named = |name: &str| tunnel(&format!("[wireguard.wg0.peer.\"{name}\"]\npublic_key = \"{A}\""));
    for name in ["a", "branch-2.north_3", "9", "_", &"a".repeat(64)] {
        read(&named(name)).unwrap();
    }
    for name in ["", ".a", "-a", "a b", "a/b", "\u{fc}", &"a".repeat(65)] {
        assert!(told(&named(name)).contains("1 to 64 letters"), "{name}");
    }
    refused("gateway.name = \"a b\"", "gateway.name", "\"a b\"", "1 to 64 letters");
    refused("gateway.user = \"a:b\"", "gateway.user", "\"a:b\"", "1 to 64 letters");
    refused("admin.read_group = 7", "admin.read_group", "7", "1 to 64 letters");
}

#[test]
fn public_keys_are_44_characters_and_not_zeros() {
    let with = |key: &str| tunnel(&format!("[wireguard.wg0.peer.a]\npublic_key = \"{key}\""));
    let path = "wireguard.wg0.peer.a.public_key";
    for key in ["", "x", &A[..43], &format!("{A}="), &format!(" {A}")] {
        refused(&with(key), path, &format!("{} characters that are no key", key.len()), "44 characters");
    }
    refused(&with("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), path, "a key of zeros", "44 characters");
    refused(&tunnel("[wireguard.wg0.peer.a]"), path, "nothing", "44 characters");
}

#[test]
fn logs_admin_sockets_and_metrics_are_what_is_said() {
    let text = "[log]\nlevel = \"verbose\"\nformat = \"json\"\n[admin]\ndirectory = \"run\"\nread_group = \"r\"\n\
        write_group = \"w\"\n[metrics]\nlisten = \"[::1]:9586\"\n[gateway]\nname = \"hq\"\nstate = \"/s\"\n\
        user = \"u\"\nworkers = 3\npin = true\n[gateway.offload]\ntun_uso = false";
    let config = parse("/etc/adit/aditd.toml", text, &|_| Err(String::new())).unwrap();
    assert_eq!(
        config.log,
        crate::config::Log { level: tracing::level_filters::LevelFilter::DEBUG, json: true }
    );
    assert_eq!(config.admin.directory, Path::new("/etc/adit/run"));
    let groups = (config.admin.read_group.as_deref(), config.admin.write_group.as_deref());
    assert_eq!(groups, (Some("r"), Some("w")));
    assert_eq!(config.metrics.unwrap().listen, "[::1]:9586".parse::<SocketAddr>().unwrap());
    let gateway = config.gateway;
    assert_eq!((gateway.name().as_str(), gateway.user.as_str()), ("hq", "u"));
    assert_eq!((gateway.state.as_path(), gateway.workers(), gateway.pin), (Path::new("/s"), 3, true));
    assert!(!gateway.offloads.tun_uso && gateway.offloads.tun_tso && gateway.offloads.udp_gso);

    refused("log.level = \"debug\"", "log.level", "\"debug\"", "\"error\", \"info\" or \"verbose\"");
    refused("log.format = \"xml\"", "log.format", "\"xml\"", "\"text\" or \"json\"");
    refused("admin.directory = \"\"", "admin.directory", "\"\"", "a path");
    refused("[metrics]", "metrics.listen", "nothing", "127.0.0.1:9586");
    for wrong in ["localhost:1", "127.0.0.1", "127.0.0.1:0", ":9586"] {
        refused(
            &format!("metrics.listen = \"{wrong}\""),
            "metrics.listen",
            &format!("\"{wrong}\""),
            "an address and a port",
        );
    }
}

#[test]
fn hooks_keep_their_order() {
    let hooks = one("[wireguard.wg0.hooks]\npre_up = [\"b\", \"a %i\"]\npost_down = [\"c\"]").hooks;
    assert_eq!(
        (hooks.pre_up, hooks.post_down),
        (vec!["b".to_owned(), "a %i".to_owned()], vec!["c".to_owned()])
    );
    assert!(hooks.post_up.is_empty() && hooks.pre_down.is_empty());
    for (wrong, found) in [("\" \"", "\" \""), ("\"a\\u0000\"", "\"a\\u{0}\""), ("3", "3")] {
        let text = tunnel(&format!("[wireguard.wg0.hooks]\npost_up = [{wrong}]"));
        refused(&text, "wireguard.wg0.hooks.post_up[0]", found, "a command for /bin/sh -c");
    }
}

proptest! {
    #[test]
    fn what_is_shown_is_read_again(octets: [u8; 16], length in 0_u8..=128, port in 1_u16.., v4: bool) {
        let address = std::net::IpAddr::from(octets);
        let address = if v4 { std::net::IpAddr::from([octets[0], octets[1], octets[2], octets[3]]) } else { address };
        prop_assume!(!address.is_multicast() && !address.is_unspecified());
        let endpoint = EndpointName::Address(SocketAddr::new(address, port));
        prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
        let interface = InterfaceAddress { address, prefix_len: if v4 { length % 33 } else { length } };
        prop_assert_eq!(interface.to_string().parse(), Ok(interface));
    }

    #[test]
    fn a_name_is_taken_as_it_is(host in "[a-z]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-z]([a-z0-9-]{0,8}[a-z0-9])?){0,3}", port in 1_u16..) {
        let endpoint: EndpointName = format!("{host}:{port}").parse().unwrap();
        prop_assert_eq!(endpoint, EndpointName::Dns { host, port });
    }
}
