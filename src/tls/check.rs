//! What a server offers and what is wrong with it, for people and for JSON.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use serde::Serialize;

use super::certificate::{Findings, Validity, judge, names_host};
use super::policy::Policy;
use super::probe::{
    Answer, GROUPS, Question, SESSION_TICKET, SUITES, TLS12, TLS13, ask, group_name, version_name,
};

/// How long the one whole handshake may take for each read.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What was looked at: `HOST:PORT`, or a file.
    pub target: String,
    /// Versions and their suites, best first; none of a file.
    pub versions: Vec<Version>,
    /// Groups for the key exchange of TLS 1.3, in the server's order.
    pub groups: Vec<String>,
    /// Names that the certificate stands for.
    pub names: Vec<String>,
    /// When the chain ends, in seconds since 1970.
    pub expires: Option<i64>,
    /// What is wrong, and what is worth knowing.
    pub findings: Findings,
}

/// One version that a server speaks.
#[derive(Clone, Debug, Serialize)]
pub struct Version {
    /// Its name.
    pub version: &'static str,
    /// Its suites, as the server prefers them.
    pub suites: Vec<&'static str>,
}

impl Report {
    /// Judges a chain in a file.
    #[must_use]
    pub fn of_chain(target: &str, chain: &[CertificateDer<'_>], now: i64) -> Self {
        let mut report = Self { target: target.to_owned(), ..Self::default() };
        report.chain(chain, now);
        report
    }

    /// Asks a server at an address, by this name, at the time `now` in seconds since 1970; `roots` are those to trust.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn of_server(
        target: &str,
        host: &str,
        address: SocketAddr,
        roots: RootCertStore,
        now: i64,
    ) -> io::Result<Self> {
        let mut report = Self { target: target.to_owned(), ..Self::default() };
        let name = Some(host).filter(|host| host.parse::<std::net::IpAddr>().is_err());
        for version in [TLS13, TLS12, 0x0302, 0x0301, 0x0300] {
            report.version(address, version, name)?;
        }
        if report.versions.is_empty() {
            report.findings.wrong("it speaks no version of TLS, or not to this name");
            return Ok(report);
        }
        report.judge_versions();
        report.groups = groups(address, name)?;
        match report.groups.first().map(String::as_str) {
            Some(first) if !first.contains("MLKEM") => {
                report.findings.note(format!(
                    "its first group is {first}: what is recorded today can be read by a quantum computer"
                ));
            }
            Some(_) | None => (),
        }
        report.certificate(address, host, roots, now);
        Ok(report)
    }

