//! OCSP responses (RFC 6960, section 4.2), as they are stapled: from a file that somebody else fetches.

use aws_lc_rs::digest::{self, Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use x509_parser::asn1_rs::BitString;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;
use x509_parser::verify::verify_signature;
use x509_parser::x509::AlgorithmIdentifier;

use super::chain::shown;
use super::der::{
    BIT_STRING, Der, ENUMERATED, Element, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, context,
};

/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1.
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
/// id-sha1 and id-sha256.
const ID_SHA1: &[u8] = &[0x2b, 0x0e, 3, 2, 0x1a];
const ID_SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
/// The responder's clock may be ahead by so many seconds.
const SKEW: i64 = 300;

/// Why a response is not stapled.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it is no OCSP response in DER")]
    Malformed,
    #[error("it says that the responder failed (status {0})")]
    Failed(u8),
    #[error("it is about another certificate")]
    OtherCertificate,
    #[error("it is not signed by the certificate's issuer, nor by somebody whom that named")]
    Signature,
    #[error("its time begins at {0}")]
    Early(String),
    #[error("its time ended at {0}")]
    Late(String),
    #[error("it says that the certificate is unknown")]
    Unknown,
    #[error("the OCSP response says that the certificate was revoked")]
    Revoked,
}

/// What a response says of one certificate.
struct Single<'a> {
    /// The hash of the issuer's key, and its algorithm.
    issuer_key: (Option<&'static Algorithm>, &'a [u8]),
    serial: &'a [u8],
    /// The tag of `CertStatus`.
    status: u8,
    from: i64,
    until: Option<i64>,
}

struct Basic<'a> {
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    certificates: Der<'a>,
    singles: Vec<Single<'a>>,
}

/// Checks that a response is good for a certificate at `now`, in seconds since 1970. Its signature is checked if the issuer's
/// certificate is there.
pub(super) fn check(
    response: &[u8],
    leaf: &X509Certificate<'_>,
    issuer: Option<&X509Certificate<'_>>,
    now: i64,
) -> Result<(), Refusal> {
    let basic = basic(response)?;
    let about = |single: &&Single<'_>| {
        single.serial == leaf.raw_serial() && issuer.is_none_or(|issuer| is_issuer(single, issuer))
    };
    let single = basic.singles.iter().find(about).ok_or(Refusal::OtherCertificate)?;
    if issuer.is_some_and(|issuer| !is_signed(&basic, issuer)) {
        return Err(Refusal::Signature);
    }
    match single.status & 0x1f {
        0 => (),
        1 => return Err(Refusal::Revoked),
        _ => return Err(Refusal::Unknown),
    }
    if single.from > now + SKEW {
        return Err(Refusal::Early(shown(single.from)));
    }
    match single.until {
        Some(until) if until < now => Err(Refusal::Late(shown(until))),
        Some(_) | None => Ok(()),
    }
}

fn is_issuer(single: &Single<'_>, issuer: &X509Certificate<'_>) -> bool {
    let (Some(algorithm), hash) = single.issuer_key else { return true };
    digest::digest(algorithm, &issuer.public_key().subject_public_key.data).as_ref() == hash
}

/// Whether the issuer signed it, or a responder whose certificate comes with it and is the issuer's (RFC 6960, 4.2.2.2).
fn is_signed(basic: &Basic<'_>, issuer: &X509Certificate<'_>) -> bool {
    let Ok((_, algorithm)) = AlgorithmIdentifier::from_der(basic.algorithm) else { return false };
    let Ok((_, signature)) = BitString::from_der(basic.signature) else { return false };
    let by = |signer: &X509Certificate<'_>| {
        verify_signature(signer.public_key(), &algorithm, &signature, basic.signed).is_ok()
    };
    let mut certificates = basic.certificates;
    let mut delegated = std::iter::from_fn(|| certificates.next());
    by(issuer)
        || delegated.any(|der| {
            let Ok((_, responder)) = X509Certificate::from_der(der.whole) else { return false };
            let usage = responder.extended_key_usage().ok().flatten();
            usage.is_some_and(|usage| usage.value.ocsp_signing)
                && responder.verify_signature(Some(issuer.public_key())).is_ok()
                && by(&responder)
        })
}

fn basic(response: &[u8]) -> Result<Basic<'_>, Refusal> {
    let mut outer = Der::new(response).sequence().ok_or(Refusal::Malformed)?;
    let status = outer.expect(ENUMERATED).ok_or(Refusal::Malformed)?;
    match status.body {
        [0] => read(outer).ok_or(Refusal::Malformed),
        [status] => Err(Refusal::Failed(*status)),
        _ => Err(Refusal::Malformed),
    }
}

fn read(mut outer: Der<'_>) -> Option<Basic<'_>> {
    let mut bytes = Der::new(outer.expect(context(0))?.body).sequence()?;
    bytes.expect(OID).filter(|oid| oid.body == BASIC)?;
    let mut basic = Der::new(bytes.expect(OCTET_STRING)?.body).sequence()?;
    let signed = basic.expect(super::der::SEQUENCE)?;
    let algorithm = basic.expect(super::der::SEQUENCE)?.whole;
    let signature = basic.expect(BIT_STRING)?.whole;
    let certificates = match basic.optional(context(0)) {
        Some(list) => Der::new(list.body).sequence()?,
        None => Der::new(&[]),
    };
    let mut data = Der::new(signed.body);
    let _version = data.optional(context(0));
    let _responder = data.next()?;
    data.expect(GENERALIZED_TIME)?;
    let mut list = data.sequence()?;
    let mut singles = Vec::new();
    while let Some(one) = list.sequence() {
        singles.push(single(one)?);
    }
    Some(Basic { signed: signed.whole, algorithm, signature, certificates, singles })
}

fn single(mut one: Der<'_>) -> Option<Single<'_>> {
    let mut id = one.sequence()?;
    let algorithm = match id.sequence()?.expect(OID)?.body {
        oid if oid == ID_SHA1 => Some(&SHA1_FOR_LEGACY_USE_ONLY),
        oid if oid == ID_SHA256 => Some(&SHA256),
        _ => None,
    };
    let _issuer_name = id.expect(OCTET_STRING)?;
    let issuer_key = (algorithm, id.expect(OCTET_STRING)?.body);
    let serial = id.expect(INTEGER)?.body;
    let status = one.next()?.tag;
    let from = time(one.expect(GENERALIZED_TIME)?)?;
    let until = match one.optional(context(0)) {
        Some(explicit) => Some(time(Der::new(explicit.body).expect(GENERALIZED_TIME)?)?),
        None => None,
    };
    Some(Single { issuer_key, serial, status, from, until })
}

fn time(element: Element<'_>) -> Option<i64> {
    ASN1Time::from_der(element.whole).ok().map(|(_, time)| time.timestamp())
}
