//! `adit enroll`, and what both it and a renewal send and understand. The other side of it is in `enrolment`.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use adit_noise::{PresharedKey, PrivateKey, PublicKey};
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::https::{self, Origin, Trust};
use super::places;
use super::profile::{Gateway, KEEPALIVE, Lease, Profile, is_domain};
use super::{Wrong, arguments};
use crate::clock;
use crate::store::Wall;

/// Where a lease is asked for.
const ENROL: &str = "/v1/enrol";
/// Where it is prolonged.
const RENEW: &str = "/v1/renew";

#[derive(Serialize)]
struct Body<'a> {
    public_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

/// A lease as the gateway tells it. Fields that are not known are passed over: a newer gateway may tell more.
#[derive(Deserialize)]
struct Answer {
    identity: String,
    addresses: Vec<IpAddr>,
    routes: Vec<String>,
    dns: Vec<IpAddr>,
    search: Vec<String>,
    gateway: AnswerGateway,
    preshared_key: String,
    renewal: Option<String>,
    until: Wall,
    now: Wall,
}

#[derive(Deserialize)]
struct AnswerGateway {
    public_key: String,
    endpoints: Vec<String>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.preshared_key.zeroize();
        self.renewal.zeroize();
    }
}

/// What is said when it is refused.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// A lease that was got, as a profile; and by how many seconds our clock is ahead of the gateway's.
pub(super) type Granted = (Profile, f64);

/// Gets a lease for a new key.
///
/// # Errors
/// In words: the gateway's own, if it refuses.
pub(super) fn enroll(arguments: &arguments::Enroll) -> Result<Granted> {
    let origin = Origin::parse(&arguments.url).map_err(Wrong)?;
    let token = token(arguments)?;
    let certificate = arguments.cert.as_deref().zip(arguments.key.as_deref());
    if token.is_none() && certificate.is_none() {
        return Err(Wrong(
            "an invitation (--token-file FILE) or a certificate (--cert FILE --key FILE) is needed".into(),
        )
        .into());
    }
    let key = PrivateKey::generate();
    let token = token.as_ref().map(|token| token.trim());
    let body = Body { public_key: key.public().to_base64(), token, identity: None, secret: None };
    let trust = Trust { ca: arguments.ca.as_deref(), certificate };
    let answer = ask(&origin, trust, ENROL, &body)?;
    // They are used again when the lease is prolonged, from another folder.
    let absolute = |path: &Option<PathBuf>| path.as_ref().map(std::path::absolute).transpose();
    let lease = Lease {
        url: arguments.url.clone(),
        identity: String::new(),
        renewal: None,
        certificate: absolute(&arguments.cert)?,
        key: absolute(&arguments.key)?,
        ca: absolute(&arguments.ca)?,
        begin: 0,
        until: 0,
    };
    granted(&answer, key, lease, clock::both().wall.as_secs())
}

/// Prolongs a lease: with the secret that came with it, or with the certificate.
///
/// # Errors
/// In words: the gateway's own, if it refuses.
pub(super) fn renew(key: &PrivateKey, lease: &Lease) -> Result<Granted> {
    let origin = Origin::parse(&lease.url).map_err(Wrong)?;
    let secret = lease.renewal.as_deref();
    let identity = secret.map(|_| lease.identity.as_str());
    let body = Body { public_key: key.public().to_base64(), token: None, identity, secret };
    let certificate = lease.certificate.as_deref().zip(lease.key.as_deref());
    let answer = ask(&origin, Trust { ca: lease.ca.as_deref(), certificate }, RENEW, &body)?;
    granted(&answer, key.clone(), lease.clone(), clock::both().wall.as_secs())
}

fn ask(origin: &Origin, trust: Trust<'_>, path: &str, body: &Body<'_>) -> Result<Answer> {
    let (status, answer) = https::post(origin, trust, path, serde_json::to_vec(body)?)?;
    if status == 200 {
        return serde_json::from_slice(&answer).context("what the gateway answers is no lease");
    }
    match serde_json::from_slice::<Refusal>(&answer) {
        Ok(refusal) => bail!("the gateway refuses: {}", printable(&refusal.message)),
        Err(_) => bail!("the server answers {status}; is it a gateway?"),
    }
}

/// The profile that an answer makes of what is kept of the lease.
fn granted(answer: &Answer, key: PrivateKey, kept: Lease, now: Wall) -> Result<Granted> {
    let public_key = PublicKey::from_base64(&answer.gateway.public_key).ok().filter(|key| !key.is_zero());
    let list = |values: &[String]| values.iter().map(|value| value.parse()).collect::<Result<Vec<_>, _>>();
    let endpoints: Result<Vec<_>, _> = answer.gateway.endpoints.iter().map(|value| value.parse()).collect();
    let wrong = |what: &str| format!("the gateway's answer has no proper {what}");
    if answer.addresses.is_empty() || answer.search.iter().any(|domain| !is_domain(domain)) {
        bail!(wrong("addresses or search domains"));
    }
    let gateway = Gateway {
        public_key: public_key.with_context(|| wrong("key"))?,
        preshared_key: PresharedKey::from_base64(&answer.preshared_key)
            .ok()
            .with_context(|| wrong("preshared key"))?,
        endpoints: endpoints.ok().filter(|list| !list.is_empty()).with_context(|| wrong("endpoint"))?,
        routes: list(&answer.routes).ok().with_context(|| wrong("routes"))?,
        keepalive: KEEPALIVE,
    };
    let addresses = answer.addresses.iter().map(|address| address.to_string().parse());
    let mut lease = kept;
    lease.identity.clone_from(&answer.identity);
    lease.renewal.clone_from(&answer.renewal);
    // By our own clock, which may not be the gateway's.
    let left = answer.until.saturating_sub(answer.now);
    (lease.begin, lease.until) = (now, now.saturating_add(left));
    let profile = Profile {
        private_key: key,
        addresses: addresses.collect::<Result<_, _>>()?,
        dns: answer.dns.clone(),
        search: answer.search.clone(),
        mtu: None,
        listen_port: 0,
        gateways: vec![gateway],
        lease: Some(lease),
    };
    Ok((profile, now as f64 - answer.now as f64))
}

