//! The sections of a wg-quick file, as our tables.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use adit_noise::{PresharedKey, PrivateKey};
use adit_wireguard::Prefix;
use zeroize::Zeroizing;

use super::section::{Section, Sections, Setting};
use crate::config::mistake::{Errors, escaped};
use crate::config::peer::PUBLIC_KEY;
use crate::config::source::Source;

/// Our tables, and what belongs to them.
#[derive(Default)]
pub(super) struct Emitted {
    pub(super) toml: String,
    pub(super) secrets: Vec<(PathBuf, Zeroizing<String>)>,
    pub(super) notes: Vec<String>,
    pub(super) origins: Origins,
}

/// For each line of ours the place and the key of what it came from.
#[derive(Default)]
pub(super) struct Origins(Vec<(usize, String)>);

impl Origins {
    /// Tells what is wrong with our lines as what is wrong with theirs.
    pub(super) fn tell(&self, errors: &Errors, source: &Source<'_>) {
        let origin = |line: usize| self.0.get(line.wrapping_sub(1));
        // What is missing was told already.
        for mistake in errors.iter().filter(|mistake| mistake.found != "nothing") {
            let Some((at, key)) = mistake.place.and_then(|place| origin(place.line)) else { continue };
            // "X, after KEY (line N)"
            let other = mistake.found.rsplit_once(", after ").and_then(|(found, other)| {
                let line = other.rsplit_once("(line ")?.1.strip_suffix(')')?.parse().ok()?;
                Some(format!("{found}, after line {}", source.line(origin(line)?.0)))
            });
            source.wrong(*at, key, other.unwrap_or_else(|| mistake.found.clone()), mistake.allowed.clone());
        }
    }
}

/// Writes the tables of the tunnel `name`.
pub(super) fn emit(name: &str, sections: &Sections<'_>, keys: &Path, source: &Source<'_>) -> Emitted {
    let mut emitted = Emitted::default();
    let interface = &sections.interface;
    emitted.about(interface.at, "", &format!("The wg-quick file {name}.conf."));
    if let Some(save) = interface.last("SaveConfig").filter(|save| save.value.eq_ignore_ascii_case("true")) {
        emitted.lost(&save, "adit never writes its configuration");
    }
    emitted.line(interface.at, interface.kind, &format!("[wireguard.{}]", key(name)));
    emitted.interface(name, interface, keys, source);
    let peers = named(&sections.peers);
    let routed = last_owners(&sections.peers);
    for (at, (peer, section)) in peers.iter().zip(&sections.peers).enumerate() {
        emitted.line(section.at, section.kind, "");
        let header = format!("[wireguard.{}.peer.{}]", key(name), key(peer));
        emitted.line(section.at, section.kind, &header);
        // '@' is in no peer's name, so that no two tunnels' peers have one file.
        emitted.peer(&keys.join(format!("{name}@{peer}.psk")), section, source, |setting| {
            let prefix: Option<Prefix> = setting.value.parse().ok();
            prefix.is_none_or(|prefix| routed.get(&prefix) == Some(&at))
        });
    }
    emitted
}

/// What each peer is called: by its comment if nobody before it is called so.
fn named(sections: &[Section<'_>]) -> Vec<String> {
    let wanted: HashSet<_> = sections.iter().filter_map(|section| section.name.as_deref()).collect();
    let (mut taken, mut next) = (HashSet::new(), 1);
    let name = |section: &Section<'_>| {
        if let Some(name) = section.name.clone().filter(|name| taken.insert(name.clone())) {
            return name;
        }
        loop {
            let name = format!("peer-{next}");
            next += 1;
            if !wanted.contains(name.as_str()) {
                return name;
            }
        }
    };
    sections.iter().map(name).collect()
}

