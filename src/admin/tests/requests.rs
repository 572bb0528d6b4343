//! What is asked as it should be, and what is not.

use std::time::Duration;

use super::client::{ask, ask_tcp, begin, raw, send};
use super::gateway::{Fake, changed, until};
use crate::admin::metrics::strict::Exposed;
use crate::gateway::{Handle, Reloaded};
use crate::status::{State, Status};

#[test]
fn both_sockets_tell_the_status() {
    let fake = Fake::new();
    for path in [fake.read(), fake.write()] {
        let answer = ask(&path, "GET /v1/status");
        assert_eq!(answer.status, 200);
        let mut status: Status = serde_json::from_value(answer.json()).unwrap();
        let mut expected = fake.script.lock().unwrap().status.clone();
        // Rates are the server's own, and it has no two samples yet.
        for status in [&mut status, &mut expected] {
            let peer = &mut status.wireguard.get_mut("wg0").unwrap().peers[0];
            (peer.received_rate, peer.sent_rate) = (None, None);
        }
        assert_eq!(status, expected);
    }
    assert_eq!(std::fs::read_to_string(fake.trail_path()).unwrap(), "");
}

#[test]
fn rates_appear_once_they_are_known() {
    let fake = Fake::new();
    let received = |more: u64| {
        let mut script = fake.script.lock().unwrap();
        script.status.wireguard.get_mut("wg0").unwrap().peers[0].received_bytes += more;
    };
    let rate = || {
        ask(&fake.read(), "GET /v1/status").json()["wireguard"]["wg0"]["peers"][0]["received_rate"].clone()
    };
    assert!(rate().is_null());
    std::thread::sleep(Duration::from_millis(1_200));
    received(1_000_000);
    let known = rate().as_f64().unwrap();
    assert!((100_000.0..1_000_000.0).contains(&known), "{known}");
}

