//! Why a client is refused: a status of HTTP, a word for programs, a sentence for people.

use serde::Serialize;

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
    #[error("the gateway's revocation list is missing or out of date; tell whoever runs it")]
    RevocationUnknown,
    /// The certificate's common name is none that a client can have.
    #[error(
        "the certificate's common name cannot be that of a client: one of up to 64 letters, digits, and . _ - + @"
    )]
    CertificateName,
    /// There is nothing else that could be asked for.
    #[error("there are POST /v1/enrol and POST /v1/renew")]
    NoSuchCall,
    /// The body did not come in time.
    #[error("the request did not come in time")]
    TooSlow,
    /// The key is that of the gateway or of one of its fixed peers.
    #[error("this key cannot be a client's; make a new one")]
    KeyReserved,
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
            Self::KeyReserved | Self::Refused(Refusal::KeyTaken) => 409,
            Self::Unavailable | Self::RevocationUnknown | Self::Refused(Refusal::Full) => 503,
            Self::CertificateEarly(_)
            | Self::CertificateOver
            | Self::CertificateRevoked
            | Self::CertificateOther
            | Self::CertificateName
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
            Self::CertificateName => "certificate_name",
            Self::NoSuchCall => "no_such_call",
            Self::TooSlow => "too_slow",
            Self::KeyReserved => "key_reserved",
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

    /// Whether it is counted against the source: what somebody who guesses runs into.
    pub(super) fn is_failure(&self) -> bool {
        matches!(
            self,
            Self::Malformed(_)
                | Self::TooLarge
                | Self::NoProof
                | Self::Refused(
                    Refusal::UnknownToken | Refusal::UsedToken | Refusal::WrongSecret | Refusal::NoLease
                )
        )
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        if let Error::Refused(refusal) = error { Self::Refused(refusal) } else { Self::Unavailable }
    }
}
