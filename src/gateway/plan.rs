//! What a reload has to do: the difference between the configuration in use and the one that is wanted.

use std::collections::{BTreeMap, BTreeSet};

use adit_wireguard::PeerChange;
use adit_wireguard::uapi::Change;

use super::network::mark;
use super::terminators::Tables;
use crate::config::{Admin, Config, EndpointName, Gateway, Macsec, Peer, Wireguard};
use crate::net::offload::Offloads;

/// The tunnels by what becomes of them; those that stay as they are are in none of the lists.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Plan {
    pub(super) added: Vec<String>,
    pub(super) removed: Vec<String>,
    pub(super) changed: Vec<String>,
    pub(super) links: Links,
    /// Tunnels whose clients' table was added, changed or removed.
    pub(super) clients: Vec<String>,
    pub(super) tls: Tables,
}

/// The encrypted links, likewise.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Links {
    pub(super) added: Vec<String>,
    pub(super) removed: Vec<String>,
    /// Taken away and made anew.
    pub(super) remade: Vec<String>,
    /// In place.
    pub(super) changed: Vec<String>,
}

impl Links {
    fn new(old: &Config, new: &Config) -> Self {
        let (before, after) = (&old.macsec, &new.macsec);
        let differ = after.iter().filter(|(name, link)| before.get(*name).is_some_and(|old| old != *link));
        let (remade, changed) = differ.partition::<Vec<_>, _>(|(name, link)| !is_same(&before[*name], link));
        let names =
            |links: Vec<(&String, &Macsec)>| links.into_iter().map(|(name, _)| name.clone()).collect();
        Self {
            added: after.keys().filter(|name| !before.contains_key(*name)).cloned().collect(),
            removed: before.keys().filter(|name| !after.contains_key(*name)).cloned().collect(),
            remade: names(remade),
            changed: names(changed),
        }
    }
}

/// Whether two links differ at most in what can be changed while one runs.
fn is_same(old: &Macsec, new: &Macsec) -> bool {
    // Taken apart, so that no key is forgotten.
    let Macsec { carrier, tap, bridge: _, mac, port, suite, protection, replay, .. } = old;
    let Macsec { validate_frames, sci_encoding, clear_tags, mtu: _, keys, key_log_file, hooks: _, .. } = old;
    *carrier == new.carrier
        && *tap == new.tap
        && (*mac, *port) == (new.mac, new.port)
        && (*suite, *protection, *replay) == (new.suite, new.protection, new.replay)
        && (*validate_frames, *sci_encoding) == (new.validate_frames, new.sci_encoding)
        && *clear_tags == new.clear_tags
        && *keys == new.keys
        && *key_log_file == new.key_log_file
}

impl Plan {
    /// Compares. What cannot be changed while the daemon runs is an error, in words.
    pub(super) fn new(old: &Config, new: &Config) -> Result<Self, String> {
        let fixed = fixed(old, new);
        if !fixed.is_empty() {
            return Err(format!("{} changed: that takes a restart of the daemon", fixed.join(", ")));
        }
        let (before, after) = (&old.wireguard, &new.wireguard);
        let changed = |name: &&String| before.get(*name).is_some_and(|tunnel| tunnel != &after[*name]);
        Ok(Self {
            added: after.keys().filter(|name| !before.contains_key(*name)).cloned().collect(),
            removed: before.keys().filter(|name| !after.contains_key(*name)).cloned().collect(),
            changed: after.keys().filter(changed).cloned().collect(),
            clients: changed_clients(old, new),
            links: Links::new(old, new),
            tls: Tables::new(old, new)?,
        })
    }

