//! What links must not have in common with one another, or with tunnels.

use super::*;

/// A link of this name, with a key of its own and these lines.
fn named(name: &str, lines: &str) -> String {
    format!("[macsec.{name}]\nprivate_key_file = \"{name}.key\"\npeer_public_key = \"{A}\"\n{lines}\n")
}

#[test]
fn a_name_is_that_of_one_interface() {
    let allowed = "a name that no other tunnel, link or TAP device of this file has";
    let tap = |tap: &str| format!("link = \"eth2\"\ntap = \"{tap}\"");
    let found = |name: &str, by: &str, line: u32| format!("\"{name}\", after {by} (line {line})");
    let tunnel = tunnel("");
    let same = tunnel.clone() + &named("wg0", "link = \"eth2\"").replace("wg0.key", "b.key");
    refused(&same, "macsec.wg0", &found("wg0", "wireguard.wg0", 1), allowed);
    let same = tunnel + &named("b", &tap("wg0"));
    refused(&same, "macsec.b.tap", &found("wg0", "wireguard.wg0", 1), allowed);
    let first = named("a", "link = \"eth1\"\ntap = \"m0\"");
    refused(
        &(first.clone() + &named("b", &tap("m0"))),
        "macsec.b.tap",
        &found("m0", "macsec.a.tap", 5),
        allowed,
    );
    refused(&(first.clone() + &named("b", &tap("a"))), "macsec.b.tap", &found("a", "macsec.a", 1), allowed);
    read(&(first + &named("b", &tap("b")))).unwrap();
}

#[test]
fn a_link_carries_one() {
    let eth = "link = \"eth1\"";
    let found = "\"eth1\", after macsec.a.link (line 4)";
    refused(&(named("a", eth) + &named("b", eth)), "macsec.b.link", found, "a link for each");
}

#[test]
fn a_port_is_listened_on_by_one() {
    let (four, any) = ("udp.listen = 4", "udp = { listen = 0, peer = \"192.0.2.1:1\" }");
    let allowed = "a port that no other tunnel or link listens on";
    let text = named("a", four) + &named("b", four);
    refused(&text, "macsec.b.udp.listen", "4, after macsec.a.udp.listen (line 4)", allowed);
    let text = tunnel("listen_port = 4") + &named("b", four);
    refused(&text, "macsec.b.udp.listen", "4, after wireguard.wg0.listen_port (line 3)", allowed);
    read(&(named("a", any) + &named("b", any) + &tunnel(""))).unwrap();
}

#[test]
fn what_carries_frames_is_not_made_by_the_daemon() {
    let allowed = "an interface that is there without the daemon";
    let wg0 = tunnel("") + &named("a", "link = \"wg0\"");
    refused(&wg0, "macsec.a.link", "\"wg0\", which wireguard.wg0 makes", allowed);
    let own = named("a", "link = \"a\"");
    refused(&own, "macsec.a.link", "\"a\", which macsec.a makes", allowed);
    let tap = named("a", "link = \"eth1\"\nbridge = \"m0\"") + &named("b", "link = \"eth2\"\ntap = \"m0\"");
    refused(&tap, "macsec.a.bridge", "\"m0\", which macsec.b.tap makes", allowed);
}

#[test]
fn what_comes_out_in_clear_does_not_leave_by_a_link() {
    let text = named("a", "link = \"br0\"\nbridge = \"br0\"");
    refused(
        &text,
        "macsec.a.bridge",
        "\"br0\", by which macsec.a.link (line 4) sends",
        "a bridge that is no link",
    );
    let both = "bridge = \"br0\"";
    read(&(named("a", &format!("link = \"e1\"\n{both}")) + &named("b", &format!("link = \"e2\"\n{both}"))))
        .unwrap();
}

#[test]
fn a_private_key_belongs_to_one_link() {
    let same = named("a", "link = \"eth1\"").replace("a.key", "b.key") + &named("b", "link = \"eth2\"");
    let found = "\"b.key\", the same key, after macsec.a.private_key_file (line 2)";
    refused(&same, "macsec.b.private_key_file", found, "a key of its own");
    let layers = tunnel("") + &named("b", "link = \"eth2\"").replace("b.key", "wg0.key");
    let found = "\"wg0.key\", the same key, after wireguard.wg0.private_key_file (line 2)";
    refused(&layers, "macsec.b.private_key_file", found, "two layers would be broken at once");
    read(&(named("a", "link = \"eth1\"") + &named("b", "link = \"eth2\"") + &tunnel(""))).unwrap();
}
