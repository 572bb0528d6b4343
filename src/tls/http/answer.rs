//! A request is sent on a connection that there is, and answered, or not.

use std::io;
use std::mem::replace;

use hyper::body::Body as _;
use hyper::client::conn::http2;
use hyper::header::HeaderMap;
use hyper::http::response::Parts;
use hyper::{Request, StatusCode};

use super::body::RequestBody;
use super::head::Head;
use super::response::Source;
use super::shared::Slot;
use super::single::{Single, Unheard};

/// What a backend answered, and where the rest of it comes from.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) source: Source,
}

/// What is left of a request that got no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Left {
    /// All of it, and nothing was sent: it may be sent elsewhere.
    Unsent,
    /// It was sent, and all of it is there: it has no body.
    Whole,
    /// Its body is gone, or a part of it.
    Spent,
}

/// Why there is no answer.
pub(super) struct Unanswered {
    pub(super) left: Left,
    /// The connection had served others before.
    pub(super) reused: bool,
    /// It ended without a word, as it does when a backend closes it.
    pub(super) silent: bool,
    /// It was not processed, as the backend says: it does no harm to ask again (RFC 9113, section 8.7).
    pub(super) refused: Option<Refused>,
    /// What is wrong, in words, if something is.
    pub(super) why: Option<String>,
}

/// What of a backend's connection does not take a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refused {
    /// The stream.
    Stream,
    /// All of it: it ends.
    Ending,
}

/// Sends a request on a connection that it has for itself.
pub(super) async fn send_alone(
    single: &mut Single,
    request: &mut Request<RequestBody>,
    reused: bool,
) -> Result<Head, Unanswered> {
    request.body().goes(None);
    let has_body = !request.body().is_end_stream();
    single.ask(request).await.map_err(|Unheard { mistake, unsent, silent }| {
        let left = match (unsent, has_body) {
            (true, _) => Left::Unsent,
            (false, false) => Left::Whole,
            (false, true) => Left::Spent,
        };
        Unanswered { left, reused, silent, refused: None, why: Some(mistake.to_string()) }
    })
}

/// Sends a request on a connection that others share.
pub(super) async fn send_along(
    mut sender: http2::SendRequest<RequestBody>,
    slot: Slot,
    request: &mut Request<RequestBody>,
    reused: bool,
) -> Result<Answer, Unanswered> {
    request.body().goes(Some(slot.load().clone()));
    let spent = Request::new(request.body().empty());
    let (sent, left) = match copy(request) {
        Some(copy) => (copy, Left::Whole),
        None => (replace(request, spent), Left::Spent),
    };
    match sender.try_send_request(sent).await {
        Ok(response) => {
            let (Parts { status, headers, .. }, incoming) = response.into_parts();
            Ok(Answer { status, headers, source: Source::Shared { incoming, _slot: slot } })
        }
        Err(mut error) => {
            let left = error.take_message().map_or(left, |unsent| {
                *request = unsent;
                Left::Unsent
            });
            let error = error.into_error();
            let refused = refused(&error);
            if refused == Some(Refused::Ending) {
                slot.load().fail();
            }
            let silent =
                error.is_incomplete_message() || error.is_closed() || error.is_canceled() || is_reset(&error);
            Err(Unanswered { left, reused, silent, refused, why: Some(words(&error)) })
        }
    }
}

/// All of a request that has no body.
fn copy(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let body = request.body();
    body.is_end_stream().then(|| {
        let mut copy = Request::new(body.empty());
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        *copy.version_mut() = request.version();
        copy.headers_mut().clone_from(request.headers());
        copy
    })
}

/// What went wrong, with what is behind it.
pub(super) fn words(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Whether a backend says that it did not process a request.
fn refused(error: &hyper::Error) -> Option<Refused> {
    let error = std::error::Error::source(error)?.downcast_ref::<h2::Error>()?;
    // Streams that a backend took end otherwise, if their connection does.
    if error.is_go_away() && error.is_remote() {
        return Some(Refused::Ending);
    }
    let stream = error.is_reset() && error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    stream.then_some(Refused::Stream)
}

/// Whether a connection was reset, or its other end was gone already.
fn is_reset(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    source.is_some_and(|source| kinds.contains(&source.kind()))
}
