//! What is told of a certificate when it is loaded.

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use super::*;
use crate::tls::test_certificates::{Ca, DAY, NOW, params};

fn load(chain: &str, key: &str) -> Result<Certificate, String> {
    let files = Files { chain: chain.as_bytes(), key: key.as_bytes(), ocsp: None };
    Certificate::load(files, NOW).map_err(|findings| findings.to_string())
}

/// A root, an intermediate CA, and a good certificate's parameters.
fn world() -> (Ca, Ca, CertificateParams) {
    let root = Ca::new("root", None);
    let ca = Ca::new("ca", Some(&root));
    (root, ca, params("leaf", &["www.example.com", "*.example.com"], -30, 60))
}

/// What is told of a leaf with these parameters, below an intermediate CA.
fn told(change: impl FnOnce(&mut CertificateParams)) -> Vec<(Severity, String)> {
    let (_, ca, mut params) = world();
    change(&mut params);
    let (leaf, key) = ca.issue(&params);
    let certificate = load(&format!("{leaf}{}", ca.certificate.pem()), &key).unwrap();
    certificate.findings().iter().map(|finding| (finding.severity, finding.text.clone())).collect()
}

#[track_caller]
fn told_one(change: impl FnOnce(&mut CertificateParams), severity: Severity, text: &str) {
    match told(change).as_slice() {
        [(found, said)] if *found == severity && said.contains(text) => (),
        other => panic!("expected {text:?}, found {other:?}"),
    }
}

#[test]
fn a_sound_certificate_is_loaded_with_its_names_and_without_a_word() {
    assert_eq!(told(|_| ()), []);
    let (_, ca, params) = world();
    let (leaf, key) = ca.issue(&params);
    let certificate = load(&format!("{leaf}{}", ca.certificate.pem()), &key).unwrap();
    let names: Vec<_> = certificate.patterns().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["www.example.com", "*.example.com"]);
    assert_eq!(certificate.validity(), Validity { from: NOW, until: NOW + 60 * DAY });
    assert!(
        certificate.is_valid(NOW) && !certificate.is_valid(NOW - 1) && !certificate.is_valid(NOW + 61 * DAY)
    );
}

