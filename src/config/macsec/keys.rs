//! `keys`, and what each kind of them takes.

use adit_macsec::{CipherSuite, Sci};
use adit_noise::PrivateKey;

use super::super::across::Across;
use super::super::file::Context;
use super::super::peer::{PUBLIC_KEY, preshared_key, public_key};
use super::super::table::Table;
use super::super::tunnel::private_key;
use super::{Keys, Noise, address, associations, read};

/// What `keys` may be.
const KEYS: &str = "\"noise\" or \"static\"";
/// Keys of the table that go with one kind alone.
const NOISE: [&str; 3] = ["private_key_file", "peer_public_key", "preshared_key_file"];
const STATIC: [&str; 2] = ["transmit", "receive"];

#[derive(Clone, Copy, Eq, PartialEq)]
enum Kind {
    Noise,
    Static,
}

/// `keys` of a link with this suite and, if it is known already, this SCI; `None` if anything is wrong.
pub(super) fn keys<'a>(
    table: &mut Table<'a>,
    suite: Option<CipherSuite>,
    own: Option<Sci>,
    context: &mut Context<'_>,
    across: &mut Across<'a>,
) -> Option<Keys> {
    let kind = kind(table);
    only(table, &NOISE, kind, Kind::Noise, "\"noise\"");
    only(table, &STATIC, kind, Kind::Static, "\"static\"");
    match kind? {
        Kind::Noise => noise(table, context, across).map(Keys::Noise),
        Kind::Static => associations::read(table, suite, own, context, across).map(Keys::Static),
    }
}

/// `None` if it is neither.
fn kind(table: &mut Table<'_>) -> Option<Kind> {
    let value = table.value("keys");
    let allowed = read::switch(table, "allow_static");
    let Some(value) = value else { return Some(Kind::Noise) };
    let kind = value.parsed(KEYS, |text| match text {
        "noise" => Some(Kind::Noise),
        "static" => Some(Kind::Static),
        _ => None,
    });
    if kind == Some(Kind::Static) && !allowed {
        value.wrong("\"noise\", or allow_static = true beside it: whoever finds a static key reads all that was ever sent under it");
    }
    kind
}

/// Tells of those of `keys` that are there though they belong to another kind than this.
fn only(table: &mut Table<'_>, keys: &[&'static str], found: Option<Kind>, kind: Kind, word: &str) {
    for key in keys {
        if let Some(value) = table.value(key).filter(|_| found.is_some_and(|found| found != kind)) {
            value.refused(format!("{}, which goes with keys = {word}", value.found()), "no such key here");
        }
    }
}

fn noise<'a>(table: &mut Table<'a>, context: &mut Context<'_>, across: &mut Across<'a>) -> Option<Noise> {
    let private_key = private_key(table, context).map(|(key, value)| {
        across.link_key(key.public(), &value);
        key
    });
    let peer = match table.value("peer_public_key") {
        Some(value) => {
            public_key(&value, private_key.as_ref().map(PrivateKey::public).as_ref(), "the link's own key")
        }
        None => {
            table.missing("peer_public_key", PUBLIC_KEY);
            None
        }
    };
    let preshared_key = preshared_key(table, context);
    Some(Noise { private_key: private_key?, peer: peer?, preshared_key })
}

impl Keys {
    /// The MAC address of a station that has these keys and no other address.
    pub(super) fn address(&self) -> Option<[u8; 6]> {
        match self {
            Self::Noise(noise) => Some(address::derived(&noise.private_key.public())),
            Self::Static(_) => None,
        }
    }
}
