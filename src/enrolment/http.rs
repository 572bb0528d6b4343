//! From a request of HTTP to the answer.

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
use super::server::{Remote, Serving, Shared};
use super::service::Caller;
use crate::clock;
use crate::store::Identity;

/// How long the store may take.
const STORE: Duration = Duration::from_secs(10);

/// Answers one request.
pub(super) async fn answer(
    request: Request<Incoming>,
    remote: &Remote,
    shared: &Arc<Shared>,
) -> Response<Full<Bytes>> {
    let mut name = None;
    match handle(request, remote, shared, &mut name).await {
        Ok(answer) => match serde_json::to_vec(&answer) {
            Ok(body) => response(StatusCode::OK, body),
            Err(_) => problem(&Problem::Unavailable),
        },
        Err(refused) => {
            shared.peers.refused(remote.source, name.as_ref(), &refused);
            problem(&refused)
        }
    }
}

async fn handle(
    request: Request<Incoming>,
    remote: &Remote,
    shared: &Arc<Shared>,
    name: &mut Option<Identity>,
) -> Result<Answer, Problem> {
    // Once for each request: a connection may be older than a revocation.
    let serving = shared.serving();
    let service = &serving.service;
    service.check(remote.source, clock::now())?;
    let read = read(request, shared.patience.body).await;
    let (call, body) = read.inspect_err(|problem| service.count(remote.source, problem, clock::now()))?;
    let caller = caller(remote, &shared.serving())?;
    *name = caller.certificate.as_ref().map(|certificate| certificate.identity.clone());
    let (send, receive) = oneshot::channel();
    let for_it = shared.clone();
    service.handle(call, &body, &caller, clock::both(), move |result| {
        let answer = result.and_then(|(answer, lease, before)| {
            for_it.peers.granted(&lease, before)?;
            // Lists are read before leases are looked through: one that is granted after that is found here.
            if for_it.serving().material.is_revoked(&lease.certificate) {
                for_it.peers.revoked_meanwhile();
                return Err(Problem::CertificateRevoked);
            }
            Ok(answer)
        });
        // The client may have gone; its lease stays.
        drop(send.send(answer));
    });
    match timeout(STORE, receive).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => Err(Problem::Unavailable),
    }
}

/// What is asked for, with its body.
async fn read(request: Request<Incoming>, patience: Duration) -> Result<(Call, Bytes), Problem> {
    let call = match (request.method(), request.uri().path()) {
        (&Method::POST, "/v1/enrol") => Call::Enrol,
        (&Method::POST, "/v1/renew") => Call::Renew,
        _ => return Err(Problem::NoSuchCall),
    };
    let body = timeout(patience, Limited::new(request.into_body(), LARGEST).collect()).await;
    let body = body.map_err(|_| Problem::TooSlow)?.map_err(|_| Problem::TooLarge)?;
    Ok((call, body.to_bytes()))
}

/// Who asks, once its body is there.
fn caller(remote: &Remote, serving: &Serving) -> Result<Caller, Problem> {
    let judge = serving.material.judge.as_ref().filter(|_| !remote.chain.is_empty());
    let certificate = judge.map(|judge| judge.judge(&remote.chain, clock::both().wall.as_secs()));
    Ok(Caller { source: remote.source, certificate: certificate.transpose()? })
}

fn problem(problem: &Problem) -> Response<Full<Bytes>> {
    let problem = problem.outward();
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
