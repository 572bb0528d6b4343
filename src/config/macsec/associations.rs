//! `keys = "static"`: channels, and the keys that they have.

use std::collections::{HashMap, HashSet};

use adit_macsec::{An, CipherSuite, KeyId, Salt, Sci, Ssci};

use super::super::across::Across;
use super::super::file::{Context, NAME, is_name, path};
use super::super::key_file;
use super::super::table::{Table, Value};
use super::super::unique::Unique;
use super::{Association, Channel, Static, StaticKey, Xpn, address};

/// What the transmit channel may be.
const TRANSMIT: &str = "a table [macsec.NAME.transmit] with our key: key_file = \"FILE\"";
/// What the receive channels may be.
const RECEIVE: &str = "a table [macsec.NAME.receive.CHANNEL] for each other station";
/// What the associations of a receive channel may be.
const ASSOCIATIONS: &str = "one association or more, as sa.0 = { key_file = \"FILE\" }";
/// What their numbers may be.
const AN: &str = "an association's number, 0 to 3";
/// What `ssci` may be.
const SSCI: &str = "a whole number from 1 to 4294967295, another for each sender under a key";
/// What `salt` may be.
const SALT: &str = "24 hexadecimal digits, the same for all senders under a key";
/// What wrong keys were probably meant to be.
const HINTS: &[(&str, &str)] =
    &[("key", "no keys in this file: write it to a file of mode 0600 and name that as key_file")];

/// An association, and where what must not be there twice stands.
struct Read<'a> {
    association: Association,
    key_file: Value<'a>,
    ssci: Option<Value<'a>>,
    salt: Option<Value<'a>>,
}

/// A channel as far as it could be read.
type Associations<'a> = Vec<(An, Read<'a>)>;

/// Both directions, on a link with this suite and, if it is known already, this SCI; `None` if anything is wrong.
pub(super) fn read<'a>(
    table: &mut Table<'a>,
    suite: Option<CipherSuite>,
    own: Option<Sci>,
    context: &mut Context<'_>,
    across: &mut Across<'a>,
) -> Option<Static> {
    let transmit = transmit(table, suite, context);
    if let Some((_, read)) = &transmit {
        across.transmit_key(read.association.key.id(), &read.key_file);
    }
    let mut scis = Unique::default();
    let mut channels = Vec::new();
    for (name, mut table) in table.named("receive", NAME, is_name) {
        let sci = sci(&mut table, own, &mut scis);
        channels.push((name.to_owned(), sci, associations(&mut table, suite, context)));
        table
            .end(&[("address", "did you mean sci?"), ("key_file", "did you mean sa.0 = { key_file = .. }?")]);
    }
    if channels.is_empty() && table.value("receive").is_none_or(|value| value.is_table()) {
        table.missing("receive", RECEIVE);
    }
    scis.end(|_, value| value.found(), "a channel for each other station");

    let sending = transmit.iter().map(|(_, read)| (0, read));
    let receiving = (1..)
        .zip(&channels)
        .flat_map(|(channel, (.., associations))| associations.iter().map(move |(_, read)| (channel, read)));
    shared(sending.chain(receiving));

    let (an, transmit) = transmit?;
    let channel = |(name, sci, associations): (String, Option<Sci>, Associations<'a>)| {
        let associations = associations.into_iter().map(|(an, read)| (an, read.association)).collect();
        Some((name, Channel { sci: sci?, associations }))
    };
    let receive = channels.into_iter().map(channel).collect::<Option<_>>()?;
    Some(Static { an, transmit: transmit.association, receive })
}

/// `[macsec.NAME.transmit]`
fn transmit<'a>(
    table: &mut Table<'a>,
    suite: Option<CipherSuite>,
    context: &mut Context<'_>,
) -> Option<(An, Read<'a>)> {
    if table.value("transmit").is_none() {
        table.missing("transmit", TRANSMIT);
    }
    let mut table = table.optional_table("transmit")?;
    let an = match table.value("an") {
        Some(value) => value.integer(0..=3).and_then(An::new),
        None => An::new(0),
    };
    let read = association(&mut table, suite, context);
    table.end(HINTS);
    Some((an?, read?))
}

/// `sa.AN` of a channel.
fn associations<'a>(
    table: &mut Table<'a>,
    suite: Option<CipherSuite>,
    context: &mut Context<'_>,
) -> Associations<'a> {
    let number = |name: &str| An::ALL.into_iter().find(|an| an.to_string() == name);
    let named = table.named("sa", AN, |name| number(name).is_some());
    if named.is_empty() && table.value("sa").is_none_or(|value| value.is_table()) {
        table.missing("sa", ASSOCIATIONS);
    }
    let mut read = |(name, mut table): (&str, Table<'a>)| {
        let read = association(&mut table, suite, context);
        table.end(HINTS);
        Some((number(name)?, read?))
    };
    named.into_iter().filter_map(&mut read).collect()
}

