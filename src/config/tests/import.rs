//! Files of wg-quick(8).

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::config::quick::{Imported, import};
use crate::config::{EndpointName, Table, Wireguard};

fn imported(text: &str) -> Imported {
    import("wg0", text, Path::new("keys")).unwrap_or_else(|errors| panic!("{errors}"))
}

fn wrong(text: &str) -> String {
    import("wg0", text, Path::new("keys")).expect_err(text).to_string()
}

/// The tunnel that comes of what was imported.
fn tunnel_of(imported: &Imported) -> Wireguard {
    let secrets: HashMap<_, _> =
        imported.secrets.iter().map(|(path, key)| (path.clone(), key.clone())).collect();
    let secret = |path: &Path| {
        let key = secrets.get(path).ok_or_else(|| "no such file".to_owned())?;
        Ok(Zeroizing::new(key.as_bytes().to_vec()))
    };
    let mut config = parse("aditd.toml", &imported.toml, &secret)
        .unwrap_or_else(|errors| panic!("{errors} in\n{}", imported.toml));
    assert_eq!(config.wireguard.len(), 1);
    config.wireguard.pop_first().unwrap().1
}

fn interface(lines: &str) -> String {
    format!("[Interface]\nPrivateKey = {PRIVATE}\n{lines}\n")
}

#[test]
fn the_example_of_the_manual_is_carried_over() {
    let text = format!(
        "[Interface]\nAddress = 10.200.100.8/24\nDNS = 10.200.100.1\nPrivateKey = {PRIVATE}\n\n# demo\n[Peer]\n\
         PublicKey = {A}\nPresharedKey = {B}\nAllowedIPs = 0.0.0.0/0\nEndpoint = demo.wireguard.com:51820\n"
    );
    let imported = imported(&text);
    let tunnel = tunnel_of(&imported);
    assert_eq!(&*tunnel.private_key.to_base64(), PRIVATE);
    assert_eq!(tunnel.addresses[0].to_string(), "10.200.100.8/24");
    let peer = &tunnel.peers["demo"];
    assert_eq!((peer.public_key.to_base64().as_str(), peer.preshared_key.to_base64().as_str()), (A, B));
    assert_eq!(
        peer.endpoint,
        Some(EndpointName::Dns { host: "demo.wireguard.com".to_owned(), port: 51_820 })
    );
    assert_eq!(peer.allowed_ips, ["0.0.0.0/0".parse().unwrap()]);
    let files: Vec<_> =
        imported.secrets.iter().map(|(path, key)| (path.to_str().unwrap(), key.as_str())).collect();
    let keys = (format!("{PRIVATE}\n"), format!("{B}\n"));
    assert_eq!(files, [("keys/wg0.key", keys.0.as_str()), ("keys/wg0@demo.psk", keys.1.as_str())]);
    assert!(!imported.toml.contains(PRIVATE) && !imported.toml.contains(B), "{}", imported.toml);
    assert!(imported.toml.contains("\n# DNS = 10.200.100.1: adit sets no DNS servers"), "{}", imported.toml);
    assert!(
        imported.notes.len() == 1 && imported.notes[0].starts_with("DNS = 10.200.100.1"),
        "{:?}",
        imported.notes
    );
}

#[test]
fn keys_of_any_case_comments_and_repeated_keys_are_read_as_the_script_does() {
    let text = format!(
        "\u{9}[INTERFACE] # this\r\nprivatekey={PRIVATE}#\r\naddress = 10.0.0.1/24 , fd00::1/64\nADDRESS = 10.1.0.1/24,10.2.0.1\n\
         mtu=1400\nMTU = 1300\nfwmark = 0xca6c\nTable = off\nListenPort = 051820\n[peer]\npublickey = {A}\n\
         AllowedIPs = 10.0.0.0/8\nallowedips = fd00::/64, 10.3.0.0/16\nAllowedIPs =\npersistentkeepalive = 25\n"
    );
    let imported = imported(&text);
    let tunnel = tunnel_of(&imported);
    let shown: Vec<_> = tunnel.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.1/24", "fd00::1/64", "10.1.0.1/24", "10.2.0.1/32"]);
    assert_eq!((tunnel.mtu, tunnel.fwmark, tunnel.listen_port), (1300, 0xca6c, 51_820));
    assert_eq!(tunnel.table, Table::Off);
    let peer = &tunnel.peers["peer-1"];
    assert_eq!((peer.allowed_ips.len(), peer.persistent_keepalive), (3, 25));
    assert_eq!(imported.notes, ["line 6: MTU is there again; the last one counts, as in wg-quick"]);
}

