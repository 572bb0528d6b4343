//! What can be said of a chain of certificates without its key (RFC 5280; RFC 8446, section 4.4.2).

use rustls::pki_types::CertificateDer;
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

use super::{Findings, Validity};
use crate::tls::names::Pattern;

/// A day, in seconds.
const DAY: i64 = 86_400;
/// The operator is warned when a sixth of the time is left, but at most so many days before the end.
const WARNED: i64 = 21 * DAY;
/// RSA keys have at least so many bits.
const RSA_BITS: usize = 2_048;
/// Mozilla's longest life of a certificate, in days (guidelines 6.0, intermediate).
const LONGEST_LIFE: i64 = 366;
/// Signature algorithms that are no weaker than 112 bits: RSA and ECDSA with SHA-2, RSA-PSS, Ed25519.
const SIGNATURES: [&str; 8] = [
    "1.2.840.113549.1.1.10",
    "1.2.840.113549.1.1.11",
    "1.2.840.113549.1.1.12",
    "1.2.840.113549.1.1.13",
    "1.2.840.10045.4.3.2",
    "1.2.840.10045.4.3.3",
    "1.2.840.10045.4.3.4",
    "1.3.101.112",
];
/// Public keys on curves: P-256, P-384, P-521; and Ed25519.
const CURVES: [&str; 3] = ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.132.0.35"];
const ED25519: &str = "1.3.101.112";
/// The extension that demands a staple (RFC 7633).
const TLS_FEATURE: &str = "1.3.6.1.5.5.7.1.24";

/// What was found in a chain.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Names of hosts that it stands for.
    pub patterns: Vec<Pattern>,
    /// When all of it is valid.
    pub validity: Validity,
    /// Whether it demands an OCSP staple.
    pub must_staple: bool,
    /// What is wrong with it.
    pub findings: Findings,
}

/// Judges a chain as it is sent, the server's own certificate first, at the time `now` in seconds since 1970.
#[must_use]
pub fn judge(chain: &[CertificateDer<'_>], now: i64) -> Judged {
    let mut findings = Findings::default();
    let mut parsed = Vec::new();
    for (at, der) in chain.iter().enumerate() {
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => parsed.push(certificate),
            Ok(_) | Err(_) => findings.wrong(format!("certificate {} is none: not DER of X.509", at + 1)),
        }
    }
    let validity = Validity {
        from: parsed.iter().map(|it| it.validity().not_before.timestamp()).max().unwrap_or(i64::MAX),
        until: parsed.iter().map(|it| it.validity().not_after.timestamp()).min().unwrap_or(i64::MIN),
    };
    if parsed.len() != chain.len() || parsed.is_empty() {
        return Judged { patterns: Vec::new(), validity, must_staple: false, findings };
    }
    for (at, certificate) in parsed.iter().enumerate() {
        dates(at, certificate, now, &mut findings);
        key(at, certificate, &mut findings);
        signature(at, certificate, &mut findings);
    }
    order(&parsed, &mut findings);
    let leaf = &parsed[0];
    let patterns = leaf_names(leaf, &mut findings);
    usage(leaf, parsed.len(), &mut findings);
    let must_staple = leaf.extensions().iter().any(|extension| extension.oid.to_id_string() == TLS_FEATURE);
    Judged { patterns, validity, must_staple, findings }
}

/// Who a finding is about: the server's own, or another of the chain.
fn whose(at: usize) -> String {
    if at == 0 { "the certificate".to_owned() } else { format!("certificate {} of the chain", at + 1) }
}

fn dates(at: usize, certificate: &X509Certificate<'_>, now: i64, findings: &mut Findings) {
    let (from, until) = (certificate.validity().not_before, certificate.validity().not_after);
    let (whose, life) = (whose(at), until.timestamp().saturating_sub(from.timestamp()));
    let left = until.timestamp().saturating_sub(now);
    if now < from.timestamp() {
        findings.warning(format!("{whose} is not valid before {from}: clients refuse it until then"));
    } else if left < 0 {
        findings.warning(format!("{whose} expired at {until}, {}: clients refuse it", days(-left, "ago")));
    } else if left < (life / 6).min(WARNED) {
        findings.warning(format!("{whose} expires at {until}: {}", days(left, "left")));
    }
    if at == 0 && life / DAY > LONGEST_LIFE {
        findings
            .note(format!("the certificate is made for {} days; browsers take less than 398", life / DAY));
    }
}

/// A span in days, or hours if it is short.
fn days(seconds: i64, which: &str) -> String {
    match seconds / DAY {
        0 => format!("{} hours {which}", seconds / 3_600),
        1 => format!("1 day {which}"),
        days => format!("{days} days {which}"),
    }
}

