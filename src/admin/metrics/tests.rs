//! What is exposed, read by the strict reader.

use super::strict::Exposed;
use super::*;
use crate::status::{Peer, sample};

const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

fn both(status: &Status) -> [Exposed; 2] {
    let status = Arc::new(status.clone());
    let open = Exposed::read(&render(&status), true).unwrap();
    [open, Exposed::read(&render_text(&status), false).unwrap()]
}

fn peer(name: &str) -> Vec<(&str, &str)> {
    let allowed_ips = ("allowed_ips", "10.30.0.0/16,fd30::/64");
    vec![("interface", "wg0"), ("public_key", KEY), allowed_ips, ("friendly_name", name)]
}

#[test]
fn both_formats_have_the_same_series_and_values() {
    let [open, text] = both(&sample::full()).map(|exposed| {
        let ours = |name: &str| !name.starts_with("process_");
        exposed.samples().filter(|sample| ours(&sample.name)).cloned().collect::<Vec<_>>()
    });
    assert_eq!(open, text);
    assert!(!open.is_empty());
}

#[test]
fn peers_have_the_names_that_dashboards_know() {
    for exposed in both(&sample::full()) {
        let value = |name| exposed.value(name, &peer("branch"));
        assert_eq!(value("wireguard_sent_bytes_total"), Some(7.0));
        assert_eq!(value("wireguard_received_bytes_total"), Some((1_u64 << 40) as f64));
        assert_eq!(value("wireguard_latest_handshake_seconds"), Some(1_795_311_000.25));
        let kind = exposed.families.iter().find(|f| f.name == "wireguard_latest_handshake_seconds").unwrap();
        assert_eq!(kind.kind, "gauge");
    }
}

#[test]
fn names_can_be_anything() {
    for name in ["new\nline", "quo\"te", "back\\slash", "\\n\"},{", "ünï", ""] {
        let mut status = sample::full();
        status.wireguard.get_mut("wg0").unwrap().peers[0].name = Some(name.to_owned());
        for exposed in both(&status) {
            assert_eq!(exposed.value("wireguard_sent_bytes_total", &peer(name)), Some(7.0), "{name:?}");
        }
    }
}

#[test]
fn a_peer_without_a_handshake_or_a_name_is_exposed_all_the_same() {
    let mut status = sample::full();
    let peer = Peer { public_key: "other".to_owned(), ..Peer::default() };
    status.wireguard.get_mut("wg0").unwrap().peers.push(peer);
    let labels = [("interface", "wg0"), ("public_key", "other"), ("allowed_ips", ""), ("friendly_name", "")];
    for exposed in both(&status) {
        assert_eq!(exposed.value("wireguard_latest_handshake_seconds", &labels), Some(0.0));
    }
}

#[test]
fn every_reason_is_exposed_and_those_of_a_newer_daemon_too() {
    for exposed in both(&sample::full()) {
        let of = |reason| exposed.value("adit_drops_total", &[("tunnel", "wg0"), ("reason", reason)]);
        for reason in Reason::of_wireguard() {
            let packets = if reason == Reason::NoRoute { 9.0 } else { 0.0 };
            assert_eq!(of(reason.as_str()), Some(packets), "{reason:?}");
        }
        assert_eq!(of("of_the_future"), Some(2.0));
    }
}

#[test]
fn batches_of_all_workers_are_one_histogram() {
    for exposed in both(&sample::full()) {
        let of = |name, le: Option<&'static str>| {
            let mut labels = vec![("tunnel", "wg0"), ("direction", "outward")];
            labels.extend(le.map(|le| ("le", le)));
            exposed.value(name, &labels)
        };
        assert_eq!(of("adit_batch_packets_sum", None), Some(203.0));
        assert_eq!(of("adit_batch_packets_count", None), Some(6.0));
        // Two batches of one packet, then four of 4 to 7.
        for (le, batches) in [("1.0", 2.0), ("3.0", 2.0), ("7.0", 6.0), ("8191.0", 6.0), ("+Inf", 6.0)] {
            assert_eq!(of("adit_batch_packets_bucket", Some(le)), Some(batches), "{le}");
        }
    }
}

#[test]
fn batches_larger_than_any_bucket_are_in_the_last() {
    let mut sizes = vec![0; 40];
    sizes[BUCKETS + 3] = 5;
    let (_, count, buckets) = merged([Batches { packets: 9, sizes }].iter());
    assert_eq!((count, buckets[BUCKETS - 1].1, buckets[BUCKETS].1), (5, 0, 5));
}

#[test]
fn the_state_of_the_gateway_is_exposed() {
    let mut status = sample::full();
    status.warnings.push("another".to_owned());
    for exposed in both(&status) {
        let value = |name, tunnel: Option<&'static str>| {
            exposed.value(name, &tunnel.map(|tunnel| ("tunnel", tunnel)).into_iter().collect::<Vec<_>>())
        };
        assert_eq!(value("adit_tunnel_up", Some("wg0")), Some(1.0));
        assert_eq!(value("adit_handshakes_total", Some("wg0")), Some(17.0));
        assert_eq!(value("adit_handshake_queue_depth", Some("wg0")), Some(4.0));
        // That of the tunnel, that of its peer, and that of its clients.
        assert_eq!(value("adit_warnings", Some("wg0")), Some(3.0));
        assert_eq!(value("adit_warnings", Some("")), Some(2.0));
        assert_eq!(value("adit_config_last_reload_successful", None), Some(0.0));
        assert_eq!(value("adit_config_reloads_total", None), Some(3.0));
        assert_eq!(value("adit_config_reload_errors_total", None), Some(2.0));
        assert_eq!(value("process_start_time_seconds", None), Some(1_795_310_000.5));
        assert!(value("process_resident_memory_bytes", None) > Some(1e6));
        assert!(value("process_open_fds", None) > Some(2.0));
        assert!(value("process_cpu_seconds_total", None).is_some());
        assert_eq!(exposed.value("adit_build_info", &[("version", "0.1.0")]), Some(1.0));
    }
    for state in [State::Down, State::Gone, State::Stuck] {
        status.wireguard.get_mut("wg0").unwrap().state = state;
        for exposed in both(&status) {
            assert_eq!(exposed.value("adit_tunnel_up", &[("tunnel", "wg0")]), Some(0.0));
        }
    }
}

#[test]
fn a_gateway_without_tunnels_is_exposed() {
    both(&Status::default());
}
