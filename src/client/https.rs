//! One request to the gateway's enrolment API: HTTP inside of TLS 1.3, marked so that it passes by the tunnel.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::network::MARK;
use super::trust::{Trust, why};

/// How long an address may take to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// How long all of it may take.
const WHOLE: Duration = Duration::from_secs(20);
/// The longest answer, in bytes: several times what a lease takes.
const LONGEST: usize = 64 << 10;

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

    /// As it stands in a URL and in `Host` (RFC 3986 section 3.2.2).
    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
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
    let connector = TlsConnector::from(Arc::new(trust.config()?));
    let addresses = origin.addresses()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let whole = async {
        let stream = connect(&addresses).await.with_context(|| format!("cannot reach {}", origin.host))?;
        let name = ServerName::try_from(origin.host.clone()).context("no name of a server")?;
        let failed =
            |error: &(dyn std::error::Error + 'static)| why(&origin.host, error, trust.pin.is_some());
        let stream = connector.connect(name, stream).await.map_err(|error| failed(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer, or with the runtime.
        tokio::spawn(connection);
        let request = Request::post(path)
            .header("host", origin.authority())
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))?;
        // A certificate that is refused shows in TLS 1.3 only now.
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| failed(&error))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        for url in ["https://gate.example:8443", "https://192.0.2.1:443", "https://[2001:db8::1]:8443"] {
            assert_eq!(format!("https://{}", Origin::parse(url).unwrap().authority()), url);
        }
    }

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
}
