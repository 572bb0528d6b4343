//! Whom the client trusts at the other end of HTTPS, and who it is: files in PEM, and the fingerprint of an invitation.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::identity::Identity;
use super::{Wrong, token};
use crate::enrolment::Fingerprint;

/// The system's roots, on Debian and on what comes from it.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Whom we trust, and who we are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trust<'a> {
    /// The one authority that may have signed the gateway's certificate.
    pub(super) pin: Option<Fingerprint>,
    /// Else: certificates to trust; the system's if there are none.
    pub(super) ca: Option<&'a Path>,
    /// Who we are, if a certificate says that.
    pub(super) identity: Option<&'a Identity>,
}

impl Trust<'_> {
    /// As TLS has it.
    ///
    /// # Errors
    /// A file that is wrong, in words.
    pub(super) fn config(self) -> Result<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        let builder = match self.pin {
            Some(pin) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Pinned { authority: pin, provider })),
            None => builder.with_root_certificates(roots(self.ca.unwrap_or(Path::new(ROOTS)))?),
        };
        let Some(identity) = self.identity else { return Ok(builder.with_no_client_auth()) };
        let certified = identity.certified(builder.crypto_provider())?;
        Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified))))
    }
}

fn roots(file: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(file)?);
    if roots.is_empty() { Err(wrong(file, &"no certificate in it that can be used")) } else { Ok(roots) }
}

/// The certificates of a file.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(file).map_err(|error| unreadable(file, &error))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| unreadable(file, &error))?;
    if found.is_empty() { Err(wrong(file, &"no certificate in it; PEM is expected")) } else { Ok(found) }
}

pub(super) fn unreadable(file: &Path, error: &PemError) -> anyhow::Error {
    // The library puts "I/O error" before what the system says.
    if let PemError::Io(error) = error {
        wrong(file, error)
    } else {
        wrong(file, &format!("{error}; PEM is expected"))
    }
}

pub(super) fn wrong(file: &Path, error: &dyn std::fmt::Display) -> anyhow::Error {
    Wrong(format!("{}: {error}", file.display())).into()
}

/// Trusts one authority, which the server itself has to show: its certificate is in the chain.
#[derive(Debug)]
struct Pinned {
    authority: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut shown = intermediates.iter().chain([end_entity]);
        let authority = shown.find(|certificate| Fingerprint::of(certificate) == self.authority);
        let authority = authority.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone());
        let verifier = verifier.build().map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 alone is spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Why there is no TLS, in words; `pinned` tells whether the invitation says who signs the gateway.
pub(super) fn why(host: &str, error: &(dyn std::error::Error + 'static), pinned: bool) -> anyhow::Error {
    let Some(error) = tls(error) else { return anyhow!("{host} ended the connection: {error}") };
    if let Error::Other(other) = error
        && let Some(error) = other.0.downcast_ref::<token::Error>()
    {
        return anyhow!("{error}");
    }
    if let Error::InvalidCertificate(why) = error {
        return anyhow!("{host} is not trusted: {}", untrusted(why, pinned));
    }
    if let Error::AlertReceived(alert) = error {
        return anyhow!(
            "{host} does not take our certificate ({alert:?}): it has to be from an authority that the gateway knows, \
             for clients, and none that was revoked"
        );
    }
    anyhow!("{host} does not speak TLS 1.3 as a gateway does: {error}")
}

/// The error of TLS in one of hyper or of the system.
fn tls<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An error of the system hides the one that it was made of.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    None
}

fn untrusted(why: &CertificateError, pinned: bool) -> String {
    let clock = "is the clock of this machine right?";
    let at = |time: &UnixTime| {
        i64::try_from(time.as_secs())
            .ok()
            .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok())
            .map_or_else(|| "never".to_owned(), crate::pki::moment)
    };
    if let CertificateError::NotValidYetContext { time, not_before } = why {
        return format!("its certificate begins at {}, and here it is {}; {clock}", at(not_before), at(time));
    }
    if let CertificateError::ExpiredContext { time, not_after } = why {
        return format!(
            "its certificate ended at {}, and here it is {}; {clock} Else whoever runs the gateway has to get a new one",
            at(not_after),
            at(time)
        );
    }
    if let CertificateError::NotValidForNameContext { presented, .. } = why {
        return format!("its certificate is for other names: {}", presented.join(", "));
    }
    // Another authority of the same name shows as a wrong signature.
    if matches!(why, CertificateError::UnknownIssuer | CertificateError::BadSignature) {
        return if pinned {
            "its certificate is not from the authority that the invitation names; somebody may be in between"
                .into()
        } else {
            "its certificate is from an authority that is not known here: give that by --ca FILE, or by --pin its \
             fingerprint, which the links of `aditctl client invite` have"
                .into()
        };
    }
    why.to_string()
}

#[cfg(test)]
mod tests;