/// Which peer has each prefix in the end: with `wg setconf` the last one.
fn last_owners(sections: &[Section<'_>]) -> HashMap<Prefix, usize> {
    let prefixes = sections.iter().enumerate().flat_map(|(at, section)| {
        section
            .list("AllowedIPs")
            .into_iter()
            .filter_map(move |setting| Some((setting.value.parse().ok()?, at)))
    });
    prefixes.collect()
}

impl Emitted {
    fn interface(&mut self, name: &str, section: &Section<'_>, keys: &Path, source: &Source<'_>) {
        let post_up = self.private_key(name, section, keys, source);
        self.setting("listen_port", section.last("ListenPort"), number);
        self.setting(
            "fwmark",
            section.last("FwMark"),
            |text| if text == "off" { "0".into() } else { number(text) },
        );
        self.list("addresses", section, &section.list("Address"));
        for dns in section.all("DNS") {
            self.lost(
                &dns,
                "adit sets no DNS servers; post_up and post_down can, as with `resolvectl dns %i ..`",
            );
        }
        self.setting("mtu", section.last("MTU"), number);
        self.setting("table", section.last("Table"), |text| match text {
            // rt_tables of iproute2
            "main" => "254".into(),
            "default" => "253".into(),
            "local" => "255".into(),
            _ => number(text),
        });
        let hooks = [
            ("pre_up", section.all("PreUp").collect()),
            ("post_up", post_up),
            ("pre_down", section.all("PreDown").collect()),
            ("post_down", section.all("PostDown").collect::<Vec<_>>()),
        ];
        if let Some(first) = hooks.iter().find_map(|(_, commands)| commands.first()) {
            self.line(section.at, section.kind, "");
            self.line(section.at, section.kind, &format!("[wireguard.{}.hooks]", key(name)));
            let line = source.line(first.at);
            self.notes.push(format!("line {line}: commands are run by /bin/sh here, and were by bash"));
        }
        for (ours, commands) in hooks {
            self.list(ours, section, &commands);
        }
    }

    /// Writes where the private key is. Returns the commands of `PostUp` that are left.
    fn private_key<'a>(
        &mut self,
        name: &str,
        section: &Section<'a>,
        keys: &Path,
        source: &Source<'_>,
    ) -> Vec<Setting<'a>> {
        let mut post_up: Vec<_> = section.all("PostUp").collect();
        if let Some(setting) = section.last("PrivateKey") {
            let key = PrivateKey::from_base64(setting.value).ok().map(|key| key.to_base64());
            self.secret("private_key_file", keys.join(format!("{name}.key")), &setting, key, source);
            return post_up;
        }
        let elsewhere = post_up.iter().position(|setting| key_elsewhere(setting.value, name).is_some());
        if let Some(setting) = elsewhere.map(|at| post_up.remove(at)) {
            let path = key_elsewhere(setting.value, name).unwrap_or_default();
            self.line(setting.at, "Interface.PostUp", &format!("private_key_file = {}", string(&path)));
            let line = source.line(setting.at);
            self.notes.push(format!("line {line}: the private key stays in {path}"));
            return post_up;
        }
        let allowed =
            "the 44 characters in base64 that `wg genkey` prints, or `PostUp = wg set %i private-key /FILE`";
        source.wrong(section.at, "Interface.PrivateKey", "nothing", allowed);
        self.line(section.at, section.kind, "private_key_file = \"none\"");
        post_up
    }

    fn peer(
        &mut self,
        psk: &Path,
        section: &Section<'_>,
        source: &Source<'_>,
        routed: impl Fn(&Setting<'_>) -> bool,
    ) {
        if section.last("PublicKey").is_none() {
            source.wrong(section.at, "Peer.PublicKey", "nothing", PUBLIC_KEY);
        }
        self.setting("public_key", section.last("PublicKey"), string);
        if let Some(setting) = section.last("PresharedKey") {
            let key = PresharedKey::from_base64(setting.value).ok().map(|key| key.to_base64());
            self.secret("preshared_key_file", psk.to_owned(), &setting, key, source);
        }
        self.setting("endpoint", section.last("Endpoint"), string);
        let (allowed, lost): (Vec<_>, Vec<_>) = section.list("AllowedIPs").into_iter().partition(routed);
        self.list("allowed_ips", section, &allowed);
        for setting in lost {
            self.lost(&setting, "a later peer has it, as with `wg setconf`");
        }
        self.setting("persistent_keepalive", section.last("PersistentKeepalive"), number);
    }

    fn secret(
        &mut self,
        ours: &str,
        path: PathBuf,
        setting: &Setting<'_>,
        key: Option<Zeroizing<String>>,
        source: &Source<'_>,
    ) {
        let theirs = setting.path();
        self.line(setting.at, &theirs, &format!("{ours} = {}", string(&path.to_string_lossy())));
        // A key that is none is told here, for it is not to be repeated.
        let key = key.unwrap_or_else(|| {
            let found = format!("{} characters that are no key", setting.value.chars().count());
            source.wrong(
                setting.at,
                &theirs,
                found,
                "the 44 characters in base64 that `wg genkey` or `wg genpsk` prints",
            );
            Zeroizing::new(String::from_utf8_lossy(super::ELSEWHERE).into_owned())
        });
        let mut content = Zeroizing::new(String::with_capacity(key.len() + 1));
        content.push_str(&key);
        content.push('\n');
        self.secrets.push((path, content));
    }

    fn setting(&mut self, ours: &str, setting: Option<Setting<'_>>, write: impl Fn(&str) -> String) {
        if let Some(setting) = setting {
            self.line(setting.at, &setting.path(), &format!("{ours} = {}", write(setting.value)));
        }
    }

    fn list(&mut self, ours: &str, section: &Section<'_>, list: &[Setting<'_>]) {
        match list {
            [] => {}
            [one] => self.line(one.at, &one.path(), &format!("{ours} = [{}]", string(one.value))),
            several => {
                self.line(section.at, section.kind, &format!("{ours} = ["));
                for one in several {
                    self.line(one.at, &one.path(), &format!("  {},", string(one.value)));
                }
                self.line(section.at, section.kind, "]");
            }
        }
    }

    /// A comment and a note about what is not carried over.
    fn lost(&mut self, setting: &Setting<'_>, why: &str) {
        let text = format!("{} = {}: {why}", setting.key, escaped(setting.value));
        self.about(setting.at, &setting.path(), &text);
        self.notes.push(text);
    }

    fn about(&mut self, at: usize, theirs: &str, text: &str) {
        self.line(at, theirs, &format!("# {}", escaped(text)));
    }

    fn line(&mut self, at: usize, theirs: &str, text: &str) {
        self.toml.push_str(text);
        self.toml.push('\n');
        self.origins.0.push((at, theirs.to_owned()));
    }
}

/// The file in `wg set %i private-key FILE`.
fn key_elsewhere(command: &str, name: &str) -> Option<String> {
    let words: Vec<_> = command.split_whitespace().collect();
    let ["wg", "set", "%i", "private-key", path] = words.as_slice() else { return None };
    let plain = |c: char| c.is_alphanumeric() || "/._-%+=@,".contains(c);
    (path.starts_with('/') && path.chars().all(plain)).then(|| path.replace("%i", name))
}

/// A whole number as it is, and anything else as a string, so that it is told if it should be a number.
fn number(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let digits = text.trim_start_matches('0');
        return if digits.is_empty() { "0".to_owned() } else { digits.to_owned() };
    }
    string(text)
}

/// A string of TOML.
fn string(text: &str) -> String {
    let mut string = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => string.push_str("\\\""),
            '\\' => string.push_str("\\\\"),
            c if c.is_control() => string.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => string.push(c),
        }
    }
    string.push('"');
    string
}

/// A key of TOML.
fn key(text: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !text.is_empty() && text.bytes().all(bare) { text.to_owned() } else { string(text) }
}
