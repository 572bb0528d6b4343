//! Why a client is refused: a status of HTTP, a word for programs, a sentence for people.

use serde::Serialize;

use crate::config::Naming;
use crate::store::{Error, Refusal};

/// Why a request was not granted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The body is larger than any request is.
    #[error("the request is too large")]
    TooLarge,
    /// The body is no request.
    #[error("{0}")]
    Malformed(String),
    /// The source has failed too often of late.
    #[error("too many failures from this address; wait {0} seconds")]
    TooMany(u64),
    /// There is neither a token nor a certificate.
    #[error("a token or a client certificate is needed")]
    NoProof,
    /// The certificate does not count yet.
    #[error("the certificate does not count yet: by the gateway's clock it begins in {0} seconds")]
    CertificateEarly(u64),
    /// The certificate's time is over.
    #[error("the certificate has run out; get a new one")]
    CertificateOver,
    /// The certificate was revoked.
    #[error("the certificate was revoked")]
    CertificateRevoked,
    /// The certificate is that of somebody else.
    #[error("the certificate is that of another client")]
    CertificateOther,
    /// Nobody can tell whether the certificate was revoked.
    #[error("the gateway's revocation list is missing, out of date, or cannot be read; tell whoever runs it")]
    RevocationUnknown,
    /// The certificate has no such name that a client can have, or several.
    #[error(
        "the certificate names no client: exactly one {0} is expected, of up to 64 letters, digits, and . _ - + @, \
         beginning with a letter or a digit"
    )]
    CertificateName(Naming),
    /// There is nothing else that could be asked for.
    #[error("there are POST /v1/enrol and POST /v1/renew")]
    NoSuchCall,
    /// The body did not come in time.
    #[error("the request did not come in time")]
    TooSlow,
    /// It is against the rules of the store.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The gateway cannot do it now.
    #[error("the gateway cannot do it now; try again")]
    Unavailable,
}

/// A problem as it is sent.
#[derive(Debug, Serialize)]
struct Body<'a> {
    error: &'a str,
    message: String,
}

impl Problem {
    /// The status of HTTP.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NoSuchCall => 404,
            Self::TooSlow => 408,
            Self::TooLarge => 413,
            Self::Malformed(_) => 400,
            Self::TooMany(_) => 429,
            Self::NoProof => 401,
            Self::Refused(Refusal::KeyTaken | Refusal::KeyReserved) => 409,
            Self::Unavailable | Self::RevocationUnknown | Self::Refused(Refusal::Full) => 503,
            Self::CertificateEarly(_)
            | Self::CertificateOver
            | Self::CertificateRevoked
            | Self::CertificateOther
            | Self::CertificateName(_)
            | Self::Refused(_) => 403,
        }
    }

    /// The word for programs. It is never changed.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed(_) => "malformed",
            Self::TooMany(_) => "too_many",
            Self::NoProof => "no_proof",
            Self::CertificateEarly(_) => "certificate_early",
            Self::CertificateOver => "certificate_over",
            Self::CertificateRevoked => "certificate_revoked",
            Self::CertificateOther => "certificate_other",
            Self::RevocationUnknown => "revocation_unknown",
            Self::CertificateName(_) => "certificate_name",
            Self::NoSuchCall => "no_such_call",
            Self::TooSlow => "too_slow",
            Self::Unavailable => "unavailable",
            Self::Refused(refusal) => match refusal {
                Refusal::UnknownToken => "unknown_token",
                Refusal::UsedToken => "used_token",
                Refusal::ExpiredToken => "expired_token",
                Refusal::TokenExists => "token_exists",
                Refusal::WrongSecret => "wrong_secret",
                Refusal::NeedsCertificate => "needs_certificate",
                Refusal::NoLease => "no_lease",
                Refusal::KeyTaken => "key_taken",
                Refusal::KeyReserved => "key_reserved",
                Refusal::Full => "full",
                Refusal::Over => "over",
                Refusal::NoIdentity => "no_identity",
            },
        }
    }

    /// The body of the answer, in JSON.
    #[must_use]
    pub fn body(&self) -> String {
        let body = Body { error: self.word(), message: self.to_string() };
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// What whoever is refused is told. Somebody without proof does not learn who has a lease, or of which kind: a wrong name,
    /// a wrong secret and a lease that is over are all the same.
    #[must_use]
    pub fn outward(&self) -> &Self {
        let tells = matches!(self, Self::Refused(Refusal::WrongSecret | Refusal::NeedsCertificate));
        if tells { &Self::Refused(Refusal::NoLease) } else { self }
    }

    /// Whether it is counted against the source. What is not is the gateway's own fault, or comes from machines that try again
    /// by themselves with a certificate that was good once: behind one address there may be an office of them.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::TooLarge | Self::Malformed(_) | Self::NoProof | Self::NoSuchCall | Self::TooSlow => true,
            Self::CertificateOther => true,
            Self::Refused(refusal) => !matches!(refusal, Refusal::Full | Refusal::Over),
            Self::TooMany(_) | Self::Unavailable | Self::RevocationUnknown => false,
            Self::CertificateEarly(_)
            | Self::CertificateOver
            | Self::CertificateRevoked
            | Self::CertificateName(_) => false,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        if let Error::Refused(refusal) = error { Self::Refused(refusal) } else { Self::Unavailable }
    }
}
