//! One check: a connection, and a question in HTTP/1.1 (RFC 9112) if that is asked for.

use std::io;
use std::net::SocketAddr;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::tls::choice::BackendAddress;
use crate::tls::dial::Tls;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub(in crate::tls) struct How {
    /// The path of a GET; without one a connection is enough.
    pub(in crate::tls) http: Option<String>,
    /// Whom the request is for.
    pub(in crate::tls) host: String,
    /// What goes ahead of all else.
    pub(in crate::tls) preface: Vec<u8>,
    /// How TLS is spoken to it.
    pub(in crate::tls) tls: Option<Tls>,
}

/// Asks a backend; no deadline is set.
///
/// # Errors
/// Why it does not pass, in words.
pub(in crate::tls) async fn ask(address: &BackendAddress, how: &How) -> Result<(), String> {
    match address {
        BackendAddress::Tcp(address) => question(tcp(*address).await.map_err(told)?, how).await,
        BackendAddress::Unix(path) => question(UnixStream::connect(path).await.map_err(told)?, how).await,
    }
}

async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn told(error: io::Error) -> String {
    error.to_string()
}

/// What comes ahead of a question.
async fn question<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, how: &How) -> Result<(), String> {
    stream.write_all(&how.preface).await.map_err(told)?;
    match &how.tls {
        None => http(stream, how).await,
        Some(Tls { config, name }) => {
            let secured = TlsConnector::from(config.clone()).connect(name.clone(), stream).await;
            http(secured.map_err(told)?, how).await
        }
    }
}

async fn http(stream: impl AsyncRead + AsyncWrite + Unpin, how: &How) -> Result<(), String> {
    let Some(path) = &how.http else { return Ok(()) };
    let words = |error: hyper::Error| format!("GET {path}: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(HOST, &how.host)
        .header(USER_AGENT, "aditd-check")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("GET {path}: {error}"))?;
    let answer = sender.send_request(request);
    tokio::pin!(answer, connection);
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It may have ended with the answer.
        _ = &mut connection => answer.await,
    };
    let status = answer.map_err(words)?.status();
    if status.is_success() || status.is_redirection() { Ok(()) } else { Err(format!("GET {path}: {status}")) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// What a check finds at a server that answers so, and what it was asked.
    fn asked(answer: &'static str, http: Option<&str>) -> (Result<(), String>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = BackendAddress::Tcp(listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut text, mut buffer) = (Vec::new(), [0; 512]);
            while !text.ends_with(b"\r\n\r\n") {
                match stream.read(&mut buffer).unwrap() {
                    0 => break,
                    count => text.extend_from_slice(&buffer[..count]),
                }
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(text).unwrap()
        });
        let how = How { http: http.map(str::to_owned), host: "app.internal".into(), ..How::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(ask(&address, &how));
        (found, server.join().unwrap())
    }

    #[test]
    fn a_connection_is_enough_without_a_path() {
        assert_eq!(asked("", None), (Ok(()), String::new()));
    }

    #[test]
    fn a_question_needs_2xx_or_3xx_for_an_answer() {
        for (answer, good) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true),
            ("HTTP/1.1 204 No Content\r\n\r\n", true),
            ("HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n", true),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false),
            ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", false),
            ("SSH-2.0-OpenSSH\r\n", false),
            ("", false),
        ] {
            let (found, question) = asked(answer, Some("/health?full"));
            assert_eq!(found.is_ok(), good, "{answer}: {found:?}");
            assert!(question.starts_with("GET /health?full HTTP/1.1\r\n"), "{question}");
            assert!(question.contains("host: app.internal\r\n"), "{question}");
        }
    }

    #[test]
    fn who_cannot_be_connected_to_fails() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(ask(&BackendAddress::Tcp(address), &How::default()));
        assert!(found.unwrap_err().contains("refused"));
    }
}
