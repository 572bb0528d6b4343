//! TLS to backends: whom we trust, who we are. There is no way to trust nobody.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use super::certificate::{Certificate, Files as CertificateFiles, Findings, certificates, private_key};
use super::choice::BackendAddress;
use super::dial;
use super::policy::{Own, Policy};
use super::upstream::Upstream;

/// What is negotiated with backends: TLS 1.3, and TLS 1.2 with ECDHE and an AEAD.
const POLICY: Policy = Policy::Intermediate;

/// What files hold.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// Certificates of the backends' CAs in PEM.
    pub authorities: &'a [u8],
    /// Our own chain and its key in PEM.
    pub own: Option<(&'a [u8], &'a [u8])>,
}

/// How TLS is spoken to the backends of a route.
#[derive(Clone, Debug)]
pub struct BackendTls {
    config: Arc<ClientConfig>,
    /// The same with each protocol that clients may agree on.
    by_protocol: Vec<(Vec<u8>, Arc<ClientConfig>)>,
    /// The name that a backend's certificate has to have, if it is another than that by which it is found.
    name: Option<ServerName<'static>>,
}

impl BackendTls {
    /// Reads files at the time `now`, in seconds since 1970. Besides there is what the operator should know.
    ///
    /// # Errors
    /// Everything for which they cannot be used.
    pub fn load(
        files: Files<'_>,
        name: Option<ServerName<'static>>,
        now: i64,
    ) -> Result<(Self, Findings), Findings> {
        let mut findings = Findings::default();
        let mut roots = RootCertStore::empty();
        match certificates(files.authorities) {
            Ok(all) => {
                for (at, der) in all.into_iter().enumerate() {
                    if let Err(error) = roots.add(der) {
                        findings.wrong(format!("certificate {} of the CAs cannot be used: {error}", at + 1));
                    }
                }
            }
            Err(finding) => findings.push(finding),
        }
        let own = files.own.and_then(|own| own_certificate(own, now, &mut findings));
        if findings.any_wrong() {
            return Err(findings.only_wrong());
        }
        match POLICY.client(roots, Vec::new(), own) {
            Ok(config) => Ok((Self { config, by_protocol: Vec::new(), name }, findings)),
            Err(error) => {
                findings.wrong(error.to_string());
                Err(findings.only_wrong())
            }
        }
    }

    /// The same, that passes on which of these protocols a client agreed on.
    #[must_use]
    pub fn with_protocols(&self, protocols: &[String]) -> Self {
        let with = |protocol: &String| {
            let mut config = ClientConfig::clone(&self.config);
            config.alpn_protocols = vec![protocol.clone().into_bytes()];
            (protocol.clone().into_bytes(), Arc::new(config))
        };
        Self { by_protocol: protocols.iter().map(with).collect(), ..self.clone() }
    }

    /// For a backend, when a client has agreed on that protocol. `None` if no certificate could be for such a backend.
    pub(super) fn to(&self, backend: &Upstream, protocol: Option<&[u8]>) -> Option<dial::Tls> {
        let known = self.by_protocol.iter().find(|(known, _)| Some(known.as_slice()) == protocol);
        let config = known.map_or(&self.config, |(_, config)| config).clone();
        let name = match (&self.name, &backend.name, &backend.address) {
            (Some(name), _, _) => name.clone(),
            (None, Some(name), _) => ServerName::try_from(name.host.clone()).ok()?,
            (None, None, BackendAddress::Tcp(address)) => ServerName::from(address.ip()),
            (None, None, BackendAddress::Unix(_)) => return None,
        };
        Some(dial::Tls { config, name })
    }
}

fn own_certificate((chain, key): (&[u8], &[u8]), now: i64, findings: &mut Findings) -> Option<Own> {
    match Certificate::load(CertificateFiles { chain, key, ocsp: None }, now) {
        Ok(judged) => {
            findings.extend(judged.findings());
            Some((judged.certified.cert.clone(), private_key(key).ok()?))
        }
        Err(wrong) => {
            findings.extend(&wrong);
            None
        }
    }
}