#[test]
fn metrics_are_told_in_the_format_that_is_asked_for() {
    let fake = Fake::new();
    let plain = ask(&fake.read(), "GET /metrics");
    assert_eq!(plain.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    Exposed::read(&plain.body, false).unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: adit\r\n\
        Accept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5\r\n\r\n";
    let open = raw(&fake.write(), request);
    assert_eq!(open.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    Exposed::read(&open.body, true).unwrap();
}

#[test]
fn the_address_for_metrics_has_nothing_else() {
    let fake = Fake::new();
    assert_eq!(ask_tcp(fake.metrics, "GET /metrics").status, 200);
    for line in ["GET /v1/status", "POST /v1/reload", "GET /v1/trace", "GET /"] {
        let answer = ask_tcp(fake.metrics, line);
        assert_eq!(answer.status, 404, "{line}");
        assert_eq!(answer.error(), "there is no such path here; there are: GET /metrics");
    }
    assert_eq!(fake.script.lock().unwrap().reloads, 0);
}

#[test]
fn who_may_only_read_changes_nothing() {
    let fake = Fake::new();
    for line in ["POST /v1/reload", "GET /v1/trace?tunnel=wg0"] {
        let answer = ask(&fake.read(), line);
        assert_eq!(answer.status, 403, "{line}");
        assert!(answer.error().ends_with("is answered on write.sock, not on read.sock"));
    }
    assert_eq!(fake.script.lock().unwrap().reloads, 0);
    assert!(!fake.tracer("wg0").is_on());
}

#[test]
fn a_wrong_path_or_method_is_told_what_is_right() {
    let fake = Fake::new();
    let answer = ask(&fake.write(), "GET /v1/statuses");
    assert_eq!(answer.status, 404);
    assert!(answer.error().contains("GET /v1/status, "), "{}", answer.error());
    for (line, allowed) in [
        ("POST /v1/status", "GET"),
        ("GET /v1/reload", "POST"),
        ("HEAD /metrics", "GET"),
        ("BREW /metrics", "GET"),
    ] {
        let answer = ask(&fake.write(), line);
        assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{line}");
    }
    assert_eq!(fake.script.lock().unwrap().reloads, 0);
}

#[test]
fn a_reload_is_carried_out_and_audited() {
    let fake = Fake::new();
    fake.script.lock().unwrap().reload = Ok(changed("wg1: added"));
    let answer = ask(&fake.write(), "POST /v1/reload");
    assert_eq!((answer.status, answer.json()["changed"].as_str()), (200, Some("wg1: added")));
    fake.script.lock().unwrap().reload = Err("line 7, column 1: what is this".to_owned());
    let answer = ask(&fake.write(), "POST /v1/reload");
    assert_eq!((answer.status, answer.error()), (409, "line 7, column 1: what is this".to_owned()));
    let entry = |result: &str, detail: &str| ("reload".to_owned(), result.to_owned(), detail.to_owned());
    let expected = [
        entry("attempt", ""),
        entry("ok", "wg1: added"),
        entry("attempt", ""),
        entry("refused", "line 7, column 1: what is this"),
    ];
    assert_eq!(fake.trail(), expected);
}

#[test]
fn what_cannot_be_audited_is_not_done() {
    let fake = Fake::new();
    std::fs::remove_file(fake.trail_path()).unwrap();
    std::fs::create_dir(fake.trail_path()).unwrap();
    for line in ["POST /v1/reload", "GET /v1/trace?tunnel=wg0"] {
        let answer = ask(&fake.write(), line);
        assert_eq!(answer.status, 503, "{line}");
        assert!(answer.error().contains("audit.jsonl"), "{}", answer.error());
    }
    assert_eq!(fake.script.lock().unwrap().reloads, 0);
    assert!(!fake.tracer("wg0").is_on());
    assert_eq!(ask(&fake.write(), "GET /v1/status").status, 200);
}

#[test]
fn a_reload_whose_client_is_gone_is_audited_to_its_end() {
    let fake = Fake::new();
    fake.script.lock().unwrap().reload_takes = Duration::from_millis(300);
    let client = begin(&fake.write(), "POST /v1/reload");
    until("the attempt", || fake.trail().len() == 1);
    drop(client);
    until("the result", || fake.trail().len() == 2);
    assert_eq!(fake.trail()[1].1, "ok");
}

#[test]
fn health_is_that_of_every_tunnel_and_link() {
    let health = |tunnel, link| {
        let fake = Fake::new();
        {
            let status = &mut fake.script.lock().unwrap().status;
            status.wireguard.get_mut("wg0").unwrap().state = tunnel;
            status.macsec.entry("uplink".to_owned()).or_default().state = link;
        }
        // What was asked for before it was set.
        std::thread::sleep(Duration::from_millis(1_100));
        ask(&fake.read(), "GET /v1/health")
    };
    for state in [State::Up, State::Down] {
        assert_eq!(health(state, state).status, 200);
    }
    for (tunnel, link, error) in [
        (State::Gone, State::Up, "wg0 is gone"),
        (State::Stuck, State::Up, "wg0 does not answer"),
        (State::Up, State::Gone, "uplink is gone"),
        (State::Down, State::Stuck, "uplink does not answer"),
    ] {
        let answer = health(tunnel, link);
        assert_eq!((answer.status, &*answer.error()), (503, error));
    }
}

/// Whether each format has the version that the gateway tells now.
fn current(fake: &Fake) -> [bool; 2] {
    let version = fake.script.lock().unwrap().status.version.clone();
    let told = [ask(&fake.read(), "GET /v1/status"), ask(&fake.read(), "GET /metrics")];
    told.map(|answer| answer.body.contains(&format!("\"{version}\"")))
}

#[test]
fn a_status_serves_everybody_for_a_second() {
    let fake = Fake::new();
    assert_eq!(current(&fake), [true; 2]);
    fake.script.lock().unwrap().status.version = "another".to_owned();
    let asked = fake.script.lock().unwrap().asked;
    assert_eq!(current(&fake), [false; 2]);
    assert_eq!(ask(&fake.write(), "GET /v1/health").status, 200);
    assert_eq!(fake.script.lock().unwrap().asked, asked);
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(current(&fake), [true; 2]);
    assert_eq!(fake.script.lock().unwrap().asked, asked + 1);
}

#[test]
fn after_a_reload_the_status_is_a_new_one() {
    let fake = Fake::new();
    for reload in [Ok(changed("all")), Err("another error".to_owned())] {
        assert_eq!(current(&fake), [true; 2]);
        let mut script = fake.script.lock().unwrap();
        script.status.version.push('x');
        script.reload = reload;
        drop(script);
        ask(&fake.write(), "POST /v1/reload");
        assert_eq!(current(&fake), [true; 2]);
    }
}

#[test]
fn what_a_reload_could_not_do_is_told_and_audited() {
    let fake = Fake::new();
    fake.script.lock().unwrap().reload =
        Ok(Reloaded { changed: "added wg1".to_owned(), faults: vec!["wg1: post_up: false".to_owned()] });
    let answer = ask(&fake.write(), "POST /v1/reload");
    assert_eq!((answer.status, &answer.json()["faults"][0]), (200, &"wg1: post_up: false".into()));
    let trail = fake.trail();
    let (_, result, detail) = trail.last().unwrap();
    assert_eq!((&**result, &**detail), ("partial", "added wg1; but wg1: post_up: false"));
}

#[test]
fn a_slow_disk_holds_nobody_else_up() {
    let fake = Fake::new();
    let slow = fake.audit.hold();
    let mut reloading = begin(&fake.write(), "POST /v1/reload");
    let _tracing = begin(&fake.write(), "GET /v1/trace?tunnel=wg0");
    std::thread::sleep(Duration::from_millis(100));
    for line in ["GET /v1/status", "GET /v1/health", "GET /metrics"] {
        assert_eq!(ask(&fake.write(), line).status, 200);
    }
    assert_eq!(fake.script.lock().unwrap().reloads, 0, "it is not in the trail yet");
    drop(slow);
    assert!(send(&mut reloading, b"").starts_with("HTTP/1.1 200 OK"));
    let reload: Vec<_> = fake.trail().into_iter().filter(|(what, ..)| what == "reload").collect();
    let results: Vec<_> = reload.iter().map(|(_, result, _)| &**result).collect();
    assert_eq!(results, ["attempt", "ok"]);
}

#[test]
fn a_reload_whose_client_goes_before_it_begins_has_a_result_too() {
    let fake = Fake::new();
    let slow = fake.audit.hold();
    let client = begin(&fake.write(), "POST /v1/reload");
    std::thread::sleep(Duration::from_millis(100));
    drop(client);
    std::thread::sleep(Duration::from_millis(100));
    drop(slow);
    until("the result", || fake.trail().len() == 2);
    assert_eq!((&*fake.trail()[1].1, fake.script.lock().unwrap().reloads), ("ok", 1));
}

#[test]
fn a_gateway_that_is_ending_is_told() {
    let (handle, requests) = Handle::new();
    drop(requests);
    let fake = Fake::with_handle(handle);
    for line in ["GET /v1/status", "GET /v1/health", "GET /metrics", "POST /v1/reload", "GET /v1/trace"] {
        let answer = ask(&fake.write(), line);
        assert_eq!((answer.status, &*answer.error()), (503, "the gateway is ending"), "{line}");
    }
    assert_eq!(fake.trail()[1].1, "refused");
}

#[test]
fn the_sockets_go_with_the_server() {
    let mut fake = Fake::new();
    let watching = begin(&fake.write(), "GET /v1/trace?tunnel=wg0");
    until("watching", || fake.tracer("wg0").is_on());
    fake.stop();
    assert!(!fake.read().exists() && !fake.write().exists());
    assert!(!fake.tracer("wg0").is_on());
    assert!(std::net::TcpStream::connect(fake.metrics).is_err());
    drop(watching);
}
