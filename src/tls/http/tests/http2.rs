//! HTTP/2, frame by frame (RFC 9113): what hyper's own client would never say.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use super::{Setup, Stream, setup};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Fields as literals without an index (RFC 7541, section 6.2.2).
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            bytes.push(text.len() as u8);
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

pub(super) const PLAIN: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":path", "/a"), (":authority", "www.example.com")];

pub(super) fn connect(setup: &Setup) -> Stream {
    connect_with(setup, 65_535)
}

/// The same for a client that takes so much of an answer ahead of asking for more.
pub(super) fn connect_with(setup: &Setup, window: u32) -> Stream {
    let mut stream = setup.client("h2");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    let initial = [&[0, 4][..], &window.to_be_bytes()].concat();
    stream.write_all(&frame(SETTINGS, 0, 0, &initial)).unwrap();
    stream
}

/// What came for a request.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Ok,
    /// Another status.
    Refused,
    Reset,
    /// The connection is over, with this code.
    Over(u32),
    Nothing,
}

/// The kind of the next frame, and its stream.
pub(super) fn next(stream: &mut Stream) -> (u8, u32) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    stream.read_exact(&mut vec![0; length]).unwrap();
    (head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]))
}

pub(super) fn outcome(stream: &mut Stream, id: u32) -> Outcome {
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return Outcome::Nothing;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let on = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        if stream.read_exact(&mut payload).is_err() {
            return Outcome::Nothing;
        }
        match head[3] {
            GOAWAY => return Outcome::Over(u32::from_be_bytes(payload[4..8].try_into().unwrap())),
            RST_STREAM if on == id => return Outcome::Reset,
            // The entry of `:status 200` in the static table.
            HEADERS if on == id && payload[0] == 0x88 => return Outcome::Ok,
            HEADERS if on == id => return Outcome::Refused,
            _ => {}
        }
    }
}

/// A request whose fields are these in place of a sound one's, and then more.
pub(super) fn with(
    changes: &[(usize, &'static str)],
    more: &[(&'static str, &'static str)],
) -> Vec<(&'static str, &'static str)> {
    let mut fields = PLAIN.to_vec();
    for (at, value) in changes {
        fields[*at].1 = *value;
    }
    fields.extend(more);
    fields
}

#[test]
fn a_request_that_is_none_reaches_no_backend() {
    let setup = setup(|_| ());
    let without = |at: usize| {
        let mut fields = PLAIN.to_vec();
        fields.remove(at);
        fields
    };
    for (what, fields, fine) in [
        ("a plain one", with(&[], &[]), true),
        ("trailers", with(&[], &[("te", "trailers")]), true),
        ("Host that agrees", with(&[], &[("host", "www.example.com")]), true),
        ("connection", with(&[], &[("connection", "close")]), false),
        ("transfer-encoding", with(&[], &[("transfer-encoding", "chunked")]), false),
        ("upgrade", with(&[], &[("upgrade", "websocket")]), false),
        ("keep-alive", with(&[], &[("keep-alive", "1")]), false),
        ("te", with(&[], &[("te", "gzip")]), false),
        ("capitals", with(&[], &[("X-A", "b")]), false),
        ("CRLF in a value", with(&[], &[("x", "a\r\nhost: b")]), false),
        ("LF in a value", with(&[], &[("x", "a\nb")]), false),
        ("NUL in a value", with(&[], &[("x", "a\0b")]), false),
        ("CRLF in a name", with(&[], &[("x: a\r\ny", "b")]), false),
        ("a colon in a name", with(&[], &[("x:y", "b")]), false),
        ("a space in a name", with(&[], &[("x y", "b")]), false),
        ("an empty name", with(&[], &[("", "b")]), false),
        ("a space in the path", with(&[(2, "/a b")], &[]), false),
        ("CRLF in the path", with(&[(2, "/a HTTP/1.1\r\nx: y")], &[]), false),
        ("no slash", with(&[(2, "a")], &[]), false),
        ("an empty path", with(&[(2, "")], &[]), false),
        ("a whole target as a path", with(&[(2, "http://x.example/")], &[]), false),
        ("CRLF in the method", with(&[(0, "GET / HTTP/1.1\r\nx: y")], &[]), false),
        ("a space in the method", with(&[(0, "GET /x")], &[]), false),
        ("TRACE", with(&[(0, "TRACE")], &[]), false),
        ("a user in the authority", with(&[(3, "a@www.example.com")], &[]), false),
        ("a path in the authority", with(&[(3, "www.example.com/b")], &[]), false),
        ("another authority", with(&[(3, "mail.example.com")], &[]), false),
        ("an empty authority", with(&[(3, "")], &[]), false),
        ("Host that disagrees", with(&[], &[("host", "mail.example.com")]), false),
        ("two Hosts", with(&[], &[("host", "www.example.com"), ("host", "www.example.com")]), false),
        ("two paths", with(&[], &[(":path", "/b")]), false),
        ("a path behind a header", with(&[], &[("x", "y"), (":path", "/b")]), false),
        ("an unknown pseudo-header", with(&[], &[(":x", "y")]), false),
        ("an answer's pseudo-header", with(&[], &[(":status", "200")]), false),
        ("no method", without(0), false),
        ("no scheme", without(1), false),
        ("no path", without(2), false),
        ("no authority", without(3), false),
        ("another scheme", with(&[(1, "ftp")], &[]), false),
        ("a length and no body", with(&[(0, "POST")], &[("content-length", "5")]), false),
        ("two lengths", with(&[], &[("content-length", "0"), ("content-length", "5")]), false),
    ] {
        let mut stream = connect(&setup);
        stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields))).unwrap();
        stream.flush().unwrap();
        let found = outcome(&mut stream, 1);
        let seen = setup.recorder.take();
        assert!(seen.wrong.is_empty(), "{what}: {seen:?}");
        if fine {
            assert_eq!((found, seen.requests.len()), (Outcome::Ok, 1), "{what}");
            assert_eq!(seen.requests[0].header("host"), ["www.example.com"], "{what}");
        } else {
            assert!(!matches!(found, Outcome::Ok | Outcome::Nothing), "{what}: {found:?}");
            assert!(seen.requests.is_empty(), "{what}: {seen:?}");
        }
    }
}