fn association<'a>(
    table: &mut Table<'a>,
    suite: Option<CipherSuite>,
    context: &mut Context<'_>,
) -> Option<Read<'a>> {
    let allowed = allowed(suite);
    let key_file = table.value("key_file");
    if key_file.is_none() {
        table.missing("key_file", &allowed);
    }
    let key = key_file.and_then(|value| Some((key(&value, suite, &allowed, context)?, value)));
    let (ssci, salt) = (table.value("ssci"), table.value("salt"));
    let xpn = match suite {
        Some(suite) if !suite.is_xpn() => {
            for value in [&ssci, &salt].into_iter().flatten() {
                value.refused(
                    value_of(value),
                    format!("no such key with {suite}: only extended packet numbers have it"),
                );
            }
            None
        }
        _ => {
            let found = (ssci.as_ref().map(ssci_of), salt.as_ref().map(salt_of));
            for (key, allowed) in [("ssci", SSCI), ("salt", SALT)] {
                if suite.is_some() && table.value(key).is_none() {
                    table.missing(key, allowed);
                }
            }
            let (Some(Some(ssci)), Some(Some(salt))) = found else { return None };
            Some(Xpn { ssci, salt })
        }
    };
    let (key, key_file) = key?;
    Some(Read { association: Association { key, xpn }, key_file, ssci, salt })
}

/// Of another length it is no key of this suite.
fn key(
    value: &Value<'_>,
    suite: Option<CipherSuite>,
    allowed: &str,
    context: &mut Context<'_>,
) -> Option<StaticKey> {
    let path = path(value, context.folder)?;
    let key = key_file::key(value, &path, context, allowed, StaticKey::from_hex)?;
    let octets = key.as_bytes().len();
    if suite.is_some_and(|suite| suite.key_len() != octets) {
        value.refused(format!("{}, which holds a key of {} digits", value.found(), 2 * octets), allowed);
        return None;
    }
    Some(key)
}

/// What a key file may be.
fn allowed(suite: Option<CipherSuite>) -> String {
    let digits = match suite {
        Some(suite) => format!("{} hexadecimal digits of a key of {suite}", 2 * suite.key_len()),
        None => "32 or 64 hexadecimal digits of a key".to_owned(),
    };
    format!("a file of mode 0600 with the {digits}, as `ip macsec` takes them")
}

fn ssci_of(value: &Value<'_>) -> Option<Ssci> {
    let number = value.number().and_then(|number| u32::try_from(number).ok()).filter(|number| *number != 0);
    if number.is_none() {
        value.wrong(SSCI);
    }
    number.map(Ssci)
}

fn salt_of(value: &Value<'_>) -> Option<Salt> {
    let mut salt = Salt::default();
    let read = value
        .text()
        .is_some_and(|text| text.len() == 2 * salt.len() && base16ct::mixed::decode(text, &mut salt).is_ok());
    if !read {
        value.refused(value_of(value), SALT);
    }
    read.then_some(salt)
}

/// A text may be a key in the wrong place: it is not repeated.
fn value_of(value: &Value<'_>) -> String {
    value.text().map_or_else(|| value.found(), |text| format!("{} characters", text.chars().count()))
}

/// `sci` of a receive channel.
fn sci<'a>(table: &mut Table<'a>, own: Option<Sci>, scis: &mut Unique<'a, Sci>) -> Option<Sci> {
    let Some(value) = table.value("sci") else {
        table.missing("sci", address::SCI);
        return None;
    };
    let digits = value.text().and_then(address::sci_of_digits);
    let hint = digits.map(|sci| format!("; {} is the same", address::shown(sci))).unwrap_or_default();
    let sci = value.parsed(&format!("{}{hint}", address::SCI), address::sci)?;
    if Some(sci) == own {
        value.refused(format!("{}, our own SCI", value.found()), "the other station's: each has its own");
        return None;
    }
    scis.add(sci, &value);
    Some(sci)
}

/// Tells of keys that are shared so that nonces, or the packet numbers that were seen, would come again. Each comes with the
/// number of its channel.
fn shared<'r, 'a: 'r>(reads: impl Iterator<Item = (usize, &'r Read<'a>)>) {
    let (mut keys, mut senders) = (Unique::default(), Unique::default());
    let mut once = HashSet::new();
    let mut salts: HashMap<KeyId, (Salt, &Value<'a>)> = HashMap::new();
    for (channel, read) in reads {
        let key = read.association.key.id();
        keys.add((channel, key), &read.key_file);
        let Some(xpn) = read.association.xpn.filter(|_| once.insert((channel, key))) else { continue };
        if let Some(value) = &read.ssci {
            senders.add((key, xpn.ssci), value);
        }
        let Some(value) = &read.salt else { continue };
        let (salt, first) = *salts.entry(key).or_insert((xpn.salt, value));
        if salt != xpn.salt {
            let found = format!("another than {} (line {}) for the same key", first.path(), first.line());
            value.refused(found, SALT);
        }
    }
    keys.end(
        |_, value| format!("{}, the same key", value.found()),
        "a key for each association of a channel",
    );
    senders.end(|_, value| format!("{} for the same key", value.found()), SSCI);
}
