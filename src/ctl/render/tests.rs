use std::collections::BTreeMap;

use super::*;
use crate::status::{Configuration, Owner, Peer, Worker};

/// A gateway on which everything can be seen.
fn sample() -> Status {
    let now = 1_795_311_058.25;
    let batches = |packets, sizes: &[u64]| Batches { packets, sizes: sizes.to_vec() };
    let branch = Peer {
        name: Some("branch".into()),
        public_key: "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=".into(),
        owner: Owner::File,
        preshared_key: true,
        endpoint: Some("198.51.100.7:51820".into()),
        endpoint_name: Some("branch.example:51820".into()),
        allowed_ips: vec!["10.30.0.0/16".into(), "fd30::/64".into()],
        latest_handshake: Some(now - 63.0),
        handshake_age: Some(63.5),
        persistent_keepalive: 25,
        received_bytes: 1_289_748,
        sent_bytes: 4_831_838_208,
        received_rate: Some(1_258_291.2),
        sent_rate: Some(512.0),
        path_mtu: Some(1_420),
        warnings: vec!["its path takes packets of 1420 bytes only".into()],
        ..Peer::default()
    };
    let stranger = Peer {
        public_key: "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=".into(),
        owner: Owner::Uapi,
        trying_for: Some(42.0),
        warnings: vec!["no handshake in 42 seconds".into()],
        ..Peer::default()
    };
    let wg0 = Wireguard {
        state: State::Up,
        public_key: Some("L+V9o0fNYkMVKNqsX7spBzD/9oSvxM/C7ZCZX1jLO3Q=".into()),
        listen_port: 51_820,
        fwmark: 0xca6c,
        cipher: Some("aes-256-gcm".into()),
        other_cipher: None,
        mtu: 1_420,
        addresses: vec!["10.20.0.1/24".into(), "fd20::1/64".into()],
        fail_closed: true,
        offloads: vec!["tun_tso".into(), "udp_gso".into()],
        workers: vec![
            Worker { outward: batches(10, &[1, 1]), inward: batches(9, &[0, 3]) },
            Worker { outward: batches(5, &[0, 0, 1]), inward: batches(0, &[]) },
        ],
        handshakes: 12,
        handshake_queue: 3,
        drops: BTreeMap::from([
            ("auth".into(), 5),
            ("source".into(), 12),
            ("new_one".into(), 1),
            ("flood".into(), 0),
        ]),
        peers: vec![branch, stranger],
        warnings: vec!["12 packets came from addresses that their peers may not use".into()],
    };
    let wg1 = Wireguard { state: State::Gone, mtu: 1_280, ..Wireguard::default() };
    Status {
        schema: 1,
        version: "0.1.0".into(),
        name: "hq".into(),
        pid: 4_711,
        started: now - 11_045.0,
        now,
        configuration: Configuration {
            file: "/etc/adit/aditd.toml".into(),
            loaded: now - 3_600.0,
            reloads: 2,
            reloads_refused: 1,
            error: Some("aditd.toml:7:3: mtu: found 70000\naditd.toml:9:1: unknown key".into()),
        },
        privileges: Privileges { user: "adit".into(), capabilities: vec!["cap_net_admin".into()] },
        warnings: vec!["the last reload was refused".into()],
        wireguard: BTreeMap::from([("wg0".into(), wg0), ("wg1".into(), wg1)]),
        macsec: BTreeMap::new(),
        tls: BTreeMap::new(),
        clients: BTreeMap::new(),
    }
}

const GATEWAY: &str = "\
gateway: hq
  version: 0.1.0, process 4711
  running for: 3 hours, 4 minutes, 5 seconds
  user: adit, with cap_net_admin
  configuration: /etc/adit/aditd.toml, loaded: 1 hour ago
  reloads: 2 done, 1 refused
  last reload: refused, nothing was changed
    aditd.toml:7:3: mtu: found 70000
    aditd.toml:9:1: unknown key
