//! The API's certificate, and whose certificates let clients in: read from files, and read again when they change.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::certificates::{Judge, Presented};
use super::invitation::Fingerprint;
use crate::store::Wall;
use crate::tls::certificate::{self, Certificate, Findings};
use crate::tls::clients::{Files, Mode, Verifier};
use crate::tls::policy::{Parts, Policy};
use crate::tls::resolver::{Certificates, Resolver};

/// The protocol inside.
const ALPN: &[u8] = b"http/1.1";
/// The largest file that is read, in bytes: a revocation list of a million entries.
const LARGEST: u64 = 64 << 20;

/// Which files there are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Paths {
    /// The API's certificates in PEM.
    pub certificate: PathBuf,
    /// Its private key in PEM, which nobody else may read.
    pub private_key: PathBuf,
    /// Certificates of the authorities in PEM.
    pub authorities: Option<PathBuf>,
    /// Their revocation lists, in PEM or DER.
    pub revoked: Vec<PathBuf>,
}

/// What was made of them.
#[derive(Debug)]
pub struct Material {
    /// For connections: TLS 1.3 alone.
    pub(super) tls: Arc<ServerConfig>,
    /// For the certificates of clients.
    pub(super) judge: Option<Judge>,
    /// Serial numbers that are revoked, without leading zeros, in ascending order.
    revoked: Vec<Vec<u8>>,
    /// The authority whose certificate is the last of the file.
    authority: Option<Fingerprint>,
    /// What the operator should know.
    findings: Vec<String>,
}

impl Material {
    /// Reads the files at the time `now`.
    ///
    /// # Errors
    /// What is wrong, in words, with the files' names.
    pub fn load(paths: &Paths, now: Wall) -> Result<Self, String> {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let named = |path: &Path, findings: &Findings| format!("{}: {findings}", path.display());
        let (chain, key) = (read(&paths.certificate, false)?, read(&paths.private_key, true)?);
        let key = zeroize::Zeroizing::new(key);
        let shown = Certificate::load(certificate::Files { chain: &chain, key: &key, ocsp: None }, now);
        let shown = shown.map_err(|wrong| named(&paths.certificate, &wrong))?;
        let mut findings = Vec::new();
        note(&mut findings, &paths.certificate, shown.findings());
        let lists: Vec<_> = paths.revoked.iter().map(|path| read(path, false)).collect::<Result<_, _>>()?;
        let judge = match &paths.authorities {
            None => None,
            Some(path) => {
                let authorities = read(path, false)?;
                let load = |lists: &[Vec<u8>]| {
                    let files = Files {
                        authorities: &authorities,
                        revoked: lists,
                        allow: Vec::new(),
                        mode: Mode::Optional,
                    };
                    Verifier::load(files, Policy::Modern, now).map_err(|wrong| named(path, &wrong))
                };
                let (chain, _) = load(&[])?;
                let (strict, found) = load(&lists)?;
                note(&mut findings, path, &found);
                Some(Judge::new(chain, strict))
            }
        };
        let parts = Parts {
            certificates: Arc::new(Resolver::new(Certificates::new(vec![shown]))),
            clients: judge.as_ref().map(|judge| Arc::new(Presented::new(judge)) as _),
            tickets: None,
            alpn: vec![ALPN.to_vec()],
            key_log: None,
        };
        let server = Policy::Modern.server(parts).map_err(|error| error.to_string())?;
        Ok(Self { tls: server.full_only, judge, revoked: serials(&lists), authority: authority(&chain), findings })
    }

    /// Whether a certificate of this serial number was revoked.
    #[must_use]
    pub fn is_revoked(&self, serial: &[u8]) -> bool {
        self.revoked.binary_search_by(|revoked| revoked.as_slice().cmp(short(serial))).is_ok()
    }

    /// By what clients know the authority that signs the API's certificate, if that stands in its file.
    #[must_use]
    pub fn authority(&self) -> Option<Fingerprint> {
        self.authority
    }

    /// What the operator should know, in words.
    #[must_use]
    pub fn findings(&self) -> &[String] {
        &self.findings
    }
}

impl Paths {
    /// What tells whether any of the files was changed.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        let files =
            [&self.certificate, &self.private_key].into_iter().chain(&self.authorities).chain(&self.revoked);
        let stamp = |path: &PathBuf| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
        };
        Stamp(files.map(|path| (path.clone(), stamp(path))).collect())
    }
}

/// Files, and what their folders say of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stamp(Vec<(PathBuf, Option<Inode>)>);

/// Device, number, size, and when it or its owner was last changed, in seconds and nanoseconds.
type Inode = (u64, u64, u64, i64, i64);

fn authority(chain: &[u8]) -> Option<Fingerprint> {
    let last = certificate::certificates(chain).ok()?.pop()?;
    let (_, parsed) = X509Certificate::from_der(&last).ok()?;
    (parsed.subject() == parsed.issuer()).then(|| Fingerprint::of(&last))
}

fn note(findings: &mut Vec<String>, path: &Path, found: &Findings) {
    findings.extend(found.iter().map(|finding| format!("{}: {}", path.display(), finding.text)));
}

fn read(path: &Path, secret: bool) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if secret && mode & 0o077 != 0 {
        let shown = path.display();
        return Err(format!(
            "{shown}: its mode is {mode:04o}, so others can read or change it; mend it with `chmod 600 {shown}`"
        ));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("{}: it has more than {LARGEST} bytes", path.display()));
    }
    Ok(bytes)
}

/// The serial numbers on lists that were judged before.
fn serials(lists: &[Vec<u8>]) -> Vec<Vec<u8>> {
    use rustls::pki_types::CertificateRevocationListDer;
    use rustls::pki_types::pem::PemObject;
    let mut serials = Vec::new();
    for bytes in lists {
        let pem: Vec<_> =
            CertificateRevocationListDer::pem_slice_iter(bytes).filter_map(Result::ok).collect();
        let whole = CertificateRevocationListDer::from(bytes.as_slice());
        for list in if pem.is_empty() { vec![whole] } else { pem } {
            if let Ok((_, list)) = CertificateRevocationList::from_der(&list) {
                serials
                    .extend(list.iter_revoked_certificates().map(|entry| short(entry.raw_serial()).to_vec()));
            }
        }
    }
    serials.sort_unstable();
    serials.dedup();
    serials
}

/// A number without leading zeros, which one encoder writes and another does not.
pub(super) fn short(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial.get(zeros..).unwrap_or_default()
}

/// The certificates that a client presented, its own first.
pub(super) type Chain<'a> = &'a [CertificateDer<'a>];
