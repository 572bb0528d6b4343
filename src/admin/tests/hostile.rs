//! Clients that are slow, many, or send what is no request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::client::{ask, ask_tcp, begin, connect, raw, send};
use super::gateway::{Fake, until};
use crate::admin::patience::PATIENCE;
use crate::clock;
use crate::datapath::Reason;

#[test]
fn garbage_is_refused() {
    let fake = Fake::new();
    for garbage in
        [&b"\0\0\0\0\r\n\r\n"[..], b"GET\r\n\r\n", b"GET /v1/status HTTP/9.9\r\n\r\n", &[0xff; 20_000]]
    {
        let answer = send(&mut connect(&fake.write()), garbage);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert_eq!(ask(&fake.read(), "GET /v1/status").status, 200);
}

#[test]
fn long_headers_and_bodies_are_refused() {
    let fake = Fake::new();
    let long = format!("GET /v1/status HTTP/1.1\r\nHost: adit\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(raw(&fake.write(), long.as_bytes()).status, 431);
    for body in ["Content-Length: 1\r\n\r\nx", "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"] {
        let request = format!("POST /v1/reload HTTP/1.1\r\nHost: adit\r\n{body}");
        let answer = raw(&fake.write(), request.as_bytes());
        assert_eq!((answer.status, &*answer.error()), (413, "a request has no body here"));
    }
    assert_eq!(fake.script.lock().unwrap().reloads, 0);
    let none = b"POST /v1/reload HTTP/1.1\r\nHost: adit\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(raw(&fake.write(), none).status, 200);
}

#[test]
fn a_connection_carries_one_request() {
    let fake = Fake::new();
    let twice = b"GET /v1/health HTTP/1.1\r\nHost: adit\r\n\r\nGET /v1/health HTTP/1.1\r\nHost: adit\r\n\r\n";
    let answer = send(&mut connect(&fake.read()), twice);
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 1);
    assert!(answer.to_lowercase().contains("connection: close"));
}

#[test]
fn slow_clients_are_sent_away_and_hold_nobody_up() {
    let fake = Fake::new();
    let begun = Instant::now();
    let mut slow: Vec<_> = (0..63).map(|_| connect(&fake.read())).collect();
    for (at, client) in slow.iter_mut().enumerate() {
        client.write_all(&b"GET /v1/status HTTP/1.1\r\n"[..at % 20]).unwrap();
    }
    for _ in 0..20 {
        assert_eq!(ask(&fake.read(), "GET /v1/status").status, 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "others waited");
    // A byte now and then does not buy time.
    let mut trickle = slow.pop().unwrap();
    while trickle.write_all(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(200));
        assert!(begun.elapsed() < Duration::from_secs(10), "it may go on for ever");
    }
    for mut client in slow {
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
    }
    assert!(begun.elapsed() >= Duration::from_secs(4), "too impatient");
    assert!(begun.elapsed() < Duration::from_secs(10), "too patient");
}

#[test]
fn one_client_too_many_is_told_so_and_other_sockets_are_free() {
    let fake = Fake::new();
    let mut waiting: Vec<_> = (0..64).map(|_| connect(&fake.read())).collect();
    let answer = raw(&fake.read(), b"");
    assert_eq!((answer.status, &*answer.error()), (503, "64 clients are being served here"));
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    assert_eq!(ask(&fake.write(), "GET /v1/status").status, 200);
    for client in &mut waiting {
        let answer = send(client, b"GET /v1/health HTTP/1.1\r\nHost: adit\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
    until("room", || ask(&fake.read(), "GET /v1/health").status == 200);
}

#[test]
fn sixty_four_at_once_are_all_answered() {
    let fake = Fake::new();
    let clients: Vec<_> = (0..64).map(|_| begin(&fake.read(), "GET /v1/status")).collect();
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with('}'));
    }
    let asked = fake.script.lock().unwrap().asked;
    assert!(asked <= 3, "the gateway was asked {asked} times");
}

#[test]
fn metrics_clients_that_say_nothing_do_not_hold_the_sockets_up() {
    let fake = Fake::new();
    let silent: Vec<_> = (0..70).map(|_| TcpStream::connect(fake.metrics).unwrap()).collect();
    assert_eq!(ask(&fake.read(), "GET /v1/status").status, 200);
    assert_eq!(ask(&fake.write(), "POST /v1/reload").status, 200);
    drop(silent);
}

#[test]
fn metrics_are_told_to_few_at_a_time() {
    let fake = Fake::new();
    let silent: Vec<_> = (0..4).map(|_| TcpStream::connect(fake.metrics).unwrap()).collect();
    let answer = ask_tcp(fake.metrics, "GET /metrics");
    assert_eq!((answer.status, &*answer.error()), (503, "4 clients are being served here"));
    drop(silent);
    until("room", || ask_tcp(fake.metrics, "GET /metrics").status == 200);
}

#[test]
fn who_watches_without_reading_is_sent_away() {
    let fake = Fake::new();
    let _idle = begin(&fake.write(), "GET /v1/trace?tunnel=wg0");
    let tracer = fake.tracer("wg0");
    until("watching", || tracer.is_on());
    let begun = Instant::now();
    while tracer.is_on() {
        (0..1_000).for_each(|_| tracer.note(Reason::NoRoute, 1, &[0x45; 64], clock::now()));
        std::thread::sleep(Duration::from_millis(50));
        assert!(begun.elapsed() < Duration::from_secs(40));
    }
    assert!(begun.elapsed() > PATIENCE);
}
