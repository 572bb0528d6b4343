//! What a certificate is asked for, and what it then says (RFC 5280, section 4).

use std::path::Path;
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyIdMethod, KeyUsagePurpose, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use time::OffsetDateTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use super::{Algorithm, AltName, Certificate, Error, Name, Serial, files};

/// How far behind the clock of whoever checks a certificate may be.
pub(super) const SKEW: Duration = Duration::from_secs(300);

/// What a certificate is for. It is good for nothing else.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Purpose {
    /// A person or a machine that connects.
    #[default]
    Client,
    /// The side that is connected to.
    Server,
}

/// Whose public key is certified.
#[derive(Debug)]
pub enum Subject {
    /// A new key's, which is given out with the certificate and not kept.
    New(Algorithm),
    /// That of somebody who asked, and who keeps the private key.
    Request(Box<SubjectPublicKeyInfo>),
}

/// What a certificate is asked for.
#[derive(Debug)]
pub struct Request {
    /// Who it is for.
    pub name: Name,
    /// Other names.
    pub alt_names: Vec<AltName>,
    /// What it is for.
    pub purpose: Purpose,
    /// How long it is to last; never longer than the authority.
    pub lifetime: Duration,
    /// Whose key.
    pub subject: Subject,
}

impl Subject {
    /// Reads a request in PEM (PKCS#10). Its signature has to be right, and its key is all that is taken from it: what
    /// names it asks for does not count.
    ///
    /// # Errors
    /// It cannot be read, is none, or is not signed by its own key.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let missing = || Error::file(path)(std::io::ErrorKind::NotFound.into());
        let bytes = files::read(path)?.ok_or_else(missing)?;
        let parse = || Error::parse::<String>(path, "certificate request");
        let text = str::from_utf8(&bytes).map_err(|error| parse()(error.to_string()))?;
        CertificateSigningRequestParams::from_pem(text).map_err(|error| parse()(error.to_string()))?;
        // rcgen takes the kind of the key for that of the signature, which openssl makes with SHA-256 whatever the curve is.
        let der = pem::parse(text).map_err(|error| parse()(error.to_string()))?;
        let (_, request) =
            X509CertificationRequest::from_der(der.contents()).map_err(|error| parse()(error.to_string()))?;
        let key = SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw);
        Ok(Self::Request(Box::new(key.map_err(|error| parse()(error.to_string()))?)))
    }
}

impl Request {
    /// What the certificate will say.
    pub(super) fn params(
        &self,
        serial: &Serial,
        authority: &Certificate,
        now: OffsetDateTime,
    ) -> Result<CertificateParams, Error> {
        let dns = self.alt_names.iter().any(|name| matches!(name, AltName::Dns(_)));
        if self.purpose == Purpose::Server && !dns {
            return Err(Error::Nameless);
        }
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(serial.as_bytes()));
        params.not_before = (now - SKEW).max(authority.not_before);
        params.not_after = (now + self.lifetime).min(authority.not_after);
        params.distinguished_name = common_name(self.name.as_str());
        params.subject_alt_names = self.alt_names.iter().map(alt_name).collect::<Result<_, _>>()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match self.purpose {
            Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
            Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        params.use_authority_key_identifier_extension = authority.key_identifier.is_some();
        Ok(params)
    }
}

/// What the certificate of a new authority says.
pub(super) fn authority(
    name: &str,
    lifetime: Duration,
    now: OffsetDateTime,
) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(Serial::random()?.as_bytes()));
    params.not_before = now - SKEW;
    params.not_after = now + lifetime;
    params.distinguished_name = common_name(name);
    // It signs certificates of clients and servers, and no other authority.
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.key_identifier_method = KeyIdMethod::Sha256;
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut all = DistinguishedName::new();
    all.push(DnType::CommonName, name);
    all
}

fn alt_name(name: &AltName) -> Result<SanType, Error> {
    let text = |text: &str| Ia5String::try_from(text).map_err(Error::make("alternative name"));
    Ok(match name {
        AltName::Dns(name) => SanType::DnsName(text(name)?),
        AltName::Mail(name) => SanType::Rfc822Name(text(name)?),
        AltName::Spiffe(name) => SanType::URI(text(name)?),
    })
}

#[cfg(test)]
mod tests {
    use rcgen::PublicKeyData as _;

    use super::*;
    use crate::test_folder::Folder;

    /// `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-384 -subj /CN=x`: signed with SHA-256.
    const P384: &str = "-----BEGIN CERTIFICATE REQUEST-----\n\
        MIIBBDCBiwIBADAMMQowCAYDVQQDDAF4MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE\n\
        hXRDDVQgWsbeQ480AqZYcIB+aVCFi/EE2KXNRilTsA3Sjrxzryqlu4fgrf0WY2VM\n\
        IiCAlMOLOav3S0k+N9jMT7yHMg3jQUANzsJKKGoYmxW/Q0SADhvML5zPWBkdiWc2\n\
        oAAwCgYIKoZIzj0EAwIDaAAwZQIwd8uA1UrSWHTGAT+v13fEAE3P9YB6HXEKdkIy\n\
        aMbgwKmse7zXqos4D9CExsA20s4TAjEA4GuCc8Tde3L9yDj2AkFybLAkrxgjmzsO\n\
        GHDYu+EkUrqZZvAKnWG8G/Zvrfh9zX02\n\
        -----END CERTIFICATE REQUEST-----";

    #[test]
    fn the_curve_of_a_request_is_that_of_its_key_whatever_hash_it_is_signed_with() {
        let folder = Folder::new();
        let path = folder.path().join("x.csr");
        std::fs::write(&path, P384).unwrap();
        let Subject::Request(key) = Subject::read(&path).unwrap() else { panic!("a request") };
        assert_eq!(key.algorithm(), &rcgen::PKCS_ECDSA_P384_SHA384);
        assert_eq!(key.der_bytes().len(), 97, "a point of 48 bytes twice");
    }
}
