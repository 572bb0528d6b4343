//! An encrypted Ethernet link, with what `ip -s macsec show` has, and more.

use adit_macsec::{ReceiveCounters, SecyCounters, TransmitCounters};

use super::paint::escape;
use super::render::Text;
use super::units;
use crate::status::macsec::{Association, Channel, Counters, KeyAgreement, Link, Udp};
use crate::status::{Macsec, State};

/// Appends a link, as it was at `now` in seconds since 1970.
pub(super) fn show(text: &mut Text, name: &str, link: &Macsec, now: f64) {
    let paint = text.paint;
    text.line(&format!("{}: {}", paint.interface("link"), paint.green(&escape(name))));
    if let Some(words) = trouble(link.state) {
        text.field("state", &paint.red(words));
    }
    let bridge = link.bridge.as_deref().map(|bridge| format!(", a port of {}", escape(bridge)));
    text.field("device", &format!("{}{}", escape(&link.tap), bridge.unwrap_or_default()));
    if let Some(under) = &link.link {
        carrier(text, under);
    }
    if let Some(udp) = &link.udp {
        datagrams(text, udp);
    }
    text.field("mtu", &link.mtu.to_string());
    text.field("sci", &link.sci.as_deref().map_or_else(|| "not known yet".into(), escape));
    secured(text, link);
    match &link.key_agreement {
        Some(agreement) => agreed(text, agreement, now),
        None => text.field("keys", &paint.red("static")),
    }
    text.work(&link.offloads, &link.workers);
    text.drops(&link.drops);
    counters(text, SecyCounters::default().iter(), &link.counters, "  ");
    channel(text, "transmit channel", &link.transmit, "sending");
    link.receive.iter().for_each(|one| channel(text, "receive channel", one, "heard"));
}

/// What is wrong with a link that carries nothing.
fn trouble(state: State) -> Option<&'static str> {
    match state {
        State::Up => None,
        State::Down => Some("down: nothing can be sent; the warnings say why"),
        State::Gone => Some("gone: somebody took its device away; aditctl reload makes it anew"),
        State::Stuck => Some("stuck: its control thread does not answer; see the daemon's log"),
    }
}

fn carrier(text: &mut Text, link: &Link) {
    let paint = text.paint;
    let up = if link.up { String::new() } else { format!(" ({})", paint.red("down, or not there")) };
    text.field("carried by", &format!("{}{up}", escape(&link.name)));
    let (arrived, leaving) = (link.held_back_in, link.held_back_out);
    let held = format!("holds back what is in clear; so far {arrived} frames in, {leaving} out");
    let none = paint.red("none: what is in clear passes");
    text.field("guard", if link.guarded { &held } else { &none });
}

fn datagrams(text: &mut Text, udp: &Udp) {
    text.field("listening port", &udp.listen_port.to_string());
    if udp.fwmark != 0 {
        text.field("fwmark", &format!("{:#x}", udp.fwmark));
    }
    let name = udp.endpoint_name.as_deref().map(escape);
    let endpoint = match (udp.endpoint.as_deref().map(escape), name) {
        (Some(address), Some(name)) => format!("{address} ({name})"),
        (Some(address), None) => address.into_owned(),
        (None, Some(name)) => format!("{name} (not resolved yet)"),
        (None, None) => "(the other end has not called yet)".to_owned(),
    };
    text.field("endpoint", &endpoint);
    if let Some(mtu) = udp.path_mtu {
        text.field("path mtu", &mtu.to_string());
    }
}

