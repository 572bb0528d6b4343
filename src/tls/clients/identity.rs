//! Who a client is, by its certificate: for the access log, the rules, and the backend.

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::tls::certificate::alternative_names;

/// What a client's certificate says of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The subject, as `CN=alice, O=example`.
    pub subject: String,
    /// The common name in it.
    pub common_name: Option<String>,
    /// Names of hosts.
    pub dns: Vec<String>,
    /// URIs, among them the SPIFFE ID.
    pub uris: Vec<String>,
    /// The serial number in hex.
    pub serial: String,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
}

impl Identity {
    /// Reads a certificate; `None` if it is none.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let (mut dns, mut uris) = (Vec::new(), Vec::new());
        for name in alternative_names(&parsed) {
            if let GeneralName::DNSName(name) = name {
                dns.push((*name).to_owned());
            } else if let GeneralName::URI(uri) = name {
                uris.push((*uri).to_owned());
            }
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, certificate).as_ref());
        let serial = parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect();
        let common_name =
            parsed.subject().iter_common_name().find_map(|name| name.as_str().ok().map(str::to_owned));
        Some(Self { subject: parsed.subject().to_string(), common_name, dns, uris, serial, fingerprint })
    }

    /// Its SPIFFE ID (SPIFFE X.509-SVID, section 2): the one URI that it may have.
    #[must_use]
    pub fn spiffe_id(&self) -> Option<&str> {
        match self.uris.as_slice() {
            [only] if only.starts_with("spiffe://") => Some(only),
            _ => None,
        }
    }
}