fn key(at: usize, certificate: &X509Certificate<'_>, findings: &mut Findings) {
    let public = certificate.public_key();
    let algorithm = public.algorithm.algorithm.to_id_string();
    let curve = public.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
    let curve = curve.map(|oid| oid.to_id_string());
    let whose = whose(at);
    match public.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            // A leading zero is a sign, no bits of the key.
            let bits = rsa.modulus.iter().skip_while(|byte| **byte == 0).count() * 8;
            if bits < RSA_BITS {
                findings
                    .wrong(format!("{whose} has an RSA key of {bits} bits; at least {RSA_BITS} are needed"));
            }
        }
        Ok(PublicKey::EC(_)) if curve.as_deref().is_some_and(|curve| CURVES.contains(&curve)) => (),
        Ok(PublicKey::Unknown(_)) if algorithm == ED25519 => (),
        Ok(_) | Err(_) => {
            let found = curve.unwrap_or(algorithm);
            findings.wrong(format!(
                "{whose} has a key of another kind ({found}); expected ECDSA on P-256, P-384 or P-521, Ed25519, or RSA"
            ));
        }
    }
}

fn signature(at: usize, certificate: &X509Certificate<'_>, findings: &mut Findings) {
    let algorithm = certificate.signature_algorithm.algorithm.to_id_string();
    // Nobody looks at a root's own signature.
    let root = at > 0 && certificate.subject().as_raw() == certificate.issuer().as_raw();
    if !root && !SIGNATURES.contains(&algorithm.as_str()) {
        let name = match algorithm.as_str() {
            "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" => "SHA-1",
            "1.2.840.113549.1.1.4" => "MD5",
            other => other,
        };
        findings.wrong(format!("{} is signed with {name}; expected SHA-256 or better", whose(at)));
    }
}

/// Whether each certificate is signed by the next.
fn order(chain: &[X509Certificate<'_>], findings: &mut Findings) {
    for (at, pair) in chain.windows(2).enumerate() {
        let [below, above] = pair else { continue };
        let place = format!("certificate {} of the chain", at + 2);
        if below.issuer().as_raw() != above.subject().as_raw() {
            findings.wrong(format!(
                "{place} is not the issuer of the one before it: found \"{}\", expected \"{}\"",
                above.subject(),
                below.issuer()
            ));
        } else if !above.is_ca() {
            findings.wrong(format!("{place} is no CA, so it cannot have signed the one before it"));
        } else if below.verify_signature(Some(above.public_key()))
            == Err(X509Error::SignatureVerificationError)
        {
            findings.wrong(format!("{place} has the issuer's name, but did not sign the one before it"));
        }
    }
    let Some(last) = chain.last() else { return };
    match (chain.len(), last.subject().as_raw() == last.issuer().as_raw()) {
        (1, true) => {
            findings.warning("the certificate is self-signed: only clients that were given it trust it")
        }
        (1, false) => {
            findings.note("no intermediate certificate: clients need to have the issuer's themselves")
        }
        (_, true) => {
            findings.note("the chain ends with its root, which clients have anyway: it is sent for nothing")
        }
        (_, false) => (),
    }
}

/// Names of hosts in the certificate; clients look nowhere else (RFC 9525, section 2).
fn leaf_names(leaf: &X509Certificate<'_>, findings: &mut Findings) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    let mut addresses = false;
    for name in alternative_names(leaf) {
        if let GeneralName::DNSName(name) = name {
            match name.parse() {
                Ok(pattern) => patterns.push(pattern),
                Err(_) => {
                    findings
                        .warning(format!("the certificate's name {name:?} is none that a client asks for"));
                }
            }
        }
        addresses |= matches!(name, GeneralName::IPAddress(_));
    }
    if patterns.is_empty() && !addresses {
        findings.warning(
            "the certificate has no subjectAltName of a host: clients refuse it whatever they ask for",
        );
    }
    patterns
}

/// The subjectAltName of a certificate; nothing if there is none.
pub(in crate::tls) fn alternative_names<'a>(certificate: &'a X509Certificate<'_>) -> &'a [GeneralName<'a>] {
    let names = certificate.subject_alternative_name().ok().flatten();
    names.map_or(&[], |names| names.value.general_names.as_slice())
}

fn usage(leaf: &X509Certificate<'_>, length: usize, findings: &mut Findings) {
    let usage = leaf.extended_key_usage().ok().flatten();
    if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        findings.warning(
            "the certificate is not made for servers (extendedKeyUsage lacks serverAuth): clients refuse it",
        );
    }
    if leaf.is_ca() && length > 1 {
        findings.wrong("the first certificate is a CA's; the server's own has to be the first");
    } else if leaf.is_ca() {
        findings.warning("the certificate is a CA's: many clients refuse it as a server's");
    }
}

/// Whether a certificate stands for a host, by name or by address.
#[must_use]
pub fn names_host(certificate: &CertificateDer<'_>, host: &str) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return false };
    let address = host.parse::<std::net::IpAddr>().ok().map(|address| match address {
        std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
        std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
    });
    alternative_names(&parsed).iter().any(|name| match (name, &address) {
        (GeneralName::IPAddress(bytes), Some(address)) => bytes == address,
        (GeneralName::DNSName(name), None) => {
            name.parse::<Pattern>().is_ok_and(|pattern| pattern.matches(host))
        }
        _ => false,
    })
}

/// A time as a person reads it.
pub(in crate::tls) fn shown(seconds: i64) -> String {
    ASN1Time::from_timestamp(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}
