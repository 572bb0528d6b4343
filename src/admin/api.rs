//! What the sockets answer.

mod clients;
mod drain;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::net::unix::UCred;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::audit::{Audit, Entry, Outcome, Via, What, Who};
use super::latest::Latest;
use super::metrics::{OPEN_METRICS, TEXT};
use super::patience::Patience;
use super::resource::{Resource, Role};
use super::trace::{Stream, Watching};
use crate::gateway::{Ending, Handle, Reloaded};
use crate::status::State;

/// The gateway answers within milliseconds, unless it is in the middle of a reload.
const ANSWER: Duration = Duration::from_secs(10);
/// A reload resolves names and runs commands.
const RELOAD: Duration = Duration::from_secs(600);
const JSON: &str = "application/json";

/// An answer's body: whole, or as long as somebody watches.
pub(super) type Body = Either<Full<Bytes>, Stream>;

/// Who is asking.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) role: Role,
    /// The process at the other end of a unix socket.
    pub(super) process: Option<UCred>,
    pub(super) patience: Arc<Patience>,
}

/// Answers all clients.
#[derive(Debug)]
pub(super) struct Api {
    handle: Handle,
    audit: Audit,
    latest: Latest,
}

/// Why a request is not answered as it should.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    text: String,
}

impl Problem {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }
}

impl From<Ending> for Problem {
    fn from(error: Ending) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl Api {
    pub(super) fn new(handle: Handle, audit: Audit) -> Self {
        Self { latest: Latest::new(handle.clone()), handle, audit }
    }

    /// Takes the samples that rates come from, for ever.
    pub(super) async fn sample(&self) {
        self.latest.sample().await;
    }

    /// Answers one request.
    pub(super) async fn answer<B: hyper::body::Body>(
        self: Arc<Self>,
        request: Request<B>,
        client: Arc<Client>,
    ) -> Response<Body> {
        let answered = match Resource::find(request.uri().path(), client.role) {
            Err(refusal) => Err(Problem::new(refusal.status(), refusal.to_string())),
            Ok(resource) if resource.method() != request.method() => return wrong_method(resource),
            Ok(_) if !request.body().is_end_stream() => {
                Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "a request has no body here"))
            }
            Ok(Resource::Status) => self.status().await,
            Ok(Resource::Health) => self.health().await,
            Ok(Resource::Metrics) => self.metrics(request.headers().get(ACCEPT)).await,
            Ok(Resource::Reload) => self.reload(client).await,
            Ok(Resource::Trace) => self.trace(&client, request.uri().query()).await,
            Ok(Resource::Drain) => self.drain(client, request.uri().query(), false).await,
            Ok(Resource::DrainUndo) => self.drain(client, request.uri().query(), true).await,
            Ok(Resource::Clients) => self.clients(request.uri().query()).await,
            Ok(Resource::ClientInvite) => self.invite(client, request.uri().query()).await,
            Ok(Resource::ClientRemove) => self.remove(client, request.uri().query()).await,
            Ok(Resource::ClientProfile) => self.profile(client, request.uri().query()).await,
        };
        answered.unwrap_or_else(|problem| json_answer(problem.status, &json!({ "error": problem.text })))
    }

    async fn status(&self) -> Result<Response<Body>, Problem> {
        Ok(json_text(StatusCode::OK, in_time(self.latest.snapshot()).await?.json()))
    }

    /// Healthy is who answers, has every tunnel and link that the configuration has, be it set down, and does not drain.
    async fn health(&self) -> Result<Response<Body>, Problem> {
        let latest = in_time(self.latest.snapshot()).await?;
        let tunnels = latest.status.wireguard.iter().map(|(name, tunnel)| (name, tunnel.state));
        let links = latest.status.macsec.iter().map(|(name, link)| (name, link.state));
        let sick = tunnels.chain(links).filter_map(|(name, state)| match state {
            State::Up | State::Down => None,
            State::Gone => Some(format!("{name} is gone")),
            State::Stuck => Some(format!("{name} does not answer")),
        });
        let sick: Vec<_> = sick.collect();
        if !sick.is_empty() {
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, sick.join("; ")));
        }
        if let Some(draining) = drain::health(&latest.status) {
            return Ok(draining);
        }
        Ok(json_answer(StatusCode::OK, &json!({ "health": "ok" })))
    }

    async fn metrics(&self, accept: Option<&HeaderValue>) -> Result<Response<Body>, Problem> {
        let latest = in_time(self.latest.snapshot()).await?;
        let open = accept.is_some_and(|accept| {
            String::from_utf8_lossy(accept.as_bytes()).contains("application/openmetrics-text")
        });
        let (kind, text) = if open { (OPEN_METRICS, latest.open_metrics()) } else { (TEXT, latest.text()) };
        Ok(whole(StatusCode::OK, kind, text))
    }

    /// A reload that was asked for is carried out and audited, also if the client does not wait for it.
    async fn reload(self: Arc<Self>, client: Arc<Client>) -> Result<Response<Body>, Problem> {
        client.patience.extend(RELOAD);
        let reload = async move {
            self.record(&client, What::Reload, Outcome::Attempt, String::new()).await?;
            let answer = self.handle.reload().await;
            self.latest.reloaded();
            let (result, detail) = match &answer {
                Ok(Ok(done)) => (done.outcome(), done.to_string()),
                Ok(Err(wrong)) => (Outcome::Refused, wrong.clone()),
                Err(ending) => (Outcome::Refused, ending.to_string()),
            };
            // It is done: all that is left is to say so, and the log has it already.
            let _ = self.record(&client, What::Reload, result, detail).await;
            Ok::<_, Problem>(answer?)
        };
        match tokio::spawn(reload).await.unwrap_or(Err(Ending.into()))? {
            Ok(Reloaded { changed, faults }) => {
                Ok(json_answer(StatusCode::OK, &json!({ "changed": changed, "faults": faults })))
            }
            Err(wrong) => Err(Problem::new(StatusCode::CONFLICT, wrong)),
        }
    }

    async fn trace(&self, client: &Client, query: Option<&str>) -> Result<Response<Body>, Problem> {
        let wanted = match query {
            None | Some("") => None,
            Some(query) => {
                Some(query.strip_prefix("tunnel=").filter(|name| !name.contains('&')).ok_or_else(|| {
                    Problem::new(StatusCode::BAD_REQUEST, format!("{query:?}: only tunnel=NAME is allowed"))
                })?)
            }
        };
        let mut sources = in_time(self.handle.trace()).await?;
        let all: Vec<_> = sources.iter().map(|source| source.tunnel.clone()).collect();
        sources.retain(|source| wanted.is_none_or(|wanted| wanted == source.tunnel));
        if sources.is_empty() {
            let text =
                format!("there is no tunnel {:?}; there are: {}", wanted.unwrap_or(""), all.join(", "));
            return Err(Problem::new(StatusCode::NOT_FOUND, text));
        }
        let detail = sources.iter().map(|source| &*source.tunnel).collect::<Vec<_>>().join(", ");
        let watching = match Watching::begin(sources) {
            Ok(watching) => watching,
            Err(tunnel) => {
                let text = format!("somebody watches {tunnel} already");
                self.record(client, What::Trace, Outcome::Refused, text.clone()).await?;
                return Err(Problem::new(StatusCode::CONFLICT, text));
            }
        };
        self.record(client, What::Trace, Outcome::Ok, detail).await?;
        let stream = Stream::new(watching, client.patience.clone());
        Ok(answer(StatusCode::OK, "application/x-ndjson", Either::Right(stream)))
    }

    /// What cannot be recorded is not done. The disk may be slow, and so may be whoever knows the users' names: nobody but
    /// this client waits for them.
    async fn record(
        &self,
        client: &Client,
        what: What,
        result: Outcome,
        detail: String,
    ) -> Result<(), Problem> {
        let (audit, process) = (self.audit.clone(), client.process);
        let record =
            move || audit.record(&Entry { who: who(process), what, via: Via::WriteSocket, result, detail });
        let recorded = spawn_blocking(record).await.unwrap_or_else(|failed| Err(io::Error::other(failed)));
        recorded.map_err(|error| {
            tracing::error!("the audit trail cannot be written: {error}");
            let text = format!("the audit trail cannot be written, so nothing was done: {error}");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, text)
        })
    }
}

