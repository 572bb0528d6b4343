//! The listener in clear: it tells clients to come by HTTPS, and nothing else.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Version};
use tokio::time::{Instant, timeout_at};

use super::activity::Activity;
use super::client::{Ended, PARTING};
use super::refusal::{LEFT, Refusal, words};
use super::request::{authority, judge, target};
use super::response::ResponseBody;
use super::running::{malformed, said, told_of};
use super::stream::Stream;
use crate::tls::access_log::Entry;
use crate::tls::buffers::Pool;
use crate::tls::choice::Choose;
use crate::tls::counters::{Counters, Failure};
use crate::tls::socket::Socket;
use crate::tls::visit::{DONE, Requests};

/// Of a request's head, in bytes and in headers.
const HEAD: (usize, usize) = (8192, 100);

/// Answers one request, until then. `carry` came already.
pub(in crate::tls) async fn redirect(
    (socket, carry): (Socket, Vec<u8>),
    choose: &Arc<dyn Choose>,
    (pool, counters): (Rc<Pool>, Arc<Counters>),
    until: Instant,
    requests: Option<Rc<Requests>>,
) -> Ended {
    let activity = Rc::new(Activity::new());
    let ended = |end| {
        let (received, sent) = activity.bytes();
        Ended { end, received, sent }
    };
    let failed = |failure: &Failure| {
        counters.fail(failure);
        ended(failure.name())
    };
    let stream = match Stream::of_client(socket, None, carry, (pool, activity.clone(), counters.clone())) {
        Ok(stream) => stream,
        Err(failure) => return failed(&failure),
    };
    let answered = RefCell::new(None);
    let service = service_fn(|request| {
        let begun = Instant::now();
        let (response, entry) = answer(&**choose, request);
        answered.replace(Some((begun, entry)));
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut connection = http1::Builder::new()
        .header_read_timeout(None)
        .keep_alive(false)
        .max_headers(HEAD.1)
        .max_header_size(HEAD.0)
        .max_buf_size(HEAD.0)
        .serve_connection(stream, service);
    let served = timeout_at(until, std::future::poll_fn(|cx| connection.poll_without_shutdown(cx))).await;
    let (request, log) = (answered.take(), requests.as_deref());
    let whole = matches!(served, Ok(Ok(())));
    let said = request.is_some();
    let refused =
        served.as_ref().ok().and_then(|served| served.as_ref().err()).filter(|error| error.is_parse());
    if let (Some((begun, entry)), Some(log)) = (request, log) {
        log.begin();
        let end = if whole { entry.end } else { LEFT };
        log.add(Entry { duration: begun.elapsed(), end, ..entry });
    } else if let (Some(error), Some(log)) = (refused, log) {
        malformed(log, told_of(error), Version::HTTP_11);
    }
    match served {
        Ok(Err(error)) if !said && !error.is_parse() => failed(&Failure::Truncated),
        Ok(_) => {
            connection.into_parts().io.finish(PARTING).await;
            ended(DONE)
        }
        Err(_) => failed(&if said { Failure::Idle } else { Failure::HandshakeTime }),
    }
}

/// The answer, and what is taken down of it.
fn answer(choose: &dyn Choose, request: Request<Incoming>) -> (Response<ResponseBody>, Entry) {
    let (version, mut taken) = (request.version(), said(&request));
    let (response, end) = match location(choose, &request.into_parts().0) {
        Err(refusal) => (words(refusal.status(), version), refusal.name()),
        Ok(target) => {
            let mut response = words(StatusCode::PERMANENT_REDIRECT, version);
            response.headers_mut().insert(LOCATION, target);
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            (response, DONE)
        }
    };
    taken.status = Some(response.status().as_u16());
    (response, Entry { request: Some(taken), end, ..Entry::default() })
}

/// Where a request is to come.
fn location(choose: &dyn Choose, parts: &Parts) -> Result<HeaderValue, Refusal> {
    let authority = authority(parts)?;
    judge(parts, None)?;
    let port = choose.https(authority.host()).ok_or(Refusal::Misdirected)?;
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let path = target(&parts.uri);
    let path = if path == "*" { "/" } else { &*path };
    let target = format!("https://{}{port}{path}", authority.host());
    HeaderValue::try_from(target).map_err(|_| Refusal::Target)
}
