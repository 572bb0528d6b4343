//! What comes through as it should, and what clients are told when it does not.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::log::says;
use super::recorder::Recorder;
use super::{Setup, ok, rest, setup, start, statuses};

pub(super) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: www.example.com\r\n\r\n")
}

/// An address where nobody is.
pub(super) fn nobody() -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // The port stays taken: another test would listen there.
    std::mem::forget(socket);
    address
}

/// The status of one request, and the whole of its answer.
pub(super) fn status(setup: &Setup, request: &str) -> (String, String) {
    let mut stream = setup.client("http/1.1");
    stream.write_all(request.as_bytes()).unwrap();
    stream.flush().unwrap();
    stream.sock.set_read_timeout(Some(Duration::from_millis(900))).unwrap();
    let answer = String::from_utf8(rest(&mut stream)).unwrap();
    (statuses(&answer).concat(), answer)
}

#[test]
fn a_connection_to_a_backend_serves_one_client_after_the_other() {
    let setup = setup(|_| ());
    for _ in 0..3 {
        let mut stream = setup.client("http/1.1");
        for _ in 0..3 {
            stream.write_all(get("/a").as_bytes()).unwrap();
            let answer = ok(&mut stream);
            assert!(!answer.contains("x-hop") && !answer.contains("keep-alive"), "{answer}");
        }
    }
    let seen = setup.recorder.take();
    assert_eq!((seen.connections, seen.requests.len()), (1, 9));
    assert_eq!(setup.rules.counters.classes().map(|(_, count)| count).sum::<u64>(), 9);
}

#[test]
fn a_request_is_asked_twice_only_where_that_does_no_harm() {
    let recorder = Recorder::start();
    let backends = vec![nobody(), recorder.address];
    let setup = start(|_| (), recorder, backends, false);
    assert_eq!(status(&setup, &get("/a")).0, "200", "the second backend takes what the first refused");
    // The connection is kept, and closed by the backend at the next request.
    assert_eq!(status(&setup, &get("/once")).0, "200");
    let seen = setup.recorder.take();
    assert_eq!((seen.connections, seen.requests.len()), (2, 3));
    let post = "POST /once HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(status(&setup, post).0, "502");
    assert_eq!(setup.recorder.take().requests.len(), 1);
    // On a connection of its own it was heard: nobody knows what came of it.
    assert_eq!(status(&setup, &get("/broken")).0, "502");
    assert_eq!(setup.recorder.take().requests.len(), 1);
}

#[test]
fn clients_are_told_shortly_what_is_wrong_and_nothing_of_what_is_behind() {
    let answers = |backends: Vec<SocketAddr>, path: &str| {
        let quick = |settings: &mut super::Settings| settings.answer_timeout = Duration::from_millis(200);
        status(&start(quick, Recorder::start(), backends, false), &get(path))
    };
    let recorder = Recorder::start();
    for (backends, path, expected, body) in [
        (vec![], "/a", "503", "503 Service Unavailable\n"),
        (vec![nobody()], "/a", "502", "502 Bad Gateway\n"),
        (vec![recorder.address], "/silent", "504", "504 Gateway Timeout\n"),
    ] {
        let (status, answer) = answers(backends, path);
        assert_eq!(status, expected, "{answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")) && !answer.contains("127.0.0.1"), "{answer}");
    }
}

#[test]
fn trailers_of_an_answer_come_through_but_for_those_of_one_hop() {
    let (recorder, backends) = says(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Hop, X-Sum\r\n\r\n\
          2\r\nok\r\n0\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Sum: 2\r\n\r\n",
    );
    let setup = start(|_| (), recorder, backends, false);
    let asks = get("/a").replace("Host:", "TE: trailers\r\nConnection: TE\r\nHost:");
    let (_, answer) = status(&setup, &asks);
    assert!(answer.ends_with("\r\n2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n"), "{answer}");
}

#[test]
fn a_length_that_a_backend_says_twice_is_said_once() {
    for (said, method, expected) in [
        ("Content-Length: 2\r\nContent-Length: 2", "GET", Some("2")),
        ("Content-Length: 2, 2", "GET", Some("2")),
        ("Content-Length: 2, 2", "HEAD", Some("2")),
        ("Content-Length: 2, 3", "HEAD", None),
    ] {
        let body = if method == "GET" { "ok" } else { "" };
        let (recorder, backends) = says(format!("HTTP/1.1 200 OK\r\n{said}\r\n\r\n{body}").leak().as_bytes());
        let setup = start(|_| (), recorder, backends, false);
        let (_, answer) = status(&setup, &get("/a").replace("GET", method));
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(body), "{answer}");
        let lengths: Vec<_> =
            answer.lines().filter_map(|line| line.strip_prefix("content-length: ")).collect();
        assert_eq!(lengths, expected.as_slice(), "{said} {method}: {answer}");
    }
}

