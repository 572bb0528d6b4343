//! The lines of a wg-quick file, as its script and `wg setconf` read them.

use crate::config::file::is_name;
use crate::config::mistake::{may_be_key, quoted};
use crate::config::source::Source;
use crate::config::table::nearest;

/// What may stand in `[Interface]`.
const INTERFACE: &[&str] = &[
    "PrivateKey",
    "ListenPort",
    "FwMark",
    "Address",
    "DNS",
    "MTU",
    "Table",
    "PreUp",
    "PostUp",
    "PreDown",
    "PostDown",
    "SaveConfig",
];
/// What may stand in `[Peer]`.
const PEER: &[&str] = &["PublicKey", "PresharedKey", "AllowedIPs", "Endpoint", "PersistentKeepalive"];
/// Those of which there may be several, and each counts.
const SEVERAL: &[&str] = &["Address", "DNS", "PreUp", "PostUp", "PreDown", "PostDown", "AllowedIPs"];

/// All sections of a file.
#[derive(Debug, Default)]
pub(super) struct Sections<'a> {
    /// What all `[Interface]` sections say.
    pub(super) interface: Section<'a>,
    /// Each `[Peer]`.
    pub(super) peers: Vec<Section<'a>>,
    /// What was passed over.
    pub(super) notes: Vec<String>,
}

/// What a section says.
#[derive(Debug, Default)]
pub(super) struct Section<'a> {
    /// `Interface` or `Peer`
    pub(super) kind: &'static str,
    /// Where it begins.
    pub(super) at: usize,
    /// A name from a comment.
    pub(super) name: Option<String>,
    settings: Vec<Setting<'a>>,
}

/// A line `KEY = VALUE`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    /// The section's name.
    pub(super) kind: &'static str,
    /// The key, in the usual spelling.
    pub(super) key: &'static str,
    /// Where the value is.
    pub(super) at: usize,
    /// The value.
    pub(super) value: &'a str,
}

impl<'a> Section<'a> {
    /// Every line of a key.
    pub(super) fn all(&self, key: &'static str) -> impl Iterator<Item = Setting<'a>> + use<'a, '_> {
        self.settings.iter().copied().filter(move |setting| setting.key == key)
    }

    /// The line of a key that counts: the last.
    pub(super) fn last(&self, key: &'static str) -> Option<Setting<'a>> {
        self.all(key).last()
    }

    /// What is between the commas of every line of a key.
    pub(super) fn list(&self, key: &'static str) -> Vec<Setting<'a>> {
        self.all(key).flat_map(Setting::elements).collect()
    }
}

impl<'a> Setting<'a> {
    /// How the key is called in what is told.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.kind, self.key)
    }

    fn elements(self) -> impl Iterator<Item = Self> {
        let mut at = self.at;
        let element = move |text: &'a str| {
            let here = at + text.len() - text.trim_start().len();
            at += text.len() + 1;
            Self { at: here, value: text.trim(), ..self }
        };
        let several = self.value.contains(',');
        self.value.split(',').map(element).filter(move |element| several || !element.value.is_empty())
    }
}

/// Where the reader is.
enum Current {
    /// Before the first section, or in one that is unknown.
    Nowhere,
    Interface,
    Peer,
}

/// Reads all lines, and tells `source` which are wrong.
pub(super) fn read<'a>(source: &Source<'_>, text: &'a str) -> Sections<'a> {
    let mut sections = Sections::default();
    sections.interface.kind = "Interface";
    let (mut current, mut comment, mut start) = (Current::Nowhere, None, 0);
    for line in text.split_inclusive('\n') {
        let (content, said) =
            line.split_once('#').map_or((line, None), |(content, said)| (content, Some(said)));
        let at = start + content.len() - content.trim_start().len();
        let content = content.trim();
        start += line.len();
        if content.starts_with('[') {
            let name = comment.take().and_then(name).or_else(|| said.and_then(name));
            current = sections.begin(source, content, at, name);
        } else if content.is_empty() {
            // A comment alone may be about what follows; an empty line parts them.
            comment = said;
        } else {
            let within = comment.take().and_then(name);
            if let (Current::Peer, Some(peer)) = (&current, sections.peers.last_mut()) {
                peer.name = peer.name.take().or(within);
            }
            sections.line(source, &current, content, at);
        }
    }
    sections
}

impl<'a> Sections<'a> {
    fn begin(&mut self, source: &Source<'_>, content: &str, at: usize, name: Option<String>) -> Current {
        if content.eq_ignore_ascii_case("[interface]") {
            self.interface.at = at;
            Current::Interface
        } else if content.eq_ignore_ascii_case("[peer]") {
            self.peers.push(Section { kind: "Peer", at, name, settings: Vec::new() });
            Current::Peer
        } else {
            source.wrong(at, "", quoted(content), "[Interface] or [Peer]");
            Current::Nowhere
        }
    }

    fn line(&mut self, source: &Source<'_>, current: &Current, content: &'a str, at: usize) {
        let (section, known) = match (current, self.peers.last_mut()) {
            (Current::Peer, Some(peer)) => (peer, PEER),
            (Current::Interface, _) => (&mut self.interface, INTERFACE),
            (Current::Nowhere | Current::Peer, _) => {
                return source.wrong(at, "", "a line in no section", "[Interface] or [Peer] before it");
            }
        };
        let Some((key, value)) = content.split_once('=') else {
            // What stands there may be a key.
            return source.wrong(at, section.kind, "a line without '='", "KEY = VALUE");
        };
        let at_value = at + key.len() + 1 + value.len() - value.trim_start().len();
        let (key, value) = (key.trim(), value.trim());
        let Some(key) = known.iter().copied().find(|known| known.eq_ignore_ascii_case(key)) else {
            let near = nearest(known, key).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
            let path = format!("{}.{}", section.kind, quoted(key));
            return source.wrong(at, &path, "an unknown key", format!("{}{near}", known.join(", ")));
        };
        if !SEVERAL.contains(&key) && section.last(key).is_some() {
            let line = source.line(at);
            self.notes
                .push(format!("line {line}: {key} is there again; the last one counts, as in wg-quick"));
        }
        section.settings.push(Setting { kind: section.kind, key, at: at_value, value });
    }
}

/// What a comment calls a peer: up to three words, or what is behind `name =`.
fn name(comment: &str) -> Option<String> {
    let comment = comment.trim_start_matches('#').trim();
    let behind = comment.split_once(['=', ':']).filter(|(before, _)| {
        ["name", "friendly_name", "peer", "client"]
            .iter()
            .any(|word| before.trim().eq_ignore_ascii_case(word))
    });
    let words: Vec<_> = behind.map_or(comment, |(_, name)| name).split_whitespace().collect();
    let name = words.join("-");
    (words.len() <= 3 && is_name(&name) && !may_be_key(comment)).then_some(name)
}
