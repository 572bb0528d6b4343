//! Texts that are no TOML, tables that are no tables, keys that nobody knows.

use super::*;

#[test]
fn every_mistake_is_told_with_its_line_column_and_key() {
    let text = "[gateway]\nworker = 3\npin = \"yes\"\n\n[wireguard.wg0]\nprivate_key_file = \"k\"\nmtu = 70\n\
        [wireguard.wg0.peer.branch]\npublic_key = \"xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=\"\n\
        allowed_ips = [\"10.30.0.0/16\", \"10.0.0.1/33\"]\n";
    let lines: Vec<_> = told(text).lines().map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            "aditd.toml:2:1: gateway.worker: found an unknown key; allowed: name, state, user, workers, pin, offload (did \
             you mean workers?)",
            "aditd.toml:3:7: gateway.pin: found \"yes\"; allowed: true or false",
            "aditd.toml:7:7: wireguard.wg0.mtu: found 70; allowed: a whole number from 576 to 65535",
            "aditd.toml:10:32: wireguard.wg0.peer.branch.allowed_ips[1]: found \"10.0.0.1/33\"; allowed: an IPv4 or IPv6 \
             prefix such as 10.30.0.0/16",
        ]
    );
}

#[test]
fn columns_count_characters() {
    assert!(
        told("log = { level = \"\u{fc}\u{fc}\", format = 3 }")
            .contains("aditd.toml:1:32: log.format: found 3")
    );
}

#[test]
fn what_is_no_toml_is_told_beside_the_other_mistakes() {
    let told = told("[log]\nlevel = loud\n[admin]\ndirectory = 3\n[log]\nformat = \"xml\"\n");
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert!(
        lines[0].starts_with("aditd.toml:2:9: found string values must be quoted at \"loud\"; allowed: ")
    );
    assert!(lines[1].starts_with("aditd.toml:4:13: admin.directory: found 3; "));
    assert_eq!(
        lines[2],
        "aditd.toml:5:2: found duplicate key at \"log\"; allowed: each key and each table once"
    );
    assert!(lines[3].starts_with("aditd.toml:6:10: log.format: found \"xml\"; "));
}

#[test]
fn a_key_that_is_there_twice_is_told() {
    assert_eq!(
        told("[log]\nlevel = \"info\"\nlevel = \"error\"\n"),
        "aditd.toml:3:1: found duplicate key at \"level\"; allowed: each key and each table once"
    );
}

#[test]
fn a_list_that_is_not_closed_is_one_mistake() {
    let text = tunnel("addresses = [\"10.0.0.1/24\"\nmtu = 3\nlisten_port = 99999\n[log]\nlevel = 3");
    assert_eq!(told(&text).lines().count(), 1, "{}", told(&text));
    assert!(told(&text).starts_with("aditd.toml:4:1: found missing comma"), "{}", told(&text));
}

#[test]
fn a_missing_key_is_not_told_of_a_file_that_is_half_readable() {
    let told = told("[wireguard.wg0]\nprivate_key_file\n");
    assert_eq!(told, "aditd.toml:2:17: found key with no value; allowed: `=`");
    refused("[wireguard.wg0]", "wireguard.wg0.private_key_file", "nothing", "wg genkey");
}

#[test]
fn unknown_keys_are_told_with_what_is_allowed_and_what_was_meant() {
    for (text, key, hint) in [
        ("gatewy = {}".to_owned(), "gatewy", "(did you mean gateway?)"),
        ("quic = {}".to_owned(), "quic", "gateway, log, admin, metrics, wireguard, macsec"),
        (tunnel("ListenPort = 1"), "wireguard.wg0.ListenPort", "(did you mean listen_port?)"),
        (tunnel("address = []"), "wireguard.wg0.address", "(did you mean addresses?)"),
        (tunnel("dns = []"), "wireguard.wg0.dns", "a hook can"),
        (peer("allowed-ips = []"), "wireguard.wg0.peer.a.allowed-ips", "(did you mean allowed_ips?)"),
        (peer("\"a b\" = []"), "wireguard.wg0.peer.a.\"a b\"", "public_key"),
        (
            tunnel("[wireguard.wg0.hooks]\npostup = []"),
            "wireguard.wg0.hooks.postup",
            "(did you mean post_up?)",
        ),
        (
            "[gateway.offload]\ntso = true".to_owned(),
            "gateway.offload.tso",
            "tun_tso, tun_uso, tun_steering, udp_gso, udp_gro, wide_cipher, link_xdp",
        ),
        ("[metrics]\nlisten = \"[::1]:9\"\nx = 1".to_owned(), "metrics.x", "listen"),
        ("[admin]\nx = 1".to_owned(), "admin.x", "directory, read_group, write_group"),
    ] {
        refused(&text, key, "an unknown key", hint);
    }
}

