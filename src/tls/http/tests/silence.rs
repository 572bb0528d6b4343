//! Answers that begin and do not go on, while their client has others.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::http2::{
    END_HEADERS, END_STREAM, GOAWAY, HEADERS, Outcome, PLAIN, RST_STREAM, block, connect, frame, next,
    outcome, with,
};
use super::peer::{Peer, Reply};
use super::recorder::Recorder;
use super::start;

#[test]
fn an_answer_that_does_not_go_on_is_given_up_whatever_else_goes_on() {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let backends = vec![backend.local_addr().unwrap()];
    std::thread::spawn(move || {
        for mut stream in backend.incoming().flatten() {
            std::thread::spawn(move || {
                let (mut asked, mut buffer) = (0, [0; 4096]);
                while let Ok(1..) = stream.read(&mut buffer) {
                    let begins = asked == 0 && buffer.starts_with(b"GET /begins ");
                    let body = if begins { "o" } else { "ok" };
                    let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{body}");
                    asked += 1;
                }
            });
        }
    });
    gives_up(backends, false);
    // On a connection that others share, too.
    let peer = Peer::start(|_, request| if request == 0 { Reply::Begin } else { Reply::Ok });
    gives_up(vec![peer.address], true);
    assert_eq!(peer.connections(), 1);
}

/// Asks for an answer that does not go on, and for others meanwhile: the first is given up.
fn gives_up(backends: Vec<std::net::SocketAddr>, backend_http2: bool) {
    let quick = |settings: &mut super::Settings| {
        settings.answer_timeout = Duration::from_millis(300);
        settings.backend_http2 = backend_http2;
    };
    let setup = start(quick, Recorder::start(), backends, false);
    setup.route.idle.store(600, Ordering::Relaxed);
    let mut stream = connect(&setup);
    let begun = Instant::now();
    let head = block(&with(&[(2, "/begins")], &[]));
    stream
        .write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head))
        .and_then(|()| stream.flush())
        .unwrap();
    assert_eq!(outcome(&mut stream, 1), Outcome::Ok);
    let mut reset = None;
    for id in (3..).step_by(2) {
        stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, id, &block(&PLAIN))).unwrap();
        stream.flush().unwrap();
        loop {
            let (kind, on) = next(&mut stream);
            assert_ne!(kind, GOAWAY);
            match (kind, on) {
                (RST_STREAM, 1) => reset = Some(begun.elapsed()),
                (HEADERS, on) if on == id => break,
                _ => {}
            }
        }
        if reset.is_some() || begun.elapsed() > Duration::from_secs(9) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(reset.is_some_and(|after| after >= Duration::from_millis(600)), "{reset:?}");
}
