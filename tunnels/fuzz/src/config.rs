//! Configuration files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use adit::config::{Config, Errors, Secret, Table, Wireguard, parse};
use adit::control::interface_name;
use adit_wireguard::Prefix;
use zeroize::Zeroizing;

/// The name of every file.
const NAME: &str = "aditd.toml";
/// What key files hold whose names begin with a letter up to `m`; the others hold nothing.
const KEY: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

/// One file. What is wrong is told line by line; what is taken keeps the rules, and means the same the next time.
pub fn config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match parse(NAME, text, &secret) {
        Ok(config) => {
            sound(&config);
            assert_eq!(parse(NAME, text, &secret).expect("it was right"), config, "the same again");
        }
        Err(errors) => told(&errors, NAME, text),
    }
}

fn secret(path: &Path) -> Secret {
    let first = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.chars().next());
    match first {
        Some('a'..='m') => Ok(Zeroizing::new(KEY.as_bytes().to_vec())),
        _ => Err("it is not there".to_owned()),
    }
}

/// Each mistake is one line, of a place that exists, in ascending order, and cannot write to a terminal.
pub(crate) fn told(errors: &Errors, name: &str, text: &str) {
    let told = errors.to_string();
    assert!(!told.chars().any(|c| c.is_control() && c != '\n'), "{told:?}");
    assert_eq!(told.lines().count(), errors.iter().count());
    assert!(!told.contains(KEY), "{told}");
    let lines: Vec<_> = text.split('\n').collect();
    let mut before = None;
    for mistake in errors.iter() {
        let place = mistake.place.expect("all of it is in the text");
        let line = lines[place.line - 1];
        assert!((1..=line.chars().count() + 1).contains(&place.column), "{mistake}");
        assert!(before.is_none_or(|before| before <= place), "{told}");
        assert!(!mistake.found.is_empty() && !mistake.allowed.is_empty(), "{mistake}");
        assert!(mistake.to_string().starts_with(&format!("{name}:{}:{}: ", place.line, place.column)));
        before = Some(place);
    }
}

/// The rules of a file, plainly.
fn sound(config: &Config) {
    assert!((1..=64).contains(&config.gateway.workers()));
    assert!(!config.gateway.name().is_empty() && !config.gateway.user.is_empty());
    let (mut ports, mut defaults) = (BTreeSet::new(), 0);
    let mut routes: BTreeMap<(u32, Prefix), &str> = BTreeMap::new();
    for (name, tunnel) in &config.wireguard {
        assert!(interface_name(name).is_ok());
        assert!(
            tunnel.listen_port == 0 || ports.insert(tunnel.listen_port),
            "{name} listens where another does"
        );
        let default = sound_tunnel(tunnel);
        defaults += usize::from(default && tunnel.table == Table::Auto);
        for prefix in tunnel.peers.values().flat_map(|peer| &peer.allowed_ips) {
            let table = match tunnel.table {
                Table::Off => continue,
                Table::Auto if prefix.length() == 0 && tunnel.fwmark == 0 => 51_820,
                Table::Auto if prefix.length() == 0 => {
                    assert!(!(253..=255).contains(&tunnel.fwmark));
                    tunnel.fwmark
                }
                Table::Auto => 254,
                Table::Number(number) => number,
            };
            assert!(routes.insert((table, *prefix), name).is_none(), "{prefix} is routed twice in {table}");
        }
    }
    assert!(defaults <= 1, "{defaults} default routes");
}

/// Whether it has a default route.
fn sound_tunnel(tunnel: &Wireguard) -> bool {
    let mut routed = tunnel.peers.values().flat_map(|peer| &peer.allowed_ips);
    let v6 = tunnel.addresses.iter().any(|address| address.address.is_ipv6())
        || (tunnel.table != Table::Off && routed.any(|prefix| prefix.address().is_ipv6()));
    assert!((if v6 { 1_280 } else { 576 }..=65_535).contains(&tunnel.mtu));
    assert!(tunnel.table != Table::Number(0));
    let own = tunnel.private_key.public();
    let (mut keys, mut prefixes) = (BTreeSet::new(), BTreeSet::new());
    for (name, peer) in &tunnel.peers {
        assert!(
            (1..=64).contains(&name.len())
                && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
        );
        assert!(peer.public_key != own && !peer.public_key.is_zero() && keys.insert(peer.public_key));
        assert!(peer.allowed_ips.is_sorted());
        assert!(peer.allowed_ips.iter().all(|prefix| prefixes.insert(*prefix)), "a prefix of two peers");
        if let Some(endpoint) = &peer.endpoint {
            assert_eq!(endpoint.to_string().parse().as_ref(), Ok(endpoint));
        }
    }
    prefixes.iter().any(|prefix| prefix.length() == 0)
}