#[test]
fn zeros_and_words_for_none_stay_none() {
    let text = interface("ListenPort = 00\nFwMark = off")
        + &format!("[Peer]\nPublicKey = {A}\nPersistentKeepalive = off\n");
    let tunnel = tunnel_of(&imported(&text));
    assert_eq!((tunnel.listen_port, tunnel.fwmark, tunnel.peers["peer-1"].persistent_keepalive), (0, 0, 0));
}

#[test]
fn peers_are_called_by_their_comments() {
    let keys: Vec<_> =
        (1..=9_u8).map(|byte| adit_noise::PublicKey::from_bytes([byte; 32]).to_base64()).collect();
    let text = interface("# hub\n# north")
        + &format!(
            "[Peer]\nPublicKey = {}\n# south\n[Peer] # of the border\nPublicKey = {}\n",
            keys[0], keys[1]
        )
        + &format!("\n# far away from the header\n\n[Peer]\n### Client laptop 7\nPublicKey = {}\n", keys[2])
        + &format!(
            "[Peer]\n# a sentence that is about this peer\nPublicKey = {}\n# north\n[Peer]\n",
            keys[3]
        )
        + &format!(
            "PublicKey = {}\n[Peer]\n# friendly_name = Anna's\n# Name: anna\nPublicKey = {}\n",
            keys[4], keys[5]
        )
        + &format!(
            "[Peer] # {}\nPublicKey = {}\n# peer-1\n[Peer]\nPublicKey = {}\n",
            keys[7], keys[6], keys[7]
        )
        + &format!("[Peer]\nPublicKey = {} # a/b\n", keys[8]);
    let tunnel = tunnel_of(&imported(&text));
    let name = |key: &String| {
        tunnel
            .peers
            .iter()
            .find(|(_, peer)| peer.public_key.to_base64() == *key)
            .map(|(name, _)| name.as_str())
            .unwrap()
    };
    let names: Vec<_> = keys.iter().map(name).collect();
    assert_eq!(
        names,
        ["north", "south", "Client-laptop-7", "peer-2", "peer-3", "anna", "peer-4", "peer-1", "peer-5"]
    );
}

#[test]
fn two_tunnels_peers_never_have_one_key_file() {
    let file = |tunnel: &str, peer: &str| {
        let text =
            interface("") + &format!("[Peer] # {peer}\nPublicKey = {A}\nPresharedKey = {B}\nAllowedIPs = \n");
        import(tunnel, &text, Path::new("keys")).unwrap().secrets.pop().unwrap().0
    };
    let parts = ["a", "b", "a-b", "b-c", "c", "a-b-c", "_", "a.b", "b.c", "a_b", "b_c"];
    let all = parts.iter().flat_map(|tunnel| parts.iter().map(|peer| file(tunnel, peer)));
    assert_eq!(all.collect::<std::collections::HashSet<_>>().len(), parts.len() * parts.len());
    // What stands between them is in no peer's name.
    assert_ne!(file("a@b", "c"), file("a", "c"));
    assert!(!crate::config::file::is_name("b@c"));
}