#[test]
fn a_key_is_read_in_every_form_and_has_to_be_the_certificates() {
    let (root, ca, params) = world();
    let (leaf, key) = ca.issue(&params);
    let (_, other) = ca.issue(&params);
    let chain = format!("{leaf}{}", ca.certificate.pem());
    assert_eq!(load(&chain, &other).unwrap_err(), "the private key does not belong to the certificate");
    let turned = format!("{}{leaf}", ca.certificate.pem());
    let told = load(&turned, &key).unwrap_err();
    assert!(
        told.contains("belongs to certificate 2 of the chain; the server's own has to be the first"),
        "{told}"
    );
    assert!(told.contains("certificate 2 of the chain is not the issuer of the one before it"), "{told}");
    for (wrong, text) in [
        ("", "no private key: expected PEM"),
        (&leaf, "no private key: expected PEM"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "encrypted"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be used"),
        ("-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n", "is not PEM"),
    ] {
        let told = load(&chain, wrong).unwrap_err();
        assert!(told.contains(text) && !told.contains("AAAA"), "{told}");
    }
    drop(root);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let told = load("", "").unwrap_err();
    assert_eq!(told.matches("; ").count(), 1, "{told}");
    assert!(told.starts_with("no certificate: expected PEM") && told.contains("no private key"));
    let told = load("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "").unwrap_err();
    assert!(told.contains("certificate 1 is none: not DER of X.509"), "{told}");
}

#[test]
fn a_chain_is_refused_unless_each_is_signed_by_the_next() {
    let (root, ca, params) = world();
    let (leaf, key) = ca.issue(&params);
    // The same names, other keys.
    let twin = Ca::new("ca", Some(&root));
    let stranger = Ca::new("stranger", Some(&root));
    for (second, text) in [
        (&twin, "has the issuer's name, but did not sign the one before it"),
        (&stranger, "found \"CN=stranger\", expected \"CN=ca\""),
    ] {
        let told = load(&format!("{leaf}{}", second.certificate.pem()), &key).unwrap_err();
        assert!(told.contains(text), "{told}");
    }
    let mut no_ca = crate::tls::test_certificates::params("ca", &[], -1, 100);
    no_ca.is_ca = IsCa::ExplicitNoCa;
    let no_ca = no_ca.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let told = load(&format!("{leaf}{}", no_ca.pem()), &key).unwrap_err();
    assert!(told.contains("is no CA"), "{told}");
    let bundle = format!("{leaf}{}{}", ca.certificate.pem(), root.certificate.pem());
    let noted = load(&bundle, &key).unwrap().findings().to_string();
    assert!(noted.contains("ends with its root"), "{noted}");
    let alone = load(&leaf, &key).unwrap().findings().to_string();
    assert!(alone.contains("no intermediate certificate"), "{alone}");
}

#[test]
fn dates_are_told_before_they_pass_and_after() {
    let dated = |from: i64, until: i64| {
        let days = move |days: i64| x509_parser::time::ASN1Time::from_timestamp(NOW + days * DAY).unwrap();
        move |params: &mut CertificateParams| {
            (params.not_before, params.not_after) = (days(from).to_datetime(), days(until).to_datetime());
        }
    };
    told_one(
        dated(-90, -2),
        Severity::Warning,
        "expired at Dec 30 00:00:00 2025 +00:00, 2 days ago: clients refuse it",
    );
    told_one(dated(1, 90), Severity::Warning, "is not valid before Jan  2 00:00:00 2026 +00:00");
    told_one(dated(-75, 14), Severity::Warning, "14 days left");
    told_one(dated(-5, 0), Severity::Warning, "0 hours left");
    assert_eq!(told(dated(-74, 16)), [], "more than a sixth is left");
    told_one(dated(-300, 20), Severity::Warning, "20 days left");
    assert_eq!(told(dated(-300, 22)), [], "more than three weeks are left");
    told_one(dated(-1, 800), Severity::Note, "made for 801 days");
}

#[test]
fn names_and_purpose_are_judged_as_clients_do() {
    told_one(|it| it.subject_alt_names.clear(), Severity::Warning, "no subjectAltName of a host");
    told_one(
        |it| it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        Severity::Warning,
        "not made for servers",
    );
    told_one(
        |it| it.subject_alt_names.push(rcgen::SanType::DnsName("*.com".try_into().unwrap())),
        Severity::Warning,
        "\"*.com\" is none that a client asks for",
    );
    let feature =
        rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], vec![0x30, 3, 2, 1, 5]);
    told_one(|it| it.custom_extensions.push(feature), Severity::Warning, "demands an OCSP staple");
    let simple = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let told = load(&simple.cert.pem(), &simple.signing_key.serialize_pem()).unwrap().findings().to_string();
    assert!(told.contains("self-signed"), "{told}");
}

#[test]
fn a_certificate_stands_for_its_names_and_addresses() {
    let params = params("leaf", &["www.example.com", "*.example.net", "192.0.2.1", "2001:db8::1"], -1, 30);
    let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    for (host, named) in [
        ("WWW.example.com", true),
        ("a.example.net", true),
        ("a.b.example.net", false),
        ("example.com", false),
        ("192.0.2.1", true),
        ("192.0.2.2", false),
        ("2001:DB8:0::1", true),
    ] {
        assert_eq!(names_host(der.der(), host), named, "{host}");
    }
}

#[test]
fn what_is_no_ocsp_response_is_not_sent_and_does_not_keep_the_certificate_from_it() {
    let (_, ca, params) = world();
    let (leaf, key) = ca.issue(&params);
    let chain = format!("{leaf}{}", ca.certificate.pem());
    for (response, text) in [
        (&b"garbage"[..], "no OCSP response in DER"),
        (&[], "no OCSP response in DER"),
        (&[0x30, 3, 0x0a, 1, 3], "the responder failed (status 3)"),
    ] {
        let files = Files { chain: chain.as_bytes(), key: key.as_bytes(), ocsp: Some(response) };
        let certificate = Certificate::load(files, NOW).unwrap();
        assert_eq!(certificate.certified.ocsp, None);
        assert!(certificate.findings().to_string().contains(text), "{}", certificate.findings());
    }
}
