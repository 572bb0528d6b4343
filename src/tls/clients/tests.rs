//! Who may come in.

use std::time::Duration;

use rcgen::{
    CertificateParams, CertificateRevocationListParams, KeyIdMethod, KeyPair, RevokedCertParams, SanType,
    SerialNumber,
};
use x509_parser::time::ASN1Time;

use super::*;
use crate::tls::test_certificates::{Ca, DAY, NOW, params};

fn client(uris: &[&str], hosts: &[&str], serial: u64) -> CertificateParams {
    let mut params = params("client", hosts, -1, 30);
    params.serial_number = Some(SerialNumber::from(serial));
    params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
    params
}

fn issued(ca: &Ca, params: &CertificateParams) -> CertificateDer<'static> {
    params.signed_by(&KeyPair::generate().unwrap(), &ca.issuer).unwrap().der().clone()
}

/// A list of a CA that revokes these serial numbers and ends after so many days.
fn list(ca: &Ca, serials: &[u64], days: i64) -> Vec<u8> {
    let time = |days: i64| ASN1Time::from_timestamp(NOW + days * DAY).unwrap().to_datetime();
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: time(-1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: time(-10),
        next_update: time(days),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&ca.issuer).unwrap().pem().unwrap().into_bytes()
}

fn load(
    ca: &Ca,
    revoked: &[Vec<u8>],
    allow: &[&str],
    mode: Mode,
) -> Result<(Arc<Verifier>, Findings), Findings> {
    let authorities = ca.certificate.pem();
    let allow = allow.iter().map(|rule| rule.parse().unwrap()).collect();
    Verifier::load(Files { authorities: authorities.as_bytes(), revoked, allow, mode }, Policy::Modern, NOW)
}

fn verify(verifier: &Verifier, certificate: &CertificateDer<'_>, days: i64) -> Result<(), Error> {
    let now = UnixTime::since_unix_epoch(Duration::from_secs((NOW + days * DAY) as u64));
    verifier.verify_client_cert(certificate, &[], now).map(|_| ())
}

#[test]
fn a_client_of_our_own_ca_comes_in_and_no_other_does() {
    let (ours, theirs) = (Ca::new("ours", None), Ca::new("theirs", None));
    let (verifier, findings) = load(&ours, &[], &[], Mode::Required).unwrap();
    assert_eq!(findings, Findings::default());
    assert!(verifier.offer_client_auth() && verifier.client_auth_mandatory());
    assert_eq!(verify(&verifier, &issued(&ours, &client(&[], &["a.example"], 1)), 0), Ok(()));
    assert!(verify(&verifier, &issued(&theirs, &client(&[], &["a.example"], 1)), 0).is_err());
    assert!(verify(&verifier, &issued(&ours, &client(&[], &["a.example"], 1)), 31).is_err(), "expired");
    let (optional, _) = load(&ours, &[], &[], Mode::Optional).unwrap();
    assert!(optional.offer_client_auth() && !optional.client_auth_mandatory());
    assert!(verify(&optional, &issued(&theirs, &client(&[], &["a.example"], 1)), 0).is_err());
}

#[test]
fn who_is_revoked_stays_out_and_when_the_list_ends_everybody_does() {
    let ca = Ca::new("ca", None);
    let (good, bad) =
        (issued(&ca, &client(&[], &["a.example"], 1)), issued(&ca, &client(&[], &["b.example"], 2)));
    let (verifier, findings) = load(&ca, &[list(&ca, &[2], 7)], &[], Mode::Required).unwrap();
    assert_eq!(findings, Findings::default());
    assert_eq!(verify(&verifier, &good, 6), Ok(()));
    assert_eq!(verify(&verifier, &bad, 6), Err(Error::InvalidCertificate(CertificateError::Revoked)));
    assert!(verify(&verifier, &good, 8).is_err());
    let (_, findings) = load(&ca, &[list(&ca, &[], -1)], &[], Mode::Required).unwrap();
    assert!(findings.to_string().contains("no certificate of \"CN=ca\" is let in"), "{findings}");
}

