//! How streams end that pass TLS to a backend.

use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::thread;

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::{ServerConnection, StreamOwned};
use tokio::task::LocalSet;

use super::*;
use crate::tls::test_link::{NAME, configs};

type Server = StreamOwned<ServerConnection, std::net::TcpStream>;

/// A backend that does this with its connection, what it comes to, and how it is reached.
fn backend<T: Send + 'static>(
    work: impl FnOnce(Server) -> T + Send + 'static,
) -> (BackendAddress, Tls, thread::JoinHandle<T>) {
    let (server, config) = configs(TLS13_AES_128_GCM_SHA256);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = BackendAddress::Tcp(listener.local_addr().unwrap());
    let thread = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut preface = [0; 6];
        stream.read_exact(&mut preface).unwrap();
        assert_eq!(&preface, b"PROXY ");
        work(StreamOwned::new(ServerConnection::new(Arc::new(server)).unwrap(), stream))
    });
    (address, Tls { config, name: ServerName::try_from(NAME).unwrap() }, thread)
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, work)
}

/// Everything that comes, or how it ends before its time.
async fn rest(socket: &mut Socket) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), [0; 1000]);
    loop {
        match poll_fn(|cx| socket.poll_receive(cx, &mut buffer)).await? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

#[test]
fn both_streams_come_whole_and_an_end_is_an_end() {
    let question: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    let expected = question.clone();
    let (address, tls, thread) = backend(move |mut stream| {
        let mut asked = Vec::new();
        stream.read_to_end(&mut asked).unwrap();
        stream.write_all(b"answer").unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        asked
    });
    let answer = run(async {
        let mut socket = dial(&address, b"PROXY ", Some(tls)).await.unwrap();
        socket.send_all(&question).await.unwrap();
        socket.end();
        rest(&mut socket).await
    });
    assert_eq!(answer.unwrap(), b"answer");
    assert!(thread.join().unwrap() == expected);
}

#[test]
fn what_a_backend_cuts_short_is_no_end() {
    let (address, tls, thread) = backend(|mut stream| {
        stream.write_all(b"half an ans").unwrap();
        stream.flush().unwrap();
    });
    let ended = run(async {
        let mut socket = dial(&address, b"PROXY ", Some(tls)).await.unwrap();
        rest(&mut socket).await
    });
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset);
    thread.join().unwrap();
}

#[test]
fn what_is_broken_off_here_is_no_end_for_the_backend() {
    let (address, tls, thread) =
        backend(|mut stream| stream.read_to_end(&mut Vec::new()).unwrap_err().kind());
    run(async {
        let mut socket = dial(&address, b"PROXY ", Some(tls)).await.unwrap();
        socket.send_all(b"half a quest").await.unwrap();
        socket.abort();
        over(&thread).await;
    });
    assert_eq!(thread.join().unwrap(), ErrorKind::ConnectionReset);
}

/// Waits for a backend.
async fn over<T>(thread: &thread::JoinHandle<T>) {
    while !thread.is_finished() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A connection to a backend that does this once the handshake is done, and says nothing until the sender is dropped. The
/// task that carries it ends after `leave`, or it is missed.
fn carried(work: impl FnOnce(&mut Server) + Send + 'static, leave: impl AsyncFnOnce(Socket)) {
    let (until, over) = std::sync::mpsc::channel::<()>();
    let (address, tls, thread) = backend(move |mut stream| {
        stream.conn.complete_io(&mut stream.sock).unwrap();
        work(&mut stream);
        let _ = over.recv();
    });
    let BackendAddress::Tcp(address) = address else { unreachable!() };
    run(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"PROXY ").await.unwrap();
        let outer = TlsConnector::from(tls.config).connect(tls.name, stream).await.unwrap();
        let (socket, task) = hide(outer).unwrap();
        leave(socket).await;
        let ended = timeout(Duration::from_secs(10), task).await;
        ended.expect("a task, and two sockets, of a connection that is over").unwrap();
    });
    drop(until);
    thread.join().unwrap();
}

#[test]
fn nothing_stays_of_a_connection_whose_backend_never_answers() {
    let asked = |stream: &mut Server| {
        stream.read_to_end(&mut Vec::new()).unwrap();
    };
    carried(asked, async |mut socket| {
        socket.send_all(b"question").await.unwrap();
        socket.end();
        // The backend knows by now that it was all.
        tokio::time::sleep(Duration::from_millis(100)).await;
        socket.abort();
    });
}

#[test]
fn nothing_stays_of_a_connection_that_is_dropped_but_what_was_sent_arrives() {
    let asked = |stream: &mut Server| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 100_000);
    };
    carried(asked, async |mut socket| socket.send_all(&[7; 100_000]).await.unwrap());
}

#[test]
fn nothing_stays_of_a_connection_whose_backend_does_not_read() {
    carried(
        |_| {},
        async |mut socket| {
            let full = Duration::from_millis(200);
            while timeout(full, socket.send_all(&[7; 65_536])).await.is_ok() {}
            socket.abort();
        },
    );
}

#[test]
fn a_backend_with_another_name_is_refused() {
    let (address, tls, thread) = backend(|mut stream| stream.read(&mut [0]).is_err());
    let other = Tls { name: ServerName::try_from("mail.example.com").unwrap(), ..tls };
    let refused = run(dial(&address, b"PROXY ", Some(other)));
    assert!(refused.unwrap_err().to_string().contains("not valid for name"));
    assert!(thread.join().unwrap());
}
