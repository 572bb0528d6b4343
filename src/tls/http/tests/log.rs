//! What the access log tells of requests, and of connections that made none.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::http2::{
    self, END_HEADERS, END_STREAM, HEADERS, Outcome, RST_STREAM, SETTINGS, block, frame, outcome,
};
use super::peer::{Peer, Reply};
use super::proper::{get, nobody, status};
use super::recorder::Recorder;
use super::{Setup, ok, rest, setup, start, statuses};

/// What the lines say under these keys.
fn told(lines: &[Value], keys: &[&str]) -> Vec<Vec<String>> {
    let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    lines.iter().map(|line| keys.iter().map(|key| word(&line[*key])).collect()).collect()
}

fn ends(setup: &Setup, count: usize) -> Vec<String> {
    told(&setup.lines(count), &["end"]).concat()
}

/// A backend that says this to whoever connects, and leaves.
pub(super) fn says(words: &'static [u8]) -> (Recorder, Vec<std::net::SocketAddr>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(words));
        }
    });
    (Recorder::start(), vec![address])
}

#[test]
fn each_request_is_a_line_and_its_connection_is_none() {
    let setup = setup(|settings| settings.trust_request_id = true);
    let mut stream = setup.client("http/1.1");
    let post = "POST /a/b?token=secret HTTP/1.1\r\nHost: www.example.com:443\r\nX-Request-Id: mine\r\nContent-Length: 5\r\n\r\nhello";
    for request in [post, &get("/c")] {
        stream.write_all(request.as_bytes()).unwrap();
        ok(&mut stream);
    }
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    rest(&mut stream);
    let mut other = http2::connect(&setup);
    other.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&http2::PLAIN))).unwrap();
    other.flush().unwrap();
    assert_eq!(outcome(&mut other, 1), Outcome::Ok);
    std::thread::sleep(Duration::from_millis(100));
    let lines = setup.lines(3);
    let keys =
        ["kind", "protocol", "method", "host", "path", "status", "received", "sent", "end", "alpn", "sni"];
    let name = "www.example.com";
    assert_eq!(
        told(&lines, &keys),
        [
            [
                "request",
                "HTTP/1.1",
                "POST",
                "www.example.com:443",
                "/a/b",
                "200",
                "5",
                "2",
                "done",
                "http/1.1",
                name
            ],
            ["request", "HTTP/1.1", "GET", name, "/c", "200", "0", "2", "done", "http/1.1", name],
            ["request", "HTTP/2", "GET", name, "/a", "200", "0", "2", "done", "h2", name],
        ]
    );
    let backend = setup.recorder.address.to_string();
    for line in &lines {
        assert_eq!((&line["backend"], &line["error"]), (&backend.as_str().into(), &Value::Null));
        assert_eq!((&line["version"], &line["listener"]), (&"TLSv1.3".into(), &"web".into()));
        let (first, all) = (line["first_byte"].as_f64().unwrap(), line["duration"].as_f64().unwrap());
        assert!(first > 0.0 && first <= all && all < 5.0, "{line}");
        assert!(
            line["ja4"].is_string() && line["group"].is_string() && line["handshake"].is_number(),
            "{line}"
        );
    }
    assert_eq!(lines[0]["id"], "mine");
    // The backend got the same.
    assert_eq!(setup.recorder.take().requests[1].header("x-request-id"), [lines[1]["id"].as_str().unwrap()]);
}

