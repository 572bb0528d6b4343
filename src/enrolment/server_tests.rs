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
use crate::config::Naming;
use crate::pki::{Algorithm, Authority, Key, New, Purpose, Request as Wanted, Subject};
use crate::store::{Change, Embedded, Identity, Lease, Pool, Range, Refusal, Settings, Store, Token};
use crate::test_folder::Folder;
use crate::tls::policy::Policy;

/// What the server tells.
#[derive(Default)]
struct Heard {
    granted: Mutex<Vec<Lease>>,
    /// Why whoever keeps the peers takes none.
    refuses: Mutex<Option<Refusal>>,
    refused: AtomicUsize,
    meanwhile: AtomicUsize,
    lost: Mutex<Vec<Lost>>,
}

impl Heard {
    /// Waits until a connection ended like this.
    fn wait_lost(&self, why: Lost) {
        let there = || self.lost.lock().unwrap().contains(&why);
        let found = (0..500).any(|_| there() || (std::thread::sleep(Duration::from_millis(10)), false).1);
        assert!(found, "{why:?} in {:?}", self.lost.lock().unwrap());
    }
}

impl Peers for Heard {
    fn granted(&self, lease: &Lease, _: Option<PublicKey>) -> Result<(), Problem> {
        let refusal = *self.refuses.lock().unwrap();
        if let Some(refusal) = refusal {
            return Err(refusal.into());
        }
        self.granted.lock().unwrap().push(lease.clone());
        Ok(())
    }

    fn revoked_meanwhile(&self) {
        self.meanwhile.fetch_add(1, Ordering::Relaxed);
    }

    fn refused(&self, _: IpAddr, _: Option<&Identity>, _: &Problem) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    fn lost(&self, _: IpAddr, why: Lost) {
        self.lost.lock().unwrap().push(why);
    }
}

const HOST: &str = "vpn.example.org";
const HOUR: Duration = Duration::from_secs(3_600);
/// Short, but long enough for a busy machine.
const PATIENCE: Patience = Patience {
    handshake: Duration::from_secs(3),
    header: Duration::from_secs(2),
    body: Duration::from_secs(1),
    whole: Duration::from_secs(6),
};

struct Site {
    folder: Folder,
    address: SocketAddr,
    store: Arc<Embedded>,
    serving: Arc<ArcSwap<Serving>>,
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
        let server =
            Server::start(vec![listener], serving.clone(), heard.clone(), PATIENCE, HOUR, || {}).unwrap();
        Self { folder, address, store, serving, heard, authority, key, _server: server }
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
        let answer = request(&mut stream, path, body);
        assert_eq!(stream.conn.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
        answer
    }