fn token(arguments: &arguments::Enroll) -> Result<Option<Zeroizing<String>>> {
    if let Some(token) = &arguments.token {
        return Ok(Some(Zeroizing::new(token.clone())));
    }
    let Some(path) = arguments.token_file.as_deref() else { return Ok(None) };
    let file = if path == Path::new("-") {
        io::stdin().as_fd().try_clone_to_owned().map(File::from)
    } else {
        File::open(path)
    };
    let text = file.and_then(places::read);
    Ok(Some(text.map_err(|error| Wrong(format!("cannot read {}: {error}", path.display())))?))
}

/// What a stranger says, fit for a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::profile::tests::sample;
    use crate::enrolment::{self, Call, Request};
    use crate::store::Token;

    fn from_the_gateway() -> enrolment::Answer {
        enrolment::Answer {
            identity: "alice".into(),
            addresses: vec!["10.9.0.2".parse().unwrap(), "fd09::2".parse().unwrap()],
            routes: vec!["10.0.0.0/8".into()],
            dns: vec!["10.9.0.1".parse().unwrap()],
            search: vec!["corp.example".into()],
            gateway: enrolment::Gateway {
                public_key: PrivateKey::from_bytes([9; 32]).public().to_base64(),
                endpoints: vec!["gate.example:51820".into()],
            },
            preshared_key: Zeroizing::new(PresharedKey::from_bytes([5; 32]).to_base64().to_string()),
            renewal: Some(Token::random().unwrap().to_text()),
            until: 5_000,
            now: 4_000,
        }
    }

    #[test]
    fn what_the_gateway_answers_is_a_profile_by_our_own_clock() {
        let told = from_the_gateway();
        let answer: Answer = serde_json::from_slice(&serde_json::to_vec(&told).unwrap()).unwrap();
        let kept = sample().lease.unwrap();
        let (profile, skew) = granted(&answer, PrivateKey::from_bytes([7; 32]), kept, 10_000).unwrap();
        assert_eq!(skew, 6_000.0);
        let lease = profile.lease.as_ref().unwrap();
        assert_eq!((lease.begin, lease.until, lease.identity.as_str()), (10_000, 11_000, "alice"));
        assert_eq!(lease.renewal.as_deref(), told.renewal.as_deref().map(String::as_str));
        let text = profile.to_toml().unwrap();
        assert!(text.contains("addresses = [\"10.9.0.2/32\", \"fd09::2/128\"]"), "{}", &text[60..]);
        Profile::parse(&text).unwrap();
    }

    #[test]
    fn the_gateway_understands_what_is_sent() {
        let key = PrivateKey::from_bytes([7; 32]).public();
        let token = Token::random().unwrap().to_text();
        let body = |token, identity, secret| {
            serde_json::to_vec(&Body { public_key: key.to_base64(), token, identity, secret }).unwrap()
        };
        let parsed = Request::parse(Call::Enrol, &body(Some(token.as_str()), None, None)).unwrap();
        assert!(matches!(parsed, Request::Enrol { token: Some(_), .. }));
        let parsed = Request::parse(Call::Enrol, &body(None, None, None)).unwrap();
        assert!(matches!(parsed, Request::Enrol { token: None, .. }));
        let parsed = Request::parse(Call::Renew, &body(None, Some("alice"), Some(token.as_str()))).unwrap();
        assert!(matches!(parsed, Request::Renew { secret: Some(_), .. }));
        let parsed = Request::parse(Call::Renew, &body(None, None, None)).unwrap();
        assert!(matches!(parsed, Request::Renew { secret: None, .. }));
    }

    #[test]
    fn a_refusal_is_understood() {
        let problem = enrolment::Problem::CertificateOver;
        let refusal: Refusal = serde_json::from_str(&problem.body()).unwrap();
        assert_eq!(refusal.message, problem.to_string());
        assert_eq!(printable("a\x1b[31mb\n"), "a[31mb");
    }

    #[test]
    fn an_answer_that_cannot_be_used_is_refused() {
        type Change = fn(&mut enrolment::Answer);
        let changes: [(Change, &str); 5] = [
            (|answer| answer.addresses.clear(), "addresses"),
            (|answer| answer.search = vec!["a b".into()], "search domains"),
            (|answer| answer.gateway.public_key = "x".into(), "no proper key"),
            (|answer| answer.gateway.endpoints.clear(), "no proper endpoint"),
            (|answer| answer.routes = vec!["x".into()], "no proper routes"),
        ];
        for (change, says) in changes {
            let mut told = from_the_gateway();
            change(&mut told);
            let answer: Answer = serde_json::from_slice(&serde_json::to_vec(&told).unwrap()).unwrap();
            let kept = sample().lease.unwrap();
            let error =
                granted(&answer, PrivateKey::from_bytes([7; 32]), kept, 1).map(drop).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