    /// Finds the suites of one version: each time without those that it chose before.
    fn version(&mut self, address: SocketAddr, version: u16, name: Option<&str>) -> io::Result<()> {
        let own = |number: u16| (number >> 8 == 0x13) == (version == TLS13);
        let mut left: Vec<_> =
            SUITES.iter().map(|suite| suite.number).filter(|number| own(*number)).collect();
        let groups: Vec<_> = GROUPS.iter().map(|(number, _)| *number).collect();
        let mut found = Vec::new();
        let mut tickets = false;
        while !left.is_empty() {
            let question = Question { version, suites: &left, groups: &groups, name };
            match ask(address, &question)? {
                Answer::Hello { version: chosen, suite, extensions, .. } if chosen == version => {
                    let before = left.len();
                    left.retain(|number| *number != suite);
                    let Some(known) =
                        SUITES.iter().find(|known| known.number == suite).filter(|_| left.len() < before)
                    else {
                        break;
                    };
                    tickets |= extensions.contains(&SESSION_TICKET);
                    found.push(known);
                }
                Answer::Hello { .. } | Answer::Refused | Answer::NotTls => break,
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let version = version_name(version);
        for suite in &found {
            if let Some(fault) = suite.fault {
                self.findings.wrong(format!("{version} with {}: {fault}", suite.name));
            }
        }
        if tickets {
            self.findings.warning(format!(
                "it issues tickets under {version}: whoever gets their key reads what was said"
            ));
        }
        self.versions.push(Version { version, suites: found.iter().map(|suite| suite.name).collect() });
        Ok(())
    }

    fn judge_versions(&mut self) {
        let speaks = |name: &str| self.versions.iter().any(|version| version.version == name);
        if !speaks("TLS 1.3") {
            self.findings.warning("it does not speak TLS 1.3");
        }
        for old in ["TLS 1.1", "TLS 1.0", "SSL 3.0"] {
            if self.versions.iter().any(|version| version.version == old) {
                self.findings.wrong(format!("it speaks {old}, which nobody should (RFC 8996)"));
            }
        }
    }

    fn chain(&mut self, chain: &[CertificateDer<'_>], now: i64) {
        let judged = judge(chain, now);
        self.names = judged.patterns.iter().map(ToString::to_string).collect();
        let Validity { until, .. } = judged.validity;
        self.expires = (until != i64::MIN).then_some(until);
        self.findings.extend(&judged.findings);
    }

    /// Gets the certificate by a whole handshake, and judges it.
    fn certificate(&mut self, address: SocketAddr, host: &str, roots: RootCertStore, now: i64) {
        let seen = match handshake(address, host, roots) {
            Ok(seen) => seen,
            Err(error) => {
                return self.findings.warning(format!("no handshake as clients of today do it: {error}"));
            }
        };
        self.chain(&seen.chain, now);
        if seen.chain.first().is_some_and(|leaf| !names_host(leaf, host)) {
            self.findings.wrong(format!("the certificate is not for {host}"));
        }
        if let Some(error) = seen.distrusted {
            self.findings.wrong(format!("a client that trusts the given roots refuses it: {error}"));
        }
    }
}

/// The groups of TLS 1.3, as the server prefers them.
fn groups(address: SocketAddr, name: Option<&str>) -> io::Result<Vec<String>> {
    let suites: Vec<_> =
        SUITES.iter().map(|suite| suite.number).filter(|number| number >> 8 == 0x13).collect();
    let mut left: Vec<_> = GROUPS.iter().map(|(number, _)| *number).collect();
    let mut found = Vec::new();
    while !left.is_empty() {
        let question = Question { version: TLS13, suites: &suites, groups: &left, name };
        let Answer::Hello { group: Some(group), .. } = ask(address, &question)? else { break };
        if !left.contains(&group) {
            break;
        }
        left.retain(|number| *number != group);
        found.push(group_name(group));
    }
    Ok(found)
}

/// What a handshake showed.
#[derive(Clone, Debug, Default)]
struct Seen {
    chain: Vec<CertificateDer<'static>>,
    distrusted: Option<String>,
}

fn handshake(address: SocketAddr, host: &str, roots: RootCertStore) -> Result<Seen, String> {
    let provider = Policy::Intermediate.provider();
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let witness = Arc::new(Witness { judge: judge.ok(), provider: provider.clone(), seen: Mutex::default() });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder
        .map_err(|error| words(&error))?
        .dangerous()
        .with_custom_certificate_verifier(witness.clone())
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| words(&error))?;
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(|error| words(&error))?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|error| words(&error))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| words(&error))?;
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut stream) {
            // It may have shown its certificate before it ended.
            let seen = witness.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return if seen.chain.is_empty() { Err(words(&error)) } else { Ok(seen) };
        }
    }
    Ok(witness.seen.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// Notes what a server shows, and lets it pass: nothing is said on this connection.
#[derive(Debug)]
struct Witness {
    judge: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    seen: Mutex<Seen>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = self
            .judge
            .as_ref()
            .map(|judge| judge.verify_server_cert(end_entity, intermediates, name, ocsp, now));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let all = std::iter::once(end_entity).chain(intermediates);
        seen.chain = all.map(|der| der.clone().into_owned()).collect();
        seen.distrusted = judged.and_then(Result::err).map(|error| error.to_string());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
