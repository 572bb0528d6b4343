//! `[wireguard.NAME.peer.PEER]`

use std::collections::BTreeMap;

use adit_noise::{PresharedKey, PrivateKey, PublicKey};
use adit_wireguard::Prefix;

use super::endpoint::{ENDPOINT, PREFIX};
use super::file::{Context, NAME, is_name, path};
use super::table::{Table, Value};
use super::unique::Unique;
use super::{Peer, key_file};

/// What `public_key` may be.
pub(super) const PUBLIC_KEY: &str = "the 44 characters in base64 that `wg pubkey` prints";
/// What `persistent_keepalive` may be.
const KEEPALIVE: &str = "seconds from 0 to 65535, or \"off\"";
/// What wrong keys were probably meant to be.
const HINTS: &[(&str, &str)] = &[
    (
        "preshared_key",
        "no keys in this file: write it to a file of mode 0600 and name that as preshared_key_file",
    ),
    ("private_key", "a peer's private key is known to the peer alone"),
    ("keepalive", "did you mean persistent_keepalive?"),
    ("address", "did you mean allowed_ips?"),
    ("addresses", "did you mean allowed_ips?"),
];

/// A prefix of a peer, and where it stands.
pub(super) type Routed<'a> = (Prefix, Value<'a>);

/// Every peer of a tunnel with this key, and what is routed to them.
pub(super) fn peers<'a>(
    tunnel: &mut Table<'a>,
    context: &mut Context<'_>,
    own: Option<&PrivateKey>,
) -> (BTreeMap<String, Peer>, Vec<Routed<'a>>) {
    let own = own.map(PrivateKey::public);
    let (mut keys, mut prefixes) = (Unique::default(), Unique::default());
    let (mut peers, mut routed) = (BTreeMap::new(), Vec::new());
    for (name, mut table) in tunnel.named("peer", NAME, is_name) {
        let public_key = match table.value("public_key") {
            Some(value) => {
                public_key(&value, own.as_ref(), "the tunnel's own key").inspect(|key| keys.add(*key, &value))
            }
            None => {
                table.missing("public_key", PUBLIC_KEY);
                None
            }
        };
        let preshared_key = preshared_key(&mut table, context);
        let endpoint = table.value("endpoint");
        let endpoint = endpoint.and_then(|value| value.parsed(ENDPOINT, |text| text.parse().ok()));
        let allowed = allowed_ips(&mut table);
        let keepalive = table.value("persistent_keepalive").and_then(|value| keepalive(&value));
        table.end(HINTS);

        let mut allowed_ips = Vec::new();
        for (prefix, value) in allowed {
            prefixes.add(prefix, &value);
            allowed_ips.push(prefix);
            routed.push((prefix, value));
        }
        let persistent_keepalive = keepalive.unwrap_or(0);
        if let Some(public_key) = public_key {
            let peer = Peer { public_key, preshared_key, endpoint, allowed_ips, persistent_keepalive };
            peers.insert(name.to_owned(), peer);
        }
    }
    keys.end(|_, _| "the same key".to_owned(), "a key for each peer of a tunnel");
    prefixes.end(|_, value| value.found(), "each prefix at one peer of a tunnel");
    (peers, routed)
}

/// A public key other than our `own`, which is called so.
pub(super) fn public_key(value: &Value<'_>, own: Option<&PublicKey>, called: &str) -> Option<PublicKey> {
    let Some(key) = value.text().and_then(|text| PublicKey::from_base64(text).ok()) else {
        // It may be a private key in the wrong place: it is not repeated.
        let found = value.text().map(|text| format!("{} characters that are no key", text.chars().count()));
        value.refused(found.unwrap_or_else(|| value.found()), PUBLIC_KEY);
        return None;
    };
    if key.is_zero() {
        value.refused("a key of zeros", PUBLIC_KEY);
        return None;
    }
    if Some(&key) == own {
        value.refused(format!("\"{key}\", {called}"), "the peer's public key");
        return None;
    }
    Some(key)
}

/// `preshared_key_file`; all zero if there is none.
pub(super) fn preshared_key(table: &mut Table<'_>, context: &mut Context<'_>) -> PresharedKey {
    let key = table.value("preshared_key_file").and_then(|value| {
        let path = path(&value, context.folder)?;
        key_file::key(&value, &path, context, key_file::ALLOWED, |text| PresharedKey::from_base64(text).ok())
    });
    key.unwrap_or_default()
}

/// In ascending order, and each once.
fn allowed_ips<'a>(table: &mut Table<'a>) -> Vec<Routed<'a>> {
    let Some(value) = table.value("allowed_ips") else { return Vec::new() };
    let mut prefixes = value.list(PREFIX, |element| {
        let prefix: Prefix = element.parsed(PREFIX, |text| text.parse().ok())?;
        Some((prefix, element))
    });
    prefixes.sort_by_key(|(prefix, _)| *prefix);
    prefixes.dedup_by_key(|(prefix, _)| *prefix);
    prefixes
}

fn keepalive(value: &Value<'_>) -> Option<u16> {
    if value.text() == Some("off") {
        return Some(0);
    }
    let seconds = value.number().and_then(|number| u16::try_from(number).ok());
    if seconds.is_none() {
        value.wrong(KEEPALIVE);
    }
    seconds
}
