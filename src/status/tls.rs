//! TLS in front of plaintext services.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One `[tls.NAME]`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Tls {
    /// Addresses on which it listens: `address:port`.
    pub listen: Vec<String>,
    /// What may be negotiated: `modern` or `intermediate`.
    pub policy: String,
    /// Protocols inside, best first.
    pub alpn: Vec<String>,
    /// How clients are asked for certificates; absent if they are not.
    pub client_certificates: Option<ClientCertificates>,
    /// Where the keys of tickets come from: `own` or `file`; absent if no ticket is issued.
    pub tickets: Option<String>,
    /// What is shown to clients.
    pub certificates: Vec<Certificate>,
    /// Routes by name.
    pub routes: BTreeMap<String, Route>,
    /// Connections now.
    pub open: u64,
    /// Connections that were accepted.
    pub connections: u64,
    /// Handshakes done in full.
    pub full_handshakes: u64,
    /// Handshakes resumed by a ticket.
    pub resumed_handshakes: u64,
    /// Connections passed through untouched.
    pub passed_through: u64,
    /// Connections turned away since there were too many.
    pub turned_away: u64,
    /// Bytes from clients to backends, decrypted.
    pub received_bytes: u64,
    /// Bytes from backends to clients, before they are encrypted.
    pub sent_bytes: u64,
    /// Connections that ended before their time, by reason; reasons without any are left out.
    pub failures: BTreeMap<String, u64>,
    /// Whether nothing more is accepted, since the operator wants it so.
    #[serde(default)]
    pub draining: bool,
    /// Where connections are taken down; absent if they are not.
    #[serde(default)]
    pub access_log: Option<AccessLog>,
    /// What is wrong, in words.
    pub warnings: Vec<String>,
}

/// A line for each connection.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct AccessLog {
    /// The file.
    pub file: String,
    /// Lines that were written.
    pub written: u64,
    /// Lines that were lost, since the disk does not keep up or cannot be written.
    pub lost: u64,
    /// Why nothing can be written; absent if it can.
    pub error: Option<String>,
}

/// How clients are asked for certificates.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct ClientCertificates {
    /// `required` or `optional`.
    pub mode: String,
    /// Who may come in; everybody with a certificate of the CA if it is empty.
    pub allow: Vec<String>,
    /// When the first revocation list ends: seconds since 1970.
    pub lists_until: Option<f64>,
}

/// A certificate that is shown to clients.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Certificate {
    /// Its file.
    pub file: String,
    /// Names that it stands for.
    pub names: Vec<String>,
    /// The last second of its chain: seconds since 1970.
    pub until: f64,
    /// Days that are left; negative if it has ended.
    pub days_left: f64,
    /// Whether an OCSP response is sent with it.
    pub stapled: bool,
}

/// Where connections of some names go.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Route {
    /// Names of servers; every other name if there are none.
    pub sni: Vec<String>,
    /// Whether TLS does not end here.
    pub pass_through: bool,
    /// Whether backends are told of clients by a PROXY header: `v1` or `v2`.
    #[serde(default)]
    pub proxy_protocol: Option<String>,
    /// Whether TLS is spoken to backends.
    #[serde(default)]
    pub backend_tls: bool,
    /// Backends that are names.
    #[serde(default)]
    pub names: Vec<Name>,
    /// What became of requests, if they are read; absent if what is inside is nobody's matter.
    #[serde(default)]
    pub http: Option<Http>,
    /// Where it leads.
    pub backends: Vec<Backend>,
}

/// Requests of a route.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Http {
    /// Those that were answered, by the class of the answer: `2xx`.
    pub requests: BTreeMap<String, u64>,
    /// Those that clients left before they were answered.
    pub left: u64,
    /// Those that were sent to a backend once more.
    pub retried: u64,
    /// Seconds that all took that were answered, to the last byte of the answer.
    pub seconds: f64,
    /// The same by time: those of up to 1, 5, 10, 50, 100 and 500 ms, 1, 5, 10 and 60 s, and longer.
    pub buckets: Vec<u64>,
}

/// A backend's name.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Name {
    /// `host:port`
    pub name: String,
    /// Addresses that it has, or had last.
    pub addresses: u64,
    /// Why it was not found when it was looked up last; absent if it was.
    pub error: Option<String>,
}

/// A backend.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Backend {
    /// Where it is: `address:port` or `unix:/path`.
    pub address: String,
    /// The host's name that led there.
    #[serde(default)]
    pub name: Option<String>,
    /// Connections that it has.
    pub open: u64,
    /// Connections that it took.
    pub connections: u64,
    /// Attempts that it refused, or did not answer in time.
    pub failures: u64,
    /// Whether the last attempt failed.
    pub failing: bool,
    /// Why it failed; absent if it did not.
    #[serde(default)]
    pub error: Option<String>,
    /// What checks say of it; absent if there are none.
    #[serde(default)]
    pub checks: Option<Checks>,
    /// Its share of 1, while that grows after it came up.
    #[serde(default)]
    pub share: Option<f64>,
}

/// Checks of a backend.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Checks {
    /// Whether it gets connections.
    pub up: bool,
    /// Checks that it passed.
    pub passed: u64,
    /// Checks that failed.
    pub failed: u64,
    /// How often it came up or went down.
    pub changes: u64,
    /// Why the last check failed; absent if it was passed.
    pub error: Option<String>,
}