#[test]
fn a_body_that_is_not_as_long_as_was_said_is_no_whole_request() {
    let setup = setup(|_| ());
    for (length, data) in [("3", "hello"), ("9", "hello")] {
        let fields = with(&[(0, "POST")], &[("content-length", length)]);
        let mut stream = connect(&setup);
        stream.write_all(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).unwrap();
        stream.write_all(&frame(DATA, END_STREAM, 1, data.as_bytes())).unwrap();
        stream.flush().unwrap();
        assert_eq!(outcome(&mut stream, 1), Outcome::Reset, "{length}");
        assert!(setup.recorder.take().requests.is_empty());
    }
}

#[test]
fn a_body_whose_length_is_not_said_is_passed_on_whatever_the_method() {
    let setup = setup(|_| ());
    for method in ["GET", "POST", "DELETE", "HEAD"] {
        let mut stream = connect(&setup);
        stream.write_all(&frame(HEADERS, END_HEADERS, 1, &block(&with(&[(0, method)], &[])))).unwrap();
        stream.write_all(&frame(DATA, END_STREAM, 1, b"hello")).unwrap();
        stream.flush().unwrap();
        assert_eq!(outcome(&mut stream, 1), Outcome::Ok, "{method}");
        let seen = setup.recorder.take();
        assert!(seen.wrong.is_empty(), "{method}: {seen:?}");
        assert_eq!(seen.requests[0].body, b"hello", "{method}: {seen:?}");
    }
}

/// Writes as long as the other side takes it, and says how the connection ended.
fn flood(stream: &mut Stream, id: u32, frames: impl Iterator<Item = Vec<u8>>) -> Outcome {
    for frame in frames {
        if stream.write_all(&frame).is_err() {
            break;
        }
    }
    let _ = stream.flush();
    outcome(stream, id)
}

