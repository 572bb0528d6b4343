//! A listener in HTTP mode between a client that says what it likes and a backend that keeps every byte.

mod answers;
mod clear;
mod hostile;
mod http2;
mod log;
mod peer;
mod proper;
mod recorder;
mod shared;
mod silence;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256 as GCM13;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tokio::sync::watch;

use super::counters::Counters;
use super::{ALPN, Rules, Settings};
use crate::test_folder::Folder;
use crate::tls::access_log::{self, AccessLog};
use crate::tls::choice::{Backend, BackendAddress, BackendEvent, Choice, Choose, Route, Timeouts};
use crate::tls::hello::ClientHello;
use crate::tls::listener::{self, Listener};
use crate::tls::policy::Server;
use crate::tls::test_link::{NAME, client, configs};
use recorder::Recorder;

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Goes to its backends in turn.
struct To {
    backends: Vec<SocketAddr>,
    rules: Arc<Rules>,
    /// Times that a backend did not answer.
    late: AtomicUsize,
    /// Whether clients are passed on, with a PROXY header.
    passed_on: AtomicBool,
    /// Milliseconds without a byte.
    idle: AtomicU64,
    replaced: watch::Sender<bool>,
}

impl Route for To {
    fn backend(&self, tried: usize) -> Option<Backend> {
        let address = BackendAddress::Tcp(*self.backends.get(tried)?);
        Some(Backend { address, id: tried })
    }

    fn note(&self, _: &Backend, event: BackendEvent<'_>) {
        if matches!(event, BackendEvent::TimedOut) {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn http(&self) -> Option<&Arc<Rules>> {
        Some(&self.rules)
    }

    fn timeouts(&self) -> Timeouts {
        let idle = Duration::from_millis(self.idle.load(Ordering::Relaxed));
        Timeouts { connect: Duration::from_secs(2), idle, ..Timeouts::default() }
    }

    fn replaced(&self) -> Option<watch::Receiver<bool>> {
        Some(self.replaced.subscribe())
    }
}

struct Fixed(Arc<Server>, Arc<To>, Arc<AccessLog>);

impl Choose for Fixed {
    fn choose(&self, _: &ClientHello<'_>, _: SocketAddr) -> Choice {
        Choice::Terminate { server: self.0.clone(), route: self.1.clone() }
    }

    fn expects_proxy(&self, _: IpAddr) -> bool {
        self.1.passed_on.load(Ordering::Relaxed)
    }

    fn access_log(&self) -> Option<Arc<AccessLog>> {
        Some(self.2.clone())
    }

    fn https(&self, host: &str) -> Option<u16> {
        (host == NAME).then_some(8443)
    }
}

/// A listener, and what is in front of it and behind it.
struct Setup {
    listener: Listener,
    address: SocketAddr,
    config: Arc<ClientConfig>,
    recorder: Recorder,
    rules: Arc<Rules>,
    route: Arc<To>,
    log: Arc<AccessLog>,
    _folder: Folder,
}

fn setup(change: impl FnOnce(&mut Settings)) -> Setup {
    let recorder = Recorder::start();
    let backends = vec![recorder.address];
    start(change, recorder, backends, false)
}

fn start(
    change: impl FnOnce(&mut Settings),
    recorder: Recorder,
    backends: Vec<SocketAddr>,
    plain: bool,
) -> Setup {
    let mut settings = Settings::default();
    change(&mut settings);
    let rules = Arc::new(Rules { settings, counters: Arc::new(Counters::default()), others: Vec::new() });
    let (mut server, config) = configs(GCM13);
    server.alpn_protocols = ALPN.map(|name| name.as_bytes().to_vec()).to_vec();
    let full_only = Arc::new(server);
    let server = Arc::new(Server { resuming: full_only.clone(), full_only });
    let (late, passed_on, replaced) =
        (AtomicUsize::new(0), AtomicBool::new(false), watch::Sender::new(false));
    let idle = AtomicU64::new(600_000);
    let route = Arc::new(To { backends, rules: rules.clone(), late, passed_on, idle, replaced });
    let folder = Folder::new();
    let file = folder.path().join("access.log");
    let log = access_log::Settings { file, format: access_log::Format::Json };
    let log = AccessLog::start("web", &log).unwrap();
    let choose: Arc<dyn Choose> = Arc::new(Fixed(server, route.clone(), log.clone()));
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let settings = listener::Settings { listen, threads: 1, plain, ..listener::Settings::default() };
    let listener = Listener::start(&settings, &choose).unwrap();
    let address = listener.addresses()[0];
    Setup { listener, address, config, recorder, rules, route, log, _folder: folder }
}

impl Setup {
    fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// A client that agreed on a protocol.
    fn client(&self, protocol: &str) -> Stream {
        let mut config = (*self.config).clone();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let mut stream = StreamOwned::new(client(&Arc::new(config)), self.tcp());
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).unwrap();
        }
        stream
    }

    /// As many lines of the access log, and no more: those of a connection may come a moment after its end.
    fn lines(&self, count: usize) -> Vec<serde_json::Value> {
        let begun = Instant::now();
        while (self.log.written() as usize) < count && begun.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let text = std::fs::read_to_string(&self.log.settings.file).unwrap();
        let lines: Vec<_> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), count, "{text}");
        lines
    }

    /// What comes for these bytes, until the connection ends or nothing has come for a moment.
    fn exchange(&self, bytes: &[u8]) -> String {
        let mut stream = self.client("http/1.1");
        let _ = stream.write_all(bytes).and_then(|()| stream.flush());
        stream.sock.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        String::from_utf8_lossy(&rest(&mut stream)).into_owned()
    }
}

/// What comes until the connection ends, or nothing comes for a while.
fn rest(stream: &mut Stream) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 16_384]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return all,
        }
    }
}

/// Reads until the answer's body `ok` is there.
fn ok(stream: &mut Stream) -> String {
    let (mut all, mut byte) = (Vec::new(), [0; 1]);
    while !all.ends_with(b"\r\n\r\nok") {
        stream.read_exact(&mut byte).unwrap_or_else(|error| {
            panic!("{error} after {:?}", String::from_utf8_lossy(&all));
        });
        all.push(byte[0]);
    }
    String::from_utf8(all).unwrap()
}

/// The status of each answer in a row of them.
fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.").skip(1).filter_map(|answer| answer.get(2..5)).collect()
}
