//! Two sides of TLS for tests: ours, and a client of rustls.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedCipherSuite};

use super::channel::Channel;
use super::handshake::Handshake;
use super::record::CONTENT;

/// The server's name.
pub(super) const NAME: &str = "www.example.com";

/// Configurations with one suite, whose certificate is signed by itself.
pub(super) fn configs(suite: SupportedCipherSuite) -> (ServerConfig, Arc<ClientConfig>) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let certificate = CertificateDer::from(cert.der().to_vec());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let mut provider = default_provider();
    provider.cipher_suites = vec![suite];
    let provider = Arc::new(provider);
    let versions: &[_] = &[suite.version()];
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.enable_secret_extraction = true;
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut client = client.with_root_certificates(roots).with_no_client_auth();
    client.enable_secret_extraction = true;
    (server, Arc::new(client))
}

/// A client that has said nothing yet.
pub(super) fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(config.clone(), ServerName::try_from(NAME).unwrap()).unwrap()
}

/// What a client has to send.
pub(super) fn sent(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Hands bytes to a client.
pub(super) fn show(client: &mut ClientConnection, mut bytes: &[u8]) -> Result<(), rustls::Error> {
    while !bytes.is_empty() {
        client.read_tls(&mut bytes).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

/// `data` in records, as they are sent to the client.
pub(super) fn sealed(channel: &mut Channel, data: &[u8]) -> Vec<u8> {
    let (head, tail) = channel.room();
    let mut slots = vec![0; data.len().div_ceil(CONTENT) * (head + CONTENT + tail)];
    for (slot, part) in slots.chunks_mut(head + CONTENT + tail).zip(data.chunks(CONTENT)) {
        slot[head..head + part.len()].copy_from_slice(part);
    }
    let length = channel.seal(&mut slots, data.len()).unwrap();
    slots.truncate(length);
    slots
}

/// Both sides after their handshake. What the client sends goes `step` bytes at a time.
pub(super) fn linked(suite: SupportedCipherSuite, step: usize) -> (ClientConnection, Channel) {
    let (server, client_config) = configs(suite);
    let mut client = client(&client_config);
    let mut handshake = Handshake::new(Arc::new(server)).unwrap();
    let (mut received, mut done) = (Vec::new(), false);
    while !done {
        for bytes in sent(&mut client).chunks(step) {
            assert!(!done, "done before all was shown");
            let mut answer = Vec::new();
            received.extend_from_slice(bytes);
            done = handshake.advance(&mut received, &mut answer).unwrap();
            show(&mut client, &answer).unwrap();
        }
    }
    assert!(!client.is_handshaking() && received.is_empty());
    (client, handshake.finish().unwrap())
}