#[test]
fn streams_that_are_reset_as_soon_as_they_are_there_end_the_connection() {
    let setup = setup(|_| ());
    let mut stream = connect(&setup);
    let resets = (0..500).map(|at| {
        let id = 2 * at + 1;
        let mut both = frame(HEADERS, END_STREAM | END_HEADERS, id, &block(&PLAIN));
        both.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
        both
    });
    let begun = Instant::now();
    let ended = flood(&mut stream, 99_999, resets);
    // ENHANCE_YOUR_CALM (RFC 9113, section 7), unless the reset of the connection took it away.
    assert!(matches!(ended, Outcome::Over(11) | Outcome::Nothing), "{ended:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "it was not ended");
    assert!(setup.recorder.take().connections < 100);
}

#[test]
fn streams_that_are_reset_when_they_reached_the_backend_end_the_connection_too() {
    let setup = setup(|_| ());
    let mut stream = connect(&setup);
    let fields = with(&[(2, "/silent")], &[]);
    let begun = Instant::now();
    let resets = (0..800).map(|at| {
        let id = at / 2 * 2 + 1;
        if at % 2 == 0 {
            return frame(HEADERS, END_STREAM | END_HEADERS, id, &block(&fields));
        }
        std::thread::sleep(Duration::from_millis(3));
        frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())
    });
    let ended = flood(&mut stream, 99_999, resets);
    assert!(matches!(ended, Outcome::Over(_) | Outcome::Nothing), "{ended:?}");
    let reached = setup.recorder.take().connections;
    assert!(reached < 300, "{reached} connections to the backend");
    assert!(begun.elapsed() < Duration::from_secs(8), "it was not ended");
}

#[test]
fn a_head_without_an_end_ends_the_connection() {
    let setup = setup(|_| ());
    let mut stream = connect(&setup);
    let more = block(&[("x", &"a".repeat(100))]).repeat(100);
    let first = std::iter::once(frame(HEADERS, END_STREAM, 1, &block(&PLAIN)));
    let endless = first.chain((0..2_000).map(|_| frame(CONTINUATION, 0, 1, &more)));
    let ended = flood(&mut stream, 1, endless);
    assert!(matches!(ended, Outcome::Over(_) | Outcome::Nothing), "{ended:?}");
    assert!(setup.recorder.take().requests.is_empty());
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let setup = setup(|settings| settings.header_bytes = 4096);
    let mut stream = connect(&setup);
    let mut head = block(&PLAIN);
    head.extend(block(&[("x", &"a".repeat(100))]).repeat(60));
    stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head)).unwrap();
    stream.flush().unwrap();
    assert!(matches!(outcome(&mut stream, 1), Outcome::Refused | Outcome::Reset));
    assert!(setup.recorder.take().requests.is_empty());
}

#[test]
fn pings_and_settings_are_answered_and_stop_nobody() {
    let setup = setup(|_| ());
    let mut stream = connect(&setup);
    for _ in 0..20 {
        let mut many = frame(PING, 0, 0, b"pingpong").repeat(500);
        many.extend(frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 50]).repeat(500));
        stream.write_all(&many).unwrap();
    }
    let mut other = connect(&setup);
    for (stream, id) in [(&mut other, 1), (&mut stream, 1)] {
        stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, id, &block(&PLAIN))).unwrap();
        stream.flush().unwrap();
        assert_eq!(outcome(stream, id), Outcome::Ok);
    }
}

#[test]
fn no_more_requests_run_at_a_time_than_may() {
    let setup = setup(|settings| settings.streams = 5);
    let mut stream = connect(&setup);
    let fields = with(&[(2, "/silent")], &[]);
    for at in 0..6 {
        stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 2 * at + 1, &block(&fields))).unwrap();
    }
    stream.flush().unwrap();
    assert_eq!(outcome(&mut stream, 11), Outcome::Reset);
    assert!(setup.recorder.take().requests.len() <= 5);
}

#[test]
fn a_listener_that_ends_says_so_and_lets_requests_end() {
    let setup = setup(|_| ());
    let mut stream = connect(&setup);
    let fields = with(&[(2, "/silent")], &[]);
    stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields))).unwrap();
    stream.flush().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    setup.listener.drain(Duration::from_secs(20));
    assert_eq!(outcome(&mut stream, 1), Outcome::Over(0));
    assert_eq!(outcome(&mut stream, 1), Outcome::Ok);
}

#[test]
fn trailers_speak_for_us_as_little_as_headers_do() {
    let setup = setup(|settings| settings.identity = Some("x-client-identity".parse().unwrap()));
    let mut stream = connect(&setup);
    let fields = with(&[(0, "POST")], &[("trailer", "x-client-identity, x-sum")]);
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).unwrap();
    stream.write_all(&frame(DATA, 0, 1, b"hello")).unwrap();
    let trailers = block(&[("x-client-identity", "root"), ("x-sum", "1")]);
    stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &trailers)).unwrap();
    stream.flush().unwrap();
    assert_eq!(outcome(&mut stream, 1), Outcome::Ok);
    let seen = setup.recorder.take();
    let request = &seen.requests[0];
    assert_eq!(
        (request.header("x-sum"), request.header("x-client-identity")),
        (vec!["1"], vec![]),
        "{seen:?}"
    );
}

