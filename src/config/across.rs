//! What tunnels and links of one file must not have in common.

use std::collections::{HashMap, HashSet};

use adit_macsec::KeyId;
use adit_noise::PublicKey;

use super::table::Value;
use super::unique::Unique;

/// What has been read of them so far.
#[derive(Default)]
pub(super) struct Across<'a> {
    /// What tables and interfaces are called.
    names: Unique<'a, String>,
    /// Interfaces that are made, by the keys that say so.
    made: HashMap<String, String>,
    /// Interfaces that have to be there.
    needed: Vec<(String, Value<'a>)>,
    bridges: Vec<(String, Value<'a>)>,
    links: Unique<'a, String>,
    ports: Unique<'a, u16>,
    /// Private keys, by their public halves.
    identities: Unique<'a, PublicKey>,
    tunnels: HashSet<PublicKey>,
    /// Static keys that are sent under.
    transmit: Unique<'a, KeyId>,
}

impl<'a> Across<'a> {
    /// An interface of this name is made; `value` says so.
    pub(super) fn interface(&mut self, name: &str, value: &Value<'a>) {
        self.name(name, value);
        self.made.entry(name.to_owned()).or_insert_with(|| value.path().to_owned());
    }

    /// A table has this name, and may have an interface of another.
    pub(super) fn name(&mut self, name: &str, value: &Value<'a>) {
        self.names.add(name.to_owned(), value);
    }

    /// Whether a tunnel of this name is among those that were read, be it wrong.
    pub(super) fn makes_tunnel(&self, name: &str) -> bool {
        self.made.get(name).is_some_and(|by| by.starts_with("wireguard."))
    }

    /// Frames leave by this link.
    pub(super) fn link(&mut self, name: &str, value: &Value<'a>) {
        self.links.add(name.to_owned(), value);
        self.needed.push((name.to_owned(), value.clone()));
    }

    /// An interface is made a port of this bridge.
    pub(super) fn bridge(&mut self, name: &str, value: &Value<'a>) {
        self.bridges.push((name.to_owned(), value.clone()));
        self.needed.push((name.to_owned(), value.clone()));
    }

    /// Datagrams are received on this port, unless it is 0.
    pub(super) fn port(&mut self, port: u16, value: &Value<'a>) {
        if port != 0 {
            self.ports.add(port, value);
        }
    }

    /// A tunnel has the private key of this public one. Tunnels may share it.
    pub(super) fn tunnel_key(&mut self, key: PublicKey, value: &Value<'a>) {
        if self.tunnels.insert(key) {
            self.identities.add(key, value);
        }
    }

    /// A link has the private key of this public one.
    pub(super) fn link_key(&mut self, key: PublicKey, value: &Value<'a>) {
        self.identities.add(key, value);
    }

    /// A link sends under this key.
    pub(super) fn transmit_key(&mut self, key: KeyId, value: &Value<'a>) {
        self.transmit.add(key, value);
    }

    /// Tells of all that is there twice.
    pub(super) fn end(self) {
        let found = Value::found;
        for (name, value) in &self.needed {
            if let Some(by) = self.made.get(name) {
                let found = format!("{}, which {by} makes", found(value));
                value.refused(found, "an interface that is there without the daemon");
            }
        }
        for (name, value) in &self.bridges {
            if let Some(first) = self.links.first(name) {
                let found =
                    format!("{}, by which {} (line {}) sends", found(value), first.path(), first.line());
                value.refused(found, "a bridge that is no link of a [macsec.NAME]: what comes out of one link in clear must not leave by another");
            }
        }
        let allowed = "a name that no other tunnel, link or TAP device of this file has";
        self.names.end(|name, _| format!("\"{name}\""), allowed);
        self.links.end(|_, value| found(value), "a link for each [macsec.NAME]");
        self.ports.end(|_, value| found(value), "a port that no other tunnel or link listens on, or 0");
        self.identities.end(
            |_, value| format!("{}, the same key", found(value)),
            "a key of its own for each [macsec.NAME]: with one key, messages of one link would be valid on another, and two layers would be broken at once",
        );
        self.transmit.end(
            |_, value| format!("{}, the same key", found(value)),
            "a key of its own for each [macsec.NAME.transmit]",
        );
    }
}
