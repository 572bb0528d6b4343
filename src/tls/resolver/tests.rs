//! Who gets which certificate.

use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use super::*;
use crate::tls::certificate::Files;
use crate::tls::test_certificates::{NOW, params};

const ECDSA: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
const RSA: SignatureScheme = SignatureScheme::RSA_PSS_SHA256;

fn certificate(hosts: &[&str], key: &KeyPair) -> Certificate {
    let pem = params("leaf", hosts, -1, 60).self_signed(key).unwrap().pem();
    let key = key.serialize_pem();
    Certificate::load(Files { chain: pem.as_bytes(), key: key.as_bytes(), ocsp: None }, NOW).unwrap()
}

fn ecdsa(hosts: &[&str]) -> Certificate {
    certificate(hosts, &KeyPair::generate().unwrap())
}

fn rsa(hosts: &[&str]) -> Certificate {
    certificate(hosts, &KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap())
}

/// The place of the certificate that a client gets.
fn chosen(all: &Certificates, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<usize> {
    let key = all.choose(name, schemes)?;
    all.loaded().iter().position(|one| Arc::ptr_eq(&one.certified, &key))
}

#[test]
fn the_exact_name_comes_first_then_the_wildcard_then_the_default() {
    let all = Certificates::new(vec![
        ecdsa(&["default.example"]),
        ecdsa(&["*.example.com", "example.com"]),
        ecdsa(&["www.example.com"]),
    ]);
    for (name, place) in [
        (Some("www.EXAMPLE.com"), 2),
        (Some("mail.example.com"), 1),
        (Some("example.com"), 1),
        (Some("a.b.example.com"), 0),
        (Some("other.example"), 0),
        (None, 0),
    ] {
        assert_eq!(chosen(&all, name, &[ECDSA]), Some(place), "{name:?}");
    }
}

#[test]
fn of_two_for_one_name_a_client_gets_ecdsa_if_it_can_check_it_and_else_rsa() {
    let (cheap, dear) = (ecdsa(&["a.example"]), rsa(&["a.example"]));
    for (all, ec, dear) in [(vec![dear.clone(), cheap.clone()], 1, 0), (vec![cheap, dear], 0, 1)] {
        let all = Certificates::new(all);
        for name in [Some("a.example"), None] {
            assert_eq!(chosen(&all, name, &[RSA, ECDSA]), Some(ec));
            assert_eq!(chosen(&all, name, &[RSA]), Some(dear));
        }
    }
}

#[test]
fn a_client_that_can_check_none_is_told_so_and_not_that_it_may_not_come_in() {
    let all = Certificates::new(vec![ecdsa(&["a.example"]), rsa(&["a.example"])]);
    for schemes in [&[SignatureScheme::ED25519][..], &[]] {
        assert_eq!(chosen(&all, Some("a.example"), schemes), Some(0));
    }
    assert_eq!(chosen(&Certificates::default(), Some("a.example"), &[ECDSA]), None);
}

#[test]
fn a_client_that_cannot_check_a_names_own_certificate_gets_the_wildcards_and_never_another_names() {
    let all = Certificates::new(vec![
        rsa(&["default.example"]),
        ecdsa(&["www.example.com"]),
        rsa(&["*.example.com"]),
    ]);
    assert_eq!(chosen(&all, Some("www.example.com"), &[RSA]), Some(2));
    let all = Certificates::new(vec![rsa(&["default.example"]), ecdsa(&["www.example.com"])]);
    assert_eq!(chosen(&all, Some("www.example.com"), &[RSA]), Some(1));
}

#[test]
fn certificates_are_replaced_all_at_once() {
    let resolver = Resolver::new(Certificates::new(vec![ecdsa(&["a.example"])]));
    let before = resolver.current();
    resolver.replace(Certificates::new(vec![ecdsa(&["b.example"])]));
    assert!(chosen(&before, Some("a.example"), &[ECDSA]).is_some());
    let names: Vec<_> = resolver.current().patterns().map(ToString::to_string).collect();
    assert_eq!(names, ["b.example"]);
    assert!(chosen(&Certificates::default(), None, &[ECDSA]).is_none());
}
