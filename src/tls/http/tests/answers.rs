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

#[test]
fn a_connection_is_kept_whatever_ends_its_answer() {
    for (request, answer) in [
        (get("/a"), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        (get("/a"), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        (get("/a"), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        (get("/a"), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n"),
        (get("/a"), "HTTP/1.1 204 No Content\r\n\r\n"),
        (get("/a"), "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"),
        (get("/a").replace("GET", "HEAD"), "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"),
        (get("/a").replace("GET", "HEAD"), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        (get("/a"), "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok"),
    ] {
        // At once, and in two parts.
        for cut in [0, 1, 5] {
            let (setup, connections) = does(move |_, stream| {
                stream.set_nodelay(true)?;
                loop {
                    heard(stream)?;
                    let (first, last) = answer.split_at(answer.len() - cut);
                    stream.write_all(first.as_bytes())?;
                    std::thread::sleep(Duration::from_millis(10));
                    stream.write_all(last.as_bytes())?;
                }
            });
            let mut stream = setup.client("http/1.1");
            stream.sock.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            for _ in 0..2 {
                stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).unwrap();
                assert_eq!(
                    super::rest(&mut stream).get(9..10),
                    Some(&answer.as_bytes()[9..10]),
                    "{answer:?}"
                );
            }
            assert_eq!(connections.load(Ordering::Relaxed), 1, "{answer:?} {cut}");
        }
    }
}

#[test]
fn a_connection_is_not_kept_that_its_backend_ends_or_whose_answer_has_no_sure_end() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: Close\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive, close\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let (setup, connections) = does(move |_, stream| {
            loop {
                heard(stream)?;
                stream.write_all(answer.as_bytes())?;
            }
        });
        for request in 1..3 {
            assert_eq!(status(&setup, &get("/a")).0, "200", "{answer:?}");
            assert_eq!(connections.load(Ordering::Relaxed), request, "{answer:?}");
        }
    }
}

#[test]
fn what_has_a_body_where_none_may_be_answers_nobody_else() {
    let bad = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad";
    for (request, head) in [
        (
            get("/a").replace("GET", "HEAD"),
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bad.len()),
        ),
        (get("/a"), format!("HTTP/1.1 304 Not Modified\r\ncontent-length: {}\r\n\r\n", bad.len())),
        (get("/a"), "HTTP/1.1 204 No Content\r\n\r\n".to_owned()),
    ] {
        let (setup, connections) = does(move |_, stream| {
            loop {
                heard(stream)?;
                stream.write_all(format!("{head}{bad}").as_bytes())?;
            }
        });
        for number in 1..3 {
            let (_, answer) = status(&setup, &request);
            assert!(!answer.contains("bad"), "{answer}");
            assert_eq!(connections.load(Ordering::Relaxed), number, "{answer}");
        }
    }
}

#[test]
fn a_body_that_is_reset_is_not_ended_as_if_it_were_whole() {
    use super::http2::{self, DATA, END_HEADERS, HEADERS, RST_STREAM, block, frame};
    // NO_ERROR, CANCEL; with and without a length.
    for (code, length) in [(0_u32, None), (8, None), (0, Some("9")), (8, Some("9"))] {
        let setup = super::setup(|_| ());
        let mut stream = http2::connect(&setup);
        let mut fields = http2::PLAIN.to_vec();
        fields[0].1 = "POST";
        length.iter().for_each(|length| fields.push(("content-length", length)));
        stream.write_all(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).unwrap();
        stream.write_all(&frame(DATA, 0, 1, b"half")).and_then(|()| stream.flush()).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        stream
            .write_all(&frame(RST_STREAM, 0, 1, &code.to_be_bytes()))
            .and_then(|()| stream.flush())
            .unwrap();
        std::thread::sleep(Duration::from_millis(200));
        let seen = setup.recorder.take();
        assert_eq!(seen.connections, 1);
        assert!(seen.requests.is_empty(), "{code} {length:?}: {seen:?}");
        assert_eq!(setup.lines(1)[0]["end"], "left", "{code} {length:?}");
    }
}

#[test]
fn a_request_goes_on_though_nobody_takes_its_answer_yet() {
    use super::http2::{self, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, SETTINGS, block, frame};
    let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap()) as usize;
    // A client that takes its answer when all of its request is sent, as many do.
    const LENGTH: usize = 1 << 20;
    let (setup, _) = does(|_, stream| {
        let mut reader = stream.try_clone()?;
        let (_, mut got) = (reader.read(&mut [0; 1])?, 1);
        let answer = [&b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"[..], &[b'x'; 500_000]].concat();
        let mut writer = stream.try_clone()?;
        let writing = std::thread::spawn(move || writer.write_all(&answer));
        let mut buffer = vec![0; 65_536];
        while got < LENGTH {
            match reader.read(&mut buffer)? {
                0 => return Ok(()),
                count => got += count,
            }
        }
        let _ = writing.join();
        stream.write_all(&[b'x'; 500_000])?;
        std::thread::sleep(Duration::from_secs(5));
        Ok(())
    });
    let mut stream = http2::connect(&setup);
    let mut fields = http2::PLAIN.to_vec();
    fields[0].1 = "POST";
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).and_then(|()| stream.flush()).unwrap();
    // Those of the connection and of the request: as the protocol has them at first.
    let (mut sent, mut taken, mut windows) = (0, 0, [65_535_usize; 2]);
    let piece = vec![b'y'; 16_384];
    while sent < LENGTH {
        let now = windows[0].min(windows[1]).min(piece.len()).min(LENGTH - sent);
        // Nothing more of the answer may come by then.
        if now > 0 && (sent == 0 || taken >= 65_535) {
            let end = if sent + now == LENGTH { END_STREAM } else { 0 };
            stream.write_all(&frame(DATA, end, 1, &piece[..now])).and_then(|()| stream.flush()).unwrap();
            (sent, windows) = (sent + now, windows.map(|window| window - now));
            continue;
        }
        let mut head = [0; 9];
        let read = stream.read_exact(&mut head);
        assert!(read.is_ok(), "the request stops at {sent} bytes");
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).unwrap();
        assert_ne!(head[3], RST_STREAM, "the request is given up at {sent} bytes");
        match (head[3], head[4]) {
            (SETTINGS, 0) => {
                let mut all = payload.chunks_exact(6).filter(|setting| setting[..2] == [0, 4]);
                let initial = all.next().map_or(65_535, |setting| word(&setting[2..]));
                windows[1] += initial - 65_535;
                stream.write_all(&frame(SETTINGS, 1, 0, &[])).and_then(|()| stream.flush()).unwrap();
            }
            (DATA, _) => taken += payload.len(),
            (8, _) => windows[usize::from(head[8] == 1)] += word(&payload),
            _ => {}
        }
    }
}

