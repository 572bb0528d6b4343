//! Watching dropped packets.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::client::{ask, begin};
use super::gateway::{Fake, until};
use crate::admin::trace::{Line, Missed, Packet};
use crate::clock;
use crate::datapath::Reason;

/// The lines of an answer in pieces, as they come.
struct Lines(BufReader<UnixStream>);

impl Lines {
    fn begin(fake: &Fake, query: &str) -> Self {
        let mut reader = BufReader::new(begin(&fake.write(), &format!("GET /v1/trace{query}")));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
        }
        let head = head.to_lowercase();
        assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
        assert!(head.contains("content-type: application/x-ndjson"), "{head}");
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        Self(reader)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        // What is between the lines are the chunks' lengths and ends.
        while !line.starts_with('{') {
            line.clear();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "the end");
        }
        line
    }

    fn packet(&mut self) -> Packet {
        let line = self.line();
        let Ok(Line::Packet(packet)) = serde_json::from_str(&line) else { panic!("{line}") };
        packet
    }
}

fn drop_packet(fake: &Fake, tunnel: &str, reason: Reason, packet: &[u8]) {
    fake.tracer(tunnel).note(reason, 1, packet, clock::now());
}

#[test]
fn dropped_packets_are_told_as_they_are_dropped() {
    let fake = Fake::new();
    let mut lines = Lines::begin(&fake, "?tunnel=wg0");
    drop_packet(&fake, "wg0", Reason::NotWireguard, b"nonsense");
    let packet = lines.packet();
    assert_eq!((&*packet.tunnel, &*packet.reason, packet.length), ("wg0", "not_wireguard", 8));
    assert!(!fake.tracer("wg1").is_on());
    drop_packet(&fake, "wg0", Reason::HandshakeQueueFull, &[1, 0, 0, 0]);
    assert_eq!(lines.packet().message.as_deref(), Some("initiation"));
    assert_eq!(fake.trail(), [("trace".to_owned(), "ok".to_owned(), "wg0".to_owned())]);
}

#[test]
fn without_a_name_all_tunnels_are_watched() {
    let fake = Fake::new();
    let mut lines = Lines::begin(&fake, "");
    for tunnel in ["wg1", "wg0"] {
        drop_packet(&fake, tunnel, Reason::NoRoute, &[]);
        assert_eq!(lines.packet().tunnel, tunnel);
    }
    assert_eq!(fake.trail()[0].2, "wg0, wg1");
}

#[test]
fn packets_that_could_not_be_kept_are_counted() {
    let fake = Fake::new();
    let mut lines = Lines::begin(&fake, "?tunnel=wg0");
    // All at once, for the tracer keeps 1,024.
    let tracer = fake.tracer("wg0");
    let now = clock::now();
    (0..20_000).for_each(|_| tracer.note(Reason::NoRoute, 1, b"", now));
    let (mut told, mut missed) = (0, 0);
    while told + missed < 20_000 {
        match serde_json::from_str(&lines.line()).unwrap() {
            Line::Packet(packet) => told += packet.packets,
            Line::Missed(Missed { missed: more, .. }) => missed += more,
        }
    }
    assert_eq!(told + missed, 20_000);
    assert!(missed > 0);
}

#[test]
fn one_at_a_time_watches_a_tunnel_and_its_end_is_seen() {
    let fake = Fake::new();
    let lines = Lines::begin(&fake, "?tunnel=wg0");
    for query in ["?tunnel=wg0", ""] {
        let answer = ask(&fake.write(), &format!("GET /v1/trace{query}"));
        assert_eq!((answer.status, &*answer.error()), (409, "somebody watches wg0 already"));
        assert!(!fake.tracer("wg1").is_on());
    }
    drop(lines);
    // Without a packet that would be written to it.
    until("the end", || !fake.tracer("wg0").is_on());
    Lines::begin(&fake, "?tunnel=wg0");
    let results: Vec<_> = fake.trail().into_iter().map(|(_, result, _)| result).collect();
    assert_eq!(results, ["ok", "refused", "refused", "ok"]);
}

#[test]
fn a_tunnel_that_does_not_exist_is_told_with_those_that_do() {
    let fake = Fake::new();
    let answer = ask(&fake.write(), "GET /v1/trace?tunnel=wg9");
    assert_eq!((answer.status, &*answer.error()), (404, "there is no tunnel \"wg9\"; there are: wg0, wg1"));
    for query in ["?tunnels=wg0", "?tunnel=wg0&x=1", "?wg0"] {
        let answer = ask(&fake.write(), &format!("GET /v1/trace{query}"));
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.error().ends_with("only tunnel=NAME is allowed"));
    }
}

#[test]
fn a_tunnel_that_goes_leaves_the_others_watched() {
    let fake = Fake::new();
    let mut lines = Lines::begin(&fake, "");
    drop_packet(&fake, "wg1", Reason::NoRoute, &[]);
    fake.script.lock().unwrap().sources.pop();
    assert_eq!(lines.packet().tunnel, "wg1");
    // As long as it may take to be seen.
    std::thread::sleep(Duration::from_millis(300));
    drop_packet(&fake, "wg0", Reason::NoRoute, &[]);
    assert_eq!(lines.packet().tunnel, "wg0");
}

#[test]
fn a_trace_ends_with_its_tunnel() {
    let fake = Fake::new();
    let mut lines = Lines::begin(&fake, "?tunnel=wg0");
    drop_packet(&fake, "wg0", Reason::NoRoute, &[]);
    fake.script.lock().unwrap().sources.clear();
    assert_eq!(lines.packet().reason, "no_route");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines.0, &mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
}