#[test]
fn a_websocket_goes_through_and_what_was_said_early_too() {
    let setup = setup(|_| ());
    let mut stream = setup.client("http/1.1");
    let request = "GET /switch HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\nearly";
    stream.write_all(request.as_bytes()).unwrap();
    let mut all = Vec::new();
    while !all.ends_with(b"early") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        all.push(byte[0]);
    }
    let text = String::from_utf8(all).unwrap();
    assert!(text.starts_with("HTTP/1.1 101 ") && text.contains("upgrade: websocket"), "{text}");
    assert!(text.ends_with("\r\n\r\nhelloearly"), "{text}");
    stream.write_all(b"later").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"later");
    let seen = setup.recorder.take();
    assert_eq!(seen.requests[0].header("upgrade"), ["websocket"]);
    // The client's end is the backend's.
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    assert!(rest(&mut stream).is_empty());
    // A switch that nobody asked for is none.
    assert_eq!(status(&setup, &get("/switch")).0, "502");
}

#[test]
fn a_client_that_waits_for_a_word_before_its_body_gets_it() {
    let setup = setup(|_| ());
    let mut stream = setup.client("http/1.1");
    let head =
        "POST /a HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut word = [0; 25];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").unwrap();
    assert!(ok(&mut stream).contains("x-body: 5"));
    assert!(setup.recorder.take().requests[0].header("expect").is_empty());
}

#[test]
fn a_backend_that_reads_slowly_holds_up_the_client_and_fills_no_memory() {
    let setup = setup(|_| ());
    let mut stream = setup.client("http/1.1");
    stream.sock.set_write_timeout(Some(Duration::from_millis(400))).unwrap();
    let head = "POST /slow HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 104857600\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let (block, mut sent) = (vec![0; 65_536], 0);
    while sent < 104_857_600 && stream.write_all(&block).and_then(|()| stream.flush()).is_ok() {
        sent += block.len();
    }
    // What the system's own buffers hold, and not much of ours.
    assert!(sent < 50_000_000, "{sent} bytes were taken");
}

#[test]
fn a_listener_that_ends_lets_requests_end_and_sends_the_idle_away() {
    let setup = setup(|settings| settings.answer_timeout = Duration::from_secs(20));
    let [mut idle, mut busy, mut silent] = [(); 3].map(|()| setup.client("http/1.1"));
    idle.write_all(get("/a").as_bytes()).unwrap();
    ok(&mut idle);
    busy.write_all(get("/silent").as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    setup.listener.drain(Duration::from_secs(20));
    assert!(rest(&mut idle).is_empty() && rest(&mut silent).is_empty());
    assert!(begun.elapsed() < Duration::from_millis(1800), "{:?}", begun.elapsed());
    assert!(ok(&mut busy).starts_with("HTTP/1.1 200"));
    assert!(rest(&mut busy).is_empty());
    while !setup.listener.is_over() {
        assert!(begun.elapsed() < Duration::from_secs(15));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_answer_after_a_route_was_replaced_is_the_last() {
    let setup = setup(|_| ());
    let (mut stream, mut silent) = (setup.client("http/1.1"), setup.client("http/1.1"));
    stream.write_all(get("/a").as_bytes()).unwrap();
    assert!(!ok(&mut stream).contains("close"));
    setup.route.replaced.send_replace(true);
    std::thread::sleep(Duration::from_millis(100));
    for stream in [&mut stream, &mut silent] {
        stream.write_all(get("/a").as_bytes()).unwrap();
        assert!(ok(stream).contains("connection: close\r\n"));
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    }
}

#[test]
fn an_answer_that_is_under_way_when_a_route_is_replaced_is_the_last() {
    let setup = setup(|_| ());
    let mut stream = setup.client("http/1.1");
    stream.write_all(get("/silent").as_bytes()).and_then(|()| stream.flush()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    setup.route.replaced.send_replace(true);
    assert!(ok(&mut stream).contains("connection: close\r\n"));
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn a_listener_that_ends_sends_away_also_whose_route_was_replaced() {
    let setup = setup(|_| ());
    let mut stream = setup.client("http/1.1");
    stream.write_all(get("/a").as_bytes()).unwrap();
    ok(&mut stream);
    setup.route.replaced.send_replace(true);
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    setup.listener.drain(Duration::from_secs(20));
    assert!(rest(&mut stream).is_empty());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_websocket_stays_when_its_route_is_replaced() {
    let setup = setup(|_| ());
    let mut stream = setup.client("http/1.1");
    let request =
        "GET /switch HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).unwrap();
    let mut all = Vec::new();
    while !all.ends_with(b"\r\n\r\nhello") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        all.push(byte[0]);
    }
    setup.route.replaced.send_replace(true);
    std::thread::sleep(Duration::from_millis(200));
    stream.write_all(b"later").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"later");
}
