//! Why a request gets an answer of our own.

use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode, Version};

use super::body::Fault;
use super::response::ResponseBody;

/// Why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// It does not say whom it is for, or not in one way.
    Host,
    /// Its target is of no form that there is.
    Target,
    /// Where its body ends can be understood in two ways.
    Framing,
    /// Its method is passed on to nobody.
    Method,
    /// It is for another than TLS was made for, or for nobody here.
    Misdirected,
    /// It has too many headers.
    Headers,
    /// Its body is longer than it may be.
    Body,
    /// Its body is cut into what are no chunks.
    Chunks,
    /// Its body does not come.
    Late,
    /// Its body was broken off.
    Broken,
    /// There is no backend.
    NoBackend,
    /// No backend took the connection.
    Unreachable,
    /// No backend took it in time, or answered in time.
    Silent,
    /// The backend broke off, or answered what is no HTTP.
    Backend,
}

impl Refusal {
    /// What the client is told.
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::Target | Self::Framing | Self::Chunks | Self::Broken => {
                StatusCode::BAD_REQUEST
            }
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Headers => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Body => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::NoBackend => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable | Self::Backend => StatusCode::BAD_GATEWAY,
            Self::Silent => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// What the access log calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Host => "refused_host",
            Self::Target => "refused_target",
            Self::Framing => "refused_framing",
            Self::Method => "refused_method",
            Self::Misdirected => "refused_misdirected",
            Self::Headers => "refused_headers",
            Self::Body => "refused_body",
            Self::Chunks => MALFORMED,
            Self::Late => CLIENT_TIME,
            Self::Broken => LEFT,
            Self::NoBackend => "no_backend",
            Self::Unreachable => "backend_refused",
            Self::Silent => "backend_time",
            Self::Backend => BACKEND,
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Long => Self::Body,
            Fault::Late => Self::Late,
            Fault::Broken => Self::Broken,
            Fault::Chunks => Self::Chunks,
        }
    }
}

/// What came was no HTTP.
pub(super) const MALFORMED: &str = "malformed";
/// The client sent no more of the request, or took no more of the answer, in time.
pub(super) const CLIENT_TIME: &str = "client_time";
/// The client left before it had all of the answer.
pub(super) const LEFT: &str = "left";
/// The backend broke off.
pub(super) const BACKEND: &str = "backend";
/// Nothing passed for too long.
pub(super) const IDLE: &str = "idle";
/// It was ended from here.
pub(super) const STOPPED: &str = "stopped";

/// A short answer of our own, that says nothing of what is behind us.
pub(super) fn words(status: StatusCode, version: Version) -> Response<ResponseBody> {
    let reason = status.canonical_reason().unwrap_or_default();
    let text = format!("{} {reason}\n", status.as_str());
    let mut response = Response::new(ResponseBody::text(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    // Who sends what can be read in two ways shall not send more of it.
    if version != Version::HTTP_2 && status.is_client_error() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