#[test]
fn no_client_writes_a_line_of_its_own() {
    let setup = setup(|_| ());
    for head in [
        "GET /\u{202e}\u{9b}31m%0d%0aend=done\"x HTTP/1.1\r\nHost: www.example.com",
        "GET / HTTP/1.1\r\nHost: a\" end=\"done\t\u{9b}2J\u{2028}",
        "G'T / HTTP/1.1\r\nHost: www.example.com\rx: y",
    ] {
        setup.exchange(format!("{head}\r\n\r\n").as_bytes());
    }
    // Each is JSON, and there are as many as there were requests.
    let lines = setup.lines(3);
    let text = std::fs::read_to_string(&setup.log.settings.file).unwrap();
    assert!(!text.contains(['\u{202e}', '\u{9b}', '\u{2028}', '\t', '\r']), "{text:?}");
    assert_eq!(lines[0]["path"], "/\u{202e}\u{9b}31m%0d%0aend=done\"x");
    assert_eq!(lines[1]["host"], "a\" end=\"done\t\u{9b}2J\u{2028}");
    assert_eq!(told(&lines[1..], &["end", "status"]), [["refused_host", "400"], ["malformed", "400"]]);
}

#[test]
fn a_connection_that_made_no_request_is_a_line() {
    let setup = setup(|settings| settings.header_timeout = Duration::from_millis(200));
    let mut left = setup.client("http/1.1");
    left.conn.send_close_notify();
    left.flush().unwrap();
    rest(&mut left);
    assert_eq!(ends(&setup, 1), ["done"]);
    rest(&mut setup.client("http/1.1"));
    rest(&mut http2::connect(&setup));
    let mut half = setup.client("http/1.1");
    half.write_all(b"GET / HT").and_then(|()| half.flush()).unwrap();
    drop(half);
    drop(TcpStream::connect(setup.address).unwrap());
    let lines = setup.lines(5);
    assert!(
        lines.iter().all(|line| line["kind"] == "connection" && line.get("status").is_none()),
        "{lines:?}"
    );
    let mut found = told(&lines[1..], &["end"]).concat();
    found.sort();
    assert_eq!(found, ["idle", "idle", "left", "truncated"]);
    assert_eq!(lines.iter().filter(|line| line["received"] == 8).count(), 1, "{lines:?}");
}

#[test]
fn a_line_says_how_a_request_ended_and_what_is_wrong_with_the_backend() {
    let quick = |settings: &mut super::Settings| {
        settings.answer_timeout = Duration::from_millis(500);
        settings.body_timeout = Duration::from_millis(200);
        settings.body_bytes = Some(5);
        settings.headers = 10;
    };
    let post = |lines: &str| format!("POST /a HTTP/1.1\r\nHost: www.example.com\r\n{lines}\r\n\r\nhe");
    let recorder = Recorder::start();
    let there = vec![recorder.address];
    let setup = start(quick, recorder, there, false);
    let (many, long) = ("X: y\r\n".repeat(10), "x".repeat(20_000));
    let table = [
        (get("/a").replace("www", "mail"), "421", "refused_misdirected"),
        (get("/a").replace("Host", "Hosts"), "400", "refused_host"),
        (get("*"), "400", "refused_target"),
        (get("/a").replace("GET", "TRACE"), "405", "refused_method"),
        (post("Transfer-Encoding: gzip, chunked"), "400", "refused_framing"),
        (post("Content-Length: 6"), "413", "refused_body"),
        (post("Content-Length: 5"), "408", "client_time"),
        (post("Transfer-Encoding: chunked\r\n\r\n6\r\nhello!\r\n"), "413", "refused_body"),
        (post("Transfer-Encoding: chunked\r\n\r\n-5\r\n"), "400", "malformed"),
        (post(&format!("{many}Content-Length: 0")), "431", "malformed"),
        (post(&format!("X: {long}")), "431", "malformed"),
        ("nonsense\r\n\r\n".to_owned(), "400", "malformed"),
        (get("/broken"), "502", "backend"),
        (get("/switch"), "502", "backend"),
        (get("/silent"), "504", "backend_time"),
    ];
    for (at, (request, code, end)) in table.iter().enumerate() {
        assert_eq!(status(&setup, request).0, *code, "{end}");
        let line = setup.lines(at + 1).pop().unwrap();
        assert_eq!(
            (&line["end"], line["status"].to_string()),
            (&(*end).into(), (*code).to_owned()),
            "{line}"
        );
        // Whoever was asked got an id.
        assert_eq!(line["backend"].is_string(), line["id"].is_string(), "{line}");
    }
    let lines = setup.lines(table.len());
    let error = |at: usize| lines[at]["error"].as_str().unwrap_or_default();
    assert!(error(12).contains("connection closed") && error(14).contains("no answer to a request in time"));
    assert!(lines[6]["error"].is_null(), "the client's fault is no backend's: {}", lines[6]);
    let nobody = nobody();
    for (backends, code, end) in [(vec![], "503", "no_backend"), (vec![nobody], "502", "backend_refused")] {
        let asked = backends.first().map(ToString::to_string);
        let setup = start(quick, Recorder::start(), backends, false);
        assert_eq!(status(&setup, &get("/a")).0, code);
        let line = setup.lines(1).remove(0);
        assert_eq!((line["end"].as_str(), line["backend"].as_str()), (Some(end), asked.as_deref()), "{line}");
        assert_eq!(line["error"].is_string(), asked.is_some(), "{line}");
    }
}

