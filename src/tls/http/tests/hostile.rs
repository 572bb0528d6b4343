//! What is said so that two readers understand it in two ways: it is refused, or a backend gets one request that all
//! understand alike.

use std::io::Write;
use std::time::{Duration, Instant};

use super::{setup, statuses};

/// What the backend may have got.
enum Got {
    /// Nothing.
    None,
    /// One request with this body.
    One(&'static str),
}
use Got::{None as Nothing, One};

/// A head with these lines between Host and the end.
fn post(lines: &str, body: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: www.example.com\r\n{lines}\r\n{body}")
}

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: www.example.com\r\n\r\n";

#[test]
fn no_request_is_smuggled() {
    let setup = setup(|settings| settings.header_bytes = 4096);
    let chunk = "5\r\nhello\r\n0\r\n\r\n";
    let both = |first: &str, second: &str| post(&format!("{first}{second}"), chunk);
    let (length, chunked) = ("Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n");
    let coding = |coding: &str| post(&format!("Transfer-Encoding: {coding}\r\n"), chunk);
    let head = |text: &str| text.to_owned();
    let get = |lines: &str| format!("GET /a HTTP/1.1\r\n{lines}\r\n");
    let table: Vec<(&str, String, &str, Got)> = vec![
        ("a plain request", post("Content-Length: 5\r\n", "hello"), "200", One("hello")),
        ("chunks", post(chunked, chunk), "200", One("hello")),
        ("chunks of a GET", post(chunked, chunk).replace("POST", "GET"), "200", One("hello")),
        ("CL, TE", both(length, chunked), "200", One("hello")),
        ("TE, CL", both(chunked, length), "200", One("hello")),
        ("two TE", both(chunked, chunked), "400", Nothing),
        ("xchunked", coding("xchunked"), "400", Nothing),
        ("chunked, identity", coding("chunked, identity"), "400", Nothing),
        ("identity, chunked", coding("identity, chunked"), "400", Nothing),
        ("gzip, chunked", coding("gzip, chunked"), "400", Nothing),
        ("chunked with a tab", coding("\tchunked"), "200", One("hello")),
        ("\"chunked\"", coding("\"chunked\""), "400", Nothing),
        ("chunked;q=1", coding("chunked;q=1"), "400", Nothing),
        ("vertical tab", coding("\x0bchunked"), "400", Nothing),
        ("TE with a space behind its name", post("Transfer-Encoding : chunked\r\n", chunk), "400", Nothing),
        ("TE on a folded line", post("Transfer-Encoding:\r\n chunked\r\n", chunk), "400", Nothing),
        ("a folded line", get("Host: www.example.com\r\nX: a\r\n b\r\n"), "400", Nothing),
        ("a line that begins with a space", get(" Host: www.example.com\r\n"), "400", Nothing),
        ("TE of HTTP/1.0", post(chunked, chunk).replace("1.1", "1.0"), "400", Nothing),
        ("two CL", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"), "400", Nothing),
        ("two CL alike", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), "200", One("hello")),
        ("a list of CL", post("Content-Length: 5, 5\r\n", "hello"), "400", Nothing),
        ("+5", post("Content-Length: +5\r\n", "hello"), "400", Nothing),
        ("-5", post("Content-Length: -5\r\n", "hello"), "400", Nothing),
        ("0x5", post("Content-Length: 0x5\r\n", "hello"), "400", Nothing),
        ("5 5", post("Content-Length: 5 5\r\n", "hello"), "400", Nothing),
        ("no CL", post("Content-Length:\r\n", "hello"), "400", Nothing),
        ("CL beyond 64 bits", post("Content-Length: 18446744073709551621\r\n", "hello"), "400", Nothing),
        ("a space in a name", get("Host: www.example.com\r\nX Y: a\r\n"), "400", Nothing),
        ("no name", get("Host: www.example.com\r\n: a\r\n"), "400", Nothing),
        ("no colon", get("Host: www.example.com\r\nX\r\n"), "400", Nothing),
        ("CR in a value", get("Host: www.example.com\r\nX: a\rb\r\n"), "400", Nothing),
        ("CR for an end", head("GET /a HTTP/1.1\rHost: www.example.com\r\r"), "400", Nothing),
        ("NUL in a value", get("Host: www.example.com\r\nX: a\0b\r\n"), "400", Nothing),
        ("LF for ends", head("GET /a HTTP/1.1\nHost: www.example.com\n\n"), "200", One("")),
        ("LF in a value", get("Host: www.example.com\r\nX: a\nY: b\r\n"), "200", One("")),
        ("a chunk extension", post(chunked, "5;a=b\r\nhello\r\n0\r\n\r\n"), "200", One("hello")),
        ("LF in an extension", post(chunked, "5;a\nb\r\nhello\r\n0\r\n\r\n"), "400", Nothing),
        ("a chunk beyond 64 bits", post(chunked, "10000000000000005\r\nhello\r\n0\r\n\r\n"), "400", Nothing),
        ("a negative chunk", post(chunked, "-5\r\nhello\r\n0\r\n\r\n"), "400", Nothing),
        ("0x in a chunk", post(chunked, "0x5\r\nhello\r\n0\r\n\r\n"), "400", Nothing),
        ("a chunk that is longer", post(chunked, "3\r\nhello\r\n0\r\n\r\n"), "400", Nothing),
        ("LF behind a chunk", post(chunked, "5\nhello\n0\n\n"), "400", Nothing),
        ("no Host", get("X: a\r\n"), "400", Nothing),
        ("two Hosts", get("Host: www.example.com\r\nHost: www.example.com\r\n"), "400", Nothing),
        ("another Host", get("Host: mail.example.com\r\n"), "421", Nothing),
        ("a user in Host", get("Host: a@www.example.com\r\n"), "400", Nothing),
        ("two names in Host", get("Host: www.example.com,x\r\n"), "400", Nothing),
        (
            "another target",
            head("GET http://x.example/ HTTP/1.1\r\nHost: www.example.com\r\n\r\n"),
            "400",
            Nothing,
        ),
        (
            "the same target",
            head("GET https://www.example.com/a HTTP/1.1\r\nHost: www.example.com\r\n\r\n"),
            "200",
            One(""),
        ),
        (
            "a target without a path",
            head("GET https://www.example.com?x=1 HTTP/1.1\r\nHost: www.example.com\r\n\r\n"),
            "200",
            One(""),
        ),
        (
            "a user in the target",
            head("GET http://a@www.example.com/ HTTP/1.1\r\nHost: www.example.com\r\n\r\n"),
            "400",
            Nothing,
        ),
        (
            "CONNECT",
            head("CONNECT www.example.com:443 HTTP/1.1\r\nHost: www.example.com:443\r\n\r\n"),
            "405",
            Nothing,
        ),
        ("a space in the path", head("GET /a b HTTP/1.1\r\nHost: www.example.com\r\n\r\n"), "400", Nothing),
        ("no version", head("GET /a\r\nHost: www.example.com\r\n\r\n"), "400", Nothing),
        ("another version", head("GET /a HTTP/1.2\r\nHost: www.example.com\r\n\r\n"), "400", Nothing),
        (
            "HTTP/1.0 that stays",
            head("GET /a HTTP/1.0\r\nHost: www.example.com\r\nConnection: keep-alive\r\n\r\n"),
            "200",
            One(""),
        ),
        (
            "h2c",
            get(
                "Host: www.example.com\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            ),
            "200",
            One(""),
        ),
        ("Host listed as a hop's", get("Host: www.example.com\r\nConnection: host\r\n"), "200", One("")),
        (
            "CL listed as a hop's",
            post("Content-Length: 5\r\nConnection: content-length\r\n", "hello"),
            "200",
            One("hello"),
        ),
        (
            "too long a head",
            get(&format!("Host: www.example.com\r\nX: {}\r\n", "a".repeat(5_000))),
            "431",
            Nothing,
        ),
        (
            "too many headers",
            get(&format!("Host: www.example.com\r\n{}", "X: a\r\n".repeat(101))),
            "431",
            Nothing,
        ),
    ];
    for (at, (what, request, status, got)) in table.iter().enumerate() {
        let answers = setup.exchange(request.as_bytes());
        assert_eq!(statuses(&answers), [*status], "{what}: {answers}");
        let taken = setup.lines(at + 1).pop().unwrap();
        assert_eq!(
            (&taken["kind"], taken["status"].to_string().as_str()),
            (&"request".into(), *status),
            "{what}"
        );
        assert_eq!(taken["end"] == "done", *status == "200", "{what}: {taken}");
        std::thread::sleep(Duration::from_millis(5));
        let seen = setup.recorder.take();
        assert!(seen.wrong.is_empty(), "{what}: {seen:?}");
        match got {
            // The beginning of a request whose body is none may have gone ahead; no reader takes it for a whole one.
            Nothing => assert!(seen.requests.is_empty(), "{what}: {seen:?}"),
            One(body) => {
                assert_eq!(seen.requests.len(), 1, "{what}: {seen:?}");
                assert_eq!(seen.requests[0].body, body.as_bytes(), "{what}: {seen:?}");
                assert!(seen.requests[0].header("upgrade").is_empty(), "{what}: {seen:?}");
            }
        }
    }
}

#[test]
fn what_stands_behind_a_request_that_can_be_read_in_two_ways_is_not_read_at_all() {
    let setup = setup(|_| ());
    let length = format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", 5 + HIDDEN.len());
    for request in [
        post(&length, &format!("0\r\n\r\n{HIDDEN}")),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{HIDDEN}")),
        post("Content-Length: 0\r\nContent-Length: 5\r\n", HIDDEN),
        format!("GET /a HTTP/1.1\r\nHost: other.example.com\r\n\r\n{HIDDEN}"),
    ] {
        assert_eq!(statuses(&setup.exchange(request.as_bytes())).len(), 1, "{request}");
        let seen = setup.recorder.take();
        assert!(
            seen.wrong.is_empty() && !seen.requests.iter().any(|one| one.line.contains("hidden")),
            "{seen:?}"
        );
    }
    // Two that are sound and follow each other are two.
    let two = format!("{HIDDEN}{}", HIDDEN.replace("hidden", "second"));
    assert_eq!(statuses(&setup.exchange(two.as_bytes())), ["200", "200"]);
    assert_eq!(setup.recorder.take().requests.len(), 2);
}

#[test]
fn whoever_sends_slowly_is_not_waited_for() {
    let setup = setup(|settings| {
        settings.header_timeout = Duration::from_millis(400);
        settings.body_timeout = Duration::from_millis(400);
        settings.idle_timeout = Duration::from_millis(1500);
    });
    // Ends without an answer, for there was no request; or with one that says so.
    for (head, status) in [
        ("", None),
        ("GET /a HTTP/1.1\r\nHost: www.exa", None),
        ("POST /a HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 5\r\n\r\nhe", Some("408")),
    ] {
        let begun = Instant::now();
        let mut stream = setup.client("http/1.1");
        stream.write_all(head.as_bytes()).unwrap();
        stream.flush().unwrap();
        let answer = String::from_utf8(super::rest(&mut stream)).unwrap();
        assert_eq!(statuses(&answer), status.as_slice(), "{head:?}");
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(300) && took < Duration::from_secs(5), "{head:?}: {took:?}");
    }
    // A byte now and then does not help.
    let (begun, mut stream) = (Instant::now(), setup.client("http/1.1"));
    stream.write_all(b"GET /a HTTP/1.1\r\nHost: www.example.com\r\nX: ").unwrap();
    while stream.write_all(b"a").and_then(|()| stream.flush()).is_ok() {
        std::thread::sleep(Duration::from_millis(50));
        assert!(begun.elapsed() < Duration::from_secs(8), "still there");
    }
    // Who rests between two requests may rest for longer.
    let mut stream = setup.client("http/1.1");
    for _ in 0..2 {
        stream.write_all(b"GET /a HTTP/1.1\r\nHost: www.example.com\r\n\r\n").unwrap();
        super::ok(&mut stream);
        std::thread::sleep(Duration::from_millis(700));
    }
}

#[test]
fn a_body_may_be_as_long_as_it_may_be_and_no_longer() {
    let setup = setup(|settings| settings.body_bytes = Some(5));
    let chunks = |body: &str| {
        post("Transfer-Encoding: chunked\r\n", &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()))
    };
    for (request, status) in [
        (post("Content-Length: 5\r\n", "hello"), "200"),
        (chunks("hello"), "200"),
        (post("Content-Length: 6\r\n", "hello!"), "413"),
        (chunks("hello!"), "413"),
    ] {
        assert_eq!(statuses(&setup.exchange(request.as_bytes())), [status], "{request}");
    }
    assert_eq!(setup.recorder.take().requests.len(), 2);
}

