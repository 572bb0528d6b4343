//! Revocation lists as they are read (RFC 5280, section 5).

use std::path::Path;

use time::OffsetDateTime;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::ReasonCode;

use super::certificate::to_pem;
use super::{Certificate, Error, Serial};

/// Why a certificate is revoked (RFC 5280, section 5.3.1). There is no hold: what is revoked stays so.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Nobody said.
    #[default]
    Unspecified,
    /// Somebody else has the private key, or may have.
    KeyCompromise,
    /// Somebody else has the authority's key, or may have.
    CaCompromise,
    /// Who it is for left, or has another name.
    AffiliationChanged,
    /// There is a newer one.
    Superseded,
    /// It is no longer needed.
    CessationOfOperation,
    /// A hold, on lists that others made.
    CertificateHold,
    /// Who it is for may no longer do what it was for.
    PrivilegeWithdrawn,
}

/// A certificate on the list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revoked {
    /// Its number.
    pub serial: Serial,
    /// Since when.
    pub at: OffsetDateTime,
    /// Why.
    pub reason: Reason,
}

/// A revocation list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Crl {
    der: Vec<u8>,
    /// Its number, most significant byte first. Each list has a greater one than the list before.
    pub number: Vec<u8>,
    /// When it was signed.
    pub this_update: OffsetDateTime,
    /// When the next one is due at the latest; `None` if it does not tell.
    pub next_update: Option<OffsetDateTime>,
    /// What is revoked.
    pub revoked: Vec<Revoked>,
}

impl Crl {
    /// Reads a list in PEM or DER that an authority signed; `path` is where it is from.
    pub(super) fn parse(path: &Path, bytes: &[u8], authority: &Certificate) -> Result<Self, Error> {
        let parse = || Error::parse::<String>(path, "revocation list");
        let der = if bytes.starts_with(b"-----") {
            let part = pem::parse(bytes).map_err(|error| parse()(error.to_string()))?;
            if part.tag() != "X509 CRL" {
                return Err(parse()(format!("it is a {}", part.tag().escape_debug())));
            }
            part.into_contents()
        } else {
            bytes.to_vec()
        };
        let (rest, list) =
            CertificateRevocationList::from_der(&der).map_err(|error| parse()(error.to_string()))?;
        if !rest.is_empty() {
            return Err(parse()("something follows it".to_owned()));
        }
        let genuine = list.issuer().as_raw() == authority.name
            && authority.with_key(|key| list.verify_signature(key).is_ok()) == Some(true);
        if !genuine {
            return Err(Error::Signature(path.to_owned()));
        }
        let number = list.crl_number().map(|number| number.to_bytes_be()).unwrap_or_default();
        let (this_update, next_update) = (list.last_update().to_datetime(), list.next_update());
        let revoked = list.iter_revoked_certificates().map(|entry| Revoked {
            serial: Serial::from_der(entry.raw_serial()),
            at: entry.revocation_date.to_datetime(),
            reason: entry.reason_code().map_or(Reason::Unspecified, |(_, code)| reason(code)),
        });
        let revoked = revoked.collect();
        let next_update = next_update.map(|time| time.to_datetime());
        Ok(Self { number, this_update, next_update, revoked, der })
    }

    /// The entry of a certificate.
    #[must_use]
    pub fn entry(&self, serial: &Serial) -> Option<&Revoked> {
        self.revoked.iter().find(|entry| entry.serial == *serial)
    }

    /// The list in PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        to_pem("X509 CRL", &self.der)
    }

    /// The list in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether this list may take the place of another one.
    pub(super) fn follows(&self, before: &Self) -> bool {
        let key = |list: &Self| (list.number.len(), list.number.clone());
        key(self) > key(before) && self.this_update >= before.this_update
    }
}

/// The number after `number`.
pub(super) fn after(number: &[u8]) -> Vec<u8> {
    let mut next = number.to_vec();
    for byte in next.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return next;
        }
    }
    next.insert(0, 1);
    next
}

fn reason(code: ReasonCode) -> Reason {
    match code {
        ReasonCode::KeyCompromise => Reason::KeyCompromise,
        ReasonCode::CACompromise | ReasonCode::AACompromise => Reason::CaCompromise,
        ReasonCode::AffiliationChanged => Reason::AffiliationChanged,
        ReasonCode::Superseded => Reason::Superseded,
        ReasonCode::CessationOfOperation => Reason::CessationOfOperation,
        ReasonCode::CertificateHold => Reason::CertificateHold,
        ReasonCode::PrivilegeWithdrawn => Reason::PrivilegeWithdrawn,
        _ => Reason::Unspecified,
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::CaCompromise => "ca-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::CertificateHold => "certificate-hold",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_by_one_and_by_a_byte_where_they_have_to() {
        for (number, next) in [
            (&[][..], &[1][..]),
            (&[0], &[1]),
            (&[1], &[2]),
            (&[255], &[1, 0]),
            (&[1, 255], &[2, 0]),
            (&[255, 255], &[1, 0, 0]),
        ] {
            assert_eq!(after(number), next);
        }
    }
}
