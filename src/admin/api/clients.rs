//! What an operator does about clients.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use hyper::{Response, StatusCode};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::{Api, Body, Client, Problem, in_time, json_answer};
use crate::admin::audit::{Outcome, What};
use crate::clock;
use crate::config::EndpointName;
use crate::enrolment::{self, Call, Caller, Peers};
use crate::gateway::Desk;
use crate::store::{Change, Error, Identity, Lease, Refusal, Store, Token};

/// The longest time that an invitation or a profile counts, in seconds: ten years.
const LONGEST: u64 = 10 * 365 * 86_400;
/// How long the token of a profile counts, in seconds: it is used at once.
const AT_ONCE: u64 = 60;

/// What stands behind `?`.
#[derive(Debug, Default)]
struct Query<'a> {
    tunnel: Option<&'a str>,
    name: Option<&'a str>,
    seconds: Option<&'a str>,
    key: Option<&'a str>,
}

impl<'a> Query<'a> {
    fn parse(query: Option<&'a str>) -> Result<Self, Problem> {
        let mut parsed = Self::default();
        for part in query.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let place = match part.split_once('=') {
                Some(("tunnel", value)) => (&mut parsed.tunnel, value),
                Some(("name", value)) => (&mut parsed.name, value),
                Some(("seconds", value)) => (&mut parsed.seconds, value),
                Some(("key", value)) => (&mut parsed.key, value),
                Some(_) | None => {
                    return Err(wrong(format!("{part:?}: allowed are tunnel, name, seconds and key")));
                }
            };
            *place.0 = Some(place.1);
        }
        Ok(parsed)
    }

    fn identity(&self) -> Result<Identity, Problem> {
        let name = self.name.ok_or_else(|| wrong("name: nothing; expected a client's name"))?;
        name.parse().map_err(|allowed: String| wrong(format!("name: {name:?}; {allowed}")))
    }

    fn seconds(&self) -> Result<u64, Problem> {
        let seconds = self.seconds.and_then(|seconds| seconds.parse().ok());
        let seconds = seconds.filter(|seconds| (1..=LONGEST).contains(seconds));
        seconds.ok_or_else(|| wrong(format!("seconds: expected 1 to {LONGEST}")))
    }
}

impl Api {
    pub(super) async fn clients(&self, query: Option<&str>) -> Result<Response<Body>, Problem> {
        let query = Query::parse(query)?;
        let mut desks = in_time(self.handle.clients()).await?;
        if query.tunnel.is_some() {
            let (name, desk) = self.desk(&query).await?;
            desks = [(name, desk)].into();
        }
        let list = in_store(move || {
            let mut all = serde_json::Map::new();
            for (tunnel, desk) in desks {
                let mut leases = Vec::new();
                desk.leases.store().leases(&mut |lease| leases.push(told(&lease)))?;
                all.insert(tunnel, json!({ "capacity": desk.capacity, "leases": leases }));
            }
            Ok::<_, Error>(all)
        });
        Ok(json_answer(StatusCode::OK, &list.await?))
    }

    pub(super) async fn invite(
        self: Arc<Self>,
        client: Arc<Client>,
        query: Option<&str>,
    ) -> Result<Response<Body>, Problem> {
        let query = Query::parse(query)?;
        let (identity, seconds) = (query.identity()?, query.seconds()?);
        let (tunnel, desk) = self.desk(&query).await?;
        let detail = format!("{tunnel}: {identity} for {seconds} s");
        let until = clock::both().wall.as_secs() + seconds;
        let (url, authority) = (url(&desk), desk.authority.map(|authority| authority.to_string()));
        let invited = in_store(move || invite(&desk, identity, until));
        let token = self.audited(client, What::ClientInvite, detail, invited).await?;
        let answer = json!({
            "tunnel": tunnel, "token": token.to_text().as_str(), "url": url, "authority": authority, "until": until,
        });
        Ok(json_answer(StatusCode::OK, &answer))
    }

    pub(super) async fn remove(
        self: Arc<Self>,
        client: Arc<Client>,
        query: Option<&str>,
    ) -> Result<Response<Body>, Problem> {
        let query = Query::parse(query)?;
        let identity = query.identity()?;
        let (tunnel, desk) = self.desk(&query).await?;
        let detail = format!("{tunnel}: {identity}");
        let removed = in_store(move || desk.leases.remove(identity));
        self.audited(client, What::ClientRemove, detail, removed).await?;
        Ok(json_answer(StatusCode::OK, &json!({})))
    }

    /// A lease for somebody who cannot ask for one: a phone.
    pub(super) async fn profile(
        self: Arc<Self>,
        client: Arc<Client>,
        query: Option<&str>,
    ) -> Result<Response<Body>, Problem> {
        let query = Query::parse(query)?;
        let (identity, seconds) = (query.identity()?, query.seconds()?);
        let key = query.key.ok_or_else(|| wrong("key: nothing; expected a public key"))?.to_owned();
        let (tunnel, desk) = self.desk(&query).await?;
        let detail = format!("{tunnel}: {identity} for {seconds} s");
        let lease = async move { enrol(&desk, identity, &key, Duration::from_secs(seconds)).await };
        Ok(json_answer(StatusCode::OK, &self.audited(client, What::ClientProfile, detail, lease).await?))
    }