#[test]
fn whoever_rests_between_two_requests_may_and_is_told_when_it_was_too_long() {
    let setup = setup(|settings| {
        settings.header_timeout = Duration::from_millis(300);
        settings.idle_timeout = Duration::from_millis(1500);
    });
    let mut stream = connect(&setup);
    for id in [1, 3] {
        stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, id, &block(&PLAIN))).unwrap();
        stream.flush().unwrap();
        assert_eq!(outcome(&mut stream, id), Outcome::Ok);
        stream.write_all(&frame(PING, 1, 0, b"answered")).unwrap();
        stream.flush().unwrap();
        std::thread::sleep(Duration::from_millis(900));
    }
    assert_eq!(outcome(&mut stream, 99), Outcome::Over(0));
    // Whether it has heard that (RFC 9113, section 6.8).
    let mut ping = [0; 17];
    stream.read_exact(&mut ping).unwrap();
    assert_eq!(ping[3], PING);
    stream.write_all(&frame(PING, 1, 0, &ping[9..])).unwrap();
    stream.flush().unwrap();
    // Without `close_notify` this were an error.
    while stream.read(&mut ping).unwrap() > 0 {}
}

#[test]
fn an_answer_that_nobody_takes_is_given_up_and_others_are_not() {
    let setup = setup(|settings| settings.body_timeout = Duration::from_millis(400));
    let mut stream = connect_with(&setup, 0);
    for id in [1, 3] {
        stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, id, &block(&PLAIN))).unwrap();
        if id == 3 {
            stream.write_all(&frame(8, 0, id, &9_u32.to_be_bytes())).unwrap();
        }
        stream.flush().unwrap();
        assert_eq!(outcome(&mut stream, id), Outcome::Ok);
    }
    assert_eq!(outcome(&mut stream, 1), Outcome::Reset);
    stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 5, &block(&PLAIN))).unwrap();
    stream.flush().unwrap();
    assert_eq!(outcome(&mut stream, 5), Outcome::Ok);
}

#[test]
fn who_takes_little_of_an_answer_at_a_time_gets_all_of_it() {
    const LENGTH: usize = 160 << 10;
    let setup = setup(|settings| settings.body_timeout = Duration::from_millis(400));
    let mut stream = connect_with(&setup, 0);
    let fields = with(&[(2, "/long")], &[]);
    stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields))).unwrap();
    stream.flush().unwrap();
    assert_eq!(outcome(&mut stream, 1), Outcome::Ok);
    let mut got = 0;
    while got < LENGTH {
        std::thread::sleep(Duration::from_millis(200));
        for on in [0, 1] {
            stream.write_all(&frame(8, 0, on, &16_384_u32.to_be_bytes())).unwrap();
        }
        stream.flush().unwrap();
        let until = got + 16_384;
        while got < until.min(LENGTH) {
            let mut head = [0; 9];
            stream.read_exact(&mut head).unwrap();
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut payload).unwrap();
            assert_ne!(head[3], RST_STREAM, "given up after {got} bytes");
            got += if head[3] == DATA { payload.len() } else { 0 };
        }
    }
}

#[test]
fn who_is_told_to_go_and_does_not_is_gone_all_the_same() {
    let setup = setup(|settings| {
        settings.header_timeout = Duration::from_millis(300);
        settings.idle_timeout = Duration::from_millis(600);
    });
    let mut stream = connect(&setup);
    stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&PLAIN))).unwrap();
    stream.flush().unwrap();
    assert_eq!(outcome(&mut stream, 1), Outcome::Ok);
    assert_eq!(outcome(&mut stream, 99), Outcome::Over(0));
    // It does not say that it has heard that.
    let begun = Instant::now();
    while stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
    assert!(begun.elapsed() < Duration::from_secs(5), "it is still there");
}

#[test]
fn a_client_whose_route_was_replaced_ends_what_it_has_and_comes_again() {
    let setup = setup(|_| ());
    let mut stream = connect(&setup);
    let fields = with(&[(2, "/silent")], &[]);
    stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields))).unwrap();
    stream.flush().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    setup.route.replaced.send_replace(true);
    assert_eq!(outcome(&mut stream, 1), Outcome::Over(0));
    assert_eq!(outcome(&mut stream, 1), Outcome::Ok);
}
