//! The API's certificate, and whose certificates let clients in: read from files, and read again when they change.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificates::{Judge, Presented};
use super::invitation::Fingerprint;
use super::marks::Revoked;
use crate::config::Naming;
use crate::store::Wall;
use crate::tls::certificate::{self, Certificate, Findings, Severity};
use crate::tls::clients::{Files, Mode, Verifier};
use crate::tls::policy::{Parts, Policy};
use crate::tls::resolver::{Certificates, Resolver};

/// The protocol inside.
const ALPN: &[u8] = b"http/1.1";
/// The largest file that is read, in bytes: a revocation list of a million entries.
const LARGEST: u64 = 64 << 20;

/// Which files there are, and what they are read for.
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
    /// Which name of a certificate is the client's.
    pub naming: Naming,
}

/// How long files that do not change are believed, in seconds: what is to be known of them changes with the time.
const BELIEVED: Wall = 3_600;

/// What was made of them.
#[derive(Debug)]
pub struct Material {
    /// For connections: TLS 1.3 alone.
    pub(super) tls: Arc<ServerConfig>,
    /// For the certificates of clients.
    pub(super) judge: Option<Judge>,
    shown: Shown,
    revoked: Revoked,
    /// What the operator should know.
    findings: Vec<String>,
    /// Whether all files could be read.
    whole: bool,
    /// When it is to be made again, whether or not a file changed.
    until: Wall,
}

/// What the API shows.
#[derive(Clone, Debug)]
struct Shown {
    certificates: Arc<Resolver>,
    /// The authority whose certificate is the last of the file.
    authority: Option<Fingerprint>,
}

/// What lets clients in.
type Entrance = (Option<Judge>, Revoked);

impl Material {
    /// Reads the files at the time `now`.
    ///
    /// # Errors
    /// What is wrong, in words, with the files' names.
    pub fn load(paths: &Paths, now: Wall) -> Result<Self, String> {
        let mut findings = Vec::new();
        let shown = shown(paths, now, &mut findings)?;
        let entrance = entrance(paths, now, &mut findings)?;
        Self::assemble(shown, entrance, findings, true, now)
    }

    /// Reads the files again. What cannot be read is told: the API's own certificate stays the one of before, but the
    /// certificates of clients let nobody in until it can be told which of them were revoked.
    ///
    /// # Errors
    /// TLS cannot be configured by it.
    pub fn again(&self, paths: &Paths, now: Wall) -> Result<Self, String> {
        let (mut findings, mut wrong) = (Vec::new(), Vec::new());
        let shown = shown(paths, now, &mut findings).unwrap_or_else(|why| {
            wrong.push(format!("{why}; the certificate of before is shown"));
            self.shown.clone()
        });
        let entrance = entrance(paths, now, &mut findings).unwrap_or_else(|why| {
            wrong.push(format!("{why}; until it can be read no certificate of a client lets anybody in"));
            (self.judge.as_ref().map(Judge::closed), self.revoked.clone())
        });
        let whole = wrong.is_empty();
        wrong.append(&mut findings);
        Self::assemble(shown, entrance, wrong, whole, now)
    }

    fn assemble(
        shown: Shown,
        (judge, revoked): Entrance,
        findings: Vec<String>,
        whole: bool,
        now: Wall,
    ) -> Result<Self, String> {
        let parts = Parts {
            certificates: shown.certificates.clone(),
            clients: judge.as_ref().map(|judge| Arc::new(Presented::new(judge)) as _),
            tickets: None,
            alpn: vec![ALPN.to_vec()],
            key_log: None,
        };
        let server = Policy::Modern.server(parts).map_err(|error| error.to_string())?;
        // The first second in which it has ended.
        let ends = judge.as_ref().and_then(Judge::until).map(|until| until + 1);
        let until = ends.filter(|ends| *ends > now).into_iter().chain([now + BELIEVED]).min();
        let until = until.unwrap_or(now);
        Ok(Self { tls: server.full_only, judge, shown, revoked, findings, whole, until })
    }

    /// Whether a certificate was revoked that is [known by these marks](crate::store::Lease::certificate), or one above it.
    #[must_use]
    pub fn is_revoked(&self, marks: &[u8]) -> bool {
        self.revoked.any(marks)
    }

    /// By what clients know the authority that signs the API's certificate, if that stands in its file.
    #[must_use]
    pub fn authority(&self) -> Option<Fingerprint> {
        self.shown.authority
    }

    /// What the operator should know, in words.
    #[must_use]
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Whether all files could be read.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether it is to be made again although no file has changed.
    #[must_use]
    pub fn is_stale(&self, now: Wall) -> bool {
        now >= self.until
    }
}

fn shown(paths: &Paths, now: Wall, findings: &mut Vec<String>) -> Result<Shown, String> {
    let (chain, key) = (read(&paths.certificate, false)?, read(&paths.private_key, true)?);
    let key = zeroize::Zeroizing::new(key);
    let files = certificate::Files { chain: &chain, key: &key, ocsp: None };
    let shown = Certificate::load(files, seconds(now)).map_err(|wrong| named(&paths.certificate, &wrong))?;
    note(findings, &paths.certificate, shown.findings());
    let certificates = Arc::new(Resolver::new(Certificates::new(vec![shown])));
    Ok(Shown { certificates, authority: authority(&chain) })
}

fn entrance(paths: &Paths, now: Wall, findings: &mut Vec<String>) -> Result<Entrance, String> {
    let lists: Vec<_> = paths.revoked.iter().map(|path| read(path, false)).collect::<Result<_, _>>()?;
    let Some(path) = &paths.authorities else { return Ok((None, Revoked::default())) };
    let authorities = read(path, false)?;
    let load = |lists: &[Vec<u8>]| {
        let files =
            Files { authorities: &authorities, revoked: lists, allow: Vec::new(), mode: Mode::Optional };
        Verifier::load(files, Policy::Modern, seconds(now)).map_err(|wrong| named(path, &wrong))
    };
    let (chain, _) = load(&[])?;
    let (strict, found) = load(&lists)?;
    note(findings, path, &found);
    Ok((Some(Judge::new(chain, strict, paths.naming)), Revoked::of(&lists)))
}

fn seconds(now: Wall) -> i64 {
    i64::try_from(now).unwrap_or(i64::MAX)
}

fn named(path: &Path, findings: &Findings) -> String {
    format!("{}: {findings}", path.display())
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

/// What is only worth knowing is no warning.
fn note(findings: &mut Vec<String>, path: &Path, found: &Findings) {
    let found = found.iter().filter(|finding| finding.severity != Severity::Note);
    findings.extend(found.map(|finding| format!("{}: {}", path.display(), finding.text)));
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
