//! One request to the gateway's enrolment API: HTTP inside of TLS 1.3, marked so that it passes by the tunnel.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Wrong;
use super::network::MARK;

/// The system's roots, on Debian and on what comes from it.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// How long an address may take to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// How long all of it may take.
const WHOLE: Duration = Duration::from_secs(20);
/// The longest answer, in bytes: several times what a lease takes.
const LONGEST: usize = 64 << 10;

/// Whom we trust, and who we are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trust<'a> {
    /// Certificates to trust; the system's if there are none.
    pub(super) ca: Option<&'a Path>,
    /// Our own certificate and its key.
    pub(super) certificate: Option<(&'a Path, &'a Path)>,
}

/// A gateway's address for enrolment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Origin {
    host: String,
    port: u16,
}

impl Origin {
    /// Reads `https://HOST` or `https://HOST:PORT`.
    ///
    /// # Errors
    /// What is allowed.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let wrong =
            || format!("{url:?} is no address of a gateway: https://HOST or https://HOST:PORT is expected");
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("https")).ok_or_else(wrong)?;
        if uri.path() != "/" || uri.query().is_some() {
            return Err(wrong());
        }
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: uri.port_u16().unwrap_or(443) })
    }

    /// Its addresses, by the system's resolver.
    fn addresses(&self) -> Result<Vec<SocketAddr>> {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        let found = found.with_context(|| format!("{} cannot be looked up", self.host))?;
        Ok(found.collect())
    }
}

/// Posts JSON to a path; the answer's status and body.
///
/// # Errors
/// In words: no such name, no route, no answer, a certificate that is not trusted.
pub(super) fn post(origin: &Origin, trust: Trust<'_>, path: &str, body: Vec<u8>) -> Result<(u16, Bytes)> {
    let connector = TlsConnector::from(Arc::new(config(trust)?));
    let addresses = origin.addresses()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let whole = async {
        let stream = connect(&addresses).await.with_context(|| format!("cannot reach {}", origin.host))?;
        let name = ServerName::try_from(origin.host.clone()).context("no name of a server")?;
        let stream =
            connector.connect(name, stream).await.map_err(|error| handshake_error(&origin.host, &error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer, or with the runtime.
        tokio::spawn(connection);
        let request = Request::post(path)
            .header("host", format!("{}:{}", origin.host, origin.port))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))?;
        // A certificate that is refused shows in TLS 1.3 only now.
        let response = sender.send_request(request).await;
        let response =
            response.map_err(|error| anyhow!("{} ended the connection: {error:?}", origin.host))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| anyhow!("the answer of {} broke off: {error}", origin.host))?;
        Ok((status, body.to_bytes()))
    };
    runtime.block_on(async {
        timeout(WHOLE, whole)
            .await
            .map_err(|_| anyhow!("{}: no answer in {} s", origin.host, WHOLE.as_secs()))?
    })
}

/// The first that answers.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream> {
    let mut last = anyhow!("the name has no address");
    for address in addresses {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Only root may; who enrols as somebody else has no full tunnel either.
        let _ = SockRef::from(&socket).set_mark(MARK);
        match timeout(CONNECT, socket.connect(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = anyhow!("{address}: {error}"),
            Err(_) => last = anyhow!("{address}: no answer"),
        }
    }
    Err(last)
}

fn config(trust: Trust<'_>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let file = trust.ca.unwrap_or(Path::new(ROOTS));
    let found = CertificateDer::pem_file_iter(file).map_err(|error| wrong(file, &error))?;
    roots.add_parsable_certificates(found.filter_map(Result::ok));
    if roots.is_empty() {
        return Err(wrong(file, &"no certificate in it"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = builder.with_root_certificates(roots);
    let Some((certificate, key)) = trust.certificate else { return Ok(builder.with_no_client_auth()) };
    let chain = CertificateDer::pem_file_iter(certificate).map_err(|error| wrong(certificate, &error))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(certificate, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    builder.with_client_auth_cert(chain, private).map_err(|error| wrong(certificate, &error))
}

fn wrong(file: &Path, error: &dyn std::fmt::Display) -> anyhow::Error {
    Wrong(format!("{}: {error}", file.display())).into()
}

fn handshake_error(host: &str, error: &std::io::Error) -> anyhow::Error {
    let text = error.to_string();
    // Webpki's names for what is too early or too late.
    let clock = ["NotValidYet", "Expired", "not valid yet", "expired"].iter().any(|word| text.contains(word));
    let hint = if clock { "; is the clock of this machine right?" } else { "" };
    anyhow!("{host} is not trusted: {text}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_no_path_is_an_address() {
        let origin = |host: &str, port| Ok(Origin { host: host.into(), port });
        assert_eq!(Origin::parse("https://gate.example"), origin("gate.example", 443));
        assert_eq!(Origin::parse("https://gate.example:8443/"), origin("gate.example", 8443));
        assert_eq!(Origin::parse("https://[2001:db8::1]:8443"), origin("2001:db8::1", 8443));
        for url in
            ["http://gate.example", "gate.example", "https://", "https://x/y", "https://x/?y", "ftp://x"]
        {
            assert!(Origin::parse(url).unwrap_err().contains("https://HOST"), "{url}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let folder = crate::test_folder::Folder::new();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "no certificate").unwrap();
        let error = config(Trust { ca: Some(&file), certificate: None }).unwrap_err();
        assert!(error.is::<Wrong>() && error.to_string().contains("ca.pem: no certificate in it"), "{error}");
    }
}
