//! Backends of HTTP/1.1 that answer what no backend should, or in pieces, or too early.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::log::says;
use super::proper::{get, status};
use super::recorder::{Recorder, parse};
use super::{Setup, start};

/// A backend that does this with each connection, and how many there were.
fn does(
    serve: impl Fn(usize, &mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> (Setup, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, serve) = (count.clone(), Arc::new(serve));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (number, serve) = (counted.fetch_add(1, Ordering::Relaxed), serve.clone());
            // It ends when the other side does.
            std::thread::spawn(move || serve(number, &mut stream));
        }
    });
    (behind(vec![address]), count)
}

fn behind(backends: Vec<SocketAddr>) -> Setup {
    let quick = |settings: &mut super::Settings| settings.answer_timeout = Duration::from_secs(2);
    start(quick, Recorder::start(), backends, false)
}

/// Waits for a whole request.
fn heard(stream: &mut TcpStream) -> std::io::Result<()> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while parse(&mut bytes).unwrap().is_none() {
        match stream.read(&mut buffer)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(())
}

#[test]
fn what_is_no_answer_is_none_and_the_log_says_why() {
    for (words, why) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nokk", "length"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "transfer coding"),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "transfer coding"),
        ("HTTP/1.1 200 OK\r\nx : y\r\n\r\n", "no HTTP: invalid header name"),
        ("220 mail.example.com ESMTP\r\n", "no HTTP"),
        ("HTTP/1.1 099 Odd\r\n\r\n", "status"),
        ("HTTP/1.1 200 OK\r\ncontent-le", "connection closed"),
        ("HTTP/1.1 100 Continue\r\n\r\n", "connection closed"),
    ] {
        let (_, backends) = says(words.as_bytes());
        let setup = behind(backends);
        assert_eq!(status(&setup, &get("/a")).0, "502", "{words:?}");
        let line = setup.lines(1).remove(0);
        assert_eq!((&line["status"], &line["end"]), (&502.into(), &"backend".into()), "{words:?}");
        assert!(line["error"].as_str().unwrap().contains(why), "{words:?}: {line}");
    }
}

#[test]
fn what_a_backend_says_beyond_its_answer_answers_nobody() {
    for beyond in ["HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad", "\r\n", "x"] {
        for late in [false, true] {
            let (setup, connections) = does(move |_, stream| {
                loop {
                    heard(stream)?;
                    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    if late {
                        stream.write_all(answer.as_bytes())?;
                        std::thread::sleep(Duration::from_millis(50));
                        stream.write_all(beyond.as_bytes())?;
                    } else {
                        stream.write_all(format!("{answer}{beyond}").as_bytes())?;
                    }
                }
            });
            for request in 1..4 {
                let (status, answer) = status(&setup, &get("/a"));
                assert!(status == "200" && answer.ends_with("\r\n\r\nok"), "{beyond:?}: {answer}");
                assert_eq!(connections.load(Ordering::Relaxed), request, "{beyond:?}");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

#[test]
fn an_answer_may_come_byte_by_byte_and_the_connection_is_kept() {
    let (setup, connections) = does(|_, stream| {
        stream.set_nodelay(true)?;
        loop {
            heard(stream)?;
            let answer = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
                          transfer-encoding: chunked\r\n\r\n2;x\r\nok\r\n8\r\n and mor\r\n1\r\ne\r\n0\r\nx-sum: 3\r\n\r\n";
            for byte in answer.as_bytes().chunks(1) {
                stream.write_all(byte)?;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    });
    for _ in 0..2 {
        let (status, answer) = status(&setup, &get("/a"));
        assert_eq!(status, "200");
        assert!(!answer.contains("103") && !answer.contains("link"), "{answer}");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let chunks: String = body.split("\r\n").skip(1).step_by(2).collect();
        assert_eq!(chunks, "ok and more", "{answer}");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[test]
fn an_answer_may_end_with_its_connection_and_have_many_fields() {
    let fields: String = (0..150).map(|number| format!("x-{number}: {number}\r\n")).collect();
    let (_, backends) = says(format!("HTTP/1.0 200 OK\r\n{fields}\r\nup to the end").leak().as_bytes());
    let setup = behind(backends);
    let (status, answer) = status(&setup, &get("/a"));
    assert!(status == "200" && answer.contains("x-149: 149\r\n"), "{answer}");
    assert!(answer.contains("\r\ntransfer-encoding: chunked\r\n"), "{answer}");
    assert!(answer.ends_with("\r\nup to the end\r\n0\r\n\r\n"), "{answer}");
    assert_eq!(setup.lines(1)[0]["end"], "done");
}

#[test]
fn an_answer_that_comes_before_the_request_is_whole_is_passed_on() {
    // Whether the backend reads on or not, and whether it closes or not.
    for (reads, closes) in [(true, false), (false, false), (false, true)] {
        let (setup, connections) = does(move |_, stream| {
            let _ = stream.read(&mut [0; 1000])?;
            stream.write_all(b"HTTP/1.1 413 Too Long\r\ncontent-length: 2\r\n\r\nok")?;
            if closes {
                return Ok(());
            }
            if reads {
                std::io::copy(stream, &mut std::io::sink())?;
            }
            std::thread::sleep(Duration::from_secs(5));
            Ok(())
        });
        let length = 300_000;
        let mut stream = setup.client("http/1.1");
        let head = format!("POST /a HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).and_then(|()| stream.flush()).unwrap();
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        while !answer.ends_with(b"ok") {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..count]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 413 "), "{reads} {closes}");
        drop(stream);
        // What is left of that request is not the next.
        assert_eq!(status(&setup, &get("/b")).0, "413", "{reads} {closes}");
        assert_eq!(connections.load(Ordering::Relaxed), 2, "{reads} {closes}");
    }
}

#[test]
fn a_body_goes_on_while_its_answer_comes() {
    let (setup, connections) = does(|_, stream| {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        while !bytes.ends_with(b"one") {
            let count = stream.read(&mut buffer)?;
            bytes.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\none")?;
        while !bytes.ends_with(b"onetwo") {
            let count = stream.read(&mut buffer)?;
            bytes.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(b"two")?;
        heard(stream)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    });
    let mut stream = setup.client("http/1.1");
    let head = "POST /a HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 6\r\n\r\none";
    stream.write_all(head.as_bytes()).and_then(|()| stream.flush()).unwrap();
    let mut answer = Vec::new();
    let mut until = |stream: &mut super::Stream, end: &str| {
        let mut byte = [0; 1];
        while !answer.ends_with(end.as_bytes()) {
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
    };
    until(&mut stream, "\r\n\r\none");
    stream.write_all(b"two").and_then(|()| stream.flush()).unwrap();
    until(&mut stream, "two");
    // Both were whole: the connection serves the next.
    stream.write_all(get("/b").as_bytes()).and_then(|()| stream.flush()).unwrap();
    until(&mut stream, "\r\n\r\nok");
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}