#[test]
fn a_trailer_speaks_for_us_as_little_as_a_header_does() {
    let setup = setup(|settings| settings.identity = Some("x-client-identity".parse().unwrap()));
    let lines =
        "Transfer-Encoding: chunked\r\nTrailer: X-Client-Identity, X_Real_IP, X-Forwarded-For, X-Sum\r\n";
    let trailers =
        "X-Client-Identity: root\r\nX_Real_IP: 192.0.2.66\r\nX-Forwarded-For: 192.0.2.66\r\nX-Sum: 1\r\n";
    let answers = setup.exchange(post(lines, &format!("5\r\nhello\r\n0\r\n{trailers}\r\n")).as_bytes());
    assert_eq!(statuses(&answers), ["200"]);
    let seen = setup.recorder.take();
    assert!(seen.wrong.is_empty(), "{seen:?}");
    let request = &seen.requests[0];
    assert_eq!((request.body.as_slice(), request.header("x-sum")), (&b"hello"[..], vec!["1"]), "{request:?}");
    assert!(!format!("{request:?}").contains("192.0.2.66"), "{request:?}");
    assert!(request.header("x-client-identity").is_empty(), "{request:?}");
}

#[test]
fn a_body_of_grpc_is_waited_for_only_where_there_can_be_one() {
    let setup = setup(|settings| settings.body_timeout = Duration::from_millis(300));
    let begun = Instant::now();
    let mut stream = setup.client("http/1.1");
    let head = post("Content-Type: application/grpc\r\nContent-Length: 5\r\n", "he");
    stream.write_all(head.as_bytes()).and_then(|()| stream.flush()).unwrap();
    assert_eq!(statuses(&String::from_utf8(super::rest(&mut stream)).unwrap()), ["408"]);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_record_that_is_none_is_counted_once() {
    let setup = setup(|_| ());
    for protocol in ["http/1.1", "h2"] {
        let mut stream = setup.client(protocol);
        stream.sock.write_all(&[23, 3, 3, 0, 32]).and_then(|()| stream.sock.write_all(&[7; 32])).unwrap();
        super::rest(&mut stream);
    }
    let ended = || setup.listener.counters()[0].ended.get();
    let begun = Instant::now();
    while ended() < 2 && begun.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let failures: Vec<_> = setup.listener.counters()[0].failures().filter(|(_, count)| *count > 0).collect();
    assert_eq!(failures, [("record", 2)]);
}
