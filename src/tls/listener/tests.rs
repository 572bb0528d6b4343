//! Real sockets: a client of rustls, and backends of a few lines.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::crypto::aws_lc_rs::cipher_suite::{
    TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 as GCM12, TLS13_AES_128_GCM_SHA256 as GCM13,
};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, HandshakeKind, StreamOwned, SupportedCipherSuite,
};
use socket2::SockRef;

use super::{Listener, Settings};
use crate::tls::choice::{
    Alert, Backend, BackendAddress, BackendEvent, Choice, Choose, Route, Secured, Timeouts,
};
use crate::tls::hello::ClientHello;
use crate::tls::policy::Server;
use crate::tls::test_link::{client, configs, sent};

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Goes to its backends in turn, and notes what becomes of them.
struct To {
    backends: Vec<BackendAddress>,
    preface: &'static [u8],
    timeouts: Timeouts,
    noted: Mutex<Vec<&'static str>>,
}

impl Route for To {
    fn backend(&self, tried: usize) -> Option<Backend> {
        self.backends.get(tried).map(|address| Backend { address: address.clone(), id: tried })
    }

    fn preface(&self, about: &Secured<'_>, into: &mut Vec<u8>) {
        assert!(about.hello.raw().len() > 50);
        into.extend_from_slice(self.preface);
    }

    fn note(&self, _: &Backend, event: BackendEvent<'_>) {
        self.noted.lock().unwrap().push(match event {
            BackendEvent::Connected => "connected",
            BackendEvent::Refused => "refused",
            BackendEvent::TimedOut => "timed out",
            BackendEvent::Closed { failure: None, .. } => "closed",
            BackendEvent::Closed { failure: Some(_), .. } => "broken",
        });
    }

    fn timeouts(&self) -> Timeouts {
        self.timeouts
    }
}

struct Fixed(Choice);

impl Choose for Fixed {
    fn choose(&self, _: &ClientHello<'_>, _: SocketAddr) -> Choice {
        self.0.clone()
    }
}

/// A listener with one thread in front of a backend.
struct Setup {
    listener: Listener,
    address: SocketAddr,
    config: Arc<ClientConfig>,
    backend: TcpListener,
    route: Arc<To>,
}

fn settings() -> Settings {
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    Settings { listen, threads: 1, ..Settings::default() }
}

/// One that ends TLS.
fn setup(suite: SupportedCipherSuite, settings: &Settings, change: impl FnOnce(&mut To)) -> Setup {
    let (server, config) = configs(suite);
    let full_only = Arc::new(server.clone());
    let mut resuming = server;
    resuming.ticketer = Ticketer::new().unwrap();
    let server = Arc::new(Server { resuming: Arc::new(resuming), full_only });
    start(settings, config, change, |route| Choice::Terminate { server, route })
}

fn start(
    settings: &Settings,
    config: Arc<ClientConfig>,
    change: impl FnOnce(&mut To),
    choice: impl FnOnce(Arc<dyn Route>) -> Choice,
) -> Setup {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let backends = vec![BackendAddress::Tcp(backend.local_addr().unwrap())];
    let mut route = To { backends, preface: b"", timeouts: Timeouts::default(), noted: Mutex::default() };
    change(&mut route);
    let route = Arc::new(route);
    let choose: Arc<dyn Choose> = Arc::new(Fixed(choice(route.clone())));
    let listener = Listener::start(settings, &choose).unwrap();
    let address = listener.addresses()[0];
    Setup { listener, address, config, backend, route }
}

impl Setup {
    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn client(&self) -> Stream {
        let mut stream = StreamOwned::new(client(&self.config), self.tcp());
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        stream
    }

