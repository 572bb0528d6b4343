//! `[clients.NAME]`

use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::config::Naming;

/// A tunnel for clients, with these lines of theirs in place of what they usually have.
fn clients(tunnel_lines: &str, lines: &[&str]) -> String {
    let key = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let usual = [
        "listen = [\"[::]:8443\"]",
        "certificate_file = \"vpn.pem\"",
        "private_key_file = \"vpn.pem.key\"",
        "pool = [\"10.9.0.0/24\", \"fd09::/64\"]",
        "routes = [\"10.20.0.0/16\"]",
        "endpoints = [\"vpn.example.org:51820\"]",
    ];
    let kept = usual.iter().filter(|usual| lines.iter().all(|line| key(line) != key(usual)));
    let set = lines.iter().filter(|line| line.contains('='));
    let all: String = kept.chain(set).map(|line| format!("{line}\n")).collect();
    let addresses = "addresses = [\"10.9.0.1/24\", \"fd09::1/64\"]\nlisten_port = 51820";
    tunnel(&format!("{addresses}\n{tunnel_lines}")) + "[clients.wg0]\n" + &all
}

#[test]
fn what_is_not_said_is_the_least_that_clients_may() {
    let config = read(&clients("", &[])).unwrap();
    let clients = &config.clients["wg0"];
    assert_eq!(clients.access, clients.routes);
    assert!(!clients.between_clients && clients.authorities.is_none() && clients.dns.is_empty());
    assert_eq!(clients.lease, Duration::from_secs(8 * 3_600));
    let named = |name: &str| config.files.iter().any(|file| file.ends_with(name));
    assert!(named("vpn.pem") && named("vpn.pem.key"), "{:?}", config.files);
}

#[test]
fn a_pool_leaves_out_what_names_the_network_and_the_tunnels_own_addresses_at_its_beginning() {
    let pool = |lines: &[&str]| read(&clients("", lines)).unwrap().clients["wg0"].pool.clone();
    let usual = pool(&[]);
    assert_eq!(usual.v4, Some("10.9.0.2".parse().unwrap()..="10.9.0.254".parse().unwrap()));
    assert_eq!(usual.v6, Some("fd09::2".parse().unwrap()..="fd09::ffff:ffff:ffff:ffff".parse().unwrap()));
    let contains = |address: &str| {
        usual.ranges().iter().any(|range| range.contains(&address.parse::<IpAddr>().unwrap()))
    };
    assert!(contains("10.9.0.254") && contains("fd09::2") && !contains("10.9.0.1"));
    let range = pool(&["pool = [\"10.9.0.10-10.9.0.99\"]"]);
    assert_eq!(
        (range.v4, range.v6),
        (Some("10.9.0.10".parse().unwrap()..="10.9.0.99".parse().unwrap()), None)
    );
}

#[test]
fn a_pool_has_to_be_on_the_tunnel_and_nobody_elses() {
    let pool = |pool: &str| clients("", &[&format!("pool = [\"{pool}\"]")]);
    let place = "clients.wg0.pool[0]";
    refused(
        &pool("10.8.0.0/24"),
        place,
        "\"10.8.0.0/24\"",
        "in the network of one of the tunnel's addresses",
    );
    refused(
        &pool("10.9.0.0-10.9.0.9"),
        place,
        "\"10.9.0.0-10.9.0.9\", in which the tunnel's own 10.9.0.1 is",
        "alone",
    );
    for wrong in ["10.9.0.9-10.9.0.2", "10.9.0.9", "10.9.0.2-fd09::9", "10.9.0.1/32", "10.9.0.0/31", ""] {
        refused(&pool(wrong), place, &format!("\"{wrong}\""), "a prefix as");
    }
    let twice = clients("", &["pool = [\"10.9.0.2-10.9.0.9\", \"10.9.0.20-10.9.0.29\"]"]);
    let found = "\"10.9.0.20-10.9.0.29\", a second one of this family";
    refused(&twice, "clients.wg0.pool[1]", found, "of each family at most one");
    let taken = format!("[wireguard.wg0.peer.a]\npublic_key = \"{A}\"\nallowed_ips = [\"10.9.0.7/32\"]");
    let found = "\"10.9.0.0/24\", of which peer a has 10.9.0.7/32";
    refused(&clients(&taken, &[]), place, found, "addresses of clients alone");
}

#[test]
fn the_table_is_named_like_a_tunnel_that_clients_can_use() {
    let other = clients("", &[]).replace("[clients.wg0]", "[clients.wg1]");
    refused(&other, "clients.wg1", "\"wg1\"", "the name of a [wireguard.NAME]");
    let free = clients("", &[]).replace("listen_port = 51820", "");
    refused(&free, "clients.wg0", "clients of a tunnel without listen_port", "which clients are told");
    let cipher = clients("cipher = \"aes-256-gcm\"", &[]);
    refused(&cipher, "clients.wg0", "clients of a tunnel with cipher = \"aes-256-gcm\"", "WireGuard's own");
}

#[test]
fn authorities_are_those_of_a_folder_or_of_files() {
    let config = read(&clients("", &["pki = \"/pki\""])).unwrap();
    assert_eq!(config.clients["wg0"].authorities.as_deref(), Some(Path::new("/pki/ca.pem")));
    assert_eq!(config.clients["wg0"].revoked, [Path::new("/pki/crl.pem")]);
    let both = clients("", &["pki = \"/pki\"", "authorities_file = \"ca.pem\""]);
    let found = "\"ca.pem\", beside pki (line 13)";
    refused(&both, "clients.wg0.authorities_file", found, "either pki, or authorities_file");
    let list = clients("", &["revocation_files = [\"crl\"]"]);
    refused(&list, "clients.wg0.revocation_files", "a list without authorities_file", "both, or neither");
}

#[test]
fn everything_that_is_wrong_or_missing_is_told_at_once() {
    let lines = [
        "listen = [\"8443\"]",
        "certificate_file",
        "private_key_file",
        "pool",
        "routes",
        "endpoints = []",
        "dns = [\"ns.example.org\"]",
        "search = [\"a..b\"]",
        "lease = 59",
        "access = [\"10.0.0.0/33\"]",
        "between_clients = 1",
        "identity = \"uri\"",
        "token = \"x\"",
    ];
    let told = told(&clients("", &lines));
    for says in [
        "clients.wg0.listen[0]",
        "clients.wg0.certificate_file",
        "clients.wg0.private_key_file",
        "clients.wg0.pool",
        "clients.wg0.routes",
        "clients.wg0.endpoints",
        "clients.wg0.dns[0]",
        "clients.wg0.search[0]",
        "clients.wg0.lease",
        "clients.wg0.access[0]",
        "clients.wg0.between_clients",
        "clients.wg0.identity",
        "`aditctl client invite` makes",
    ] {
        assert!(told.contains(says), "{says}: {told}");
    }
}

#[test]
fn a_certificate_names_its_client_where_it_is_said() {
    let with = |lines: &[&str]| clients("", lines);
    assert_eq!(read(&with(&[])).unwrap().clients["wg0"].naming, Naming::CommonName);
    let config = read(&with(&["identity = \"email\"", "pki = \"pki\""])).unwrap();
    assert_eq!(config.clients["wg0"].naming, Naming::Email);
}

#[test]
fn two_tables_cannot_listen_on_one_address() {
    let text = clients("", &["listen = [\"[::]:8443\", \"[::]:8443\"]"]);
    let found = "\"[::]:8443\", after clients.wg0.listen[0] (line 12)";
    refused(&text, "clients.wg0.listen[1]", found, "no other [clients.NAME] listens on");
}
