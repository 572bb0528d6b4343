//! One request: whom it is for, which backend answers it, and what the client gets.

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use tokio::time::{Instant, sleep_until};

use super::answer::{Answer, Left, Unanswered};
use super::backend::Unconnected;
use super::body::{Progress, RequestBody};
use super::client::{Client, Tunnel};
use super::headers::{self, About};
use super::refusal::{Refusal, words};
use super::request::{Authority, authority, belongs, is_websocket, judge, target};
use super::response::{ResponseBody, Source};
use super::running::Running;
use crate::tls::choice::{Backend, BackendEvent};

/// Answers a request.
pub(super) async fn answer(client: Rc<Client>, request: Request<Incoming>) -> Response<ResponseBody> {
    let running = Box::new(Running::new(&client, &request));
    let version = request.version();
    let mut response = match taken(&client, &running, request).await {
        Ok(response) => response,
        Err(refusal) => {
            running.ends(refusal.name());
            words(refusal.status(), version)
        }
    };
    if let Some(hsts) = &client.rules.settings.hsts {
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    if client.parting.get() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    running.answered(response.status());
    if let Some(tunnel) = &mut *client.tunnel.borrow_mut() {
        running.switches();
        tunnel.running = Some(running);
        return response;
    }
    response.map(|body| body.ending(running))
}

/// Judges a request and has it answered.
async fn taken(
    client: &Rc<Client>,
    running: &Running,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Refusal> {
    let settings = &client.rules.settings;
    let (mut parts, incoming) = request.into_parts();
    let host = authority(&parts)?;
    judge(&parts, settings.body_bytes)?;
    if !belongs(host.host(), client.sni.as_deref(), &client.rules.others) {
        return Err(Refusal::Misdirected);
    }
    if parts.headers.len() > settings.headers {
        return Err(Refusal::Headers);
    }
    let websocket = is_websocket(&parts) && !settings.backend_http2;
    rewrite(client, &mut parts, &host, websocket)?;
    parts.headers.get(headers::REQUEST_ID).into_iter().for_each(|id| running.identified(id));
    let kind = parts.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    // A call of gRPC may be silent for long in the middle of its body; only HTTP/2 carries one.
    let grpc = settings.backend_http2 && kind.starts_with(b"application/grpc");
    let patience = if grpc { client.route.timeouts().idle } else { settings.body_timeout };
    let (body, progress) = RequestBody::new(incoming, &client.rules, patience, client.activity.clone());
    running.goes(&progress);
    let mut request = Request::from_parts(parts, body);
    let answer = send(client, running, &mut request, &progress).await?;
    passed(client, answer, &progress, websocket)
}

/// Makes of a client's request the one that the backend gets.
fn rewrite(client: &Client, parts: &mut Parts, host: &Authority, websocket: bool) -> Result<(), Refusal> {
    let settings = &client.rules.settings;
    let id =
        parts.headers.get(headers::REQUEST_ID).filter(|id| settings.trust_request_id && headers::is_id(id));
    let id = id.cloned().unwrap_or_else(|| client.thread.request_id());
    headers::strip(&mut parts.headers);
    headers::distrust(&mut parts.headers, settings.identity.as_ref());
    let identity = settings.identity.as_ref().map(|name| (name, client.identity.as_ref()));
    let about = About { client: client.address, local: client.local, host: &host.text, identity };
    client.told.tell(&mut parts.headers, &about);
    parts.headers.insert(headers::REQUEST_ID, id);
    merge_cookies(parts);
    let version = if settings.backend_http2 { Version::HTTP_2 } else { Version::HTTP_11 };
    headers::address(&mut parts.headers, &host.text, version, websocket);
    if settings.backend_http2 {
        let whole = Uri::builder().scheme("http").authority(host.text.as_str());
        let whole = whole.path_and_query(&*target(&parts.uri)).build();
        parts.uri = whole.map_err(|_| Refusal::Target)?;
    }
    parts.version = version;
    parts.extensions.clear();
    Ok(())
}

/// Over HTTP/2 cookies may come one by one; elsewhere there is one header of them (RFC 9113, section 8.2.3).
fn merge_cookies(parts: &mut Parts) {
    const COOKIE: HeaderName = hyper::header::COOKIE;
    let all: Vec<_> = parts.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if all.len() > 1
        && let Ok(one) = HeaderValue::from_bytes(&all.join(&b"; "[..]))
    {
        parts.headers.insert(COOKIE, one);
    }
}

/// What is said of a backend that does not answer a request in time.
const UNANSWERED: &str = "no answer to a request in time";

/// A request that waits for an answer, whose, and how its body does.
type Waiting<'a> = (&'a Running, &'a Backend, &'a Rc<Progress>);

/// So often a request is sent once more that backends said they did not process.
const REFUSALS: u32 = 3;

/// Has a request answered by a backend. It goes to another only if nothing of it was sent; or if a connection that had served
/// others ended without a word, and it does no harm to ask twice; or if a backend says that it did not process it.
async fn send(
    client: &Rc<Client>,
    running: &Running,
    request: &mut Request<RequestBody>,
    progress: &Rc<Progress>,
) -> Result<Answer, Refusal> {
    let (backends, rules, route) = (&client.thread.backends, &client.rules, &client.route);
    let (mut tried, mut late) = (0, false);
    let mut refusals = 0;
    while let Some(backend) = route.backend(tried) {
        let waiting = (running, &backend, progress);
        // One after the other, each of those that were kept may have ended.
        loop {
            running.asks(&backend);
            let reusing = backends.reuse(&backend, rules, request);
            let failed = match in_time(client, waiting, reusing).await? {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            refusals += u32::from(failed.refused.is_some());
            judge_failure(&failed, request.method(), refusals, waiting)?;
            if !failed.reused {
                break;
            }
            rules.counters.retry();
        }
        running.asks(&backend);
        // It is large and rare, and the others shall not have room for it.
        let connecting = Box::pin(backends.connect(&backend, (route, rules), request));
        match in_time(client, waiting, connecting).await? {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failed)) => {
                refusals += u32::from(failed.refused.is_some());
                judge_failure(&failed, request.method(), refusals, waiting)?;
                if failed.refused.is_some() && refusals <= REFUSALS {
                    rules.counters.retry();
                    continue;
                }
            }
            Err(Unconnected { late: timed_out, why }) => {
                running.complains(&why);
                late = timed_out;
            }
        }
        tried += 1;
    }
    Err(match (tried, late) {
        (0, _) => Refusal::NoBackend,
        (_, true) => Refusal::Silent,
        (_, false) => Refusal::Unreachable,
    })
}