#[test]
fn commands_become_hooks() {
    let text = interface(
        "PostUp = iptables -I OUTPUT ! -o %i -j REJECT; echo \"a\\b\"\nPostUp = second\nPreDown = third # not this",
    );
    let imported = imported(&text);
    let hooks = tunnel_of(&imported).hooks;
    assert_eq!(hooks.post_up, ["iptables -I OUTPUT ! -o %i -j REJECT; echo \"a\\b\"", "second"]);
    assert_eq!((hooks.pre_down, hooks.pre_up.len(), hooks.post_down.len()), (vec!["third".to_owned()], 0, 0));
    assert_eq!(imported.notes, ["line 3: commands are run by /bin/sh here, and were by bash"]);
}

#[test]
fn a_private_key_that_a_command_sets_stays_where_it_is() {
    let text = "[Interface]\nPostUp = wg set %i private-key /etc/wireguard/%i.key\nAddress = 10.0.0.1/24\n";
    let imported = imported(text);
    assert!(imported.toml.contains("private_key_file = \"/etc/wireguard/wg0.key\"\n"), "{}", imported.toml);
    assert!(imported.secrets.is_empty() && !imported.toml.contains("hooks"));
    assert_eq!(imported.notes, ["line 2: the private key stays in /etc/wireguard/wg0.key"]);
    let told = wrong("[Interface]\nPostUp = wg set %i private-key <(pass %i)\n");
    assert!(told.starts_with("wg0.conf:1:1: Interface.PrivateKey: found nothing; allowed: "), "{told}");
}

#[test]
fn what_cannot_be_carried_over_is_said() {
    let imported = imported(&interface("SaveConfig = true\nDNS = 1.1.1.1, example.org\nTable = main"));
    assert_eq!(imported.notes.len(), 2, "{:?}", imported.notes);
    assert_eq!(
        imported
            .toml
            .lines()
            .filter(|line| line.starts_with("# SaveConfig") || line.starts_with("# DNS"))
            .count(),
        2
    );
    assert_eq!(tunnel_of(&imported).table, Table::Number(254));
    assert!(imported_notes("SaveConfig = false").is_empty());
}

fn imported_notes(lines: &str) -> Vec<String> {
    imported(&interface(lines)).notes
}

#[test]
fn the_last_peer_has_a_prefix_as_with_wg() {
    let text = interface("")
        + &format!("[Peer]\nPublicKey = {A}\nAllowedIPs = 10.0.0.0/8, 10.9.9.9/16\n")
        + &format!("[Peer]\nPublicKey = {B}\nAllowedIPs = 10.9.0.0/16\n");
    let imported = imported(&text);
    let tunnel = tunnel_of(&imported);
    assert_eq!(tunnel.peers["peer-1"].allowed_ips, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(tunnel.peers["peer-2"].allowed_ips, ["10.9.0.0/16".parse().unwrap()]);
    assert_eq!(imported.notes, ["AllowedIPs = 10.9.9.9/16: a later peer has it, as with `wg setconf`"]);
}

#[test]
fn every_mistake_is_told_with_the_line_it_came_from() {
    let text = format!(
        "PrivateKey = x\n[Interface]\nPrivateKey = {}\nAddress = 10.0.0.1/24, 10.0.0.2/33\nListenPort = ssh\n\
         Mtu = 90\nBogus = 1\nDNSS = 1\nTable = none\n[Router]\n[Peer]\nAllowedIPs = 10.0.0.0/8,,x\nEndpoint = a:b\n\
         Address = 10.0.0.1\nPersistentKeepalive = often\n[Peer]\nPublicKey = {A}\n[Peer]\nPublicKey = {A}\nhello\n\
         [Peer]\nPublicKey = {OWN}\nPresharedKey = short\n",
        &PRIVATE[..42]
    );
    let told = wrong(&text);
    let places: Vec<_> = told.lines().map(|line| line.split(": found").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "wg0.conf:1:1",
            "wg0.conf:3:14: Interface.PrivateKey",
            "wg0.conf:4:24: Interface.Address",
            "wg0.conf:5:14: Interface.ListenPort",
            "wg0.conf:6:7: Interface.MTU",
            "wg0.conf:7:1: Interface.\"Bogus\"",
            "wg0.conf:8:1: Interface.\"DNSS\"",
            "wg0.conf:9:9: Interface.Table",
            "wg0.conf:10:1",
            "wg0.conf:11:1: Peer.PublicKey",
            "wg0.conf:12:25: Peer.AllowedIPs",
            "wg0.conf:12:26: Peer.AllowedIPs",
            "wg0.conf:13:12: Peer.Endpoint",
            "wg0.conf:14:1: Peer.\"Address\"",
            "wg0.conf:15:23: Peer.PersistentKeepalive",
            "wg0.conf:19:13: Peer.PublicKey",
            "wg0.conf:20:1: Peer",
            "wg0.conf:23:16: Peer.PresharedKey",
        ],
        "{told}"
    );
    assert!(told.contains("found the same key, after line 17;"), "{told}");
    assert!(told.contains("(did you mean DNS?)") && !told.contains(&PRIVATE[..12]), "{told}");
    let own = wrong(&(interface("") + &format!("[Peer]\nPublicKey = {OWN}\n")));
    assert!(
        own.starts_with("wg0.conf:5:13: Peer.PublicKey: found") && own.contains("the tunnel's own key"),
        "{own}"
    );
}