    fn invite(&self, name: &str) -> String {
        let (token, now) = (Token::random().unwrap(), clock::both().wall.as_secs());
        let change =
            Change::Invite { token: token.digest(), identity: name.parse().unwrap(), until: now + 60 };
        self.store.apply(change, now).unwrap();
        format!(r#"{{"public_key":"{}","token":"{}"}}"#, key(), *token.to_text())
    }

    fn revoke(&self, name: &str) {
        let signer = self.authority.unlock(&self.key, OffsetDateTime::now_utc()).unwrap();
        let found = self.authority.find(name).unwrap();
        let serials: Vec<_> = found.into_iter().map(|it| it.certificate.serial).collect();
        signer.revoke(&serials, crate::pki::Reason::default(), 24 * HOUR).unwrap();
    }

    /// Has the files read again.
    fn read_again(&self) {
        let before = self.serving.load_full();
        let material =
            before.material.again(&paths(self.folder.path()), clock::both().wall.as_secs()).unwrap();
        self.serving
            .store(Arc::new(Serving { material: Arc::new(material), service: before.service.clone() }));
    }
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Asks once; the connection is as good as before.
fn request(stream: &mut Tls, path: &str, body: &str) -> (u16, serde_json::Value) {
    let length = body.len();
    let request = format!("POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    answer(stream)
}

fn answer(stream: &mut Tls) -> (u16, serde_json::Value) {
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with("\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {text:?}"));
        text.push(char::from(byte[0]));
    }
    let head = text.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
    let mut body = vec![0; length.expect(&text)];
    stream.read_exact(&mut body).unwrap();
    (text.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_slice(&body).unwrap())
}

fn paths(folder: &Path) -> Paths {
    Paths {
        certificate: folder.join("gw.pem"),
        private_key: folder.join("gw.key"),
        authorities: Some(folder.join("pki/ca.pem")),
        revoked: vec![folder.join("pki/crl.pem")],
        naming: Naming::CommonName,
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
fn who_can_be_no_peer_is_told_so_and_gets_no_lease() {
    let site = Site::new();
    *site.heard.refuses.lock().unwrap() = Some(Refusal::KeyReserved);
    let (status, answer) = site.ask(None, "/v1/enrol", &site.invite("alice"));
    assert_eq!((status, answer["error"].as_str()), (409, Some("key_reserved")), "{answer}");
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
    site.revoke("bob");
    let paths = paths(site.folder.path());
    let material = Material::load(&paths, clock::both().wall.as_secs()).unwrap();
    assert!(material.is_revoked(&lease.certificate) && !material.is_revoked(&[7; 32]));
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
fn a_connection_carries_several_requests_each_judged_by_the_lists_of_its_time() {
    let site = Site::new();
    issue(&site.authority, &site.key, site.folder.path(), "bob", Purpose::Client);
    let mut stream = site.connect(Some("bob"));
    let body = format!(r#"{{"public_key":"{}"}}"#, key());
    let (status, _) = request(&mut stream, "/v1/enrol", &body);
    assert_eq!(status, 200);
    assert_eq!(request(&mut stream, "/v1/renew", &body).0, 200);
    site.revoke("bob");
    site.read_again();
    let (status, answer) = request(&mut stream, "/v1/renew", &body);
    assert_eq!((status, answer["error"].as_str()), (403, Some("certificate_revoked")), "{answer}");
}

#[test]
fn who_waits_with_the_body_until_the_certificate_is_revoked_gets_nothing() {
    let site = Site::new();
    issue(&site.authority, &site.key, site.folder.path(), "bob", Purpose::Client);
    let mut stream = site.connect(Some("bob"));
    let body = format!(r#"{{"public_key":"{}"}}"#, key());
    let head = format!("POST /v1/enrol HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.flush().unwrap();
    site.revoke("bob");
    site.read_again();
    stream.write_all(body.as_bytes()).unwrap();
    assert_eq!(answer(&mut stream).1["error"], "certificate_revoked");
    assert!(site.heard.granted.lock().unwrap().is_empty());
}

#[test]
fn a_list_that_cannot_be_read_lets_no_certificate_in_and_tokens_as_ever() {
    let site = Site::new();
    issue(&site.authority, &site.key, site.folder.path(), "bob", Purpose::Client);
    let list = site.folder.path().join("pki/crl.pem");
    let kept = std::fs::read(&list).unwrap();
    let body = format!(r#"{{"public_key":"{}"}}"#, key());
    let ask = |certificate, body: &str| {
        site.read_again();
        let (status, answer) = site.ask(certificate, "/v1/enrol", body);
        (status, answer["error"].as_str().unwrap_or_default().to_owned())
    };
    for damaged in [None, Some(&b"-----BEGIN X509 CRL-----\nhalf"[..])] {
        match damaged {
            None => std::fs::remove_file(&list).unwrap(),
            Some(bytes) => std::fs::write(&list, bytes).unwrap(),
        }
        assert_eq!(ask(Some("bob"), &body), (503, "revocation_unknown".to_owned()));
        let findings = site.serving.load().material.findings().join("\n");
        assert!(findings.contains("no certificate of a client lets anybody in"), "{findings}");
        assert_eq!(ask(None, &site.invite("alice")).0, 200);
    }
    std::fs::write(&list, kept).unwrap();
    assert_eq!(ask(Some("bob"), &body).0, 200);
    assert!(site.serving.load().material.is_whole());
}

#[test]
fn whoever_has_no_proof_cannot_tell_who_has_a_lease() {
    let site = Site::new();
    assert_eq!(site.ask(None, "/v1/enrol", &site.invite("alice")).0, 200);
    let secret = Token::random().unwrap();
    let ask = |name: &str| {
        let body =
            format!(r#"{{"public_key":"{}","identity":"{name}","secret":"{}"}}"#, key(), *secret.to_text());
        site.ask(None, "/v1/renew", &body)
    };
    let answer = ask("alice");
    assert_eq!((answer.0, answer.1["error"].as_str()), (403, Some("no_lease")));
    assert_eq!(answer, ask("nobody"));
}

#[test]
fn who_is_slow_is_let_go_wherever_it_is() {
    let site = Site::new();
    // Nothing of a handshake; some of a header; none of a body.
    let _silent = TcpStream::connect(site.address).unwrap();
    let mut header = site.connect(None);
    header.write_all(b"POST /v1/enrol HTTP/1.1\r\n").unwrap();
    header.flush().unwrap();
    let mut body = site.connect(None);
    body.write_all(
        format!("POST /v1/enrol HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 9\r\n\r\n{{").as_bytes(),
    )
    .unwrap();
    let (status, answer) = answer(&mut body);
    assert_eq!((status, answer["error"].as_str()), (408, Some("too_slow")), "{answer}");
    let mut rest = Vec::new();
    let _ = header.read_to_end(&mut rest);
    assert!(rest.is_empty(), "a header that does not come has no answer");
    site.heard.wait_lost(Lost::Slow);
    assert_eq!(site.ask(None, "/v1/enrol", &site.invite("alice")).0, 200, "others are served");
}

#[test]
fn what_is_neither_tls_nor_http_is_counted() {
    let site = Site::new();
    let mut stream = TcpStream::connect(site.address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    site.heard.wait_lost(Lost::Handshake);
    let mut stream = site.connect(None);
    stream.write_all(&[0xff; 64]).unwrap();
    stream.flush().unwrap();
    site.heard.wait_lost(Lost::Broken);
}

#[test]
fn asking_for_what_is_not_there_is_guessing_too() {
    let site = Site::new();
    let mut stream = site.connect(None);
    let words: Vec<_> = (0..12).map(|_| request(&mut stream, "/admin", "{}").1["error"].clone()).collect();
    assert_eq!((&words[9], &words[11]), (&"no_such_call".into(), &"too_many".into()));
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