#[test]
fn keys_are_kept_in_files_of_their_own_and_never_shown() {
    for (text, hint) in [
        (tunnel(&format!("private_key = \"{PRIVATE}\"")), "name that as private_key_file"),
        (tunnel(&format!("PrivateKey = \"{PRIVATE}\"")), "name that as private_key_file"),
        (peer(&format!("preshared_key = \"{PRIVATE}\"")), "name that as preshared_key_file"),
        (tunnel(&format!("private_key = {PRIVATE}")), "string values must be quoted"),
        (tunnel(PRIVATE), "invalid unquoted key"),
        (tunnel(&format!("\"{PRIVATE}\" = 1")), "may be a key (not shown)"),
        (peer(&format!("endpoint = \"{PRIVATE}\"")), "may be a key (not shown)"),
        (peer(&format!("allowed_ips = [\"{PRIVATE}\"]")), "may be a key (not shown)"),
        (
            tunnel(&format!("[wireguard.wg0.peer.b]\npublic_key = \"{}\"", &PRIVATE[1..])),
            "43 characters that are no key",
        ),
        (tunnel(&format!("[wireguard.wg0.peer.\"{PRIVATE}\"]")), "not shown"),
        (tunnel(&format!("table = \"INTERFACE{PRIVATE}{PRIVATE}\"")), "not shown"),
    ] {
        let told = told(&text);
        assert!(told.contains(hint), "{told}");
        for part in PRIVATE.as_bytes().windows(12) {
            assert!(!told.contains(str::from_utf8(part).unwrap()), "{told}");
        }
    }
    let nothing = |_: &Path| Err("it cannot be opened".to_owned());
    let text = format!("[wireguard.wg0]\nprivate_key_file = \"{PRIVATE}\"");
    let told = parse("x", &text, &nothing).unwrap_err().to_string();
    assert!(told.contains("may be a key (not shown): it cannot be opened"), "{told}");
}

#[test]
fn what_was_found_cannot_write_to_the_terminal() {
    let told = told("[log]\nlevel = \"a\\u001b[2J\\nb\\u202ec\"\n\"\\u0007\" = 1");
    assert!(told.contains("\"a\\u{1b}[2J\\nb\\u{202e}c\""), "{told}");
    assert!(told.lines().count() == 2 && !told.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{told}");
}

#[test]
fn a_long_text_is_not_repeated_in_full() {
    let told = told(&format!("[log]\nlevel = \"{}\"", "x\u{fc} ".repeat(1000)));
    assert!(told.len() < 250 && told.contains("..\"; allowed"), "{told}");
}

#[test]
fn a_table_where_a_value_is_expected_is_refused_and_the_other_way_round() {
    refused("gateway = 3", "gateway", "3", "a table");
    refused("[[log]]", "log", "a list", "a table");
    refused("wireguard = \"wg0\"", "wireguard", "\"wg0\"", "a table");
    refused("wireguard.wg0 = false", "wireguard.wg0", "false", "a table");
    refused(&tunnel("peer = []"), "wireguard.wg0.peer", "a list", "a table");
    refused(&tunnel("[wireguard.wg0.mtu]"), "wireguard.wg0.mtu", "a table", "a whole number");
    refused("gateway.name = 1979-05-27", "gateway.name", "1979-05-27", "a name");
    refused("gateway.workers = 1.5", "gateway.workers", "1.5", "a whole number from 1 to 64");
}

#[test]
fn a_list_with_a_key_in_it_is_a_mistake_though_all_else_is_right() {
    let told = |list: &str| {
        let text = format!("[log]\nlevel = \"info\"\n[gateway]\nuser = \"root\"\nname = {list}\n");
        parse("aditd.toml", &text, &|_| unreachable!()).unwrap_err().to_string()
    };
    assert_eq!(
        told(r#"["10.0.0.0/8", = "info"]"#),
        "aditd.toml:5:23: found `=` in a list; allowed: `,` or `]`"
    );
    assert!(!told("[\"10.0.0.0/8\",\nformat = \"text\"\n]").is_empty());
}