/// Whether a request may be sent once more.
///
/// # Errors
/// Why not.
fn judge_failure(
    failed: &Unanswered,
    method: &Method,
    refusals: u32,
    (running, _, progress): Waiting<'_>,
) -> Result<(), Refusal> {
    if let Some(fault) = progress.fault.get() {
        return Err(fault.into());
    }
    failed.why.iter().for_each(|why| running.complains(why));
    let ended = failed.reused && failed.silent;
    let harmless = failed.refused.is_some() || ended && method.is_idempotent();
    match failed.left {
        Left::Unsent => Ok(()),
        Left::Whole if harmless && refusals <= REFUSALS => Ok(()),
        Left::Whole | Left::Spent => Err(Refusal::Backend),
    }
}

/// Waits, as long as the request itself moves and for a while after that.
async fn in_time<T>(
    client: &Client,
    (running, backend, progress): Waiting<'_>,
    future: impl Future<Output = T>,
) -> Result<T, Refusal> {
    let limit = client.rules.settings.answer_timeout;
    let mut future = std::pin::pin!(future);
    let mut until = progress.moved.get().max(Instant::now()) + limit;
    loop {
        tokio::select! {
            biased;
            done = &mut future => return Ok(done),
            () = sleep_until(until) => {
                let moved = progress.moved.get() + limit;
                if moved <= until {
                    if let Some(via) = progress.via.take() {
                        via.fail();
                    }
                    running.complains(UNANSWERED);
                    client.route.complain(backend, UNANSWERED);
                    client.route.note(backend, BackendEvent::TimedOut);
                    return Err(Refusal::Silent);
                }
                until = moved;
            }
        }
    }
}

/// What the client gets of a backend's answer.
fn passed(
    client: &Rc<Client>,
    answer: Answer,
    progress: &Rc<Progress>,
    websocket: bool,
) -> Result<Response<ResponseBody>, Refusal> {
    let Answer { status, mut headers, source } = answer;
    let switched = status == StatusCode::SWITCHING_PROTOCOLS;
    let agreed = headers.get(UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    headers::strip(&mut headers);
    headers::merge_lengths(&mut headers);
    let body = match source {
        Source::Single(lease) if switched => {
            let upgraded = lease.into_upgraded().filter(|_| websocket && agreed);
            let (backend, early) = upgraded.ok_or(Refusal::Backend)?;
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            client.tunnel.replace(Some(Box::new(Tunnel { backend, early, running: None })));
            ResponseBody::text("")
        }
        // Over HTTP/2 there is no such answer, nor to a request that goes on.
        Source::Shared { .. } | Source::Sending { .. } if switched => return Err(Refusal::Backend),
        source @ (Source::Single(_) | Source::Sending { .. } | Source::Shared { .. }) => {
            let limit = client.route.timeouts().idle.max(client.rules.settings.answer_timeout * 2);
            ResponseBody::passed(source, limit, progress)
        }
    };
    let mut response = Response::new(body);
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}
