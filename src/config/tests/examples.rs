//! The examples in `configs/`, and the defaults.

use std::collections::BTreeSet;

use toml::de::{DeTable, DeValue};

use super::*;
use crate::config::macsec::{Carrier, Weakness};

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The reference with what is commented out: with the defaults, or with the examples too.
fn uncommented(examples: bool) -> String {
    let setting = |line: &str| {
        let key = line.split(' ').next().unwrap_or_default();
        let key = line.starts_with('[')
            || key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        key && (line.starts_with('[') || line.split(' ').nth(1) == Some("="))
    };
    let line = |line: &str| match (line.strip_prefix("# "), line.strip_prefix('#')) {
        (Some(example), _) if examples && setting(example) => example.to_owned(),
        (None, Some(default)) if setting(default) => default.to_owned(),
        _ => line.to_owned(),
    };
    example("reference.toml").lines().map(|text| line(text) + "\n").collect()
}

/// The keys that are set in a table, with `NAME` and `PEER` for what people name.
fn set(table: &DeTable<'_>, path: &str, into: &mut BTreeSet<String>) {
    for (key, value) in table {
        let key = match path {
            "wireguard." => "NAME",
            "wireguard.NAME.peer." => "PEER",
            "macsec." | "clients." | "tls." => "NAME",
            "tls.NAME.route." => "ROUTE",
            "macsec.NAME.receive." => "CHANNEL",
            "macsec.NAME.receive.CHANNEL.sa." => "0",
            _ => key.get_ref(),
        };
        if let DeValue::Table(table) = value.get_ref() {
            set(table, &format!("{path}{key}."), into);
        } else {
            into.insert(format!("{path}{key}"));
        }
    }
}

#[test]
fn every_example_can_be_loaded() {
    let mut found = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".toml") {
            found += 1;
            let config = read(&example(&name)).unwrap_or_else(|errors| panic!("{name}:\n{errors}"));
            assert!(
                !(config.wireguard.is_empty() && config.macsec.is_empty() && config.tls.is_empty()),
                "{name}"
            );
        }
    }
    assert!(found >= 8, "{found} examples");
}

#[test]
fn the_examples_are_what_their_names_say() {
    let full = read(&example("full-tunnel.toml")).unwrap();
    let prefixes = &full.wireguard["wg0"].peers["hub"].allowed_ips;
    assert!(prefixes.iter().all(|prefix| prefix.length() == 0) && prefixes.len() == 2);
    let hub = read(&example("hub.toml")).unwrap();
    let peers = &hub.wireguard["wg0"].peers;
    assert!(peers.len() >= 3);
    assert!(
        peers.values().any(|peer| matches!(peer.endpoint, Some(crate::config::EndpointName::Dns { .. })))
    );
    let adits = read(&example("between-adits.toml")).unwrap();
    assert_eq!(adits.wireguard["wg0"].cipher, adit_wireguard::Cipher::Aes256Gcm);
    let twice = read(&example("double-encryption.toml")).unwrap();
    let Carrier::Udp(udp) = &twice.macsec["inner"].carrier else { panic!("{twice:?}") };
    let inside = &twice.wireguard["wg0"].peers["south"].allowed_ips;
    assert_eq!(udp.peer.as_ref().unwrap().to_string(), format!("{}:4790", inside[0].address()));
    let link = read(&example("encrypted-link.toml")).unwrap();
    assert!(
        matches!(link.macsec["uplink"].carrier, Carrier::Link(_))
            && link.macsec["uplink"].weaknesses().is_empty()
    );
    let fixed = read(&example("macsec-static.toml")).unwrap();
    assert_eq!(fixed.macsec["lab"].weaknesses(), [Weakness::StaticKeys]);
    let web = read(&example("tls-terminator.toml")).unwrap();
    assert!(web.tls["web"].routes.values().any(|route| route.pass_through));
    assert!(web.tls["internal"].clients.is_some());
    let https = read(&example("https-terminator.toml")).unwrap();
    assert!(
        !https.tls["web"].plain.is_empty() && https.tls["web"].routes.values().all(|one| one.http.is_some())
    );
    let site = read(&example("site-to-site.toml")).unwrap();
    assert!(!site.wireguard["wg0"].peers["branch"].preshared_key.is_none());
}

/// Every key that the reader knows, from what it says where a key is unknown.
fn known() -> BTreeSet<String> {
    let tables = [
        "gateway",
        "gateway.offload",
        "log",
        "admin",
        "metrics",
        "wireguard.NAME",
        "wireguard.NAME.hooks",
        "wireguard.NAME.peer.PEER",
        "macsec.NAME.udp",
        "macsec.NAME.hooks",
        "macsec.NAME.transmit",
        "macsec.NAME.receive.CHANNEL",
        "macsec.NAME.receive.CHANNEL.sa.0",
        "clients.NAME",
        "tls.NAME.client_certificates",
        "tls.NAME.timeouts",
        "tls.NAME.access_log",
        "tls.NAME.route.ROUTE.check",
        "tls.NAME.route.ROUTE.backend_tls",
        "tls.NAME.route.ROUTE",
        "tls.NAME.route.ROUTE.http",
        "tls.NAME.route.ROUTE.http.hsts",
        "tls.NAME",
        "macsec.NAME",
    ];
    let text: String = tables.iter().map(|table| format!("[{table}]\nzzzzzz = 1\n")).collect();
    let text = text + "keys = \"static\"\n";
    let errors = read(&format!("zzzzzz = 1\n{text}")).unwrap_err();
    let mut keys = BTreeSet::new();
    for mistake in errors.iter() {
        if let Some(path) = mistake.key.strip_suffix("zzzzzz") {
            keys.extend(mistake.allowed.split(", ").map(|key| format!("{path}{key}")));
        }
    }
    // A table of keys is none itself; one that is missing above stays, and is missed.
    let outer = |key: &String| keys.iter().any(|other| other.starts_with(&format!("{key}.")));
    keys.iter().filter(|key| !outer(key)).cloned().collect()
}

#[test]
fn the_reference_has_every_key_that_the_reader_knows() {
    let text = uncommented(true);
    read(&text).unwrap();
    let mut keys = BTreeSet::new();
    set(&DeTable::parse(&text).unwrap().into_inner(), "", &mut keys);
    assert_eq!(keys, known());
    assert!(keys.len() > 30, "{keys:?}");
}

#[test]
fn what_the_reference_calls_the_default_is_the_default() {
    assert_ne!(uncommented(false), example("reference.toml"));
    assert_eq!(read(&uncommented(false)).unwrap(), read(&example("reference.toml")).unwrap());
    assert_ne!(read(&uncommented(true)).unwrap(), read(&example("reference.toml")).unwrap());
}

#[test]
fn an_empty_file_means_the_defaults() {
    let config = read("").unwrap();
    assert!((1..=4).contains(&config.gateway.workers()));
    assert!(!config.gateway.name().is_empty());
    assert_eq!((config.gateway.name, config.gateway.workers), (None, None), "they are the machine's");
    assert!(
        config.metrics.is_none()
            && config.wireguard.is_empty()
            && config.macsec.is_empty()
            && config.files.is_empty()
    );
}
