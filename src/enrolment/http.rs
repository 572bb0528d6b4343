//! From a request of HTTP to the answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::message::{Answer, Call, LARGEST};
use super::problem::Problem;
use super::server::Shared;
use super::service::{Caller, Service};
use crate::clock;

/// How long a client may take for the body of its request.
const BODY: Duration = Duration::from_secs(10);
/// How long the store may take.
const STORE: Duration = Duration::from_secs(10);

/// Answers one request.
pub(super) async fn answer(
    request: Request<Incoming>,
    source: IpAddr,
    caller: Arc<Result<Caller, Problem>>,
    service: Arc<Service>,
    shared: Arc<Shared>,
) -> Response<Full<Bytes>> {
    let peers = shared.peers.clone();
    match handle(request, &caller, &service, &shared).await {
        Ok(answer) => match serde_json::to_vec(&answer) {
            Ok(body) => response(StatusCode::OK, body),
            Err(_) => problem(&Problem::Unavailable),
        },
        Err(refused) => {
            peers.refused(source, &refused);
            problem(&refused)
        }
    }
}

async fn handle(
    request: Request<Incoming>,
    caller: &Result<Caller, Problem>,
    service: &Service,
    shared: &Shared,
) -> Result<Answer, Problem> {
    let call = match (request.method(), request.uri().path()) {
        (&Method::POST, "/v1/enrol") => Call::Enrol,
        (&Method::POST, "/v1/renew") => Call::Renew,
        _ => return Err(Problem::NoSuchCall),
    };
    let body = timeout(BODY, Limited::new(request.into_body(), LARGEST).collect()).await;
    let body = body.map_err(|_| Problem::TooSlow)?.map_err(|_| Problem::TooLarge)?.to_bytes();
    let caller = caller.as_ref().map_err(Clone::clone)?;
    let (send, receive) = oneshot::channel();
    let peers = shared.peers.clone();
    service.handle(call, &body, caller, clock::both(), move |result| {
        let answer = result.map(|(answer, lease, before)| {
            peers.granted(&lease, before);
            answer
        });
        // The client may have gone; its lease stays.
        drop(send.send(answer));
    });
    match timeout(STORE, receive).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => Err(Problem::Unavailable),
    }
}

fn problem(problem: &Problem) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = response(status, problem.body().into_bytes());
    if let Problem::TooMany(seconds) = problem {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(*seconds));
    }
    response
}

fn response(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
