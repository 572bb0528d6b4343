//! What is taken down of one connection, if there is an access log.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::access_log::{AccessLog, Entry};
use super::choice::Secured;
use super::clients::Identity;
use super::counters::Failure;
use super::suite;
use crate::clock;

/// A connection that is taken down. However it ends, its line is written.
pub(super) struct Visit {
    log: Arc<AccessLog>,
    begun: Instant,
    entry: Box<Entry>,
}

impl Visit {
    /// A connection came from there.
    pub(super) fn new(log: Arc<AccessLog>, client: SocketAddr, local: Option<SocketAddr>) -> Self {
        let entry = Entry {
            listener: log.listener.to_string(),
            client: Some(client),
            local,
            end: "stopped",
            ..Entry::default()
        };
        Self { log, begun: Instant::now(), entry: Box::new(entry) }
    }

    /// It was passed on for this client.
    pub(super) fn introduce(&mut self, client: SocketAddr, local: SocketAddr) {
        self.entry.proxy = self.entry.client.replace(client);
        self.entry.local = Some(local);
    }

    /// Its handshake is done, or its first message has come and it is passed through.
    pub(super) fn greeted(&mut self, about: &Secured<'_>, route: &str) {
        let entry = &mut *self.entry;
        entry.handshake = Some(self.begun.elapsed().as_secs_f64());
        entry.version = about.version.and_then(suite::version);
        entry.suite = about.suite.and_then(suite::name);
        entry.group = about.group.and_then(|group| group.as_str().map(str::to_owned));
        entry.sni = about.hello.server_name().map(str::to_ascii_lowercase);
        entry.alpn = about.alpn.map(|alpn| String::from_utf8_lossy(alpn).into_owned());
        entry.resumed = about.version.map(|_| about.resumed);
        entry.ja4 = Some(about.hello.ja4().to_string());
        entry.route = Some(route.to_owned());
        if let Some(identity) = about.certificates.first().and_then(Identity::of) {
            let name = identity.spiffe_id().or(identity.dns.first().map(String::as_str));
            entry.identity = Some(name.unwrap_or(&identity.subject).to_owned());
            entry.certificate = Some(identity.fingerprint.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            }));
        }
    }

    /// A backend took it.
    pub(super) fn connected(&mut self, backend: &impl ToString) {
        self.entry.backend = Some(backend.to_string());
    }

    /// It is over.
    pub(super) fn ended(&mut self, failure: Option<&Failure>) {
        self.entry.end = failure.map_or("done", Failure::name);
    }

    /// What went through it.
    pub(super) fn moved(&mut self, received: u64, sent: u64) {
        (self.entry.received, self.entry.sent) = (Some(received), Some(sent));
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.entry.duration = self.begun.elapsed().as_secs_f64();
        self.entry.at(clock::both().wall);
        self.log.add(std::mem::take(&mut self.entry));
    }
}
