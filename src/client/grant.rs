//! What a gateway answers: a lease, or why there is none. Nothing of it is used before it was looked at.

use std::net::IpAddr;

use adit_noise::{PresharedKey, PrivateKey, PublicKey};
use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use zeroize::Zeroize;

use super::lease::Lease;
use super::profile::{Gateway, KEEPALIVE, Profile, is_domain};
use crate::store::{Identity, Token, Wall};

/// More than any site has: of routes, each of which the kernel is told twice, and of all else.
const ROUTES: usize = 1_024;
const OTHERS: usize = 32;
/// The longest lease that is believed, in seconds: ten years.
const LONGEST: Wall = 10 * 365 * 86_400;

/// A lease as the gateway tells it. Fields that are not known are passed over: a newer gateway may tell more.
#[derive(Deserialize)]
pub(super) struct Answer {
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

impl Answer {
    /// Reads the body of an answer.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn parse(body: &[u8]) -> Result<Self> {
        serde_json::from_slice(body).ok().context("what the gateway answers is no lease")
    }
}

/// What is said when it is refused.
#[derive(Debug, Deserialize, thiserror::Error)]
#[error("the gateway refuses: {}", printable(message))]
pub(super) struct Refusal {
    /// The word for programs.
    #[serde(rename = "error")]
    word: String,
    /// The sentence for people.
    message: String,
}

impl Refusal {
    /// Reads the body of an answer.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// Whether the gateway has forgotten our key: asking again does not help.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.word.as_str(), "no_lease" | "certificate_revoked")
    }

    /// Whether nothing was shown, as the gateway sees it.
    pub(super) fn takes_no_certificate(&self) -> bool {
        self.word == "no_proof"
    }
}

/// A lease that was got, as a profile; and by how many seconds our clock is ahead of the gateway's.
pub(super) type Granted = (Profile, f64);

/// The profile that an answer makes of what is kept of the lease.
///
/// # Errors
/// What of the answer cannot be used.
pub(super) fn granted(answer: &Answer, key: PrivateKey, kept: Lease, now: Wall) -> Result<Granted> {
    let wrong = |what: &str| format!("the gateway's answer has no proper {what}");
    let Answer { addresses, routes, dns, search, gateway, .. } = answer;
    let usable =
        |address: &IpAddr| !(address.is_unspecified() || address.is_loopback() || address.is_multicast());
    if !(1..=OTHERS).contains(&addresses.len()) || !addresses.iter().all(usable) {
        bail!(wrong("addresses"));
    }
    if search.len() > OTHERS || search.iter().any(|domain| !is_domain(domain)) {
        bail!(wrong("search domains"));
    }
    if dns.len() > OTHERS || dns.iter().any(|server| server.is_unspecified() || server.is_multicast()) {
        bail!(wrong("name servers"));
    }
    let identity: Identity = answer.identity.parse().ok().with_context(|| wrong("name of this client"))?;
    let secret = answer.renewal.as_deref().is_none_or(|secret| Token::from_text(secret).is_some());
    let left = answer.until.saturating_sub(answer.now);
    if !secret || !(1..=LONGEST).contains(&left) {
        bail!(wrong("secret or end of the lease"));
    }
    let public_key = PublicKey::from_base64(&gateway.public_key).ok().filter(|key| !key.is_zero());
    let endpoints: Result<Vec<_>, _> = gateway.endpoints.iter().map(|value| value.parse()).collect();
    let endpoints = endpoints.ok().filter(|list| (1..=OTHERS).contains(&list.len()));
    let routes: Result<Vec<_>, _> = routes.iter().map(|value| value.parse()).collect();
    let gateway = Gateway {
        public_key: public_key.with_context(|| wrong("key"))?,
        preshared_key: PresharedKey::from_base64(&answer.preshared_key)
            .ok()
            .with_context(|| wrong("preshared key"))?,
        endpoints: endpoints.with_context(|| wrong("endpoint"))?,
        routes: routes.ok().filter(|list| list.len() <= ROUTES).with_context(|| wrong("routes"))?,
        keepalive: KEEPALIVE,
    };
    let addresses = addresses.iter().map(|address| address.to_string().parse());
    let mut lease = kept;
    lease.identity = identity.to_string();
    lease.renewal.clone_from(&answer.renewal);
    // By our own clock, which may not be the gateway's.
    (lease.begin, lease.until) = (now, now.saturating_add(left));
    let profile = Profile {
        private_key: key,
        addresses: addresses.collect::<Result<_, _>>()?,
        dns: dns.clone(),
        search: search.clone(),
        mtu: None,
        listen_port: 0,
        gateways: vec![gateway],
        lease: Some(lease),
    };
    Ok((profile, now as f64 - answer.now as f64))
}

/// What a stranger says, fit for a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests;