    /// The next connection that the backend takes.
    fn accept(&self) -> TcpStream {
        let stream = self.backend.accept().unwrap().0;
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn both(&self) -> (Stream, TcpStream) {
        let client = self.client();
        (client, self.accept())
    }

    fn failures(&self, name: &str) -> u64 {
        self.listener.counters()[0].failures().find(|(named, _)| *named == name).unwrap().1
    }

    /// Waits until something is so.
    fn until(&self, what: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !what(self) {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", self.listener.counters());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// Sends back what comes, and its end.
fn echo(mut stream: TcpStream) {
    std::thread::spawn(move || {
        let mut reader = stream.try_clone().unwrap();
        let _ = std::io::copy(&mut reader, &mut stream);
        let _ = stream.shutdown(std::net::Shutdown::Write);
    });
}

#[test]
fn bulk_arrives_whole_in_both_directions() {
    for suite in [GCM13, GCM12] {
        let setup = setup(suite, &settings(), |_| ());
        let (mut client, backend) = setup.both();
        echo(backend);
        let data = pattern(200_000);
        for _ in 0..40 {
            client.write_all(&data).unwrap();
            let mut back = vec![0; data.len()];
            client.read_exact(&mut back).unwrap();
            assert!(back == data, "changed on the way");
        }
        let counters = &setup.listener.counters()[0];
        setup.until(|_| counters.upward.get() == 8_000_000 && counters.downward.get() == 8_000_000);
    }
}

#[test]
fn what_is_passed_through_is_untouched() {
    let (server, config) = configs(GCM13);
    let setup = start(&settings(), config, |_| (), |route| Choice::PassThrough { route });
    let backend = std::thread::spawn({
        let stream = setup.backend.try_clone().unwrap();
        move || {
            let stream = stream.accept().unwrap().0;
            let server = rustls::ServerConnection::new(Arc::new(server)).unwrap();
            let mut stream = StreamOwned::new(server, stream);
            let mut data = vec![0; 1_000_000];
            stream.read_exact(&mut data).unwrap();
            stream.write_all(&data).unwrap();
        }
    });
    let mut client = setup.client();
    let (data, mut back) = (pattern(1_000_000), vec![0; 1_000_000]);
    client.write_all(&data).unwrap();
    client.read_exact(&mut back).unwrap();
    assert!(back == data);
    backend.join().unwrap();
    assert_eq!(setup.listener.counters()[0].passed.get(), 1);
}

#[test]
fn a_stream_that_was_cut_short_is_reset_and_not_ended() {
    let setup = setup(GCM13, &settings(), |_| ());
    let (mut client, mut backend) = setup.both();
    client.write_all(b"half a mess").unwrap();
    client.sock.shutdown(std::net::Shutdown::Write).unwrap();
    let mut data = Vec::new();
    let error = backend.read_to_end(&mut data).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    setup.until(|setup| setup.failures("truncated") == 1);
}

#[test]
fn half_a_connection_may_end_before_the_other() {
    for suite in [GCM13, GCM12] {
        let setup = setup(suite, &settings(), |_| ());
        let (mut client, mut backend) = setup.both();
        client.write_all(b"question").unwrap();
        client.conn.send_close_notify();
        client.flush().unwrap();
        let mut data = Vec::new();
        backend.read_to_end(&mut data).unwrap();
        assert_eq!(data, b"question");
        backend.write_all(b"answer").unwrap();
        drop(backend);
        let mut data = Vec::new();
        // An end without close_notify would be an error.
        client.read_to_end(&mut data).unwrap();
        assert_eq!(data, b"answer");
        drop(client);
        setup.until(|setup| setup.listener.counters()[0].open() == 0);
        assert_eq!(*setup.route.noted.lock().unwrap(), ["connected", "closed"]);
    }
}

#[test]
fn a_backend_that_breaks_off_is_no_end_for_the_client() {
    let setup = setup(GCM13, &settings(), |_| ());
    let (mut client, mut backend) = setup.both();
    backend.write_all(b"half an ans").unwrap();
    let mut data = [0; 11];
    client.read_exact(&mut data).unwrap();
    SockRef::from(&backend).set_linger(Some(Duration::ZERO)).unwrap();
    drop(backend);
    let error = client.read(&mut data).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
    setup.until(|setup| setup.failures("backend") == 1);
}

#[test]
fn a_client_that_does_not_read_holds_up_its_backend() {
    let setup = setup(GCM13, &settings(), |_| ());
    let (mut client, mut backend) = setup.both();
    backend.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let (data, mut written) = (pattern(251 * 4096), 0);
    let error = loop {
        match backend.write(&data[written % 251..]) {
            Ok(count) => written += count,
            Err(error) => break error,
        }
        assert!(written < 256 << 20, "without end");
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    // And it goes on when the client reads, with nothing lost.
    drop(backend);
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    assert!(back == pattern(written));
}

#[test]
fn a_first_message_may_come_byte_by_byte() {
    let setup = setup(GCM13, &settings(), |_| ());
    let mut tcp = setup.tcp();
    tcp.set_nodelay(true).unwrap();
    let mut connection = client(&setup.config);
    for byte in sent(&mut connection) {
        tcp.write_all(&[byte]).unwrap();
        std::thread::yield_now();
    }
    let mut stream = StreamOwned::new(connection, tcp);
    echo_once(&setup, &mut stream);
}

fn echo_once(setup: &Setup, stream: &mut Stream) {
    stream.write_all(b"ping").unwrap();
    echo(setup.accept());
    let mut data = [0; 4];
    stream.read_exact(&mut data).unwrap();
    assert_eq!(&data, b"ping");
}

#[test]
fn data_that_comes_with_the_end_of_the_handshake_is_not_lost() {
    let setup = setup(GCM13, &settings(), |_| ());
    let mut tcp = setup.tcp();
    let mut connection = client(&setup.config);
    tcp.write_all(&sent(&mut connection)).unwrap();
    while connection.is_handshaking() {
        connection.read_tls(&mut tcp).unwrap();
        connection.process_new_packets().unwrap();
    }
    connection.writer().write_all(b"ping").unwrap();
    // Finished and data, in one segment.
    tcp.write_all(&sent(&mut connection)).unwrap();
    let mut stream = StreamOwned::new(connection, tcp);
    echo(setup.accept());
    let mut data = [0; 4];
    stream.read_exact(&mut data).unwrap();
    assert_eq!(&data, b"ping");
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    let settings = Settings { handshake: Duration::from_millis(100), ..settings() };
    let setup = setup(GCM13, &settings, |_| ());
    let mut silent = setup.tcp();
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0);
    let mut slow = setup.tcp();
    slow.write_all(&sent(&mut client(&setup.config))[..20]).unwrap();
    assert!(slow.read(&mut [0; 1]).is_ok_and(|read| read == 0) || setup.failures("handshake_time") == 2);
    setup.until(|setup| setup.failures("handshake_time") == 2 && setup.listener.counters()[0].open() == 0);
}

#[test]
fn what_is_no_tls_gets_an_alert_and_is_counted() {
    let setup = setup(GCM13, &settings(), |_| ());
    let mut tcp = setup.tcp();
    tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, [21, 3, 3, 0, 2, 2, Alert::DecodeError.number()]);
    setup.until(|setup| setup.failures("hello") == 1);
}

#[test]
fn who_is_refused_is_told_why() {
    let config = configs(GCM13).1;
    let setup = start(&settings(), config, |_| (), |_| Choice::Refuse(Alert::UnrecognisedName));
    let mut stream = StreamOwned::new(client(&setup.config), setup.tcp());
    let error = stream.write_all(b"x").unwrap_err().downcast::<rustls::Error>().unwrap();
    assert_eq!(error, rustls::Error::AlertReceived(AlertDescription::UnrecognisedName));
    setup.until(|setup| setup.failures("refused") == 1);
}

#[test]
fn the_next_backend_is_tried_and_learns_who_comes() {
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let setup = setup(GCM13, &settings(), |route| {
        route.backends.insert(0, BackendAddress::Tcp(refusing));
        route.preface = b"PROXY ";
    });
    let (mut client, mut backend) = setup.both();
    client.write_all(b"data").unwrap();
    let mut data = [0; 10];
    backend.read_exact(&mut data).unwrap();
    assert_eq!(&data, b"PROXY data");
    assert_eq!(*setup.route.noted.lock().unwrap(), ["refused", "connected"]);
}

#[test]
fn a_backend_may_be_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("adit-tls-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let backend = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let setup = setup(GCM13, &settings(), |route| {
        route.backends = vec![BackendAddress::Unix(Arc::from(path.as_path()))];
    });
    let mut client = setup.client();
    client.write_all(b"ping").unwrap();
    let mut data = [0; 4];
    backend.accept().unwrap().0.read_exact(&mut data).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(&data, b"ping");
}

#[test]
fn who_is_idle_too_long_is_sent_away() {
    let setup = setup(GCM13, &settings(), |route| route.timeouts.idle = Duration::from_millis(200));
    let begun = Instant::now();
    let (mut client, backend) = setup.both();
    echo(backend);
    while begun.elapsed() < Duration::from_millis(600) {
        client.write_all(b"ping").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(client.read(&mut [0; 1]).is_err());
    setup.until(|setup| setup.failures("idle") == 1);
    assert_eq!(*setup.route.noted.lock().unwrap(), ["connected", "broken"]);
}

#[test]
fn a_drain_leaves_what_is_there_and_takes_nothing_new() {
    let setup = setup(GCM13, &settings(), |_| ());
    let (mut client, backend) = setup.both();
    echo(backend);
    setup.listener.drain(Duration::from_secs(30));
    let begun = Instant::now();
    while TcpStream::connect(setup.address).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
    client.write_all(b"ping").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
    client.conn.send_close_notify();
    client.flush().unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    drop(client);
    setup.listener.stop(Duration::from_secs(30));
    assert!(begun.elapsed() < Duration::from_secs(20), "waited for nobody");
}

#[test]
fn a_drain_has_an_end() {
    let setup = setup(GCM13, &settings(), |_| ());
    let (mut client, _backend) = setup.both();
    setup.listener.stop(Duration::from_millis(100));
    assert!(client.read(&mut [0; 1]).is_err(), "a proper end for what was broken off");
}

#[test]
fn who_comes_when_it_is_full_is_turned_away() {
    let setup = setup(GCM13, &Settings { connections: 1, ..settings() }, |_| ());
    let (mut client, backend) = setup.both();
    echo(backend);
    assert!(setup.tcp().read(&mut [0; 1]).is_err());
    assert_eq!(setup.listener.counters()[0].crowded.get(), 1);
    client.write_all(b"ping").unwrap();
    client.read_exact(&mut [0; 4]).unwrap();
}

#[test]
fn a_ticket_resumes_tls_1_3_and_there_is_none_before() {
    for (suite, second) in [(GCM13, HandshakeKind::Resumed), (GCM12, HandshakeKind::Full)] {
        let setup = setup(suite, &settings(), |_| ());
        let kinds = [(); 2].map(|()| {
            let mut stream = setup.client();
            echo_once(&setup, &mut stream);
            stream.conn.handshake_kind().unwrap()
        });
        assert_eq!(kinds, [HandshakeKind::Full, second]);
        let counters = &setup.listener.counters()[0];
        let resumed = u64::from(second == HandshakeKind::Resumed);
        assert_eq!((counters.full.get(), counters.resumed.get()), (2 - resumed, resumed));
    }
}

#[test]
fn a_drain_can_be_shortened_and_not_lengthened() {
    for patience in [[600_000, 100], [100, 600_000]] {
        let setup = setup(GCM13, &settings(), |_| {});
        let mut waits = setup.tcp();
        setup.until(|setup| setup.listener.counters()[0].accepted.get() == 1);
        for milliseconds in patience {
            setup.listener.drain(Duration::from_millis(milliseconds));
            // The thread has seen it.
            std::thread::sleep(Duration::from_millis(20));
        }
        waits.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert!(
            !waits.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
            "{patience:?}"
        );
    }
}

/// Waits for nobody, and serves nobody.
struct Hasty;

impl Choose for Hasty {
    fn choose(&self, _: &ClientHello<'_>, _: SocketAddr) -> Choice {
        Choice::Refuse(Alert::InternalError)
    }

    fn handshake(&self) -> Option<Duration> {
        Some(Duration::from_millis(50))
    }
}

#[test]
fn who_comes_in_clear_and_says_nothing_is_not_waited_for_either() {
    let choose: Arc<dyn Choose> = Arc::new(Hasty);
    let listener = Listener::start(&Settings { plain: true, ..settings() }, &choose).unwrap();
    let mut waits = TcpStream::connect(listener.addresses()[0]).unwrap();
    waits.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(!waits.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
}
