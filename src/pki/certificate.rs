//! Certificates as they are read.

use std::path::{Path, PathBuf};

use pem::Pem;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{Error, Name, Purpose, Serial};

/// The fewest bits of an authority's RSA key.
const RSA: usize = 2_048;

/// A certificate, and what of it matters here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    der: Vec<u8>,
    /// Its number.
    pub serial: Serial,
    /// The name of its subject, for people.
    pub subject: String,
    /// From when on it counts.
    pub not_before: OffsetDateTime,
    /// Until when it counts.
    pub not_after: OffsetDateTime,
    /// Its other names, for people: `dns:…`, `email:…`, or a URI.
    pub alt_names: Vec<String>,
    /// What it is for; `None` if that is neither a client nor a server alone.
    pub purpose: Option<Purpose>,
    /// The name of its subject in DER.
    pub(super) name: Vec<u8>,
    /// The identifier of its key, if it tells one.
    pub(super) key_identifier: Option<Vec<u8>>,
    /// Its public key, without the algorithm.
    pub(super) public_key: Vec<u8>,
}

/// A certificate that was issued here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Issued {
    /// Who it is for.
    pub name: Name,
    /// The certificate.
    pub certificate: Certificate,
}

impl Certificate {
    /// Reads a certificate in DER; `path` is where it is from.
    pub(super) fn from_der(path: &Path, der: &[u8]) -> Result<Self, Error> {
        let parse = || Error::parse::<String>(path, "certificate");
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|error| parse()(error.to_string()))?;
        if !rest.is_empty() {
            return Err(parse()("something follows it".to_owned()));
        }
        let time = |time: x509_parser::time::ASN1Time| time.to_datetime();
        let key_identifier = parsed.iter_extensions().find_map(|extension| {
            let ParsedExtension::SubjectKeyIdentifier(id) = extension.parsed_extension() else { return None };
            Some(id.0.to_vec())
        });
        let alt_names = parsed.subject_alternative_name().map_err(|error| parse()(error.to_string()))?;
        let alt_names = alt_names.iter().flat_map(|names| &names.value.general_names).map(shown).collect();
        Ok(Self {
            der: der.to_vec(),
            serial: Serial::from_der(parsed.raw_serial()),
            subject: parsed.subject().to_string(),
            not_before: time(parsed.validity().not_before),
            not_after: time(parsed.validity().not_after),
            alt_names,
            purpose: purpose(&parsed),
            name: parsed.subject().as_raw().to_vec(),
            key_identifier,
            public_key: parsed.public_key().subject_public_key.data.to_vec(),
        })
    }

    /// Reads all certificates of a file in PEM, of which there is at least one.
    pub(super) fn all_from_pem(path: &Path, pem: &[u8]) -> Result<Vec<Self>, Error> {
        let parts = pem::parse_many(pem).map_err(Error::parse(path, "certificate"))?;
        let parts: Vec<_> = parts.iter().filter(|part| part.tag() == "CERTIFICATE").collect();
        if parts.is_empty() {
            return Err(Error::parse(path, "certificate")("no BEGIN CERTIFICATE in it"));
        }
        parts.iter().map(|part| Self::from_der(path, part.contents())).collect()
    }

    /// Reads the first certificate of a file in PEM.
    ///
    /// # Errors
    /// It cannot be read, or holds none.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let missing = || Error::file(path)(std::io::ErrorKind::NotFound.into());
        let bytes = super::files::read(path)?.ok_or_else(missing)?;
        let first = Self::all_from_pem(path, &bytes)?.into_iter().next();
        first.ok_or_else(|| Error::parse(path, "certificate")("nothing in it"))
    }

    /// The certificate in PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        to_pem("CERTIFICATE", &self.der)
    }

    /// The certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether its key signed that certificate.
    #[must_use]
    pub fn signed(&self, other: &Self) -> bool {
        let (Ok((_, ours)), Ok((_, theirs))) =
            (X509Certificate::from_der(&self.der), X509Certificate::from_der(&other.der))
        else {
            return false;
        };
        theirs.issuer().as_raw() == self.name && theirs.verify_signature(Some(ours.public_key())).is_ok()
    }

    /// Calls with its public key.
    pub(super) fn with_key<T>(&self, use_it: impl FnOnce(&SubjectPublicKeyInfo<'_>) -> T) -> Option<T> {
        X509Certificate::from_der(&self.der).ok().map(|(_, parsed)| use_it(parsed.public_key()))
    }

    /// Refuses what cannot be an authority's, or should not.
    pub(super) fn check_authority(&self, path: &Path, now: OffsetDateTime) -> Result<(), Error> {
        let no = |why| Err(Error::NotAnAuthority { path: path.to_owned(), why });
        let Ok((_, parsed)) = X509Certificate::from_der(&self.der) else { return no("it cannot be read") };
        if !parsed.is_ca() {
            return no("its basic constraints do not say that it is one");
        }
        let usage = parsed.key_usage().ok().flatten();
        if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return no("its key usage does not let it sign certificates");
        }
        let bits = parsed.public_key().parsed().map(|key| key.key_size()).unwrap_or_default();
        let rsa = x509_parser::oid_registry::OID_PKCS1_RSAENCRYPTION;
        if parsed.public_key().algorithm.algorithm == rsa && bits < RSA {
            return no("its RSA key has fewer than 2048 bits");
        }
        if self.not_after <= now {
            return Err(Error::Expired(super::moment(self.not_after)));
        }
        Ok(())
    }

    /// Whether it may sign revocation lists.
    pub(super) fn signs_lists(&self) -> bool {
        X509Certificate::from_der(&self.der).is_ok_and(|(_, parsed)| {
            let usage = parsed.key_usage().ok().flatten();
            usage.is_none_or(|usage| usage.value.crl_sign())
        })
    }
}

impl Issued {
    /// The name of its file.
    pub(super) fn file(name: &Name, serial: &Serial) -> String {
        format!("{name}.{serial}.pem")
    }

    /// Takes the name of a file apart; `None` if it is something else.
    pub(super) fn parts(file: &Path) -> Option<(Name, Serial)> {
        let (name, serial) = file.file_name()?.to_str()?.strip_suffix(".pem")?.rsplit_once('.')?;
        Some((name.parse().ok()?, Serial::from_hex(serial)?))
    }

    /// Reads the file of a certificate.
    pub(super) fn read(path: PathBuf, name: Name) -> Result<Self, Error> {
        Ok(Self { name, certificate: Certificate::read(&path)? })
    }
}

/// Something in PEM, with the line ends that everybody reads.
pub(super) fn to_pem(tag: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&Pem::new(tag, der), config)
}

fn purpose(parsed: &X509Certificate<'_>) -> Option<Purpose> {
    let usage = parsed.extended_key_usage().ok().flatten()?;
    match (usage.value.client_auth, usage.value.server_auth) {
        (true, false) => Some(Purpose::Client),
        (false, true) => Some(Purpose::Server),
        (true, true) | (false, false) => None,
    }
}

fn shown(name: &GeneralName<'_>) -> String {
    if let GeneralName::DNSName(name) = name {
        format!("dns:{name}")
    } else if let GeneralName::RFC822Name(name) = name {
        format!("email:{name}")
    } else if let GeneralName::URI(name) = name {
        (*name).to_owned()
    } else {
        name.to_string()
    }
}
