//! Requests that share a connection to a backend of HTTP/2.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::http2::{self, DATA, END_HEADERS, END_STREAM, HEADERS, Outcome, block, frame, outcome};
use super::peer::{Peer, Reply};
use super::recorder::Recorder;
use super::{Settings, Setup, proper::status, start};

const GET: &str = "GET /a HTTP/1.1\r\nHost: www.example.com\r\n\r\n";

fn to(peer: &Peer, change: impl FnOnce(&mut Settings)) -> Setup {
    let http2 = |settings: &mut Settings| {
        settings.backend_http2 = true;
        change(settings);
    };
    start(http2, Recorder::start(), vec![peer.address], false)
}

/// Asks for as many answers as there are ids, and takes nothing of them.
fn ask(stream: &mut super::Stream, ids: impl Iterator<Item = u32>) {
    for id in ids {
        let head = block(&http2::PLAIN);
        stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, id, &head)).unwrap();
    }
    stream.flush().unwrap();
}

#[test]
fn clients_that_take_nothing_stop_nobody_else() {
    let peer = Peer::start(|_, request| match request {
        1..=20 => Reply::Long(8 << 20),
        _ => Reply::Ok,
    });
    let setup = to(&peer, |_| ());
    assert_eq!(status(&setup, GET).0, "200");
    let mut stream = http2::connect_with(&setup, 0);
    ask(&mut stream, (0..20).map(|at| 2 * at + 1));
    for id in 0..20 {
        assert_eq!(outcome(&mut stream, 2 * id + 1), Outcome::Ok);
    }
    std::thread::sleep(Duration::from_millis(300));
    let (code, answer) = status(&setup, GET);
    assert!(code == "200" && answer.contains("\r\nok\r\n0\r\n"), "{answer}");
    assert_eq!(peer.connections(), 1);
}

#[test]
fn no_more_requests_share_a_connection_than_its_window_is_for() {
    let peer = Peer::start(|_, request| if request == 0 { Reply::Ok } else { Reply::Silent });
    let setup = to(&peer, |_| ());
    assert_eq!(status(&setup, GET).0, "200");
    let mut stream = http2::connect(&setup);
    ask(&mut stream, (0..64).map(|at| 2 * at + 1));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(peer.connections(), 1);
    assert_eq!(status(&setup, GET).0, "200");
    assert_eq!(peer.connections(), 2);
}

#[test]
fn a_connection_whose_backend_does_not_answer_is_used_no_more() {
    let peer = Peer::start(|connection, request| match (connection, request) {
        (0, 1..) => Reply::Silent,
        _ => Reply::Ok,
    });
    let setup = to(&peer, |settings| settings.answer_timeout = Duration::from_millis(300));
    let all: Vec<_> = (0..3).map(|_| status(&setup, GET).0).collect();
    assert_eq!(all, ["200", "504", "200"]);
    assert_eq!((peer.connections(), setup.route.late.load(Ordering::Relaxed)), (2, 1));
}

#[test]
fn a_connection_on_which_nothing_comes_for_long_gets_no_other_request() {
    let peer = Peer::start(|connection, request| match (connection, request) {
        (0, 1..) => Reply::Silent,
        _ => Reply::Ok,
    });
    let setup = to(&peer, |_| ());
    assert_eq!(status(&setup, GET).0, "200");
    let mut waiting = http2::connect(&setup);
    ask(&mut waiting, std::iter::once(1));
    std::thread::sleep(Duration::from_millis(2_300));
    let begun = Instant::now();
    assert_eq!(status(&setup, GET).0, "200");
    assert!(begun.elapsed() < Duration::from_secs(2) && peer.connections() == 2);
}

#[test]
fn a_request_that_a_backend_did_not_process_is_sent_once_more() {
    let peer = Peer::start(|connection, request| match (connection, request) {
        (0, 1) => Reply::Refuse,
        (0, 3) => Reply::Leave,
        (1, 1..) => Reply::Refuse,
        _ => Reply::Ok,
    });
    let setup = to(&peer, |_| ());
    let post = GET.replace("GET", "POST").replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(status(&setup, GET).0, "200");
    assert_eq!(status(&setup, &post).0, "200", "the stream was refused");
    assert_eq!(status(&setup, GET).0, "200", "the connection ended");
    assert_eq!((peer.connections(), setup.rules.counters.retried()), (2, 2));
    assert_eq!(status(&setup, GET).0, "502", "a backend that refuses all is not asked for ever");
    let peer = Peer::start(|_, _| Reply::Leave);
    let setup = to(&peer, |_| ());
    assert_eq!(
        (status(&setup, GET).0.as_str(), peer.connections()),
        ("502", 4),
        "nor one that ends each time"
    );
}

#[test]
fn a_backend_says_how_many_requests_share_a_connection() {
    let peer = Peer::with_streams(1, |_, request| if request == 1 { Reply::Silent } else { Reply::Ok });
    let setup = to(&peer, |_| ());
    assert_eq!(status(&setup, GET).0, "200");
    let mut waiting = http2::connect(&setup);
    ask(&mut waiting, std::iter::once(1));
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    assert_eq!(status(&setup, GET).0, "200");
    assert!(begun.elapsed() < Duration::from_secs(2) && peer.connections() == 2);
}

#[test]
fn a_connection_that_answers_others_is_used_whatever_is_silent_on_it() {
    let peer = Peer::start(|_, request| if request == 1 { Reply::Silent } else { Reply::Ok });
    let setup = to(&peer, |_| ());
    assert_eq!(status(&setup, GET).0, "200");
    // For longer than it may say nothing while it has requests: it had none.
    std::thread::sleep(Duration::from_millis(2_100));
    let mut waiting = http2::connect(&setup);
    ask(&mut waiting, std::iter::once(1));
    std::thread::sleep(Duration::from_millis(100));
    for _ in 0..3 {
        assert_eq!(status(&setup, GET).0, "200");
        assert_eq!(peer.connections(), 1);
    }
}

#[test]
fn a_call_of_grpc_may_be_silent_in_the_middle_and_nothing_else_may() {
    let peer = Peer::start(|_, _| Reply::AtEnd);
    let setup = to(&peer, |settings| settings.body_timeout = Duration::from_millis(300));
    for (kind, expected) in [("application/grpc+proto", Outcome::Ok), ("text/plain", Outcome::Refused)] {
        let mut fields = http2::PLAIN.to_vec();
        fields[0].1 = "POST";
        fields.push(("content-type", kind));
        let mut stream = http2::connect(&setup);
        stream.write_all(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).unwrap();
        stream.flush().unwrap();
        std::thread::sleep(Duration::from_millis(900));
        // Who was refused does not take it.
        let _ = stream.write_all(&frame(DATA, END_STREAM, 1, b"hello")).and_then(|()| stream.flush());
        assert_eq!(outcome(&mut stream, 1), expected, "{kind}");
    }
}

#[test]
fn a_connection_that_ends_while_it_has_requests_gets_no_others() {
    let peer = Peer::start(|connection, request| match (connection, request) {
        (0, 1) => Reply::Silent,
        (0, 2) => Reply::Leave,
        _ => Reply::Ok,
    });
    let setup = to(&peer, |_| ());
    assert_eq!(status(&setup, GET).0, "200");
    let mut waiting = http2::connect(&setup);
    ask(&mut waiting, std::iter::once(1));
    std::thread::sleep(Duration::from_millis(100));
    for _ in 0..2 {
        assert_eq!(status(&setup, GET).0, "200");
        assert_eq!(peer.connections(), 2);
    }
}