";

const WG0: &str = "\
interface: wg0
  public key: L+V9o0fNYkMVKNqsX7spBzD/9oSvxM/C7ZCZX1jLO3Q=
  private key: (hidden)
  listening port: 51820
  fwmark: 0xca6c
  addresses: 10.20.0.1/24, fd20::1/64
  cipher: aes-256-gcm
  mtu: 1420
  offloads: tun_tso, udp_gso
  workers: 2, 5.0 packets a batch out, 3.0 in
  handshakes: 12 completed, 3 messages waiting
  dropped packets: 18
    source: 12 (a packet from an address that its peer may not use)
    auth: 5 (does not decrypt: forged, or damaged on the way)
    new_one: 1 (a reason that this aditctl does not know)

peer: hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=
  name: branch
  preshared key: (hidden)
  endpoint: 198.51.100.7:51820 (branch.example:51820)
  allowed ips: 10.30.0.0/16, fd30::/64
  latest handshake: 1 minute, 3 seconds ago
  transfer: 1.23 MiB received, 4.50 GiB sent
  rate: 1.20 MiB/s received, 512 B/s sent
  path mtu: 1420
  persistent keepalive: every 25 seconds

peer: 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=
  owner: made by wg set or the like, not by the configuration file
  allowed ips: (none)
  handshake tried: for 42 seconds, no answer
";

const WG1: &str = "\
interface: wg1
  state: gone: somebody took its device or its control socket away; aditctl reload makes it anew
  mtu: 1280
  fail closed: no: traffic for it leaves in clear while it is gone
  workers: 0
";

const WARNINGS: &str = "\
WARNING: gateway: the last reload was refused
WARNING: wg0: 12 packets came from addresses that their peers may not use
WARNING: wg0, peer branch: its path takes packets of 1420 bytes only
WARNING: wg0, peer 3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=: no handshake in 42 seconds
";

#[test]
fn everything_there_is_to_tell_is_told_with_the_warnings_first() {
    let text = render(&sample(), None, Paint::PLAIN);
    assert_eq!(text, format!("{WARNINGS}\n{GATEWAY}\n{WG0}\n{WG1}"));
}

#[test]
fn one_tunnel_is_shown_without_what_is_wrong_with_others() {
    let warning = "WARNING: gateway: the last reload was refused\n";
    assert_eq!(render(&sample(), Some("wg1"), Paint::PLAIN), format!("{warning}\n{GATEWAY}\n{WG1}"));
}

#[test]
fn a_gateway_on_which_nothing_is_wrong_has_no_warnings() {
    let text = render(&Status { name: "hq".into(), ..Status::default() }, None, Paint::PLAIN);
    assert!(text.starts_with("gateway: hq\n") && text.contains("with no capabilities\n"), "{text}");
    assert!(!text.contains("WARNING") && !text.contains("reload"), "{text}");
}

#[test]
fn a_refused_reload_is_told_line_by_line_and_in_full_once() {
    let mut status = sample();
    let error = status.configuration.error.clone().expect("it was refused");
    status.warnings = vec![format!("the last reload was refused: {error}")];
    let text = render(&status, None, Paint::PLAIN);
    let first = "WARNING: gateway: the last reload was refused: aditd.toml:7:3: mtu: found 70000\n";
    assert!(text.starts_with(&format!("{first}    aditd.toml:9:1: unknown key\n")), "{text}");
    assert!(text.contains("  last reload: refused, nothing was changed\n\n"), "{text}");
    assert_eq!(text.matches("unknown key").count(), 1, "{text}");
}

#[test]
fn the_many_capabilities_of_root_are_counted() {
    let capabilities = vec!["cap_net_admin".to_owned(); 41];
    let privileges = Privileges { user: "root".into(), capabilities };
    let text = render(&Status { privileges, ..Status::default() }, None, Paint::PLAIN);
    assert!(text.contains("  user: root, with 41 capabilities\n"), "{text}");
}