#[test]
fn what_a_backend_says_behind_an_upgrade_comes_in_order_however_it_is_cut() {
    let words = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello";
    for cut in [10, words.len() - 6, words.len() - 5, words.len() - 3, words.len()] {
        let (setup, _) = does(move |_, stream| {
            heard(stream)?;
            let (first, last) = words.split_at(cut);
            stream.write_all(first.as_bytes())?;
            std::thread::sleep(Duration::from_millis(50));
            stream.write_all(last.as_bytes())?;
            std::thread::sleep(Duration::from_millis(200));
            Ok(())
        });
        let request = get("/a").replace("\r\n\r\n", "\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        let (status, answer) = status(&setup, &request);
        assert!(status == "101" && answer.ends_with("\r\n\r\nhello"), "{cut}: {answer}");
    }
}

#[test]
fn a_request_of_which_a_part_was_sent_is_sent_to_nobody_else() {
    // On a connection that served others, and that ends when a part of the request came.
    for (request, again) in [
        (get("/b"), true),
        (get("/b").replace("GET", "POST"), false),
        ("PUT /b HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 5\r\n\r\nhello".to_owned(), false),
        (
            "PUT /b HTTP/1.1\r\nHost: www.example.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                .to_owned(),
            false,
        ),
    ] {
        let (setup, connections) = does(|number, stream| {
            heard(stream)?;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
            heard(stream)?;
            if number > 0 {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
            }
            Ok(())
        });
        assert_eq!(status(&setup, &get("/a")).0, "200");
        assert_eq!(status(&setup, &request).0, if again { "200" } else { "502" }, "{request}");
        assert_eq!(connections.load(Ordering::Relaxed), 1 + usize::from(again), "{request}");
    }
}

#[test]
fn what_came_with_a_head_in_parts_and_is_none_of_its_answer_answers_nobody() {
    let (setup, connections) = does(|_, stream| {
        loop {
            heard(stream)?;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le")?;
            std::thread::sleep(Duration::from_millis(50));
            stream.write_all(b"ngth: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad")?;
        }
    });
    for request in 1..3 {
        let (status, answer) = status(&setup, &get("/a"));
        assert!(status == "200" && answer.ends_with("\r\n\r\nok"), "{answer}");
        assert_eq!(connections.load(Ordering::Relaxed), request);
    }
}

#[test]
fn a_request_whose_answer_began_is_not_sent_once_more() {
    let (setup, connections) = does(|number, stream| {
        heard(stream)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
        heard(stream)?;
        stream.write_all(if number == 0 { b"HTTP/1.1 200 OK\r\ncontent-le" } else { b"" })
    });
    assert_eq!(status(&setup, &get("/a")).0, "200");
    assert_eq!(status(&setup, &get("/b")).0, "502");
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[test]
fn an_answer_is_waited_for_from_the_end_of_its_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let backends = vec![listener.local_addr().unwrap()];
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            let _ = heard(&mut stream).and_then(|()| stream.write_all(answer));
        }
    });
    let quick = |settings: &mut super::Settings| settings.answer_timeout = Duration::from_millis(400);
    let setup = start(quick, Recorder::start(), backends, false);
    let mut stream = setup.client("http/1.1");
    let head = "POST /a HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 6\r\n\r\n";
    stream.write_all(head.as_bytes()).and_then(|()| stream.flush()).unwrap();
    for byte in b"slowly" {
        std::thread::sleep(Duration::from_millis(200));
        stream.write_all(&[*byte]).and_then(|()| stream.flush()).unwrap();
    }
    assert!(super::ok(&mut stream).starts_with("HTTP/1.1 200 "));
}

#[test]
fn what_is_left_of_an_answer_that_its_client_gave_up_answers_nobody() {
    use super::http2::{self, END_HEADERS, END_STREAM, HEADERS, Outcome, RST_STREAM, block, frame, outcome};
    let (setup, connections) = does(|_, stream| {
        loop {
            heard(stream)?;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")?;
        }
    });
    let mut stream = http2::connect(&setup);
    for (id, expected) in [(1, 1), (3, 2)] {
        let request = frame(HEADERS, END_STREAM | END_HEADERS, id, &block(&http2::PLAIN));
        stream.write_all(&request).and_then(|()| stream.flush()).unwrap();
        assert_eq!(outcome(&mut stream, id), Outcome::Ok);
        assert_eq!(connections.load(Ordering::Relaxed), expected);
        let reset = frame(RST_STREAM, 0, id, &8_u32.to_be_bytes());
        stream.write_all(&reset).and_then(|()| stream.flush()).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
}
