//! Reads `[macsec.NAME]`.

use std::collections::BTreeMap;

use adit_macsec::{CipherSuite, Offset, Protection, Replay, Sci, SciEncoding, ValidateFrames};

use super::super::across::Across;
use super::super::file::{self, Context};
use super::super::table::{Table, Value};
use super::super::tunnel::{INTERFACE, hooks};
use super::{Carrier, Keys, Macsec, address, carrier, keys};
use crate::control::interface_name;

/// What `cipher` may be.
const CIPHER: &str = "\"gcm-aes-xpn-256\", \"gcm-aes-xpn-128\", \"gcm-aes-256\" or \"gcm-aes-128\"";
/// What `cipher` is by default.
const DEFAULT_SUITE: CipherSuite = CipherSuite::GcmAesXpn256;
/// What `validate` may be.
const VALIDATE: &str = "\"strict\", \"check\" or \"disabled\"";
/// What `sci` may be.
const SCI: &str = "\"included\", \"end-station\", \"broadcast\" or \"none\"";
/// An Ethernet device's limit (the kernel's `MAX_MTU` less a header), and what IPv4 wants at least.
const MTU: std::ops::RangeInclusive<i128> = 576..=65_521;
/// What wrong keys were probably meant to be.
const HINTS: &[(&str, &str)] = &[
    (
        "private_key",
        "no keys in this file: write it to a file of mode 0600 and name that as private_key_file",
    ),
    (
        "preshared_key",
        "no keys in this file: write it to a file of mode 0600 and name that as preshared_key_file",
    ),
    ("public_key", "did you mean peer_public_key?"),
    ("listen_port", "did you mean udp = { listen = .. }?"),
    ("endpoint", "did you mean udp = { peer = .. }?"),
    ("peer", "did you mean udp = { peer = .. } or peer_public_key?"),
    ("interface", "did you mean link?"),
    ("window", "did you mean replay_window?"),
    ("offset", "did you mean confidentiality_offset?"),
    ("encrypt", "it always does, but for integrity_only = true"),
    ("addresses", "the system sets addresses of the device, or those of its bridge; a hook can"),
    ("workers", "a link has one worker"),
    ("sa", "did you mean [macsec.NAME.receive.CHANNEL]?"),
];

/// Every `[macsec.NAME]`.
pub(in super::super) fn links<'a>(
    root: &mut Table<'a>,
    context: &mut Context<'_>,
    across: &mut Across<'a>,
) -> BTreeMap<String, Macsec> {
    let mut links = BTreeMap::new();
    for (name, table) in root.named("macsec", INTERFACE, |name| interface_name(name).is_ok()) {
        if let Some(link) = link(name, table, context, across) {
            links.insert(name.to_owned(), link);
        }
    }
    links
}

fn link<'a>(
    name: &str,
    mut table: Table<'a>,
    context: &mut Context<'_>,
    across: &mut Across<'a>,
) -> Option<Macsec> {
    let carrier = carrier::carrier(&mut table, across);
    let (tap, bridge) = carrier::device(name, &mut table, across);
    let suite = suite(&mut table);
    let protection = protection(&mut table, suite);
    let over_udp = matches!(carrier, Some(Carrier::Udp(_)));
    let replay = replay(&mut table, suite, over_udp);
    let validate_frames = validate_frames(&mut table);
    let clear_tags = clear_tags(&mut table, over_udp);
    let encoding = table.value("sci");
    let sci_encoding = encoding.as_ref().and_then(sci_encoding).unwrap_or_default();
    let port = port(&mut table, sci_encoding);
    let mac_value = table.value("mac");
    let mac = mac_value.as_ref().and_then(|value| value.parsed(address::MAC, address::mac));
    let mtu = table.value("mtu").and_then(|value| value.integer(MTU));
    let key_log_file = table.value("key_log_file").and_then(|value| file::path(&value, context.folder));
    let hooks = hooks(table.table("hooks"));

    let own = mac.map(|mac| Sci::new(mac, port));
    let keys = keys::keys(&mut table, suite, own, context, across);
    if mac_value.is_none() && over_udp && matches!(keys, Some(Keys::Static(_))) {
        table.missing("mac", address::MAC);
    }
    if let Some(value) = &encoding {
        agree_with_encoding(value, sci_encoding, bridge.as_deref(), keys.as_ref());
    }
    table.end(HINTS);
    let (carrier, suite, keys) = (carrier?, suite?, keys?);
    let mac = mac.or_else(|| keys.address().filter(|_| over_udp));
    Some(Macsec {
        carrier,
        tap,
        bridge,
        mac,
        port,
        suite,
        protection,
        replay,
        validate_frames,
        sci_encoding,
        clear_tags,
        mtu,
        keys,
        key_log_file,
        hooks,
    })
}

/// `None` if it is not one.
fn suite(table: &mut Table<'_>) -> Option<CipherSuite> {
    let Some(value) = table.value("cipher") else { return Some(DEFAULT_SUITE) };
    value.parsed(CIPHER, |text| text.parse().ok())
}

fn protection(table: &mut Table<'_>, suite: Option<CipherSuite>) -> Protection {
    let only = table.value("integrity_only");
    let allowed = switch(table, "allow_integrity_only");
    let integrity_only = only.as_ref().and_then(Value::switch).unwrap_or(false);
    if let Some(value) = only.filter(|_| integrity_only && !allowed) {
        value
            .wrong("false, or allow_integrity_only = true beside it: everything can be read on the way then");
    }
    let value = table.value("confidentiality_offset");
    let offset = value.as_ref().and_then(|value| offset(value, suite, integrity_only)).unwrap_or_default();
    if integrity_only { Protection::IntegrityOnly } else { Protection::Confidentiality(offset) }
}