#[test]
fn a_list_of_another_ca_lets_nobody_in() {
    let (ca, other) = (Ca::new("ca", None), Ca::new("other", None));
    let (verifier, _) = load(&ca, &[list(&other, &[], 7)], &[], Mode::Required).unwrap();
    let refused = verify(&verifier, &issued(&ca, &client(&[], &["a.example"], 1)), 0);
    assert_eq!(refused, Err(Error::InvalidCertificate(CertificateError::UnknownRevocationStatus)));
}

#[test]
fn rules_admit_names_and_spiffe_ids_and_nobody_else() {
    let ca = Ca::new("ca", None);
    let rules = [
        "spiffe://example.org/web",
        "spiffe://example.org/db/*",
        "spiffe://lab.example/*",
        "dns:*.mesh.example",
        "dns:one.example",
    ];
    let (verifier, _) = load(&ca, &[], &rules, Mode::Required).unwrap();
    for (uris, hosts, admitted) in [
        (&["spiffe://example.org/web"][..], &[][..], true),
        (&["spiffe://example.org/web/more"], &[], false),
        (&["spiffe://example.org/Web"], &[], false),
        (&["spiffe://example.org/db/1/a"], &[], true),
        (&["spiffe://example.org/db"], &[], false),
        (&["spiffe://example.org/dbx/1"], &[], false),
        (&["spiffe://example.org/db/../web2"], &[], false),
        (&["spiffe://lab.example/any"], &[], true),
        (&["spiffe://lab.example.org/any"], &[], false),
        (&["https://example.org/web"], &[], false),
        (&["spiffe://example.org/web", "spiffe://example.org/other"], &[], false),
        (&[], &["a.mesh.example"], true),
        (&[], &["A.Mesh.Example"], true),
        (&[], &["a.b.mesh.example"], false),
        (&[], &["*.mesh.example"], false),
        (&[], &["one.example"], true),
        (&[], &["two.example"], false),
        (&[], &[], false),
    ] {
        let verified = verify(&verifier, &issued(&ca, &client(uris, hosts, 1)), 0);
        assert_eq!(verified.is_ok(), admitted, "{uris:?} {hosts:?}: {verified:?}");
    }
}

#[test]
fn what_is_no_rule_is_refused_and_rules_read_as_they_are_written() {
    for rule in [
        "spiffe://example.org/a/b",
        "spiffe://example.org/*",
        "spiffe://example.org/a/*",
        "dns:a.example",
        "dns:*.a.example",
    ] {
        assert_eq!(rule.parse::<Allow>().unwrap().to_string(), rule);
    }
    for wrong in [
        "",
        "a.example",
        "dns:",
        "dns:*",
        "spiffe://",
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe:///a",
        "spiffe://Example.org/a",
        "spiffe://example.org/a//b",
        "spiffe://example.org/../a",
        "spiffe://example.org/*/a",
        "spiffe://user@example.org/a",
        "https://example.org/a",
    ] {
        assert_eq!(wrong.parse::<Allow>(), Err(NoAllow), "{wrong}");
    }
}

#[test]
fn who_it_was_can_be_told() {
    let ca = Ca::new("ca", None);
    let der = issued(&ca, &client(&["spiffe://example.org/web"], &["a.example"], 0x1234));
    let identity = Identity::of(&der).unwrap();
    assert_eq!(identity.spiffe_id(), Some("spiffe://example.org/web"));
    assert_eq!((identity.subject.as_str(), identity.serial.as_str()), ("CN=client", "1234"));
    assert_eq!(identity.dns, ["a.example"]);
    assert_eq!(identity.fingerprint, digest(&der));
    assert_eq!(Identity::of(&CertificateDer::from(vec![1, 2, 3])), None);
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().try_into().unwrap()
}

#[test]
fn files_that_are_none_are_refused_all_at_once() {
    let files =
        Files { authorities: b"x", revoked: &[b"y".to_vec()], allow: Vec::new(), mode: Mode::Required };
    let findings = Verifier::load(files, Policy::Modern, NOW).unwrap_err().to_string();
    assert!(
        findings.contains("no certificate") && findings.contains("revocation list 1 is none"),
        "{findings}"
    );
}