#[test]
fn each_state_but_up_is_told_in_words() {
    for (state, words) in [(State::Down, "down:"), (State::Gone, "gone:"), (State::Stuck, "stuck:")] {
        let wireguard = BTreeMap::from([("wg0".into(), Wireguard { state, ..Wireguard::default() })]);
        let text = render(&Status { wireguard, ..Status::default() }, None, Paint::PLAIN);
        assert!(text.contains(&format!("  state: {words}")), "{text}");
    }
}

#[test]
fn colours_are_those_of_wg() {
    let text = render(&sample(), None, Paint::COLOURED);
    for part in [
        "\x1b[32m\x1b[1minterface\x1b[0m: \x1b[32mwg0\x1b[0m\n",
        "  \x1b[1mlistening port\x1b[0m: 51820\n",
        "\x1b[33m\x1b[1mpeer\x1b[0m: \x1b[33m3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\x1b[0m\n",
        "  \x1b[1mallowed ips\x1b[0m: 10.30.0.0\x1b[36m/\x1b[0m16, fd30::\x1b[36m/\x1b[0m64\n",
        "  \x1b[1mtransfer\x1b[0m: 1.23 \x1b[36mMiB\x1b[0m received, 4.50 \x1b[36mGiB\x1b[0m sent\n",
        "  \x1b[1mpersistent keepalive\x1b[0m: every 25 \x1b[36mseconds\x1b[0m\n",
        "\x1b[31m\x1b[1mWARNING\x1b[0m: gateway: \x1b[31mthe last reload was refused\x1b[0m\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

/// Every text of the status, made hostile, in whatever field it is.
fn attacked(value: &mut serde_json::Value) {
    match value {
        // States and owners are words of ours.
        serde_json::Value::String(text) if ["up", "gone", "file", "uapi"].contains(&text.as_str()) => {}
        serde_json::Value::String(text) => text.push_str("\x1b]0;owned\x07\u{202e}\u{9b}2J\r"),
        serde_json::Value::Array(values) => values.iter_mut().for_each(attacked),
        serde_json::Value::Object(values) => {
            values.values_mut().for_each(attacked);
            if let Some(tunnel) = values.remove("wg1") {
                values.insert("wg\x1b[2J".into(), tunnel);
            }
            if let Some(drops) = values.remove("new_one") {
                values.insert("new\x1b[2J".into(), drops);
            }
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

#[test]
fn no_text_of_the_daemon_reaches_the_terminal_as_a_command() {
    let mut value = serde_json::to_value(sample()).expect("JSON");
    attacked(&mut value);
    let status: Status = serde_json::from_value(value).expect("the same shape");
    let text = render(&status, None, Paint::PLAIN);
    assert!(text.matches("\\u{1b}]0;owned").count() > 15, "{text}");
    let bad = text.chars().find(|char| *char != '\n' && (char.is_control() || *char == '\u{202e}'));
    assert_eq!(bad, None, "{text:?}");
    let lines = render(&sample(), None, Paint::PLAIN).lines().count();
    assert_eq!(text.lines().count(), lines, "no line was added: {text}");
}

#[test]
fn an_age_is_computed_from_the_clock_where_nobody_measured_it_and_a_name_may_lack_an_address() {
    let mut status = sample();
    let wg0 = status.wireguard.get_mut("wg0").expect("it is there");
    wg0.peers[0].handshake_age = None;
    wg0.peers[0].endpoint = None;
    wg0.peers[1].latest_handshake = Some(status.now + 100.0);
    let text = render(&status, None, Paint::PLAIN);
    assert!(text.contains("  endpoint: branch.example:51820 (not resolved yet)\n"), "{text}");
    assert!(text.contains("  latest handshake: 1 minute, 3 seconds ago\n"), "{text}");
    assert!(text.contains("  latest handshake: (System clock wound backward;"), "{text}");
}