fn offset(value: &Value<'_>, suite: Option<CipherSuite>, integrity_only: bool) -> Option<Offset> {
    let xpn = suite.filter(|suite| suite.is_xpn());
    let offset = [Offset::Zero, Offset::Thirty, Offset::Fifty]
        .into_iter()
        .find(|offset| value.number() == Some(offset.octets() as i128));
    match (offset, xpn) {
        (None, None) => value.wrong("0, 30 or 50 octets"),
        (None | Some(Offset::Thirty | Offset::Fifty), Some(suite)) => {
            value.wrong(format!("0: {suite} has no offsets; gcm-aes-128 and gcm-aes-256 have 30 and 50"));
        }
        (Some(Offset::Thirty | Offset::Fifty), None) if integrity_only => {
            value.wrong("0: with integrity_only = true nothing is encrypted");
        }
        (Some(_), _) => return offset,
    }
    None
}

fn replay(table: &mut Table<'_>, suite: Option<CipherSuite>, over_udp: bool) -> Replay {
    let value = table.value("replay_window");
    if over_udp {
        if let Some(value) = value {
            value
                .refused(value.found(), "no such key with udp: a window of fixed size takes each frame once");
        }
        return Replay::Bitmap;
    }
    let most = match suite.filter(|suite| suite.is_xpn()) {
        Some(_) => Replay::XPN_MAX,
        None => u32::MAX,
    };
    let frames = value.and_then(|value| {
        let frames =
            value.number().and_then(|number| u32::try_from(number).ok()).filter(|frames| *frames <= most);
        if frames.is_none() {
            let why = suite.filter(|suite| suite.is_xpn()).map(|suite| format!(" with {suite}"));
            value.wrong(format!("a whole number of frames from 0 to {most}{}", why.unwrap_or_default()));
        }
        frames
    });
    Replay::Window(frames.unwrap_or(0))
}

fn validate_frames(table: &mut Table<'_>) -> ValidateFrames {
    let value = table.value("validate");
    let allowed = switch(table, "allow_unvalidated");
    let Some(value) = value else { return ValidateFrames::Strict };
    let found = value.parsed(VALIDATE, |text| match text {
        "strict" => Some(ValidateFrames::Strict),
        "check" => Some(ValidateFrames::Check),
        "disabled" => Some(ValidateFrames::Disabled),
        _ => None,
    });
    let found = found.unwrap_or_default();
    if found != ValidateFrames::Strict && !allowed {
        value.wrong("\"strict\", or allow_unvalidated = true beside it: frames that nobody vouches for are delivered then");
    }
    found
}

/// A VLAN tag in clear is for switches between the two ends, which a datagram does not pass as a frame.
fn clear_tags(table: &mut Table<'_>, over_udp: bool) -> u8 {
    let Some(value) = table.value("clear_tags") else { return 0 };
    let tags = value.number().and_then(|number| u8::try_from(number).ok());
    match (tags, over_udp) {
        (Some(0), _) => {}
        (Some(1), false) => return 1,
        (_, false) => value.wrong("0 or 1"),
        (_, true) => value.wrong("0: with udp nothing on the way looks at tags"),
    }
    0
}

fn sci_encoding(value: &Value<'_>) -> Option<SciEncoding> {
    value.parsed(SCI, |text| match text {
        "included" => Some(SciEncoding::Included),
        "end-station" => Some(SciEncoding::EndStation),
        "broadcast" => Some(SciEncoding::Broadcast),
        "none" => Some(SciEncoding::PointToPoint),
        _ => None,
    })
}

/// What receivers take the port for where it is not in the frame; 0 stands for broadcast alone.
fn port(table: &mut Table<'_>, encoding: SciEncoding) -> u16 {
    let (default, allowed, why) = match encoding {
        SciEncoding::Included | SciEncoding::PointToPoint => (1, 1..=u16::MAX, ""),
        SciEncoding::EndStation => {
            (Sci::END_STATION_PORT, 1..=1, "1, which sci = \"end-station\" stands for")
        }
        SciEncoding::Broadcast => (Sci::BROADCAST_PORT, 0..=0, "0, which sci = \"broadcast\" stands for"),
    };
    let Some(value) = table.value("port") else { return default };
    let port =
        value.number().and_then(|number| u16::try_from(number).ok()).filter(|port| allowed.contains(port));
    if port.is_none() {
        value.wrong(if why.is_empty() { "a whole number from 1 to 65535" } else { why });
    }
    port.unwrap_or(default)
}

/// Where the SCI is not in the frame, receivers have to know it otherwise.
fn agree_with_encoding(value: &Value<'_>, encoding: SciEncoding, bridge: Option<&str>, keys: Option<&Keys>) {
    let found = value.found();
    match (encoding, bridge, keys) {
        (SciEncoding::EndStation | SciEncoding::Broadcast, Some(bridge), _) => value.refused(
            format!("{found} with bridge = \"{bridge}\""),
            "\"included\": receivers would take the address of each host behind the bridge for the SCI",
        ),
        (SciEncoding::PointToPoint, _, Some(Keys::Static(keys))) if keys.receive.len() > 1 => value.refused(
            format!("{found} with {} receive channels", keys.receive.len()),
            "\"included\": without it a link has two stations",
        ),
        _ => {}
    }
}

/// A switch that is off unless it is set.
pub(super) fn switch(table: &mut Table<'_>, key: &'static str) -> bool {
    table.value(key).and_then(|value| value.switch()).unwrap_or(false)
}
