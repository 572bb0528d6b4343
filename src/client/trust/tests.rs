//! Handshakes in memory with servers of several authorities.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConnection, ServerConfig, ServerConnection};

use super::*;
use crate::client::holder::Holder;
use crate::test_folder::Folder;

struct Site {
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Site {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { authority: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn pin(&self) -> Fingerprint {
        Fingerprint::of(self.authority.der())
    }

    /// A server of this name; `days` from now its certificate begins, for one day. It shows the authority of `shown`.
    fn server(&self, name: &str, days: i64, shown: Option<&Self>) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before =
            time::OffsetDateTime::now_utc() + time::Duration::days(days) - time::Duration::hours(1);
        params.not_after = params.not_before + time::Duration::days(1);
        let leaf = params.signed_by(&key, &self.authority).unwrap();
        let mut chain = vec![leaf.der().clone()];
        chain.extend(shown.map(|site| site.authority.der().clone()));
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap();
        Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap())
    }
}

/// A handshake with `gate.test`, as far as it goes.
fn shake(trust: Trust<'_>, server: Arc<ServerConfig>) -> Result<(), String> {
    let name = ServerName::try_from("gate.test").unwrap();
    let mut client = ClientConnection::new(Arc::new(trust.config().unwrap()), name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    for _ in 0..4 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        let _ = server.process_new_packets();
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        // As tokio-rustls has it.
        let failed = |error: Error| std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        client
            .process_new_packets()
            .map_err(|error| why("gate.test", &failed(error), trust.pin.is_some()).to_string())?;
    }
    assert!(!client.is_handshaking());
    Ok(())
}

fn pinned(site: &Site) -> Trust<'static> {
    Trust { pin: Some(site.pin()), ca: None, identity: None }
}

#[test]
fn a_pinned_authority_is_trusted_and_no_other() {
    let (ours, other) = (Site::new(), Site::new());
    shake(pinned(&ours), ours.server("gate.test", 0, Some(&ours))).unwrap();
    for server in [
        other.server("gate.test", 0, Some(&other)),
        // It shows our authority, which has not signed it.
        other.server("gate.test", 0, Some(&ours)),
        // It does not show the authority that has.
        ours.server("gate.test", 0, None),
    ] {
        let error = shake(pinned(&ours), server).unwrap_err();
        assert!(error.contains("not from the authority that the invitation names"), "{error}");
    }
}

#[test]
fn a_pinned_authority_does_not_make_up_for_a_wrong_name_or_time() {
    let ours = Site::new();
    for (name, days, says) in [
        ("other.test", 0, "is for other names: DnsName(\"other.test\")"),
        ("gate.test", 7, "is the clock of this machine right?"),
        ("gate.test", -7, "its certificate ended at "),
    ] {
        let error = shake(pinned(&ours), ours.server(name, days, Some(&ours))).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_file_of_authorities_is_trusted_and_the_systems_do_not_know_the_site() {
    let (ours, folder) = (Site::new(), Folder::new());
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, ours.authority.pem()).unwrap();
    let server = ours.server("gate.test", 0, None);
    shake(Trust { pin: None, ca: Some(&file), identity: None }, server.clone()).unwrap();
    std::fs::write(&file, Site::new().authority.pem()).unwrap();
    let error = shake(Trust { pin: None, ca: Some(&file), identity: None }, server).unwrap_err();
    assert!(error.contains("give that by --ca FILE"), "{error}");
}

#[test]
fn files_that_cannot_be_used_are_named_and_nothing_is_trusted() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let path = |name: &str| folder.path().join(name);
    let key = KeyPair::generate().unwrap();
    let other = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["alice".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(path("empty.pem"), "no certificate").unwrap();
    std::fs::write(path("alice.pem"), leaf.pem()).unwrap();
    for (name, text) in [
        ("alice.key", key.serialize_pem()),
        ("other.key", other.serialize_pem()),
        ("empty.key", String::new()),
    ] {
        std::fs::write(path(name), text).unwrap();
        std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let told = |ca: &str, certificate: &str, key: &str| {
        let (ca, certificate, key) = (path(ca), path(certificate), path(key));
        let (certificate, key) = (Holder::File(certificate), Holder::File(key));
        let identity = Identity { certificate, key, module: None, attended: false };
        let trust = Trust { pin: None, ca: Some(&ca), identity: Some(&identity) };
        trust.config().map(drop).map_err(|error| {
            assert!(error.is::<Wrong>(), "{error}");
            error.to_string()
        })
    };
    told("alice.pem", "alice.pem", "alice.key").unwrap();
    for (ca, certificate, key, says) in [
        ("empty.pem", "alice.pem", "alice.key", "empty.pem: no certificate in it; PEM is expected"),
        ("none", "alice.pem", "alice.key", "none: No such file"),
        ("alice.pem", "empty.pem", "alice.key", "empty.pem: no certificate in it"),
        ("alice.pem", "alice.pem", "other.key", "other.key: it is not the key of"),
        ("alice.pem", "alice.pem", "empty.key", "empty.key: no private key in it"),
    ] {
        let error = told(ca, certificate, key).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    std::fs::set_permissions(path("alice.key"), std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(told("alice.pem", "alice.pem", "alice.key").unwrap_err().contains("chmod 600"));
}
