//! What the data threads ask of the configuration: who shall have a connection, and where its plaintext goes. All of it is
//! asked on the data threads: nothing here may wait, do I/O or hold a lock for long.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, NamedGroup, ProtocolVersion};
use tokio::sync::watch;

use super::access_log::AccessLog;
use super::counters::Failure;
use super::dial;
use super::hello::ClientHello;
use super::http;
use super::limits::Limit;
use super::policy::Server;

/// Chooses for each connection.
pub trait Choose: Send + Sync + 'static {
    /// A connection came, of whoever. [`left`](Self::left) is called only if it may stay.
    ///
    /// # Errors
    /// It may not.
    fn arrives(&self) -> Result<(), Limit> {
        Ok(())
    }

    /// Whether connections from there begin with a PROXY header, which says who the client is.
    fn expects_proxy(&self, peer: IpAddr) -> bool {
        let _ = peer;
        false
    }

    /// It is known who the client of a connection is that may stay. Whether it is counted by its address.
    ///
    /// # Errors
    /// It may not stay.
    fn introduce(&self, client: IpAddr) -> Result<bool, Limit> {
        let _ = client;
        Ok(false)
    }

    /// A connection is over, and the address at which it was counted, if it was.
    fn left(&self, counted: Option<IpAddr>) {
        let _ = counted;
    }

    /// How long a handshake may take, if it is not as the listener has it.
    fn handshake(&self) -> Option<Duration> {
        None
    }

    /// Where connections are taken down.
    fn access_log(&self) -> Option<Arc<AccessLog>> {
        None
    }

    /// Who shall have this connection, judged by its first message alone.
    fn choose(&self, hello: &ClientHello<'_>, client: SocketAddr) -> Choice;

    /// Asked once after the handshake, before a backend: the place for rules on clients' identities, and for ALPN. The default
    /// is what [`choose`](Self::choose) had said.
    ///
    /// # Errors
    /// The alert that the client is shown.
    fn admit(&self, about: &Secured<'_>, route: Arc<dyn Route>) -> Result<Arc<dyn Route>, Alert> {
        let _ = about;
        Ok(route)
    }

    /// The port at which a host is served by HTTPS; `None` if it is not.
    fn https(&self, host: &str) -> Option<u16> {
        let _ = host;
        None
    }
}

/// What becomes of a connection.
#[derive(Clone)]
pub enum Choice {
    /// TLS ends here.
    Terminate {
        /// By which rules.
        server: Arc<Server>,
        /// Where the plaintext goes.
        route: Arc<dyn Route>,
    },
    /// It goes on as it came.
    PassThrough {
        /// Whereto.
        route: Arc<dyn Route>,
    },
    /// It ends.
    Refuse(Alert),
}

/// Where a connection goes.
pub trait Route: Send + Sync + 'static {
    /// The next backend to be tried, when `tried` of them failed for this connection. `None`: there is no other.
    fn backend(&self, tried: usize) -> Option<Backend>;

    /// Writes what goes to the backend ahead of all else, such as a PROXY header. Asked for each attempt that connected.
    fn preface(&self, about: &Secured<'_>, into: &mut Vec<u8>) {
        let _ = (about, into);
    }

    /// How TLS is spoken to a backend, when the client agreed on that protocol inside.
    ///
    /// # Errors
    /// It has to be, and cannot be.
    fn tls(&self, backend: &Backend, protocol: Option<&[u8]>) -> Result<Option<dial::Tls>, Refused> {
        let _ = (backend, protocol);
        Ok(None)
    }

    /// What the configuration calls it.
    fn name(&self) -> &str {
        ""
    }

    /// Why an attempt failed, in words.
    fn complain(&self, backend: &Backend, error: &str) {
        let _ = (backend, error);
    }

    /// What became of an attempt, and of the connection in the end.
    fn note(&self, backend: &Backend, event: BackendEvent<'_>) {
        let _ = (backend, event);
    }

    /// How requests are passed on, if what is inside is HTTP. Then [`backend`](Self::backend) is asked for each of them.
    fn http(&self) -> Option<&Arc<http::Rules>> {
        None
    }

    /// Turns true when the configuration has another in its place: connections with requests end then, once they may.
    fn replaced(&self) -> Option<watch::Receiver<bool>> {
        None
    }

    /// How long things may take.
    fn timeouts(&self) -> Timeouts {
        Timeouts::default()
    }
}

/// TLS has to be spoken to a backend, and nothing says what name its certificate has.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no name that the backend's certificate could have")]
pub struct Refused;

/// Where one connection goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Backend {
    /// Its address.
    pub address: BackendAddress,
    /// What the route knows it by.
    pub id: usize,
}

/// Of a backend.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BackendAddress {
    /// By TCP.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(Arc<Path>),
}

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What happens with a backend.
#[derive(Debug)]
pub enum BackendEvent<'a> {
    /// It took the connection.
    Connected,
    /// It did not.
    Refused,
    /// It did not in time, or did not answer a request in time.
    TimedOut,
    /// The connection is over. Comes once for each [`Connected`](Self::Connected).
    Closed {
        /// Bytes to the backend.
        upward: u64,
        /// Bytes from it.
        downward: u64,
        /// What went wrong, if it did.
        failure: Option<&'a Failure>,
    },
}

/// How long the phases of a connection may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// Until a backend takes it. Each attempt has its own.
    pub connect: Duration,
    /// Without a byte in either direction. It may last a quarter longer.
    pub idle: Duration,
    /// The same, once one side has ended its stream.
    pub half_closed: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(5), idle: seconds(600), half_closed: seconds(30) }
    }
}

/// What is known of a connection before its backend is asked. What TLS would tell is absent if it is passed through.
#[derive(Clone, Debug)]
pub struct Secured<'a> {
    /// The client's address.
    pub client: SocketAddr,
    /// Ours, that it came to.
    pub local: Option<SocketAddr>,
    /// Its first message.
    pub hello: ClientHello<'a>,
    /// The protocol inside that was agreed.
    pub alpn: Option<&'a [u8]>,
    /// The version.
    pub version: Option<ProtocolVersion>,
    /// The suite.
    pub suite: Option<CipherSuite>,
    /// The group of the key exchange.
    pub group: Option<NamedGroup>,
    /// Whether a ticket spared it the signature.
    pub resumed: bool,
    /// The client's certificates, its own first.
    pub certificates: &'a [CertificateDer<'static>],
}

/// What a client is told when it is refused (RFC 8446, section 6.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Alert {
    /// Nothing in common.
    HandshakeFailure = 40,
    /// Known, but not let in.
    AccessDenied = 49,
    /// The first message makes no sense.
    DecodeError = 50,
    /// Our own fault.
    InternalError = 80,
    /// No server of that name.
    UnrecognisedName = 112,
}

impl Alert {
    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }
}