    /// Takes the tunnels with which something failed last time for changed, unless they are made anew or gone.
    pub(super) fn retry<'a>(&mut self, faulty: impl Iterator<Item = &'a String>, old: &Config, new: &Config) {
        let stays = |name: &&String| {
            old.wireguard.contains_key(*name)
                && new.wireguard.contains_key(*name)
                && !self.changed.contains(name)
        };
        let links = |name: &&String| {
            let Links { remade, changed, .. } = &self.links;
            old.macsec.contains_key(*name)
                && new.macsec.contains_key(*name)
                && !remade.contains(name)
                && !changed.contains(name)
        };
        let faulty: Vec<_> = faulty.collect();
        let again: Vec<_> = faulty.iter().copied().filter(stays).cloned().collect();
        let again_links: Vec<_> = faulty.iter().copied().filter(links).cloned().collect();
        self.changed.extend(again);
        self.links.changed.extend(again_links);
    }

    /// In words.
    pub(super) fn describe(&self) -> String {
        let part = |word: &str, names: &Vec<String>| {
            (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")))
        };
        let Self { added, removed, changed, clients, links, tls } = self;
        let parts = [
            part("added", added),
            part("removed", removed),
            part("changed", changed),
            part("added links", &links.added),
            part("removed links", &links.removed),
            part("made anew", &links.remade),
            part("changed links", &links.changed),
            part("changed clients of", clients),
            part("added TLS", &tls.added),
            part("removed TLS", &tls.removed),
            part("changed TLS", &tls.changed),
        ];
        let words: Vec<_> = parts.into_iter().flatten().collect();
        if words.is_empty() { "nothing changed".into() } else { words.join("; ") }
    }
}

fn changed_clients(old: &Config, new: &Config) -> Vec<String> {
    let names: BTreeSet<_> = old.clients.keys().chain(new.clients.keys()).collect();
    names.into_iter().filter(|name| old.clients.get(*name) != new.clients.get(*name)).cloned().collect()
}

/// Keys that are not the same, of those that count when the daemon starts and not later.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    // Taken apart, so that no key is forgotten.
    let Gateway { name, state, user, workers, pin, offloads } = &old.gateway;
    let Offloads { tun_tso, tun_uso, tun_steering, udp_gso, udp_gro, wide_cipher, link_xdp } = offloads;
    let Admin { directory, read_group, write_group } = &old.admin;
    let (gateway, offload, admin) = (&new.gateway, &new.gateway.offloads, &new.admin);
    // The store is opened for a pool.
    let same_pools =
        old.clients.iter().all(|(name, old)| new.clients.get(name).is_none_or(|new| new.pool == old.pool));
    let same = [
        ("gateway.name", *name == gateway.name),
        ("gateway.state", *state == gateway.state),
        ("gateway.user", *user == gateway.user),
        ("gateway.workers", *workers == gateway.workers),
        ("gateway.pin", *pin == gateway.pin),
        ("gateway.offload.tun_tso", *tun_tso == offload.tun_tso),
        ("gateway.offload.tun_uso", *tun_uso == offload.tun_uso),
        ("gateway.offload.tun_steering", *tun_steering == offload.tun_steering),
        ("gateway.offload.udp_gso", *udp_gso == offload.udp_gso),
        ("gateway.offload.udp_gro", *udp_gro == offload.udp_gro),
        ("gateway.offload.wide_cipher", *wide_cipher == offload.wide_cipher),
        ("gateway.offload.link_xdp", *link_xdp == offload.link_xdp),
        ("admin.directory", *directory == admin.directory),
        ("admin.read_group", *read_group == admin.read_group),
        ("admin.write_group", *write_group == admin.write_group),
        ("clients.NAME.pool", same_pools),
        ("metrics.listen", old.metrics == new.metrics),
        ("log.format", old.log.json == new.log.json),
    ];
    same.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
}

/// What an interface is to be told so that it is as `new` says, having been as `old` says; only what differs. Peers
/// that are gone come first: they go even if the system refuses what follows, the port or the mark. Endpoints that are names
/// are left to the resolver.
pub(super) fn changes(old: Option<&Wireguard>, new: &Wireguard) -> Vec<Change> {
    let (before, after) = (old.map(by_key).unwrap_or_default(), by_key(new));
    let gone = before.iter().filter(|(key, _)| !after.contains_key(*key));
    let mut changes: Vec<_> = gone.map(|(_, peer)| Change::RemovePeer(peer.public_key)).collect();
    if old.is_none_or(|old| old.listen_port != new.listen_port) {
        changes.push(Change::ListenPort(new.listen_port));
    }
    if old.is_none_or(|old| mark(old) != mark(new)) {
        changes.push(Change::Fwmark(mark(new)));
    }
    if old.is_none_or(|old| old.cipher != new.cipher) {
        // Ahead of the key, since either brings about handshakes. Those of another cipher must not be made with a key that goes.
        if old.is_some_and(|old| old.private_key != new.private_key) {
            changes.push(Change::PrivateKey(None));
        }
        changes.push(Change::Cipher(new.cipher));
    }
    if old.is_none_or(|old| old.private_key != new.private_key) {
        changes.push(Change::PrivateKey(Some(new.private_key.clone())));
    }
    let wanted = after.iter().filter(|(key, peer)| before.get(*key) != Some(*peer));
    changes.extend(
        wanted.map(|(key, peer)| Change::Peer(peer.public_key, change(before.get(key).copied(), peer))),
    );
    changes
}