    /// Does something that the audit trail has before and after, to its end even if whoever asked goes away.
    async fn audited<T: Send + 'static>(
        self: Arc<Self>,
        client: Arc<Client>,
        what: What,
        detail: String,
        work: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        self.record(&client, what, Outcome::Attempt, detail.clone()).await?;
        let work = async move {
            let done = work.await;
            self.record(&client, what, outcome(&done), detail).await?;
            done
        };
        tokio::spawn(work).await.unwrap_or(Err(gone()))
    }

    /// The desk of the tunnel that is asked for, or of the only one.
    async fn desk(&self, query: &Query<'_>) -> Result<(String, Desk), Problem> {
        let desks = in_time(self.handle.clients()).await?;
        let names = desks.keys().cloned().collect::<Vec<_>>().join(", ");
        let mut wanted =
            desks.into_iter().filter(|(name, _)| query.tunnel.is_none_or(|tunnel| tunnel == name));
        match (wanted.next(), wanted.next(), query.tunnel) {
            (Some(one), None, _) => Ok(one),
            (Some(_), Some(_), _) => Err(wrong(format!("several tunnels have clients: {names}; say which"))),
            (None, _, _) if names.is_empty() => {
                let text = "no tunnel has clients: there is no [clients.NAME] in the configuration";
                Err(Problem::new(StatusCode::NOT_FOUND, text))
            }
            (None, _, tunnel) => {
                let text =
                    format!("tunnel {:?} has no clients; there are: {names}", tunnel.unwrap_or_default());
                Err(Problem::new(StatusCode::NOT_FOUND, text))
            }
        }
    }
}

fn invite(desk: &Desk, identity: Identity, until: u64) -> Result<Token, Error> {
    let token = Token::random().ok_or(Error::Stopped)?;
    let change = Change::Invite { token: token.digest(), identity, until };
    desk.leases.store().apply(change, clock::both().wall.as_secs())?;
    Ok(token)
}

/// Enrols somebody as somebody with an invitation does.
async fn enrol(
    desk: &Desk,
    identity: Identity,
    key: &str,
    lease: Duration,
) -> Result<enrolment::Answer, Problem> {
    let for_it = desk.clone();
    let until = clock::both().wall.as_secs() + AT_ONCE;
    let token = spawn_blocking(move || invite(&for_it, identity, until)).await;
    let token = token.unwrap_or(Err(Error::Stopped)).map_err(failed)?;
    let body = json!({ "public_key": key, "token": token.to_text().as_str() }).to_string();
    let caller = Caller { source: IpAddr::from(Ipv6Addr::LOCALHOST), certificate: None };
    let (send, receive) = oneshot::channel();
    let leases = desk.leases.clone();
    let service = desk.service.with_lease(lease);
    service.handle(Call::Enrol, body.as_bytes(), &caller, clock::both(), move |result| {
        let answer = result.and_then(|(answer, lease, before)| {
            leases.granted(&lease, before)?;
            Ok(answer)
        });
        drop(send.send(answer));
    });
    let answer = receive.await.map_err(|_| gone())?;
    answer.map_err(|refused| {
        let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Problem::new(status, refused.to_string())
    })
}

/// Where the API probably is, as clients see it: on the host of the tunnel's first endpoint.
fn url(desk: &Desk) -> String {
    let endpoint = desk.service.terms().gateway.endpoints.first().cloned().unwrap_or_default();
    let host = match endpoint.parse() {
        Ok(EndpointName::Address(address)) if address.is_ipv6() => format!("[{}]", address.ip()),
        Ok(EndpointName::Address(address)) => address.ip().to_string(),
        Ok(EndpointName::Dns { host, .. }) => host,
        Err(_) => endpoint,
    };
    format!("https://{host}:{}", desk.port)
}

/// A lease without its secrets.
fn told(lease: &Lease) -> serde_json::Value {
    let addresses = lease.v4.map(IpAddr::from).into_iter().chain(lease.v6.map(IpAddr::from));
    json!({
        "name": lease.identity.as_str(),
        "public_key": lease.key.to_base64(),
        "addresses": addresses.collect::<Vec<_>>(),
        "since": lease.since,
        "until": lease.until,
        "certificate": !lease.certificate.is_empty(),
    })
}

/// Asks the store, which waits for the disk, beside the thread that answers everybody.
async fn in_store<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Problem> {
    spawn_blocking(work).await.unwrap_or(Err(Error::Stopped)).map_err(failed)
}

fn outcome<T, E>(result: &Result<T, E>) -> Outcome {
    if result.is_ok() { Outcome::Ok } else { Outcome::Refused }
}

fn wrong(text: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, text)
}

fn gone() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the gateway is ending")
}

fn failed(error: Error) -> Problem {
    let refusal = if let Error::Refused(refusal) = &error { Some(*refusal) } else { None };
    let status = match refusal {
        Some(Refusal::NoIdentity) => StatusCode::NOT_FOUND,
        Some(_) => StatusCode::CONFLICT,
        None => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, error.to_string())
}
