//! What may be negotiated: Mozilla's server side TLS guidelines 6.0 (ssl-config.mozilla.org/guidelines/6.0.json).
//!
//! A policy is a name, not a list: nothing weaker can be written down. In each there are forward-secret key agreements and
//! AEADs alone; there is no compression, no renegotiation and no early data, which rustls has no code for or is not told
//! to accept; and no ticket under TLS 1.2, where one would hand the keys of a session to whoever gets the ticket's key.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::{
    ClientConfig, KeyLog, RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    version,
};

/// Suites of TLS 1.3 in Mozilla's order. The client's order decides.
const TLS13: [SupportedCipherSuite; 3] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
];
/// Suites of TLS 1.2 in Mozilla's order.
const TLS12: [SupportedCipherSuite; 6] = [
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];
/// Groups in Mozilla's order.
const GROUPS: [&dyn SupportedKxGroup; 4] =
    [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
/// Sessions with backends that are remembered, for each of them.
const SESSIONS: usize = 64;

/// A certificate of ours with its chain, and its key.
pub(super) type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What may be negotiated.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Policy {
    /// TLS 1.3 alone: for clients since about 2018.
    #[default]
    Modern,
    /// TLS 1.3, and TLS 1.2 with ECDHE and an AEAD.
    Intermediate,
}

/// A text names no policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected \"modern\" or \"intermediate\"")]
pub struct NoPolicy;

impl FromStr for Policy {
    type Err = NoPolicy;

    fn from_str(text: &str) -> Result<Self, NoPolicy> {
        match text {
            "modern" => Ok(Self::Modern),
            "intermediate" => Ok(Self::Intermediate),
            _ => Err(NoPolicy),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Two configurations that differ in resumption alone. The connection takes `full_only` whenever the client does not offer
/// TLS 1.3: rustls has one ticketer for both versions.
#[derive(Clone, Debug)]
pub struct Server {
    /// Issues and takes tickets.
    pub resuming: Arc<ServerConfig>,
    /// Neither.
    pub full_only: Arc<ServerConfig>,
}

/// What a server is made of beside its policy.
#[derive(Debug)]
pub struct Parts {
    /// Chooses certificates.
    pub certificates: Arc<dyn ResolvesServerCert>,
    /// Judges certificates of clients, if they are asked for one.
    pub clients: Option<Arc<dyn ClientCertVerifier>>,
    /// Makes tickets, if there shall be any.
    pub tickets: Option<Arc<dyn ProducesTickets>>,
    /// Protocols inside, best first.
    pub alpn: Vec<Vec<u8>>,
    /// Gets the keys of every connection: for whoever debugs, and to be warned of.
    pub key_log: Option<Arc<dyn KeyLog>>,
}

impl Policy {
    /// As the configuration has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Intermediate => "intermediate",
        }
    }

    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        const ALL: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
        match self {
            Self::Modern => &ALL[..1],
            Self::Intermediate => ALL,
        }
    }

    /// The algorithms, and nothing else that rustls could be talked into.
    #[must_use]
    pub fn provider(self) -> Arc<CryptoProvider> {
        static MODERN: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| provider(TLS13.to_vec()));
        static INTERMEDIATE: LazyLock<Arc<CryptoProvider>> =
            LazyLock::new(|| provider(TLS13.into_iter().chain(TLS12).collect()));
        match self {
            Self::Modern => MODERN.clone(),
            Self::Intermediate => INTERMEDIATE.clone(),
        }
    }

    /// A server.
    ///
    /// Where clients show certificates nothing is resumed: a resumed session would skip the check whether theirs was revoked.
    ///
    /// # Errors
    /// None that a caller could cause: policies are complete.
    pub fn server(self, parts: Parts) -> Result<Server, rustls::Error> {
        let Parts { certificates, clients, tickets, alpn, key_log } = parts;
        let builder =
            ServerConfig::builder_with_provider(self.provider()).with_protocol_versions(self.versions())?;
        let tickets = tickets.filter(|_| clients.is_none());
        let mut config = match clients {
            Some(clients) => builder.with_client_cert_verifier(clients),
            None => builder.with_no_client_auth(),
        }
        .with_cert_resolver(certificates);
        config.alpn_protocols = alpn;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.enable_secret_extraction = true;
        if let Some(key_log) = key_log {
            config.key_log = key_log;
        }
        let full_only = Arc::new(config);
        let resuming = match tickets {
            None => full_only.clone(),
            Some(tickets) => {
                let mut config = ServerConfig::clone(&full_only);
                config.ticketer = tickets;
                config.send_tls13_tickets = TICKETS;
                Arc::new(config)
            }
        };
        Ok(Server { resuming, full_only })
    }

    /// A client that trusts `roots`, and shows a certificate of its `own` if it is asked for one: towards backends.
    ///
    /// # Errors
    /// The certificate cannot be used: policies are complete.
    pub(super) fn client(
        self,
        roots: RootCertStore,
        alpn: Vec<Vec<u8>>,
        own: Option<Own>,
    ) -> Result<Arc<ClientConfig>, rustls::Error> {
        let builder =
            ClientConfig::builder_with_provider(self.provider()).with_protocol_versions(self.versions())?;
        let builder = builder.with_root_certificates(roots);
        let mut config = match own {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn;
        let sessions = Resumption::in_memory_sessions(SESSIONS);
        config.resumption = sessions.tls12_resumption(rustls::client::Tls12Resumption::Disabled);
        config.enable_secret_extraction = true;
        Ok(Arc::new(config))
    }
}

/// Tickets that follow a full handshake: one for each of two connections that a browser opens next.
const TICKETS: usize = 2;

fn provider(cipher_suites: Vec<SupportedCipherSuite>) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { cipher_suites, kx_groups: GROUPS.to_vec(), ..default_provider() })
}

#[cfg(test)]
mod tests;
