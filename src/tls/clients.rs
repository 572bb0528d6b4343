//! Certificates of clients: who may come in, and who it was.
//!
//! A client's certificate has to come from the operator's own CA, must not be revoked, and has to bear one of the names that
//! are allowed. A revocation list that is out of date lets nobody in: it is what an attacker would keep alive. Nothing is
//! resumed where clients show certificates ([`super::policy::Policy::server`]), so every connection is judged by the lists
//! of its day.

mod allow;
mod identity;

pub use allow::{Allow, NoAllow};
pub use identity::Identity;

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::certificate::{Findings, certificates};
use super::policy::Policy;

/// Whether a client has to show a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Who shows none is refused.
    Required,
    /// Who shows none is let in without an identity; a wrong one is refused all the same.
    Optional,
}

/// What files hold, and what is allowed.
#[derive(Debug)]
pub struct Files<'a> {
    /// Certificates of the CAs in PEM.
    pub authorities: &'a [u8],
    /// Revocation lists in PEM or DER. If there is one, there has to be one of each CA that issues.
    pub revoked: &'a [Vec<u8>],
    /// Names that may come in; all of the CA's if there are none.
    pub allow: Vec<Allow>,
    /// Whether a client has to show a certificate.
    pub mode: Mode,
}

/// Judges clients' certificates.
#[derive(Debug)]
pub struct Verifier {
    chain: Arc<dyn ClientCertVerifier>,
    allow: Vec<Allow>,
    /// When the first revocation list ends, in seconds since 1970.
    until: Option<i64>,
}

impl Verifier {
    /// Reads files at the time `now`, in seconds since 1970. Besides the verifier there is what the operator should know.
    ///
    /// # Errors
    /// Everything for which it cannot be used.
    pub fn load(files: Files<'_>, policy: Policy, now: i64) -> Result<(Arc<Self>, Findings), Findings> {
        let mut findings = Findings::default();
        let roots = authorities(files.authorities, &mut findings);
        let (lists, until) = lists(files.revoked, now, &mut findings);
        if findings.any_wrong() {
            return Err(findings);
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), policy.provider());
        let builder = builder.with_crls(lists).enforce_revocation_expiration();
        let builder = match files.mode {
            Mode::Required => builder,
            Mode::Optional => builder.allow_unauthenticated(),
        };
        match builder.build() {
            Ok(chain) => Ok((Arc::new(Self { chain, allow: files.allow, until }), findings)),
            Err(error) => {
                findings.wrong(error.to_string());
                Err(findings)
            }
        }
    }
}

impl Verifier {
    /// When the first revocation list ends, in seconds since 1970: from then on nobody of its CA is let in.
    #[must_use]
    pub fn until(&self) -> Option<i64> {
        self.until
    }
}

/// CAs that clients' certificates may come from.
fn authorities(pem: &[u8], findings: &mut Findings) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    match certificates(pem) {
        Ok(all) => {
            for (at, der) in all.into_iter().enumerate() {
                if let Err(error) = roots.add(der) {
                    findings.wrong(format!("certificate {} of the CAs cannot be used: {error}", at + 1));
                }
            }
        }
        Err(finding) => findings.push(finding),
    }
    roots
}

/// Revocation lists, each of which has a time when it ends, and the first of these times.
fn lists(
    files: &[Vec<u8>],
    now: i64,
    findings: &mut Findings,
) -> (Vec<CertificateRevocationListDer<'static>>, Option<i64>) {
    let (mut lists, mut until) = (Vec::new(), None::<i64>);
    for (at, bytes) in files.iter().enumerate() {
        let file = at + 1;
        let pem: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(bytes).collect();
        let found = match pem {
            Ok(found) if !found.is_empty() => found,
            Ok(_) | Err(_) => vec![CertificateRevocationListDer::from(bytes.clone())],
        };
        for list in found {
            match CertificateRevocationList::from_der(&list) {
                Ok(([], parsed)) => {
                    let end = ends(file, &parsed, now, findings);
                    until = until.into_iter().chain(end).min();
                }
                Ok(_) | Err(_) => findings.wrong(format!("revocation list {file} is none, in PEM or in DER")),
            }
            lists.push(list);
        }
    }
    (lists, until)
}

/// When a list ends.
fn ends(file: usize, list: &CertificateRevocationList<'_>, now: i64, findings: &mut Findings) -> Option<i64> {
    let until = list.next_update();
    match until {
        None => findings.wrong(format!("revocation list {file} does not say when it ends (nextUpdate)")),
        Some(end) if end.timestamp() < now => findings.warning(format!(
            "revocation list {file} ended at {end}: no certificate of \"{}\" is let in until there is a newer one",
            list.issuer()
        )),
        Some(_) => (),
    }
    until.map(|until| until.timestamp())
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.chain.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        let refused = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let identity = Identity::of(end_entity).ok_or(refused.clone())?;
        let allowed = self.allow.is_empty() || self.allow.iter().any(|allow| allow.admits(&identity));
        if allowed { Ok(verified) } else { Err(refused) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests;
