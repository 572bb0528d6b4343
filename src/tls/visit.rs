//! What is taken down of one connection, if there is an access log.

use std::cell::Cell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::access_log::{AccessLog, Connection, Entry};
use super::choice::{BackendAddress, Secured};
use super::clients::Identity;
use super::suite;
use crate::clock;

/// How whatever ends by itself is taken down.
pub(super) const DONE: &str = "done";

/// A connection that is taken down. However it ends, there is a line of it, or of its requests.
pub(super) struct Visit {
    log: Arc<AccessLog>,
    begun: Instant,
    entry: Box<Entry>,
    requests: Option<Rc<Requests>>,
}

impl Visit {
    /// A connection came from there.
    pub(super) fn new(log: Arc<AccessLog>, client: SocketAddr, local: Option<SocketAddr>) -> Self {
        let connection = Connection {
            listener: log.listener.clone(),
            client: Some(client),
            local,
            ..Connection::default()
        };
        let entry = Entry { connection: Arc::new(connection), end: "stopped", ..Entry::default() };
        Self { log, begun: Instant::now(), entry: Box::new(entry), requests: None }
    }

    fn connection(&mut self) -> &mut Connection {
        Arc::make_mut(&mut self.entry.connection)
    }

    /// It was passed on for this client.
    pub(super) fn introduce(&mut self, client: SocketAddr, local: SocketAddr) {
        let connection = self.connection();
        connection.proxy = connection.client.replace(client);
        connection.local = Some(local);
    }

    /// Its handshake is done, or its first message has come and it is passed through.
    pub(super) fn greeted(&mut self, about: &Secured<'_>, route: &str) {
        let handshake = self.begun.elapsed();
        let connection = self.connection();
        connection.handshake = Some(handshake);
        connection.version = about.version.and_then(suite::version);
        connection.suite = about.suite.and_then(suite::name);
        connection.group = about.group.and_then(|group| group.as_str().map(str::to_owned));
        connection.sni = about.hello.server_name().map(str::to_ascii_lowercase);
        connection.alpn = about.alpn.map(|alpn| String::from_utf8_lossy(alpn).into_owned());
        connection.resumed = about.version.map(|_| about.resumed);
        connection.ja4 = Some(about.hello.ja4().to_string());
        connection.route = Some(route.to_owned());
        if let Some(identity) = about.certificates.first().and_then(Identity::of) {
            let name = identity.spiffe_id().or(identity.dns.first().map(String::as_str));
            connection.identity = Some(name.unwrap_or(&identity.subject).to_owned());
            connection.certificate =
                Some(identity.fingerprint.iter().fold(String::new(), |mut hex, byte| {
                    let _ = write!(hex, "{byte:02x}");
                    hex
                }));
        }
    }

    /// Requests are read, and taken down one by one.
    pub(super) fn requests(&mut self) -> Rc<Requests> {
        let (log, connection) = (self.log.clone(), self.entry.connection.clone());
        self.requests.insert(Rc::new(Requests { log, connection, any: Cell::new(false) })).clone()
    }

    /// A backend was asked to take it, and did not for this reason.
    pub(super) fn refused(&mut self, backend: &BackendAddress, error: &str) {
        (self.entry.backend, self.entry.error) = (Some(backend.clone()), Some(error.to_owned()));
    }

    /// A backend took it.
    pub(super) fn connected(&mut self, backend: &BackendAddress) {
        (self.entry.backend, self.entry.error) = (Some(backend.clone()), None);
    }

    /// It is over.
    pub(super) fn ended(&mut self, end: &'static str) {
        self.entry.end = end;
    }

    /// What went through it.
    pub(super) fn moved(&mut self, received: u64, sent: u64) {
        (self.entry.received, self.entry.sent) = (Some(received), Some(sent));
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        // Its requests were told of; there is more to tell only if it did not end as it should.
        if self.entry.end == DONE && self.requests.as_ref().is_some_and(|requests| requests.any.get()) {
            return;
        }
        self.entry.duration = self.begun.elapsed();
        self.entry.ended = clock::both().wall;
        self.log.add(std::mem::take(&mut self.entry));
    }
}

/// Where requests of one connection are taken down.
pub(super) struct Requests {
    log: Arc<AccessLog>,
    connection: Arc<Connection>,
    any: Cell<bool>,
}

impl Requests {
    /// A request came: of the connection there is nothing to be told beside it.
    pub(super) fn begin(&self) {
        self.any.set(true);
    }

    /// It is over.
    pub(super) fn add(&self, entry: Entry) {
        let (ended, connection) = (clock::both().wall, self.connection.clone());
        self.log.add(Box::new(Entry { ended, connection, ..entry }));
    }
}
