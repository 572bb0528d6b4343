//! The listener in clear, also behind somebody who passes connections on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::recorder::Recorder;
use super::{Setup, start, statuses};

fn clear() -> Setup {
    let recorder = Recorder::start();
    let backends: Vec<SocketAddr> = vec![recorder.address];
    start(|_| (), recorder, backends, true)
}

fn ask(setup: &Setup, request: &[u8]) -> String {
    let mut stream: TcpStream = setup.tcp();
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const GET: &str = "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n";

#[test]
fn a_listener_in_clear_sends_known_hosts_to_https_and_does_nothing_else() {
    let setup = clear();
    let moved =
        ask(&setup, b"POST /a%20b?c=d HTTP/1.1\r\nHost: www.example.com:80\r\nContent-Length: 2\r\n\r\nhi");
    assert!(moved.starts_with("HTTP/1.1 308 "), "{moved}");
    assert!(moved.contains("location: https://www.example.com:8443/a%20b?c=d\r\n"), "{moved}");
    assert!(!moved.contains("strict-transport"), "{moved}");
    let table = [
        ("GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", "421", "refused_misdirected"),
        ("GET / HTTP/1.1\r\n\r\n", "400", "refused_host"),
        ("GET / HTTP/1.1\r\nHost: www.example.com@other.example\r\n\r\n", "400", "refused_host"),
        ("GET http://other.example/ HTTP/1.1\r\nHost: www.example.com\r\n\r\n", "400", "refused_host"),
        ("nonsense\r\n\r\n", "400", "malformed"),
    ];
    for (request, status, _) in table {
        assert_eq!(statuses(&ask(&setup, request.as_bytes())), [status], "{request}");
    }
    assert!(setup.recorder.take().requests.is_empty());
    let lines = setup.lines(1 + table.len());
    assert_eq!((&lines[0]["status"], &lines[0]["path"]), (&308.into(), &"/a%20b".into()));
    assert_eq!((&lines[0]["end"], &lines[0]["version"]), (&"done".into(), &serde_json::Value::Null));
    for (line, (request, status, end)) in lines[1..].iter().zip(table) {
        assert_eq!((&line["kind"], &line["end"]), (&"request".into(), &end.into()), "{request}");
        assert_eq!(line["status"].to_string(), status, "{request}");
    }
    assert_eq!(ask(&setup, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "");
    let line = setup.lines(2 + table.len()).pop().unwrap();
    assert_eq!((&line["kind"], &line["end"]), (&"request".into(), &"malformed".into()));
    assert!(line["status"].is_null(), "nothing was sent: {line}");
    let mut half = setup.tcp();
    half.write_all(b"GET / HT").unwrap();
    drop(half);
    let line = setup.lines(3 + table.len()).pop().unwrap();
    assert_eq!((&line["kind"], &line["end"]), (&"connection".into(), &"truncated".into()));
}

#[test]
fn whoever_passes_connections_on_says_for_whom_also_in_clear() {
    let setup = clear();
    let header = "PROXY TCP4 192.0.2.7 198.51.100.9 4660 80\r\n";
    // Nobody is believed who is not known to pass connections on.
    assert_eq!(statuses(&ask(&setup, format!("{header}{GET}").as_bytes())), ["400"]);
    setup.route.passed_on.store(true, Ordering::Relaxed);
    assert_eq!(statuses(&ask(&setup, format!("{header}{GET}").as_bytes())), ["308"]);
    // In two parts, and the request later still.
    let mut stream = setup.tcp();
    for part in [&header[..9], &header[9..], GET] {
        stream.write_all(part.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(30));
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(statuses(&answer), ["308"]);
    // Of itself it may ask as well.
    let local = [&b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"[..], GET.as_bytes()].concat();
    assert_eq!(statuses(&ask(&setup, &local)), ["308"]);
    assert_eq!(ask(&setup, GET.as_bytes()), "", "without a header there is no answer");
    let lines = setup.lines(5);
    for line in &lines[1..3] {
        assert_eq!((&line["client"], &line["local"]), (&"192.0.2.7:4660".into(), &"198.51.100.9:80".into()));
        assert!(line["proxy"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    }
    for line in [&lines[0], &lines[3], &lines[4]] {
        assert!(
            line["proxy"].is_null() && line["client"].as_str().unwrap().starts_with("127.0.0.1:"),
            "{line}"
        );
    }
    assert_eq!((&lines[4]["kind"], &lines[4]["end"]), (&"connection".into(), &"proxy".into()));
    let failures: Vec<_> = setup.listener.counters()[0].failures().filter(|(_, count)| *count > 0).collect();
    assert_eq!(failures, [("proxy", 1)]);
}