#[test]
fn a_line_of_what_is_no_request_has_the_status_that_was_sent_if_one_was() {
    let setup = setup(|settings| settings.header_bytes = 1 << 20);
    let target = |length: usize| get(&format!("/{}", "a".repeat(length)));
    let heads = [
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), None),
        // Without the rest it is another version of HTTP/1.
        ("PRI * HTTP/2.0\r\n\r\n".to_owned(), Some("400")),
        (target(65_534), Some("414")),
        (target(1 << 20), Some("431")),
    ];
    for (at, (head, status)) in heads.iter().enumerate() {
        assert_eq!(statuses(&setup.exchange(head.as_bytes())), status.as_slice());
        let line = setup.lines(at + 1).pop().unwrap();
        let told = [["request", "malformed", status.unwrap_or("null")]];
        assert_eq!(self::told(&[line], &["kind", "end", "status"]), told);
    }
    assert_eq!(setup.rules.counters.classes().nth(3), Some(("4xx", 4)), "each is counted");
}

#[test]
fn of_several_backends_the_line_has_the_one_that_answered() {
    let recorder = Recorder::start();
    let backends = vec![nobody(), recorder.address];
    let setup = start(|_| (), recorder, backends, false);
    assert_eq!(status(&setup, &get("/a")).0, "200");
    let line = setup.lines(1).remove(0);
    let backend = setup.recorder.address.to_string();
    assert_eq!((line["backend"].as_str(), &line["error"]), (Some(backend.as_str()), &Value::Null), "{line}");
    // A connection that was kept ends, and the next answers.
    assert_eq!(status(&setup, &get("/once")).0, "200");
    assert_eq!(told(&setup.lines(2)[1..], &["end", "error"]), [["done", "null"]]);
}

#[test]
fn an_answer_that_is_not_whole_is_not_done() {
    let (recorder, backends) = says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort");
    let setup = start(|_| (), recorder, backends, false);
    assert!(status(&setup, &get("/a")).1.ends_with("\r\n\r\nshort"));
    let line = setup.lines(1).remove(0);
    assert_eq!((&line["end"], &line["status"], &line["sent"]), (&"backend".into(), &200.into(), &5.into()));
    assert!(line["error"].is_string(), "{line}");
    // An answer without a body has nothing more to come, whatever its length says.
    let (recorder, backends) = says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
    let setup = start(|_| (), recorder, backends, false);
    status(&setup, &get("/a").replace("GET", "HEAD"));
    status(&setup, &get("/a").replace("GET", "HEAD").replace("www", "mail"));
    assert_eq!(ends(&setup, 2), ["done", "refused_misdirected"]);
    // Nor if the backend sends one all the same.
    let peer = Peer::start(|_, _| Reply::Ok);
    let http2 = |settings: &mut super::Settings| settings.backend_http2 = true;
    let setup = start(http2, Recorder::start(), vec![peer.address], false);
    status(&setup, &get("/a").replace("GET", "HEAD"));
    assert_eq!(ends(&setup, 1), ["done"]);
}

