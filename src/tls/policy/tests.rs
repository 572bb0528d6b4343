//! What is negotiated under a policy, and what is not.

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::ResolvesServerCertUsingSni;
use rustls::sign::CertifiedKey;
use rustls::time_provider::DefaultTimeProvider;
use rustls::{ClientConnection, HandshakeKind, NamedGroup, ProtocolVersion, ServerConnection};

use super::*;
use crate::tls::tickets::{TicketKeys, Tickets};

const NAME: &str = "www.example.com";

/// A server with a certificate of its own, and the roots that know it.
fn server(policy: Policy, tickets: bool) -> (Server, RootCertStore) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let key = CertifiedKey::new(vec![cert.der().clone()], any_supported_type(&key).unwrap());
    let mut certificates = ResolvesServerCertUsingSni::new();
    certificates.add(NAME, key).unwrap();
    let time = Arc::new(DefaultTimeProvider);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let keys = TicketKeys::generate(now);
    let tickets =
        tickets.then(|| Arc::new(Tickets::new(keys, policy, "web", time)) as Arc<dyn ProducesTickets>);
    let certificates = Arc::new(certificates);
    let parts = Parts { certificates, clients: None, tickets, alpn: vec![b"h2".to_vec()], key_log: None };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(cert.der().to_vec())).unwrap();
    (policy.server(parts).unwrap(), roots)
}

/// A handshake without a network, and one ping, behind which the tickets come.
fn connect(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from(NAME).unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    let mut server = ServerConnection::new(server.clone()).unwrap();
    for _ in 0..8 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server))
}

/// A client that is given everything that rustls has, and more than we accept.
fn client(roots: RootCertStore, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
    builder.with_protocol_versions(versions).unwrap().with_root_certificates(roots).with_no_client_auth()
}

#[test]
fn the_hybrid_group_and_tls_1_3_are_what_both_policies_prefer() {
    for policy in [Policy::Modern, Policy::Intermediate] {
        let (server, roots) = server(policy, true);
        let ours = policy.client(roots, vec![b"h2".to_vec()], None).unwrap();
        let (client, server) = connect(&ours, &server.resuming).unwrap();
        assert_eq!(server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let group = server.negotiated_key_exchange_group().map(|group| group.name());
        assert_eq!(group, Some(NamedGroup::X25519MLKEM768));
        assert_eq!(client.alpn_protocol(), Some(&b"h2"[..]));
    }
}

#[test]
fn modern_refuses_tls_1_2_and_intermediate_takes_it_with_ecdhe_and_an_aead() {
    for (policy, taken) in [(Policy::Modern, false), (Policy::Intermediate, true)] {
        let (server, roots) = server(policy, true);
        let client = Arc::new(client(roots, &[&version::TLS12]));
        let connected = connect(&client, &server.full_only).map(|(_, server)| {
            (server.protocol_version(), server.negotiated_cipher_suite().map(|suite| suite.suite()))
        });
        let suite = rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
        let expected = taken.then_some((Some(ProtocolVersion::TLSv1_2), Some(suite)));
        assert_eq!(connected.ok(), expected, "{policy}");
    }
}

/// Even by the configuration that has tickets, if a caller should take the wrong one.
#[test]
fn a_session_is_resumed_under_tls_1_3_and_never_under_tls_1_2() {
    for (versions, tickets, second) in [
        (&[&version::TLS13][..], true, HandshakeKind::Resumed),
        (&[&version::TLS13], false, HandshakeKind::Full),
        (&[&version::TLS12], true, HandshakeKind::Full),
    ] {
        let (server, roots) = server(Policy::Intermediate, tickets);
        let mut client = client(roots, versions);
        client.resumption = Resumption::in_memory_sessions(4);
        let client = Arc::new(client);
        for kind in [HandshakeKind::Full, second] {
            let (_, server) = connect(&client, &server.resuming).unwrap();
            assert_eq!(server.handshake_kind(), Some(kind), "{versions:?}");
        }
        let (_, server) = connect(&client, &server.full_only).unwrap();
        assert_eq!(server.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[test]
fn nothing_is_accepted_before_the_handshake_is_done() {
    let (server, roots) = server(Policy::Modern, true);
    assert_eq!((server.resuming.max_early_data_size, server.resuming.send_half_rtt_data), (0, false));
    let mut client = client(roots, &[&version::TLS13]);
    client.enable_early_data = true;
    let client = Arc::new(client);
    connect(&client, &server.resuming).unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    assert!(ClientConnection::new(client, name).unwrap().early_data().is_none());
}

/// Mozilla's lists, ssl-config.mozilla.org/guidelines/6.0.json.
#[test]
fn the_lists_are_mozillas() {
    let suites = |policy: Policy| {
        let suites = policy.provider().cipher_suites.clone();
        suites.iter().map(|suite| format!("{:?}", suite.suite())).collect::<Vec<_>>()
    };
    let modern = ["TLS13_AES_128_GCM_SHA256", "TLS13_AES_256_GCM_SHA384", "TLS13_CHACHA20_POLY1305_SHA256"];
    assert_eq!(suites(Policy::Modern), modern);
    let more = [
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ];
    assert_eq!(suites(Policy::Intermediate), [&modern[..], &more].concat());
    let groups: Vec<_> = Policy::Intermediate.provider().kx_groups.iter().map(|group| group.name()).collect();
    let expected =
        [NamedGroup::X25519MLKEM768, NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::secp384r1];
    assert_eq!(groups, expected);
    for (name, policy) in
        [("modern", Ok(Policy::Modern)), ("intermediate", Ok(Policy::Intermediate)), ("old", Err(NoPolicy))]
    {
        assert_eq!(name.parse(), policy);
    }
}
