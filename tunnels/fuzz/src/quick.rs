//! Files of wg-quick.

use std::collections::HashMap;
use std::path::Path;

use adit::config::parse;
use adit::config::quick::import;
use adit_noise::PresharedKey;
use zeroize::Zeroizing;

use crate::config::told;

/// One file. What is wrong is told line by line; what is imported can be loaded with the keys that come with it, has a peer
/// for each section, and holds no key itself.
pub fn quick(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let imported = match import("wg0", text, Path::new("keys")) {
        Ok(imported) => imported,
        Err(errors) => return told(&errors, "wg0.conf", text),
    };
    let secrets: HashMap<_, _> = imported.secrets.iter().map(|(path, key)| (path.as_path(), key)).collect();
    assert_eq!(secrets.len(), imported.secrets.len(), "each key has a file of its own");
    let mut sections = 0;
    let secret = |path: &Path| match secrets.get(path) {
        Some(key) => Ok(Zeroizing::new(key.as_bytes().to_vec())),
        None if path.is_absolute() => {
            Ok(Zeroizing::new(PresharedKey::from_bytes([64; 32]).to_base64().as_bytes().to_vec()))
        }
        None => Err("no key came for it".to_owned()),
    };
    let config = match parse("aditd.toml", &imported.toml, &secret) {
        Ok(config) => config,
        Err(errors) => panic!("{errors} in\n{}", imported.toml),
    };
    assert_eq!(config.wireguard.len(), 1);
    let tunnel = &config.wireguard["wg0"];
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        sections += usize::from(line.eq_ignore_ascii_case("[peer]"));
    }
    assert_eq!(tunnel.peers.len(), sections, "a peer for each section");
    for key in secrets.values() {
        let key = key.trim();
        assert_eq!(key.len(), 44);
        assert!(!imported.toml.contains(key) || public(text, key), "a secret in\n{}", imported.toml);
        assert!(!imported.notes.iter().any(|note| note.contains(key)) || public(text, key));
    }
    assert!(!imported.notes.iter().any(|note| note.contains(char::is_control)));
}

/// Whether somebody wrote a key where none belongs.
fn public(text: &str, key: &str) -> bool {
    let secret = |line: &&str| {
        let name = line.split('=').next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("PrivateKey") || name.eq_ignore_ascii_case("PresharedKey")
    };
    text.lines().filter(|line| !secret(line)).any(|line| line.contains(key))
}
