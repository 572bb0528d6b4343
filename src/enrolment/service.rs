//! From a request to an answer.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adit_noise::{Now, PresharedKey, PublicKey, Time};
use zeroize::Zeroizing;

use super::limits::Limits;
use super::message::{Answer, Call, Gateway, Request};
use super::problem::Problem;
use crate::store::{Change, Done, Enrol, Error, Identity, Lease, Proof, Store, Token, Wall};

/// What leases are like.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How long a lease lasts; never longer than the certificate that it was got with.
    pub lease: Duration,
    /// The networks that clients reach.
    pub routes: Vec<String>,
    /// The site's name servers.
    pub dns: Vec<IpAddr>,
    /// The domains that are asked of them.
    pub search: Vec<String>,
    /// The gateway.
    pub gateway: Gateway,
    /// Keys that no client may have: the gateway's own, and those of peers in its configuration.
    pub reserved: Vec<PublicKey>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Where it asks from.
    pub source: IpAddr,
    /// Its certificate, if it showed one. The handshake has verified that it is signed by the authority, and that the caller
    /// has its key.
    pub certificate: Option<Certificate>,
}

/// What of a client's certificate matters here.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Whom it names.
    pub identity: Identity,
    /// [What it is known by](Lease::certificate).
    pub marks: Vec<u8>,
    /// When it begins.
    pub not_before: Wall,
    /// When it ends.
    pub not_after: Wall,
    /// Whether it was revoked.
    pub standing: Standing,
}

/// What revocation lists say of a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It is on none.
    Good,
    /// It is on one.
    Revoked,
    /// Nobody can tell: there is no list of its authority, or it is out of date.
    Unknown,
}

/// What is told of a lease: its answer for the client, and the lease itself with the key that it takes the place of, for
/// whoever keeps the peers.
pub type Granted = (Answer, Lease, Option<PublicKey>);

/// Grants leases.
pub struct Service {
    store: Arc<dyn Store>,
    terms: Terms,
    limits: Arc<Mutex<Limits>>,
}

impl Service {
    /// A service that keeps what it grants in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, terms: Terms) -> Self {
        Self { store, terms, limits: Arc::default() }
    }

    /// The same service with other terms: who failed before is not forgotten.
    #[must_use]
    pub fn with_terms(&self, terms: Terms) -> Self {
        Self { store: Arc::clone(&self.store), terms, limits: Arc::clone(&self.limits) }
    }

    /// The same service with leases of another length.
    #[must_use]
    pub fn with_lease(&self, lease: Duration) -> Self {
        self.with_terms(Terms { lease, ..self.terms.clone() })
    }

    /// What leases are like.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Handles a request. `answer` is called once, perhaps later and on another thread: a lease is on the disk by then.
    pub fn handle(
        &self,
        call: Call,
        body: &[u8],
        caller: &Caller,
        now: Now,
        answer: impl FnOnce(Result<Granted, Problem>) + Send + 'static,
    ) {
        let (limits, source) = (Arc::clone(&self.limits), caller.source);
        let counted = move |result: Result<Granted, Problem>| {
            if let Err(problem) = &result {
                count(&limits, source, problem, now.mono);
            }
            answer(result);
        };
        // What is over the limit is not looked at, and does not count: the limit would never end for whoever goes on.
        if let Err(problem) = self.check(source, now.mono) {
            return counted(Err(problem));
        }
        let (enrol, renewal) = match self.decide(call, body, caller, now.wall.as_secs()) {
            Ok(decided) => decided,
            Err(problem) => return counted(Err(problem)),
        };
        let terms = self.terms.clone();
        let wall = now.wall.as_secs();
        let done = move |done: Result<Done, Error>| counted(granted(done, &terms, renewal, wall));
        self.store.submit(Change::Enrol(enrol), wall, Box::new(done));
    }

    /// Refuses a source that has failed too often.
    ///
    /// # Errors
    /// [`Problem::TooMany`].
    pub(super) fn check(&self, source: IpAddr, now: Time) -> Result<(), Problem> {
        self.limits
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .check(source, now)
            .map_err(Problem::TooMany)
    }

    /// Counts what went wrong before there was a request.
    pub(super) fn count(&self, source: IpAddr, problem: &Problem, now: Time) {
        count(&self.limits, source, problem, now);
    }

    /// What is asked of the store, and the secret that the lease can be renewed with.
    fn decide(
        &self,
        call: Call,
        body: &[u8],
        caller: &Caller,
        now: Wall,
    ) -> Result<(Enrol, Option<Token>), Problem> {
        let request = Request::parse(call, body)?;
        let key = *request.key();
        let certificate = caller.certificate.as_ref();
        let mut until = now.saturating_add(self.terms.lease.as_secs());
        let proof = match request {
            Request::Enrol { token: Some(token), .. } => Proof::Token(token.digest()),
            Request::Renew { secret: Some((identity, secret)), .. } => {
                // Whoever shows a certificate has to be who it says.
                if certificate.is_some_and(|certificate| certificate.identity != identity) {
                    return Err(Problem::CertificateOther);
                }
                Proof::Renewal { identity, secret: secret.digest() }
            }
            Request::Enrol { token: None, .. } | Request::Renew { secret: None, .. } => {
                let certificate = certificate.ok_or(Problem::NoProof)?;
                certificate.check(now)?;
                until = until.min(certificate.not_after);
                Proof::Certificate {
                    identity: certificate.identity.clone(),
                    marks: certificate.marks.clone(),
                }
            }
        };
        let secret = Token::random().ok_or(Problem::Unavailable)?;
        let renewal = secret.digest();
        let secret = (!matches!(proof, Proof::Certificate { .. })).then_some(secret);
        let reserved = self.terms.reserved.contains(&key);
        Ok((Enrol { proof, key, reserved, preshared: PresharedKey::generate(), until, renewal }, secret))
    }
}

fn count(limits: &Mutex<Limits>, source: IpAddr, problem: &Problem, now: Time) {
    if problem.is_failure() {
        limits.lock().unwrap_or_else(PoisonError::into_inner).failed(source, now);
    }
}

impl Certificate {
    /// The handshake has looked at the times too; but by a clock that may have been set since.
    fn check(&self, now: Wall) -> Result<(), Problem> {
        match self.standing {
            Standing::Good => {}
            Standing::Revoked => return Err(Problem::CertificateRevoked),
            Standing::Unknown => return Err(Problem::RevocationUnknown),
        }
        if self.not_after <= now {
            return Err(Problem::CertificateOver);
        }
        match self.not_before.saturating_sub(now) {
            0 => Ok(()),
            seconds => Err(Problem::CertificateEarly(seconds)),
        }
    }
}

fn granted(
    done: Result<Done, Error>,
    terms: &Terms,
    renewal: Option<Token>,
    now: Wall,
) -> Result<Granted, Problem> {
    let Done::Leased { lease, before } = done? else { return Err(Problem::Unavailable) };
    let answer = Answer {
        identity: lease.identity.to_string(),
        addresses: [lease.v4.map(IpAddr::from), lease.v6.map(IpAddr::from)].into_iter().flatten().collect(),
        routes: terms.routes.clone(),
        dns: terms.dns.clone(),
        search: terms.search.clone(),
        gateway: terms.gateway.clone(),
        preshared_key: Zeroizing::new(lease.preshared.to_base64().to_string()),
        renewal: renewal.map(|secret| secret.to_text()),
        until: lease.until,
        now,
    };
    Ok((answer, lease, before))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