#[test]
fn a_client_that_stops_in_the_middle_of_its_body_is_at_fault_also_behind_the_answers_head() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let backends = vec![listener.local_addr().unwrap()];
    let backend = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort").unwrap();
        // Until it is hung up on.
        while stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {}
    });
    let late = |settings: &mut super::Settings| settings.body_timeout = Duration::from_millis(300);
    let setup = start(late, Recorder::start(), backends, false);
    let post = "POST /a HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 5\r\n\r\nhe";
    assert!(status(&setup, post).1.ends_with("\r\n\r\nshort"));
    let line = setup.lines(1).remove(0);
    assert_eq!(
        (&line["end"], &line["status"], &line["error"]),
        (&"client_time".into(), &200.into(), &Value::Null)
    );
    backend.join().unwrap();
}

#[test]
fn clients_that_leave_or_take_nothing_are_told_apart() {
    let setup = setup(|settings| settings.body_timeout = Duration::from_millis(300));
    let mut stream = setup.client("http/1.1");
    stream.write_all(get("/silent").as_bytes()).and_then(|()| stream.flush()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    drop(stream);
    assert_eq!(told(&setup.lines(1), &["kind", "end", "status"]), [["request", "left", "null"]]);
    let mut stream = http2::connect_with(&setup, 0);
    for id in [1, 3] {
        stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, id, &block(&http2::PLAIN))).unwrap();
    }
    stream.write_all(&frame(RST_STREAM, 0, 3, &8_u32.to_be_bytes())).unwrap();
    stream.flush().unwrap();
    assert_eq!(outcome(&mut stream, 1), Outcome::Ok);
    assert_eq!(outcome(&mut stream, 1), Outcome::Reset);
    let mut found = told(&setup.lines(3)[1..], &["kind", "end"]);
    found.sort();
    assert_eq!(found, [["request", "client_time"], ["request", "left"]]);
}

#[test]
fn what_is_no_http2_is_a_line_of_its_own() {
    let setup = setup(|_| ());
    let mut stream = http2::connect(&setup);
    stream.write_all(&frame(SETTINGS, 0, 7, &[])).and_then(|()| stream.flush()).unwrap();
    assert_eq!(outcome(&mut stream, 9), Outcome::Over(1));
    let lines = setup.lines(1);
    assert_eq!(
        told(&lines, &["kind", "end", "status", "protocol"]),
        [["request", "malformed", "null", "HTTP/2"]]
    );
    let refused: u64 = setup.rules.counters.classes().map(|(_, count)| count).sum();
    assert_eq!(refused, 1);
}

#[test]
fn a_websocket_is_a_line_at_its_end_with_all_that_passed() {
    let setup = setup(|_| ());
    let mut stream = setup.client("http/1.1");
    let request = "GET /switch HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly";
    stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).unwrap();
    let mut all = Vec::new();
    while !all.ends_with(b"early") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        all.push(byte[0]);
    }
    assert_eq!(statuses(&String::from_utf8_lossy(&all)), ["101"]);
    // It counts by now.
    assert_eq!(setup.rules.counters.classes().next(), Some(("1xx", 1)));
    setup.lines(0);
    stream.write_all(b"later").unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    rest(&mut stream);
    let keys = ["status", "received", "sent", "end"];
    assert_eq!(told(&setup.lines(1), &keys), [["101", "10", "15", "done"]]);
    assert_eq!(setup.rules.counters.classes().next(), Some(("1xx", 1)), "it counts once");
}

#[test]
fn what_the_listener_ended_is_not_the_clients_doing() {
    let setup = setup(|_| ());
    let mut stream = setup.client("http/1.1");
    stream.write_all(get("/silent").as_bytes()).and_then(|()| stream.flush()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    setup.listener.drain(Duration::from_millis(50));
    let lines = setup.lines(2);
    let mut found = told(&lines, &["kind", "end"]);
    found.sort();
    assert_eq!(found, [["connection", "stopped"], ["request", "stopped"]]);
}
