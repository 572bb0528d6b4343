//! What is told of a connection, or of one request on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::tls::choice::BackendAddress;

/// What is known of a connection. All lines of its requests have it.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The name of the table.
    pub listener: Arc<str>,
    /// The client's address.
    pub client: Option<SocketAddr>,
    /// Who told of it by a PROXY header.
    pub proxy: Option<SocketAddr>,
    /// Ours, that it came to.
    pub local: Option<SocketAddr>,
    /// As `TLSv1.3`; absent if it was passed through, or came in clear.
    pub version: Option<&'static str>,
    /// The suite, as OpenSSL calls it.
    pub suite: Option<&'static str>,
    /// The group of the key exchange.
    pub group: Option<String>,
    /// The server's name that it asked for.
    pub sni: Option<String>,
    /// The protocol inside that was agreed.
    pub alpn: Option<String>,
    /// Whether a ticket spared the signature.
    pub resumed: Option<bool>,
    /// Who the client is by its certificate: its SPIFFE ID, its first name, or its subject.
    pub identity: Option<String>,
    /// SHA-256 of that certificate, in hex.
    pub certificate: Option<String>,
    /// The fingerprint of its first message.
    pub ja4: Option<String>,
    /// From the first byte to the end of the handshake.
    pub handshake: Option<Duration>,
    /// Which route it took.
    pub route: Option<String>,
}

/// What is known of a request. What it does not say, or is not understood, is absent.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Its id, as the backend got it.
    pub id: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// Whom it is for, as it came.
    pub host: Option<String>,
    /// What it is for, without what is behind `?`: secrets are there more often than elsewhere.
    pub path: Option<String>,
    /// As `HTTP/1.1`.
    pub protocol: Option<&'static str>,
    /// What it was answered.
    pub status: Option<u16>,
    /// From its head to that of the answer.
    pub first_byte: Option<Duration>,
}

/// A line. What is not known is null in JSON, and left out in text.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// When it ended, since 1970.
    pub ended: Duration,
    /// The connection.
    pub connection: Arc<Connection>,
    /// The request; absent if the line is the connection's own.
    pub request: Option<Request>,
    /// Bytes from the client: of the connection, decrypted, or of the request's body.
    pub received: Option<u64>,
    /// Bytes to it: before they are encrypted, or of the answer's body.
    pub sent: Option<u64>,
    /// From the first byte, or of a request from its head, to the end.
    pub duration: Duration,
    /// The backend that took the connection, or that was asked last.
    pub backend: Option<BackendAddress>,
    /// What is wrong with that backend, in words.
    pub error: Option<String>,
    /// Why it ended: `done`, a reason, or `stopped` if it was ended from here.
    pub end: &'static str,
}