/// What is done to frames, and what is taken.
fn secured(text: &mut Text, link: &Macsec) {
    let paint = text.paint;
    let readable = match (link.integrity_only, link.confidentiality_offset) {
        (true, _) => format!(", {}", paint.red("integrity only")),
        (false, 0) => String::new(),
        (false, octets) => format!(", but for the first {octets} octets"),
    };
    text.field("cipher", &format!("{}{readable}", escape(&link.cipher)));
    let validate = escape(&link.validate);
    let validate = if link.validate == "strict" { validate.into_owned() } else { paint.red(&validate) };
    let window = match link.replay_window {
        Some(0) => "in order only".to_owned(),
        Some(frames) => format!("replay window {frames}"),
        None => "each frame once".to_owned(),
    };
    text.field("validate", &format!("{validate}, {window}"));
    if link.sci_encoding != "included" {
        text.field("sci in frames", &escape(&link.sci_encoding));
    }
    if link.clear_tags > 0 {
        text.field("tags in clear", &link.clear_tags.to_string());
    }
}

fn agreed(text: &mut Text, agreement: &KeyAgreement, now: f64) {
    let paint = text.paint;
    text.field("public key", &escape(&agreement.public_key));
    text.field("private key", "(hidden)");
    text.field("peer", &paint.yellow(&escape(&agreement.peer_public_key)));
    if agreement.preshared_key {
        text.field("preshared key", "(hidden)");
    }
    if let Some(age) = agreement.handshake_age.or_else(|| Some(now - agreement.latest_handshake?)) {
        text.field("latest handshake", &units::ago(age, paint));
    }
    if let Some(age) = agreement.heard {
        text.field("last heard", &units::ago(age, paint));
    }
    if let Some(seconds) = agreement.trying_for {
        text.field("handshake tried", &format!("for {}, no answer", units::span(seconds as u64, paint)));
    }
    if let Some(words) = &agreement.disagreement {
        text.field("disagreement", &paint.red(&escape(words)));
    }
    text.handshakes(agreement.handshakes, agreement.handshake_queue);
}

/// A channel with its associations. `used` says what one does that is in use.
fn channel(text: &mut Text, what: &str, channel: &Channel, used: &str) {
    let paint = text.paint;
    let name = channel.name.as_deref().map(|name| format!(" ({})", escape(name))).unwrap_or_default();
    let label = paint.bold(what);
    text.line(&format!("  {label}: {}{name}", paint.yellow(&escape(&channel.sci))));
    each(text, &channel.counters, "    ");
    if channel.associations.is_empty() {
        text.line(&format!("    {}", paint.red("no association has a key")));
    }
    channel.associations.iter().for_each(|one| association(text, one, used));
}

fn association(text: &mut Text, association: &Association, used: &str) {
    let paint = text.paint;
    let Association { an, in_use, next_pn, lowest_pn, key_id, ssci, age, counters } = association;
    let mut words = vec![if *in_use { paint.green(used) } else { "not used yet".to_owned() }];
    words.push(format!("PN {next_pn}"));
    words.extend(lowest_pn.map(|pn| format!("lowest {pn}")));
    words.extend(ssci.map(|ssci| format!("SSCI {ssci:08x}")));
    words.push(format!("key {} since {}", escape(key_id), units::span(*age as u64, paint)));
    let label = paint.bold("association");
    text.line(&format!("    {label} {an}: {}", words.join(", ")));
    each(text, counters, "      ");
}

/// The counters of a channel or an association, of either direction.
fn each(text: &mut Text, found: &Counters, indent: &str) {
    let (sent, received) = (TransmitCounters::default(), ReceiveCounters::default());
    counters(text, sent.iter().chain(received.iter()), found, indent);
}

