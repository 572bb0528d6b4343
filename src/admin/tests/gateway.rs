//! A gateway of which a test says what it answers.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Folder;
use crate::admin::{Audit, Server, Sockets};
use crate::config;
use crate::datapath::Tracer;
use crate::gateway::{Handle, Reloaded, Request, TraceSource};
use crate::status::{Status, sample};

/// What the gateway answers.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) status: Status,
    pub(super) reload: Result<Reloaded, String>,
    /// How long a reload takes.
    pub(super) reload_takes: Duration,
    pub(super) sources: Vec<TraceSource>,
    /// Reloads that were carried out.
    pub(super) reloads: u32,
    /// How often the status was asked for.
    pub(super) asked: u32,
}

/// The server, and the gateway that it asks.
#[derive(Debug)]
pub(super) struct Fake {
    // Ends first: the gateway lives for as long as somebody may ask it.
    server: Option<Server>,
    pub(super) script: Arc<Mutex<Script>>,
    pub(super) metrics: SocketAddr,
    pub(super) audit: Audit,
    pub(super) folder: Folder,
}

impl Fake {
    pub(super) fn new() -> Self {
        let (handle, requests) = Handle::new();
        let fake = Self::with_handle(handle);
        let script = fake.script.clone();
        std::thread::spawn(move || answer(&requests, &script));
        fake
    }

    /// Somebody else has the other end of the handle, or nobody.
    pub(super) fn with_handle(handle: Handle) -> Self {
        let source =
            |name: &str| TraceSource { tunnel: name.to_owned(), frames: false, tracer: Arc::default() };
        let script = Arc::new(Mutex::new(Script {
            status: sample::full(),
            reload: Ok(changed("nothing")),
            reload_takes: Duration::ZERO,
            sources: vec![source("wg0"), source("wg1")],
            reloads: 0,
            asked: 0,
        }));
        let folder = Folder::new();
        let directory = folder.path().join("run");
        let sockets =
            Sockets::bind(&config::Admin { directory, read_group: None, write_group: None }).unwrap();
        let audit = Audit::open(folder.path()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let metrics = listener.local_addr().unwrap();
        let server = sockets.serve(handle, audit.clone(), Some(listener)).unwrap();
        Self { server: Some(server), script, metrics, audit, folder }
    }

    pub(super) fn read(&self) -> PathBuf {
        self.folder.path().join("run/read.sock")
    }

    pub(super) fn write(&self) -> PathBuf {
        self.folder.path().join("run/write.sock")
    }

    pub(super) fn trail_path(&self) -> PathBuf {
        self.folder.path().join("audit.jsonl")
    }

    /// The audit trail: what, result and detail of each entry.
    pub(super) fn trail(&self) -> Vec<(String, String, String)> {
        let text = std::fs::read_to_string(self.trail_path()).unwrap();
        let entries = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let entry = |entry: serde_json::Value| {
            assert_eq!(entry["who"]["pid"], std::process::id());
            assert_eq!(entry["who"]["uid"], rustix::process::geteuid().as_raw());
            assert_eq!(entry["who"]["gid"], rustix::process::getegid().as_raw());
            assert_eq!(entry["who"]["user"], crate::privilege::user_name());
            assert_eq!(entry["via"], "write.sock");
            let word = |key: &str| entry[key].as_str().unwrap().to_owned();
            (word("what"), word("result"), word("detail"))
        };
        entries.map(entry).collect()
    }

    pub(super) fn tracer(&self, tunnel: &str) -> Arc<Tracer> {
        let script = self.script.lock().unwrap();
        script.sources.iter().find(|source| source.tunnel == tunnel).unwrap().tracer.clone()
    }

    /// Ends the server.
    pub(super) fn stop(&mut self) {
        self.server = None;
    }
}

/// Waits until something is true.
pub(super) fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_true() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} does not come true");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn answer(requests: &Receiver<Request>, script: &Mutex<Script>) {
    for request in requests {
        let takes = script.lock().unwrap().reload_takes;
        if matches!(request, Request::Reload(_)) {
            std::thread::sleep(takes);
        }
        let mut script = script.lock().unwrap();
        match request {
            Request::Status(reply) => {
                script.asked += 1;
                drop(reply.send(script.status.clone()));
            }
            Request::Reload(reply) => {
                script.reloads += 1;
                drop(reply.send(script.reload.clone()));
            }
            Request::Trace(reply) => drop(reply.send(script.sources.clone())),
            Request::Clients(reply) => drop(reply.send(Default::default())),
            Request::Drain(_, reply) => drop(reply.send(Ok(Default::default()))),
            Request::Stop => return,
        }
    }
}

/// A reload of which nothing failed.
pub(super) fn changed(what: &str) -> Reloaded {
    Reloaded { changed: what.to_owned(), faults: Vec::new() }
}