#[test]
fn a_name_that_no_interface_can_have_is_refused() {
    assert!(import("a/b", "", Path::new("k")).unwrap_err().to_string().contains("found the name \"a/b\""));
    assert!(import("wg0", "", Path::new("a\nb")).is_err());
    let dotted = import("wg0.1", &interface(""), Path::new("/etc/a \"b\"")).unwrap();
    tunnel_of(&dotted);
    assert_eq!(dotted.secrets[0].0, Path::new("/etc/a \"b\"/wg0.1.key"));
}

/// Endpoint, prefixes, keepalive, preshared key.
type ModelPeer = (Option<([u8; 4], u16)>, Vec<(u8, u8)>, Option<u16>, Option<[u8; 32]>);

/// A wg-quick file, and what it means.
#[derive(Clone, Debug)]
struct Model {
    port: Option<u16>,
    mark: Option<u32>,
    mtu: Option<u16>,
    table: Option<u32>,
    addresses: Vec<[u8; 4]>,
    post_up: Vec<String>,
    peers: Vec<ModelPeer>,
}

prop_compose! {
    fn model()(
        port: Option<u16>, mark: Option<u32>, mtu in proptest::option::of(576_u16..), table in proptest::option::of(1_u32..),
        addresses in proptest::collection::hash_set(any::<[u8; 3]>(), 0..4),
        post_up in proptest::collection::vec("[^#\\p{Cc}\\p{White_Space}]([^#\\p{Cc}]{0,20}[^#\\p{Cc}\\p{White_Space}])?", 0..3),
        peers in proptest::collection::vec((
            proptest::option::of((any::<[u8; 3]>(), 1_u16..)),
            proptest::collection::vec((any::<u8>(), 9_u8..=16), 0..4),
            any::<Option<u16>>(), any::<Option<[u8; 32]>>(),
        ), 0..4),
    ) -> Model {
        let host = |rest: [u8; 3]| [10, rest[0], rest[1], rest[2]];
        let addresses = addresses.into_iter().map(host).collect();
        let peers = peers.into_iter().map(|(endpoint, prefixes, keepalive, preshared)| {
            (endpoint.map(|(rest, port)| (host(rest), port)), prefixes, keepalive, preshared)
        }).collect();
        Model { port, mark, mtu, table, addresses, post_up, peers }
    }
}

impl Model {
    fn key(at: usize) -> adit_noise::PublicKey {
        adit_noise::PublicKey::from_bytes([at as u8 + 1; 32])
    }

    fn prefix(at: usize, (second, length): (u8, u8)) -> adit_wireguard::Prefix {
        // Each peer has its own first octet, so that no two have the same prefix.
        adit_wireguard::Prefix::new([20 + at as u8, second, 0, 0].into(), length).unwrap()
    }

