//! `[tls.NAME]`: TLS in front of plaintext services.

mod access_log;
mod backend;
mod backend_tls;
mod certificates;
mod check;
mod clients;
mod contents;
mod duration;
mod http;
mod limits;
mod read;
mod routes;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adit_wireguard::Prefix;

use crate::tls::backend_tls::BackendTls;
use crate::tls::certificate::{Certificate, Findings};
use crate::tls::choice::Timeouts;
use crate::tls::clients::{Allow, Mode, Verifier};
use crate::tls::health::Check;
use crate::tls::http::Settings;
use crate::tls::names::Pattern;
use crate::tls::policy::Policy;
use crate::tls::proxy;
use crate::tls::routes::Target;
use crate::tls::tickets::TicketKeys;

pub(super) use contents::public as read_public;
pub(super) use read::terminators;

/// `[tls.NAME]`: TLS ends here, or is passed through, by the server's name that a client asks for.
#[derive(Debug, PartialEq)]
pub struct Tls {
    /// `listen`: its addresses. There is at least one.
    pub listen: Vec<SocketAddr>,
    /// `plain`: addresses where clients come in clear, to be told to come by HTTPS.
    pub plain: Vec<SocketAddr>,
    /// `policy`: what may be negotiated.
    pub policy: Policy,
    /// `alpn`: protocols inside, best first.
    pub alpn: Vec<String>,
    /// `certificates`. There is at least one, unless every route passes through.
    pub certificates: Vec<Loaded<Certificate>>,
    /// What `ticket_key_file` holds; without it keys for tickets are made here.
    pub ticket_keys: Option<Loaded<TicketKeys>>,
    /// `client_certificates`
    pub clients: Option<Clients>,
    /// `accept_proxy`: who passes connections on, with a PROXY header ahead of each.
    pub accept_proxy: Vec<Prefix>,
    /// `timeouts.handshake`
    pub handshake: Duration,
    /// The others of `timeouts`.
    pub timeouts: Timeouts,
    /// `max_connections` and the like.
    pub limits: crate::tls::limits::Settings,
    /// `access_log`
    pub access_log: Option<crate::tls::access_log::Settings>,
    /// `[tls.NAME.route.ROUTE]`, by name. There is at least one.
    pub routes: BTreeMap<String, Route>,
}

/// `client_certificates`
#[derive(Debug, PartialEq)]
pub struct Clients {
    /// `mode`
    pub mode: Mode,
    /// `allow`: who may come in; all of the CA's if it is empty.
    pub allow: Vec<Allow>,
    /// What judges them, made of `ca_file` and `crl_files`.
    pub verifier: Loaded<Arc<Verifier>>,
}

/// `[tls.NAME.route.ROUTE]`
#[derive(Debug, PartialEq)]
pub struct Route {
    /// `sni`: names of servers; without any it is the default.
    pub sni: Vec<Pattern>,
    /// `backend`: where connections go. There is at least one.
    pub backends: Vec<Target>,
    /// `pass_through`: TLS does not end here.
    pub pass_through: bool,
    /// `http`: what is inside is HTTP, and is read.
    pub http: Option<Settings>,
    /// `check`: how backends are checked.
    pub check: Option<Check>,
    /// `slow_start`: how long the share of a backend grows once it is up again.
    pub slow_start: Option<Duration>,
    /// `proxy_protocol`: backends are told of clients by a PROXY header.
    pub proxy: Option<proxy::Version>,
    /// `backend_tls`: TLS is spoken to backends.
    pub backend_tls: Option<Loaded<BackendTls>>,
}

/// What was made of files. It is the same as another if the files had the same contents.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The first of the files.
    pub file: PathBuf,
    /// What was made of them.
    pub value: T,
    /// What was found when they were read, and is not wrong enough to refuse them.
    pub findings: Findings,
    /// SHA-256 of all there was in them.
    contents: [u8; 32],
}

impl<T> PartialEq for Loaded<T> {
    fn eq(&self, other: &Self) -> bool {
        (&self.file, self.contents) == (&other.file, other.contents)
    }
}
