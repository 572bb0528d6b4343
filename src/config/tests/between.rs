//! What peers of a tunnel, and tunnels, must not have in common.

use super::*;

/// Two tunnels, each with a peer and these lines of their own and of the peer's.
fn two(first: (&str, &str), second: (&str, &str)) -> String {
    let one = |name: &str, (tunnel, peer): (&str, &str)| {
        format!(
            "[wireguard.{name}]\nprivate_key_file = \"k\"\n{tunnel}\n[wireguard.{name}.peer.p]\npublic_key = \"{A}\"\n{peer}\n"
        )
    };
    one("wg0", first) + &one("wg1", second)
}

fn two_peers(first: &str, second: &str) -> String {
    peer(first) + &format!("\n[wireguard.wg0.peer.b]\npublic_key = \"{B}\"\n{second}")
}

#[test]
fn two_tunnels_cannot_listen_on_one_port() {
    refused(
        &two(("listen_port = 5", ""), ("listen_port = 5", "")),
        "wireguard.wg1.listen_port",
        "5, after wireguard.wg0.listen_port (line 3)",
        "a port that no other tunnel or link listens on",
    );
    read(&two(("listen_port = 0", ""), ("listen_port = 0", ""))).unwrap();
    read(&two(("listen_port = 5", ""), ("listen_port = 6", ""))).unwrap();
}

#[test]
fn two_peers_of_a_tunnel_cannot_have_one_key() {
    let text = peer(&format!("[wireguard.wg0.peer.b]\npublic_key = \"{A}\""));
    let found = "the same key, after wireguard.wg0.peer.a.public_key (line 4)";
    refused(&text, "wireguard.wg0.peer.b.public_key", found, "a key for each peer");
    // The same peer may be reached by two tunnels.
    read(&two(("", ""), ("", ""))).unwrap();
}

#[test]
fn what_comes_later_in_the_file_is_wrong_whatever_its_name() {
    let text = peer(&format!("[wireguard.wg0.peer.Z]\npublic_key = \"{A}\""));
    assert_eq!(read(&text).unwrap_err().iter().next().unwrap().key, "wireguard.wg0.peer.Z.public_key");
}

#[test]
fn a_peer_cannot_have_the_tunnels_own_key() {
    let text = tunnel(&format!("[wireguard.wg0.peer.a]\npublic_key = \"{OWN}\""));
    let found = format!("\"{OWN}\", the tunnel's own key");
    refused(&text, "wireguard.wg0.peer.a.public_key", &found, "the peer's public key");
}

#[test]
fn a_prefix_belongs_to_one_peer_of_a_tunnel() {
    refused(
        &two_peers("allowed_ips = [\"10.0.0.0/8\"]", "allowed_ips = [\"10.1.0.0/16\", \"10.9.9.9/8\"]"),
        "wireguard.wg0.peer.b.allowed_ips[1]",
        "\"10.9.9.9/8\", after wireguard.wg0.peer.a.allowed_ips[0] (line 5)",
        "each prefix at one peer",
    );
    read(&two_peers("allowed_ips = [\"10.0.0.0/8\"]", "allowed_ips = [\"10.0.0.0/9\"]")).unwrap();
}

#[test]
fn a_prefix_is_routed_by_one_tunnel_in_a_table() {
    let net = "allowed_ips = [\"10.0.0.0/8\"]";
    for (first, second, shared) in [
        ("", "", Some(254)),
        ("table = \"auto\"", "table = 254", Some(254)),
        ("table = 7", "table = 7", Some(7)),
        ("table = 7", "table = 8", None),
        ("table = 7", "", None),
        ("table = \"off\"", "", None),
        ("table = \"off\"", "table = \"off\"", None),
    ] {
        let text = two((first, net), (second, net));
        let Some(table) = shared else {
            read(&text).unwrap();
            continue;
        };
        let found =
            format!("\"10.0.0.0/8\" in table {table}, after wireguard.wg0.peer.p.allowed_ips[0] (line 6)");
        refused(
            &text,
            "wireguard.wg1.peer.p.allowed_ips[0]",
            &found,
            "no other tunnel routes in the same table",
        );
    }
}

#[test]
fn a_default_route_is_in_the_table_that_the_mark_names() {
    let net = "allowed_ips = [\"0.0.0.0/0\"]";
    for (first, second, shared) in [
        ("", "table = 51820", Some(51_820)),
        ("fwmark = 7", "table = 7", Some(7)),
        ("table = 7", "fwmark = 7", Some(7)),
        ("fwmark = 7", "table = 51820", None),
        ("", "table = 254", None),
        ("", "fwmark = 51820\ntable = 7", None),
    ] {
        let text = two((first, net), (second, net));
        if let Some(table) = shared {
            let lines = 6 + first.matches('\n').count();
            let found = format!(
                "\"0.0.0.0/0\" in table {table}, after wireguard.wg0.peer.p.allowed_ips[0] (line {lines})"
            );
            refused(
                &text,
                "wireguard.wg1.peer.p.allowed_ips[0]",
                &found,
                "no other tunnel routes in the same table",
            );
        } else {
            read(&text).unwrap();
        }
    }
}

#[test]
fn two_default_routes_are_told_of_once() {
    let net = "allowed_ips = [\"0.0.0.0/0\", \"::/0\"]";
    assert_eq!(told(&two(("", net), ("", net))).lines().count(), 1);
}

#[test]
fn one_tunnel_has_the_default_route() {
    let (v4, v6) = ("allowed_ips = [\"0.0.0.0/0\"]", "allowed_ips = [\"::/0\", \"10.0.0.0/8\"]");
    let path = "wireguard.wg1.peer.p.allowed_ips[0]";
    let found = "\"::/0\", after wireguard.wg0.peer.p.allowed_ips[0] (line 6)";
    refused(&two(("", v4), ("", v6)), path, found, "one tunnel with a default route");
    read(&two(("", v4), ("table = 7", v6))).unwrap();
    read(&two(("", v4), ("table = \"off\"", v4))).unwrap();
    read(&two(("", "allowed_ips = [\"0.0.0.0/0\", \"::/0\"]"), ("", ""))).unwrap();
}
