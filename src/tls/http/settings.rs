//! What a route in HTTP mode goes by.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};

use super::counters::Counters;
use crate::tls::names::Pattern;

/// `http` of a route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// `hsts`: the whole header (RFC 6797, section 6.1).
    pub hsts: Option<HeaderValue>,
    /// `client_identity_header`: tells backends who a client is by its certificate.
    pub identity: Option<HeaderName>,
    /// `trust_request_id`: a request's id may come from outside.
    pub trust_request_id: bool,
    /// `backend_http2`: backends speak HTTP/2 by prior knowledge, else HTTP/1.1.
    pub backend_http2: bool,
    /// `backend_idle`: connections of one thread to one backend that are kept for the next request.
    pub backend_idle: usize,
    /// `header_bytes`: of a request's head.
    pub header_bytes: u32,
    /// `headers`: their number.
    pub headers: usize,
    /// `body_bytes`: of a request's body; `None` without a limit.
    pub body_bytes: Option<u64>,
    /// `streams`: requests of one HTTP/2 connection at a time.
    pub streams: u32,
    /// `header_timeout`: from the first byte of a request to the last of its head.
    pub header_timeout: Duration,
    /// `idle_timeout`: without a request.
    pub idle_timeout: Duration,
    /// `body_timeout`: until the next part of a request's body comes, or a client takes the next part of an answer.
    pub body_timeout: Duration,
    /// `answer_timeout`: from the last part of a request to the head of its answer.
    pub answer_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            hsts: None,
            identity: None,
            trust_request_id: false,
            backend_http2: false,
            backend_idle: 32,
            header_bytes: 16_384,
            headers: 100,
            body_bytes: None,
            streams: 100,
            header_timeout: seconds(10),
            idle_timeout: seconds(75),
            body_timeout: seconds(30),
            answer_timeout: seconds(60),
        }
    }
}

/// The same for connections, with what it counts.
#[derive(Debug)]
pub struct Rules {
    /// As configured.
    pub settings: Settings,
    /// What it counts: it outlives a reload.
    pub counters: Arc<Counters>,
    /// Names of other routes, if this is the one of every other name.
    pub others: Vec<Pattern>,
}