/// Those that are not zero, in the order in which `ip -s macsec show` would have them.
fn counters(
    text: &mut Text,
    known: impl Iterator<Item = (&'static str, u64)>,
    found: &Counters,
    indent: &str,
) {
    for (name, _) in known {
        if let Some(count) = found.get(name).filter(|count| **count > 0) {
            let label = text.paint.bold(name);
            text.line(&format!("{indent}{label}: {count}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::paint::Paint;
    use super::*;
    use crate::status::{Status, sample};

    fn shown(change: impl FnOnce(&mut Macsec)) -> String {
        let mut link = sample::full().macsec.remove("uplink").unwrap();
        link.workers.clear();
        change(&mut link);
        let mut text = Text { out: String::new(), paint: Paint::PLAIN };
        show(&mut text, "uplink", &link, 1_795_311_042.75);
        text.out
    }

    const ALL: &str = "\
link: uplink
  device: msec0, a port of br0
  carried by: eth1
  guard: holds back what is in clear; so far 3 frames in, 4 out
  listening port: 4790
  fwmark: 0x7
  endpoint: 198.51.100.9:4790 (south.example.net:4790)
  path mtu: 1500
  mtu: 1422
  sci: 02:00:5e:10:00:01/1
  cipher: gcm-aes-256, integrity only
  validate: check, replay window 64
  tags in clear: 1
  public key: Jvs4v5T9nUOL59DgLbtcBTvIBBzJt4NkVGqmvcTTXzQ=
  private key: (hidden)
  peer: NfgG6ADqGy9NRLJWOsVyf8zbkqlvGuFVjkvS9jPdXHw=
  preshared key: (hidden)
  latest handshake: 41 seconds ago
  last heard: Now
  handshake tried: for 1 second, no answer
  disagreement: the peer has another cipher
  handshakes: 19 completed, 5 messages waiting
  offloads: tun_tso
  workers: 0
  dropped packets: 8
    late: 8 (a frame seen before, or behind the replay window)
  InPktsNoTag: 6
  transmit channel: 02:00:5e:10:00:01/1 (us)
    OutPktsEncrypted: 41
    association 2: sending, PN 4294967301, lowest 4294967291, SSCI 00000001, key 0000000000000000000000000000feee since 1 minute, 1 second
      OutPktsEncrypted: 31
  receive channel: 02:00:5e:10:00:01/2 (south)
    InPktsOK: 42
    association 2: heard, PN 4294967302, lowest 4294967292, SSCI 00000001, key 0000000000000000000000000000feef since 1 minute, 1 second
      InPktsOK: 32
";

    #[test]
    fn everything_there_is_to_tell_is_told() {
        assert_eq!(shown(|_| ()), ALL);
    }

    #[test]
    fn what_is_not_there_is_told_in_words() {
        let text = shown(|link| {
            (link.state, link.sci, link.key_agreement) = (State::Down, None, None);
            (link.integrity_only, link.replay_window) = (false, None);
            link.transmit.associations.clear();
            let under = link.link.as_mut().unwrap();
            (under.up, under.guarded) = (false, false);
            let udp = link.udp.as_mut().unwrap();
            (udp.endpoint, udp.endpoint_name) = (None, None);
        });
        for part in [
            "  state: down: nothing can be sent; ",
            "  carried by: eth1 (down, or not there)\n  guard: none: what is in clear passes\n",
            "  endpoint: (the other end has not called yet)\n",
            "  sci: not known yet\n  cipher: gcm-aes-256, but for the first 30 octets\n",
            "  validate: check, each frame once\n",
            "  keys: static\n",
            "OutPktsEncrypted: 41\n    no association has a key\n",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert!(shown(|link| link.state = State::Gone).contains("aditctl reload makes it anew"));
    }

    #[test]
    fn no_text_of_the_daemon_reaches_the_terminal_as_a_command() {
        // Every text of the status, whatever field it is in.
        fn poison(value: &mut Value) {
            match value {
                Value::String(text) if !matches!(text.as_str(), "up" | "file") => {
                    *text = format!("\u{1b}[2J\n{text}");
                }
                Value::Array(all) => all.iter_mut().for_each(poison),
                Value::Object(all) => all.values_mut().for_each(poison),
                Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
        }
        let mut value = serde_json::to_value(sample::full()).unwrap();
        poison(&mut value);
        let status: Status = serde_json::from_value(value).unwrap();
        let text = super::super::render::render(&status, None, Paint::PLAIN);
        assert!(text.contains("link: uplink") && !text.contains('\u{1b}'), "{text}");
        assert!(text.lines().all(|line| !line.starts_with("1")), "{text}");
    }
}