    /// As text, in one of the ways that mean the same.
    fn text(&self, way: u8) -> String {
        let (split, upper, spaced) = (way & 1 != 0, way & 2 != 0, way & 4 != 0);
        let mut text = String::from("[Interface]\n");
        let mut line = |key: &str, value: String| {
            let key = if upper { key.to_uppercase() } else { key.to_owned() };
            let equals = if spaced { " =\t" } else { "=" };
            text += &format!("{key}{equals}{value}{}\n", if spaced { "  # so it is" } else { "" });
        };
        let list =
            |line: &mut dyn FnMut(&str, String), key: &str, values: Vec<String>| match values.as_slice() {
                [] => {}
                values if split => values.iter().for_each(|value| line(key, value.clone())),
                values => line(key, values.join(if spaced { " , " } else { "," })),
            };
        line("PrivateKey", PRIVATE.to_owned());
        self.port.into_iter().for_each(|port| line("ListenPort", port.to_string()));
        self.mark
            .into_iter()
            .for_each(|mark| line("FwMark", if upper { format!("{mark:#x}") } else { mark.to_string() }));
        self.mtu.into_iter().for_each(|mtu| line("MTU", mtu.to_string()));
        self.table.into_iter().for_each(|table| line("Table", table.to_string()));
        let addresses = self.addresses.iter().map(|ip| format!("{}/24", std::net::Ipv4Addr::from(*ip)));
        list(&mut line, "Address", addresses.collect());
        self.post_up.iter().for_each(|command| line("PostUp", command.clone()));
        for (at, (endpoint, prefixes, keepalive, preshared)) in self.peers.iter().enumerate() {
            line("[Peer]\nPublicKey", Self::key(at).to_string());
            endpoint.iter().for_each(|(ip, port)| {
                line("Endpoint", std::net::SocketAddr::from((*ip, *port)).to_string());
            });
            list(
                &mut line,
                "AllowedIPs",
                prefixes.iter().map(|one| Self::prefix(at, *one).to_string()).collect(),
            );
            keepalive.iter().for_each(|seconds| line("PersistentKeepalive", seconds.to_string()));
            preshared.iter().for_each(|key| {
                line("PresharedKey", adit_noise::PresharedKey::from_bytes(*key).to_base64().to_string());
            });
        }
        text
    }
}

proptest! {
    #[test]
    fn what_is_imported_means_what_it_meant(model in model(), way: u8) {
        let tunnel = tunnel_of(&imported(&model.text(way)));
        prop_assert_eq!(tunnel.listen_port, model.port.unwrap_or(0));
        prop_assert_eq!(tunnel.fwmark, model.mark.unwrap_or(0));
        prop_assert_eq!(tunnel.mtu, model.mtu.map_or(1_420, usize::from));
        prop_assert_eq!(tunnel.table, model.table.map_or(Table::Auto, Table::Number));
        let addresses: Vec<_> = tunnel.addresses.iter().map(|one| (one.address, one.prefix_len)).collect();
        let expected: Vec<_> = model.addresses.iter().map(|ip| (std::net::IpAddr::from(*ip), 24)).collect();
        prop_assert_eq!(addresses, expected);
        prop_assert_eq!(&tunnel.hooks.post_up, &model.post_up);
        prop_assert_eq!(tunnel.peers.len(), model.peers.len());
        for (at, (endpoint, prefixes, keepalive, preshared)) in model.peers.iter().enumerate() {
            let peer = &tunnel.peers[&format!("peer-{}", at + 1)];
            prop_assert_eq!(peer.public_key, Model::key(at));
            prop_assert_eq!(&peer.endpoint, &endpoint.map(|(ip, port)| EndpointName::Address((ip, port).into())));
            let mut expected: Vec<_> = prefixes.iter().map(|one| Model::prefix(at, *one)).collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(&peer.allowed_ips, &expected);
            prop_assert_eq!(peer.persistent_keepalive, keepalive.unwrap_or(0));
            let none = adit_noise::PresharedKey::default();
            prop_assert_eq!(&peer.preshared_key, &preshared.map_or(none, adit_noise::PresharedKey::from_bytes));
        }
    }
}
