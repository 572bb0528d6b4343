//! Certificates of clients. The handshake looks whether they are an authority's and who has the key; whether their time is
//! over, or whether they were revoked, is told later, in words: an alert of TLS tells nobody why.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::marks;
use super::problem::Problem;
use super::service::{Certificate, Standing};
use crate::config::Naming;
use crate::store::Wall;
use crate::tls::clients::Verifier;

/// Judges the certificates of clients.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    chain: Arc<Verifier>,
    strict: Arc<Verifier>,
    naming: Naming,
    /// Whether the lists are those of now. If they cannot be read, nobody can tell who was revoked.
    current: bool,
}

impl Judge {
    /// `chain` looks at signatures alone, `strict` at revocation lists too.
    pub(super) fn new(chain: Arc<Verifier>, strict: Arc<Verifier>, naming: Naming) -> Self {
        Self { chain, strict, naming, current: true }
    }

    /// The same one once its files cannot be read: it lets nobody in, and tells why.
    pub(super) fn closed(&self) -> Self {
        Self { current: false, ..self.clone() }
    }

    /// When the first revocation list ends, in seconds since 1970.
    pub(super) fn until(&self) -> Option<Wall> {
        self.strict.until().and_then(|until| until.try_into().ok())
    }

    /// What matters of a certificate that came through the handshake, the client's own first.
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>], now: Wall) -> Result<Certificate, Problem> {
        let (leaf, above) = chain.split_first().ok_or(Problem::NoProof)?;
        let identity = self.naming.read(leaf)?;
        let unnamed = |_| Problem::CertificateName(self.naming);
        let validity = X509Certificate::from_der(leaf).map_err(unnamed)?.1.validity().clone();
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        let standing = match self.strict.verify_client_cert(leaf, above, within(leaf, now)) {
            Ok(_) if self.current => Standing::Good,
            Err(Error::InvalidCertificate(CertificateError::Revoked)) => Standing::Revoked,
            Ok(_) | Err(_) => Standing::Unknown,
        };
        Ok(Certificate {
            identity,
            marks: marks::of_chain(chain),
            not_before: seconds(validity.not_before),
            // The second in which it ends is one of its own.
            not_after: seconds(validity.not_after).saturating_add(1),
            standing,
        })
    }
}

/// A time at which a certificate counts: now, or that end of its time which is nearest.
fn within(leaf: &CertificateDer<'_>, now: Wall) -> UnixTime {
    let validity = X509Certificate::from_der(leaf).map(|(_, parsed)| parsed.validity().clone());
    let now = validity.map_or(now, |validity| {
        let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        now.min(seconds(validity.not_after)).max(seconds(validity.not_before))
    });
    UnixTime::since_unix_epoch(Duration::from_secs(now))
}

/// For the handshake.
#[derive(Debug)]
pub(super) struct Presented(Arc<Verifier>);

impl Presented {
    pub(super) fn new(judge: &Judge) -> Self {
        Self(judge.chain.clone())
    }
}

impl ClientCertVerifier for Presented {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.verify_client_cert(end_entity, intermediates, within(end_entity, now.as_secs()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
