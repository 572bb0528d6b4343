//! The API over real connections.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adit_noise::{PrivateKey, PublicKey};
use arc_swap::ArcSwap;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore, StreamOwned};
use time::OffsetDateTime;

use super::*;
use crate::clock;
use crate::pki::{Algorithm, Authority, Key, New, Purpose, Request as Wanted, Subject};
use crate::store::{Change, Embedded, Lease, Pool, Range, Settings, Store, Token};
use crate::test_folder::Folder;
use crate::tls::policy::Policy;

/// What the server tells.
#[derive(Default)]
struct Heard {
    granted: Mutex<Vec<Lease>>,
    refused: AtomicUsize,
}

impl Peers for Heard {
    fn granted(&self, lease: &Lease, _: Option<PublicKey>) {
        self.granted.lock().unwrap().push(lease.clone());
    }

    fn refused(&self, _: IpAddr, _: &Problem) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

const HOST: &str = "vpn.example.org";
const HOUR: Duration = Duration::from_secs(3_600);

struct Site {
    folder: Folder,
    address: SocketAddr,
    store: Arc<Embedded>,
    heard: Arc<Heard>,
    authority: Authority,
    key: Key,
    _server: Server,
}

impl Site {
    fn new() -> Self {
        let folder = Folder::new();
        let key = Key::generate(Algorithm::EcdsaP256).unwrap();
        let new = New { name: "CA", lifetime: 24 * HOUR, next_update: 24 * HOUR };
        let pki = folder.path().join("pki");
        let authority = Authority::create(&pki, &new, &key, None, OffsetDateTime::now_utc()).unwrap();
        issue(&authority, &key, folder.path(), "gw", Purpose::Server);
        let paths = paths(folder.path());
        let now = clock::both().wall.as_secs();
        let material = Arc::new(Material::load(&paths, now).unwrap());
        let range = Range { first: [10, 9, 0, 2].into(), last: [10, 9, 0, 99].into() };
        let settings = Settings { pool: Pool { v4: Some(range), v6: None }, cache: 1 << 20 };
        let store = Arc::new(Embedded::open(&folder.path().join("store"), &settings, now).unwrap());
        let gateway = Gateway { public_key: "key".into(), endpoints: vec![format!("{HOST}:51820")] };
        let terms =
            Terms { lease: HOUR, routes: vec![], dns: vec![], search: vec![], gateway, reserved: vec![] };
        let service = Arc::new(Service::new(store.clone() as Arc<dyn Store>, terms));
        let serving = Arc::new(ArcSwap::from_pointee(Serving { material, service }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Heard::default());
        let server = Server::start(vec![listener], serving, heard.clone(), HOUR, || {}).unwrap();
        Self { folder, address, store, heard, authority, key, _server: server }
    }

    /// A connection to the API, with the certificate of this name if there is one.
    fn connect(&self, certificate: Option<&str>) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.authority.certificate().der().to_vec())).unwrap();
        let builder = ClientConfig::builder_with_provider(Policy::Modern.provider());
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let file = |ending| self.folder.path().join(format!("{name}.{ending}"));
                let chain = CertificateDer::pem_file_iter(file("pem")).unwrap().map(Result::unwrap).collect();
                builder
                    .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(file("key")).unwrap())
                    .unwrap()
            }
        };
        let name = ServerName::try_from(HOST).unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        StreamOwned::new(connection, stream)
    }

    /// Asks; the status and the body of the answer.
    fn ask(&self, certificate: Option<&str>, path: &str, body: &str) -> (u16, serde_json::Value) {
        let mut stream = self.connect(certificate);
        let request =
            format!("POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        // Whoever ends a connection without telling is a TLS library's concern.
        let _ = stream.read_to_string(&mut answer);
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect(&answer);
        assert_eq!(stream.conn.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
        (status, serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap())
    }
}

fn paths(folder: &Path) -> Paths {
    Paths {
        certificate: folder.join("gw.pem"),
        private_key: folder.join("gw.key"),
        authorities: Some(folder.join("pki/ca.pem")),
        revoked: vec![folder.join("pki/crl.pem")],
    }
}

fn issue(authority: &Authority, key: &Key, folder: &Path, name: &str, purpose: Purpose) {
    let alt_names = vec![crate::pki::AltName::dns(HOST).unwrap()];
    let subject = Subject::New(Algorithm::EcdsaP256);
    let wanted = Wanted { name: name.parse().unwrap(), alt_names, purpose, lifetime: HOUR, subject };
    let signer = authority.unlock(key, OffsetDateTime::now_utc()).unwrap();
    let (issued, private) = signer.issue(&wanted).unwrap();
    let public = issued.certificate.to_pem();
    std::fs::write(folder.join(format!("{name}.pem")), public).unwrap();
    crate::pki::write_new(&folder.join(format!("{name}.key")), private.unwrap().to_pem().as_bytes()).unwrap();
}

fn key() -> PublicKey {
    PrivateKey::generate().public()
}

#[test]
fn a_token_is_good_once_and_what_was_granted_is_told_before_the_answer() {
    let site = Site::new();
    let token = Token::random().unwrap();
    let until = clock::both().wall.as_secs() + 60;
    let change = Change::Invite { token: token.digest(), identity: "alice".parse().unwrap(), until };
    site.store.apply(change, until - 60).unwrap();
    let body = format!(r#"{{"public_key":"{}","token":"{}"}}"#, key(), *token.to_text());
    let (status, answer) = site.ask(None, "/v1/enrol", &body);
    assert_eq!((status, answer["identity"].as_str()), (200, Some("alice")), "{answer}");
    assert_eq!(site.heard.granted.lock().unwrap().len(), 1);
    let (status, answer) = site.ask(None, "/v1/enrol", &body);
    assert_eq!((status, answer["error"].as_str()), (403, Some("used_token")), "{answer}");
    assert_eq!(site.heard.refused.load(Ordering::Relaxed), 1);
}

#[test]
fn a_certificate_names_its_client_and_one_that_was_revoked_is_told_so() {
    let site = Site::new();
    issue(&site.authority, &site.key, site.folder.path(), "bob", Purpose::Client);
    let body = format!(r#"{{"public_key":"{}"}}"#, key());
    let (status, answer) = site.ask(Some("bob"), "/v1/enrol", &body);
    assert_eq!((status, answer["identity"].as_str()), (200, Some("bob")), "{answer}");
    let lease = site.heard.granted.lock().unwrap()[0].clone();
    let signer = site.authority.unlock(&site.key, OffsetDateTime::now_utc()).unwrap();
    let serials: Vec<_> =
        site.authority.find("bob").unwrap().into_iter().map(|it| it.certificate.serial).collect();
    signer.revoke(&serials, crate::pki::Reason::default(), 24 * HOUR).unwrap();
    let paths = paths(site.folder.path());
    let material = Material::load(&paths, clock::both().wall.as_secs()).unwrap();
    assert!(material.is_revoked(&lease.certificate) && !material.is_revoked(&[7]));
    let chain = CertificateDer::pem_file_iter(site.folder.path().join("bob.pem")).unwrap();
    let chain: Vec<_> = chain.map(Result::unwrap).collect();
    let judged = material.judge.unwrap().judge(&chain, clock::both().wall.as_secs()).unwrap();
    assert_eq!((judged.identity.as_str(), judged.standing), ("bob", Standing::Revoked));
}

#[test]
fn what_is_too_large_or_something_else_is_refused_in_words() {
    let site = Site::new();
    let refused = |path: &str, body: &str| {
        let (status, answer) = site.ask(None, path, body);
        (status, answer["error"].as_str().unwrap().to_owned())
    };
    assert_eq!(refused("/v1/enrol", &"x".repeat(LARGEST + 1)), (413, "too_large".into()));
    assert_eq!(refused("/v1/enrol", "{"), (400, "malformed".into()));
    assert_eq!(refused("/v1/other", "{}"), (404, "no_such_call".into()));
    let body = format!(r#"{{"public_key":"{}"}}"#, key());
    assert_eq!(refused("/v1/enrol", &body), (401, "no_proof".into()));
}

#[test]
fn a_client_that_sends_no_header_is_let_go() {
    let site = Site::new();
    let mut stream = site.connect(None);
    stream.write_all(b"POST /v1/enrol HTTP/1.1\r\n").unwrap();
    let begun = std::time::Instant::now();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let waited = begun.elapsed();
    assert!((3..12).contains(&waited.as_secs()), "{waited:?}");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new();
    let paths = paths(site.folder.path());
    std::fs::set_permissions(&paths.private_key, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = Material::load(&paths, 0).unwrap_err();
    assert!(refused.contains("its mode is 0640") && refused.contains("chmod 600"), "{refused}");
}