fn by_key(tunnel: &Wireguard) -> BTreeMap<[u8; 32], &Peer> {
    tunnel.peers.values().map(|peer| (*peer.public_key.as_bytes(), peer)).collect()
}

fn change(old: Option<&Peer>, new: &Peer) -> PeerChange {
    let differs = |is: fn(&Peer, &Peer) -> bool| old.is_none_or(|old| !is(old, new));
    let endpoint = match new.endpoint {
        Some(EndpointName::Address(address)) => Some(address),
        Some(EndpointName::Dns { .. }) | None => None,
    };
    let mut change = PeerChange::default();
    if differs(|old, new| old.preshared_key == new.preshared_key) {
        change.preshared_key = Some(new.preshared_key.clone());
    }
    // A peer that has roamed is left where it is, unless the file has another place for it.
    if differs(|old, new| old.endpoint == new.endpoint) {
        change.endpoint = endpoint;
    }
    if differs(|old, new| old.persistent_keepalive == new.persistent_keepalive) {
        change.persistent_keepalive = Some(new.persistent_keepalive);
    }
    if differs(|old, new| old.allowed_ips == new.allowed_ips) {
        change.replace_allowed_ips = true;
        change.allowed_ips = new.allowed_ips.iter().map(|prefix| (true, *prefix)).collect();
    }
    change
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use adit_wireguard::Cipher;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    use zeroize::Zeroizing;

    use super::*;

    const HEAD: &str = "[gateway]\nuser = \"root\"\n";

    fn config(text: &str) -> Config {
        let key = |path: &Path| {
            // A key for each file name, so that two names are two keys.
            let mut key = [path
                .as_os_str()
                .as_encoded_bytes()
                .iter()
                .fold(1_u8, |sum, byte| sum.wrapping_mul(31) ^ byte); 32];
            key[31] = 64;
            Ok(Zeroizing::new(adit_noise::PresharedKey::from_bytes(key).to_base64().as_bytes().to_vec()))
        };
        crate::config::parse("test.toml", &format!("{HEAD}{text}"), &key).unwrap()
    }

    fn tunnel(name: &str, port: u16, peers: &[(&str, u8, &str)]) -> String {
        let mut text =
            format!("[wireguard.{name}]\nprivate_key_file = \"/{name}.key\"\nlisten_port = {port}\n");
        for (peer, key, more) in peers {
            let key = adit_noise::PublicKey::from_bytes([*key; 32]).to_base64();
            text += &format!("[wireguard.{name}.peer.{peer}]\npublic_key = \"{key}\"\n{more}\n");
        }
        text
    }

    fn of(config: &Config) -> &Wireguard {
        &config.wireguard["wg0"]
    }

    #[test]
    fn only_what_differs_is_named() {
        let old = config(&(tunnel("wg0", 1, &[]) + &tunnel("wg1", 2, &[]) + &tunnel("wg2", 3, &[])));
        let new = config(&(tunnel("wg0", 1, &[]) + &tunnel("wg1", 9, &[]) + &tunnel("wg3", 4, &[])));
        let plan = Plan::new(&old, &new).unwrap();
        assert_eq!(plan.describe(), "added wg3; removed wg2; changed wg1");
        assert_eq!(Plan::new(&new, &new).unwrap(), Plan::default());
    }

    #[test]
    fn what_failed_is_tried_again_where_the_tunnel_stays() {
        let old = config(&(tunnel("wg0", 1, &[]) + &tunnel("wg1", 2, &[]) + &tunnel("wg2", 3, &[])));
        let new = config(&(tunnel("wg0", 1, &[]) + &tunnel("wg1", 9, &[]) + &tunnel("wg3", 4, &[])));
        let mut plan = Plan::new(&old, &new).unwrap();
        // The last had ended by itself, and is not in the file any more either.
        let faulty = ["wg0", "wg1", "wg2", "wg3", "wg4"].map(str::to_owned);
        plan.retry(faulty.iter(), &old, &new);
        assert_eq!(plan.changed, ["wg1", "wg0"]);
    }

    #[test]
    fn what_takes_a_restart_is_refused_by_name() {
        let (old, mut new) = (config(""), config(""));
        new.gateway.pin = true;
        new.gateway.offloads.udp_gro = false;
        new.admin.read_group = Some("adit-read".into());
        new.metrics = config("[metrics]\nlisten = \"[::1]:9586\"").metrics;
        new.log.json = true;
        let refused = Plan::new(&old, &new).unwrap_err();
        let keys = "gateway.pin, gateway.offload.udp_gro, admin.read_group, metrics.listen, log.format";
        assert_eq!(refused, format!("{keys} changed: that takes a restart of the daemon"));
    }

    #[test]
    fn fewer_processors_than_at_the_start_do_not_stand_in_the_way() {
        let old = config("");
        let all = sched_getaffinity(None).unwrap();
        let mut one = CpuSet::new();
        one.set((0..CpuSet::MAX_CPU).find(|number| all.is_set(*number)).unwrap());
        // Of this test's thread alone.
        sched_setaffinity(None, &one).unwrap();
        let new = config("");
        sched_setaffinity(None, &all).unwrap();
        assert_eq!(Plan::new(&old, &new).unwrap(), Plan::default());
    }

    #[test]
    fn a_name_and_workers_that_the_file_begins_to_say_take_a_restart() {
        let refused = Plan::new(&config(""), &config("name = \"hq\"\nworkers = 5")).unwrap_err();
        assert!(refused.starts_with("gateway.name, gateway.workers changed"), "{refused}");
    }

    #[test]
    fn an_equal_tunnel_is_not_touched() {
        let text = tunnel("wg0", 1, &[("a", 1, "allowed_ips = [\"10.1.0.0/16\"]")]);
        assert!(changes(Some(of(&config(&text))), of(&config(&text))).is_empty());
    }

    #[test]
    fn a_new_tunnel_is_told_everything_the_port_first() {
        let new = config(&tunnel("wg0", 7, &[("a", 1, "endpoint = \"192.0.2.1:1\"")]));
        let told = changes(None, of(&new));
        assert!(matches!(told[0], Change::ListenPort(7)), "{told:?}");
        assert!(matches!(told[2], Change::Cipher(Cipher::ChaCha20Poly1305)), "{told:?}");
        assert!(matches!(told[3], Change::PrivateKey(Some(_))), "{told:?}");
        let Change::Peer(_, change) = &told[4] else { panic!("{told:?}") };
        assert!(change.replace_allowed_ips && change.endpoint.is_some() && change.preshared_key.is_some());
    }

    #[test]
    fn another_cipher_is_told_alone_and_so_is_going_back() {
        let text = |cipher: &str| tunnel("wg0", 1, &[]) + cipher + &tunnel("wg1", 2, &[("a", 1, "")]);
        let (plain, gcm) = (config(&text("")), config(&text("cipher = \"aes-256-gcm\"\n")));
        assert_eq!(Plan::new(&plain, &gcm).unwrap().changed, ["wg0"]);
        for (old, new) in [(&plain, &gcm), (&gcm, &plain)] {
            let told = changes(Some(of(old)), of(new));
            assert!(matches!(told[..], [Change::Cipher(cipher)] if cipher == of(new).cipher), "{told:?}");
        }
    }

    #[test]
    fn another_cipher_is_never_told_beside_a_key_that_goes() {
        let text = |key: &str, more: &str| {
            config(&format!("[wireguard.wg0]\nprivate_key_file = \"/{key}.key\"\nlisten_port = 1\n{more}\n"))
        };
        let (old, new) = (text("a", ""), text("b", "cipher = \"aes-256-gcm\""));
        let told = changes(Some(of(&old)), of(&new));
        let [Change::PrivateKey(None), Change::Cipher(Cipher::Aes256Gcm), Change::PrivateKey(Some(key))] =
            told.as_slice()
        else {
            panic!("{told:?}")
        };
        assert_eq!(*key, of(&new).private_key);
        // A new tunnel has no key that could go.
        let told = changes(None, of(&new));
        assert!(!told.iter().any(|change| matches!(change, Change::PrivateKey(None))), "{told:?}");
    }

    #[test]
    fn only_the_peer_that_differs_is_told_only_what_differs() {
        let text = |seconds: &str| {
            let more = format!("endpoint = \"192.0.2.1:1\"\npersistent_keepalive = {seconds}");
            tunnel("wg0", 1, &[("a", 1, ""), ("b", 2, &more)])
        };
        let told = changes(Some(of(&config(&text("5")))), of(&config(&text("6"))));
        let [Change::Peer(key, change)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(key.as_bytes(), &[2; 32]);
        assert_eq!(change.persistent_keepalive, Some(6));
        assert!(change.endpoint.is_none(), "a peer that has roamed stays where it is");
        assert!(!change.replace_allowed_ips && change.preshared_key.is_none());
    }

    /// A link of this name, with these lines.
    fn link(name: &str, lines: &str) -> String {
        let peer = adit_noise::PublicKey::from_bytes([9; 32]).to_base64();
        format!(
            "[macsec.{name}]\nlink = \"{name}0\"\nprivate_key_file = \"/{name}\"\npeer_public_key = \"{peer}\"\n{lines}\n"
        )
    }

    #[test]
    fn a_link_is_made_anew_unless_only_its_mtu_its_bridge_or_its_hooks_changed() {
        let old = config(&(link("a", "") + &link("b", "") + &link("c", "")));
        let planned = |lines: &str| {
            Plan::new(&old, &config(&(link("a", "") + &link("b", lines) + &link("d", "")))).unwrap()
        };
        for lines in ["mtu = 9000", "bridge = \"br0\"", "[macsec.b.hooks]\npost_up = [\"true\"]"] {
            let links = planned(lines).links;
            assert_eq!((links.changed, links.remade), (vec!["b".to_owned()], vec![]), "{lines}");
        }
        for lines in [
            "tap = \"t\"",
            "mac = \"02:00:00:00:00:01\"",
            "port = 2",
            "cipher = \"gcm-aes-256\"",
            "replay_window = 1",
            "validate = \"check\"\nallow_unvalidated = true",
            "integrity_only = true\nallow_integrity_only = true",
            "sci = \"none\"",
            "clear_tags = 1",
            "key_log_file = \"/k\"",
            "preshared_key_file = \"/p\"\nmtu = 9000",
        ] {
            let plan = planned(lines);
            assert_eq!(plan.links.remade, ["b"], "{lines}");
            assert_eq!(plan.describe(), "added links d; removed links c; made anew b", "{lines}");
            assert!(plan.links.changed.is_empty() && plan.changed.is_empty());
        }
        let mut again = planned("");
        again.retry(
            ["a".to_owned(), "c".to_owned(), "d".to_owned(), String::new()].iter(),
            &old,
            &config(&link("a", "")),
        );
        assert_eq!(again.links.changed, ["a"], "what failed last time is tried again");
    }

    #[test]
    fn a_peer_with_another_key_is_another_peer() {
        let text = |key| tunnel("wg0", 1, &[("a", key, "")]);
        let told = changes(Some(of(&config(&text(1)))), of(&config(&text(2))));
        let [Change::RemovePeer(old), Change::Peer(new, _)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((old.as_bytes(), new.as_bytes()), (&[1; 32], &[2; 32]));
    }

    #[test]
    fn a_peer_that_is_gone_goes_before_anything_can_be_refused() {
        let old = config(&tunnel("wg0", 1, &[("a", 1, "")]));
        let told = changes(Some(of(&old)), of(&config(&tunnel("wg0", 2, &[]))));
        assert!(matches!(told.as_slice(), [Change::RemovePeer(_), Change::ListenPort(2)]), "{told:?}");
    }

    #[test]
    fn a_name_for_an_endpoint_is_left_to_the_resolver() {
        let new = config(&tunnel("wg0", 1, &[("a", 1, "endpoint = \"vpn.example.org:1\"")]));
        let told = changes(None, of(&new));
        assert!(matches!(&told[4], Change::Peer(_, change) if change.endpoint.is_none()), "{told:?}");
    }
}
