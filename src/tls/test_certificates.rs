//! Certificates for tests.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use x509_parser::time::ASN1Time;

/// 2026-01-01, in seconds since 1970: the time at which tests look.
pub(super) const NOW: i64 = 1_767_225_600;
/// A day, in seconds.
pub(super) const DAY: i64 = 86_400;

/// A CA, whose certificate is its own or another CA's.
pub(super) struct Ca {
    pub(super) certificate: Certificate,
    pub(super) issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub(super) fn new(name: &str, above: Option<&Self>) -> Self {
        let mut params = params(name, &[], 0, 3_650);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages.clear();
        let key = KeyPair::generate().unwrap();
        let certificate = match above {
            None => params.self_signed(&key),
            Some(above) => params.signed_by(&key, &above.issuer),
        };
        Self { certificate: certificate.unwrap(), issuer: Issuer::new(params, key) }
    }

    /// A certificate for these parameters with a key of its own: both in PEM.
    pub(super) fn issue(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A server's certificate for these names, valid from `from` to `until`, in days from [`NOW`].
pub(super) fn params(name: &str, hosts: &[&str], from: i64, until: i64) -> CertificateParams {
    let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let time = |days| ASN1Time::from_timestamp(NOW + days * DAY).unwrap().to_datetime();
    (params.not_before, params.not_after) = (time(from), time(until));
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}