fn who(process: Option<UCred>) -> Who {
    process.map_or_else(Who::default, |process| {
        let pid = process.pid().and_then(|pid| u32::try_from(pid).ok());
        Who::new(Some(process.uid()), Some(process.gid()), pid)
    })
}

/// What the gateway answers, unless it takes too long.
async fn in_time<T>(asked: impl Future<Output = Result<T, Ending>>) -> Result<T, Problem> {
    match timeout(ANSWER, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => {
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "the gateway does not answer; is it reloading?"))
        }
    }
}

fn wrong_method(resource: Resource) -> Response<Body> {
    let text = format!("{} answers to {} only", resource.path(), resource.method());
    let mut answer = json_answer(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": text }));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(resource.method()));
    answer
}

fn json_answer(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    json_text(status, serde_json::to_vec(value).map(Bytes::from))
}

fn json_text(status: StatusCode, text: serde_json::Result<Bytes>) -> Response<Body> {
    match text {
        Ok(text) => whole(status, JSON, text),
        Err(error) => {
            let text = json!({ "error": format!("this cannot be said in JSON: {error}") });
            whole(StatusCode::INTERNAL_SERVER_ERROR, JSON, text.to_string().into())
        }
    }
}

fn whole(status: StatusCode, kind: &'static str, text: Bytes) -> Response<Body> {
    answer(status, kind, Either::Left(Full::new(text)))
}

fn answer(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
