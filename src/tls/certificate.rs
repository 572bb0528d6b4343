//! A certificate that we show: its chain, its key, its OCSP staple, and all that is wrong with them, told when they are
//! loaded and not by the first client that fails.

mod chain;
mod der;
mod finding;
mod ocsp;

pub(super) use chain::alternative_names;
pub use chain::{Judged, judge, names_host};
pub use finding::{Finding, Findings, Severity};

use std::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroize;

use super::names::Pattern;

/// What files hold.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    /// The certificates in PEM: the server's own first, each signed by the next.
    pub chain: &'a [u8],
    /// The private key in PEM: PKCS #8, PKCS #1 or SEC 1.
    pub key: &'a [u8],
    /// An OCSP response in DER.
    pub ocsp: Option<&'a [u8]>,
}

/// A certificate with its key, ready to be shown.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub(super) certified: Arc<CertifiedKey>,
    patterns: Vec<Pattern>,
    validity: Validity,
    findings: Findings,
    /// What was found beside the chain.
    apart: Findings,
}

/// When a chain is valid, in seconds since 1970: the time that all its certificates have in common.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// The first second.
    pub from: i64,
    /// The last second.
    pub until: i64,
}

impl Certificate {
    /// Reads files at the time `now`, in seconds since 1970.
    ///
    /// A chain that is expired or not yet valid is loaded with a warning: to refuse it would take down what else the gateway
    /// does, and clients refuse it in words of their own. Whoever has a better one keeps that; see [`Self::is_valid`].
    ///
    /// # Errors
    /// Everything for which it cannot be shown.
    pub fn load(files: Files<'_>, now: i64) -> Result<Self, Findings> {
        let mut findings = Findings::default();
        let chain = certificates(files.chain).unwrap_or_else(|finding| {
            findings.push(finding);
            Vec::new()
        });
        let judged = (!chain.is_empty()).then(|| judge(&chain, now));
        if let Some(judged) = &judged {
            findings.extend(&judged.findings);
        }
        let key = match private_key(files.key) {
            Ok(key) => Some(key),
            Err(finding) => {
                findings.push(finding);
                None
            }
        };
        let (Some(judged), Some(mut key)) = (judged, key) else { return Err(findings.only_wrong()) };
        let signing = any_supported_type(&key);
        key.zeroize();
        let certified = match signing {
            Ok(signing) => CertifiedKey::new(chain, signing),
            Err(error) => {
                findings.wrong(format!("the private key cannot be used: {error}"));
                return Err(findings.only_wrong());
            }
        };
        let mut apart = Findings::default();
        match_key(&certified, &mut apart);
        let ocsp = files.ocsp.and_then(|response| staple(response, &certified.cert, now, &mut apart));
        if judged.must_staple && ocsp.is_none() {
            apart.warning("the certificate demands an OCSP staple, and there is none: clients may refuse it");
        }
        findings.extend(&apart);
        let Judged { patterns, validity, .. } = judged;
        let certified = Arc::new(CertifiedKey { ocsp, ..certified });
        if findings.any_wrong() {
            return Err(findings.only_wrong());
        }
        Ok(Self { certified, patterns, validity, findings, apart })
    }

    /// Names of hosts that it stands for.
    #[must_use]
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// When it is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Whether it is valid then.
    #[must_use]
    pub fn is_valid(&self, now: i64) -> bool {
        (self.validity.from..=self.validity.until).contains(&now)
    }

    /// Whether an OCSP response is sent with it.
    #[must_use]
    pub fn is_stapled(&self) -> bool {
        self.certified.ocsp.is_some()
    }

    /// As [`Self::findings`], but of a later time: certificates end.
    #[must_use]
    pub fn findings_at(&self, now: i64) -> Findings {
        let mut findings = judge(&self.certified.cert, now).findings;
        findings.extend(&self.apart);
        findings
    }

    /// What the operator should know of it. Nothing of it is wrong enough to refuse it.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }
}

/// The certificates in PEM, or what is wrong with the text.
///
/// # Errors
/// There is none, or one is not PEM.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Finding> {
    let wrong = |text: String| Finding::new(Severity::Wrong, text);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => {
            Err(wrong("no certificate: expected PEM, \"-----BEGIN CERTIFICATE-----\"".to_owned()))
        }
        Ok(chain) => Ok(chain),
        Err(error) => Err(wrong(format!("the certificates are not PEM: {error}"))),
    }
}

pub(super) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Finding> {
    use rustls::pki_types::pem::Error;
    let encrypted = pem.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED);
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        let text = if encrypted {
            "the private key is encrypted; expected one without a password"
        } else if matches!(error, Error::NoItemsFound) {
            "no private key: expected PEM with PRIVATE KEY, EC PRIVATE KEY or RSA PRIVATE KEY"
        } else {
            // What a library says of a key may repeat it.
            "the private key is not PEM"
        };
        Finding::new(Severity::Wrong, text)
    })
}

/// How a private key begins or goes on that has a password.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// Tells of a key that belongs to another certificate.
fn match_key(certified: &CertifiedKey, findings: &mut Findings) {
    let Some(public) = certified.key.public_key() else { return };
    let same = |der: &CertificateDer<'_>| {
        X509Certificate::from_der(der).is_ok_and(|(_, parsed)| parsed.public_key().raw == public.as_ref())
    };
    match certified.cert.iter().position(same) {
        Some(0) => (),
        Some(at) => findings.wrong(format!(
            "the private key belongs to certificate {} of the chain; the server's own has to be the first",
            at + 1
        )),
        None => findings.wrong("the private key does not belong to the certificate"),
    }
}

/// The OCSP response if it is good for the certificate now; else it is left out, and the findings tell why.
fn staple(
    response: &[u8],
    chain: &[CertificateDer<'_>],
    now: i64,
    findings: &mut Findings,
) -> Option<Vec<u8>> {
    let mut parsed =
        chain.iter().filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed));
    let (leaf, issuer) = (parsed.next()?, parsed.next());
    match ocsp::check(response, &leaf, issuer.as_ref(), now) {
        Ok(()) => Some(response.to_vec()),
        Err(error @ ocsp::Refusal::Revoked) => {
            findings.wrong(error.to_string());
            None
        }
        Err(error) => {
            findings.warning(format!("the OCSP response is not sent: {error}"));
            None
        }
    }
}

impl fmt::Debug for Files<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
