//! TLS as OpenSSL sees it: what its client gets from our configurations, and what its certificates are to us.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use adit::tls::certificate::{Certificate, Files};
use adit::tls::check::Report;
use adit::tls::policy::{Parts, Policy, Server};
use adit::tls::resolver::{Certificates, Resolver};
use adit::tls::tickets::{TicketKeys, Tickets};
use rustls::time_provider::DefaultTimeProvider;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("adit-tls-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs openssl in a folder; a failure is an error.
fn openssl(folder: &Path, words: &str) -> Output {
    let output =
        Command::new("openssl").args(words.split(' ')).current_dir(folder).stdin(Stdio::null()).output();
    let output = output.expect("openssl is installed");
    assert!(output.status.success(), "openssl {words}\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn now() -> i64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64
}

/// A certificate made by openssl from these words.
fn made(folder: &Folder, words: &str) -> Result<Certificate, String> {
    let rest = "-nodes -keyout key.pem -out chain.pem -days 30 -subj /CN=a -addext subjectAltName=DNS:www.example.com";
    openssl(&folder.0, &format!("req -x509 {words} {rest}"));
    let (chain, key) = (folder.read("chain.pem"), folder.read("key.pem"));
    Certificate::load(Files { chain: &chain, key: &key, ocsp: None }, now())
        .map_err(|findings| findings.to_string())
}

/// A server that echoes nothing: it shakes hands, says a line and ends, for each connection.
fn serve(config: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream =
                StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream.unwrap());
            // Whoever is refused is refused: the client's side is what is looked at.
            let _ = stream.write_all(b"hello\n").and_then(|()| stream.flush());
            let _ = stream.read(&mut [0; 16]);
        }
    });
    address
}

fn server(folder: &Folder, policy: Policy) -> Server {
    let certificate = made(folder, "-newkey ec -pkeyopt ec_paramgen_curve:P-256").unwrap();
    let certificates = Arc::new(Resolver::new(Certificates::new(vec![certificate])));
    let keys = TicketKeys::generate(now() as u64);
    let tickets = Arc::new(Tickets::new(keys, policy, "web", Arc::new(DefaultTimeProvider)));
    policy
        .server(Parts {
            certificates,
            clients: None,
            tickets: Some(tickets),
            alpn: Vec::new(),
            key_log: None,
        })
        .unwrap()
}

/// What openssl's client tells of a connection, whether it comes about or not.
fn client(folder: &Folder, address: SocketAddr, words: &str) -> String {
    let all = format!("s_client -connect {address} -servername www.example.com {words}");
    let mut child = Command::new("openssl");
    child
        .args(all.split(' '))
        .current_dir(&folder.0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = child.spawn().expect("openssl is installed");
    // Time for tickets, which come after the handshake; then the end.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let _ = child.stdin.take().unwrap().write_all(b"Q\n");
    let output = child.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn openssl_resumes_with_tls_1_3_and_gets_no_ticket_with_tls_1_2() {
    let folder = Folder::new("tickets");
    let server = server(&folder, Policy::Intermediate);
    for config in [server.resuming.clone(), server.full_only.clone()] {
        let address = serve(config);
        let first = client(&folder, address, "-tls1_2 -sess_out session12.pem");
        assert!(
            first.contains("Cipher is ECDHE-ECDSA-AES") && !first.contains("TLS session ticket:"),
            "{first}"
        );
        // openssl writes this file for a session that it could resume.
        assert!(!folder.0.join("session12.pem").exists(), "{first}");
    }
    let address = serve(server.resuming);
    let first = client(&folder, address, "-tls1_3 -sess_out session13.pem");
    assert!(first.contains("New, TLSv1.3") && first.contains("TLS session ticket:"), "{first}");
    assert!(first.contains("Max Early Data: 0"), "{first}");
    let second = client(&folder, address, "-tls1_3 -sess_in session13.pem");
    assert!(second.contains("Reused, TLSv1.3"), "{second}");
    let full = client(&folder, serve(server.full_only), "-tls1_3");
    assert!(full.contains("New, TLSv1.3") && !full.contains("TLS session ticket:"), "{full}");
}

#[test]
fn openssl_gets_nothing_that_the_policy_does_not_name() {
    let folder = Folder::new("policy");
    let (modern, intermediate) = (server(&folder, Policy::Modern), server(&folder, Policy::Intermediate));
    let (modern, intermediate) = (serve(modern.resuming), serve(intermediate.resuming));
    for (address, words, comes) in [
        (modern, "-tls1_3", true),
        (modern, "-tls1_2", false),
        (intermediate, "-tls1_2", true),
        (intermediate, "-tls1_1 -cipher ALL:@SECLEVEL=0", false),
        (intermediate, "-tls1 -cipher ALL:@SECLEVEL=0", false),
        (intermediate, "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0", false),
        (intermediate, "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA256", false),
        (intermediate, "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256", true),
        (intermediate, "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305", true),
        (intermediate, "-tls1_3 -groups P-521", false),
        (intermediate, "-tls1_3 -groups P-384", true),
    ] {
        let told = client(&folder, address, words);
        assert_eq!(told.contains("hello\n"), comes, "{words}\n{told}");
    }
    let told = client(&folder, intermediate, "-tls1_2");
    assert!(
        told.contains("Compression: NONE") && told.contains("Secure Renegotiation IS supported"),
        "{told}"
    );
}

#[test]
fn weak_certificates_are_refused_and_each_form_of_key_is_read() {
    let folder = Folder::new("weak");
    for (words, refused) in [
        ("-newkey rsa:2048 -sha256", None),
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-384", None),
        ("-newkey ed25519", None),
        ("-newkey rsa:1024 -sha256", Some("an RSA key of 1024 bits; at least 2048 are needed")),
        ("-newkey rsa:2048 -sha1", Some("signed with SHA-1; expected SHA-256 or better")),
        ("-newkey ec -pkeyopt ec_paramgen_curve:secp256k1", Some("a key of another kind (1.3.132.0.10)")),
    ] {
        match (made(&folder, words), refused) {
            (Ok(_), None) => (),
            (Err(told), Some(refused)) => assert!(told.contains(refused), "{words}: {told}"),
            (found, _) => panic!("{words}: {found:?}"),
        }
    }
    for (words, form, name) in [
        ("-newkey rsa:2048", "rsa -in key.pem -traditional -out old.pem", "RSA PRIVATE KEY"),
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-256", "ec -in key.pem -out old.pem", "EC PRIVATE KEY"),
    ] {
        made(&folder, words).unwrap();
        openssl(&folder.0, form);
        let (chain, key) = (folder.read("chain.pem"), folder.read("old.pem"));
        assert!(String::from_utf8_lossy(&key).contains(name));
        Certificate::load(Files { chain: &chain, key: &key, ocsp: None }, now()).unwrap();
    }
}

#[test]
fn an_ocsp_response_is_stapled_if_openssl_made_it_for_this_certificate() {
    let folder = Folder::new("ocsp");
    let run = |words: &str| openssl(&folder.0, words);
    run(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 90 -subj /CN=ca",
    );
    std::fs::write(folder.0.join("names"), "subjectAltName=DNS:www.example.com\n").unwrap();
    for (name, serial) in [("one", "1001"), ("two", "1002")] {
        run(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
        ));
        run(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -set_serial 0x{serial} -days 60 -extfile names -out {name}.pem"
        ));
    }
    let index = "V\t400101000000Z\t\t1001\tunknown\t/CN=one\nR\t400101000000Z\t250101000000Z\t1002\tunknown\t/CN=two\n";
    std::fs::write(folder.0.join("index"), index).unwrap();
    for name in ["one", "two"] {
        run(&format!(
            "ocsp -index index -rsigner ca.pem -rkey ca.key -CA ca.pem -issuer ca.pem -cert {name}.pem -ndays 7 -respout {name}.ocsp -noverify"
        ));
    }
    let load = |chain: &str, response: &[u8], now: i64| {
        let chain = [folder.read(&format!("{chain}.pem")), folder.read("ca.pem")].concat();
        let key = folder.read("one.key");
        let loaded = Certificate::load(Files { chain: &chain, key: &key, ocsp: Some(response) }, now);
        loaded.map(|certificate| certificate.findings().to_string()).map_err(|findings| findings.to_string())
    };
    let good = folder.read("one.ocsp");
    let told = load("one", &good, now()).unwrap();
    assert!(!told.contains("OCSP"), "{told}");
    let late = load("one", &good, now() + 8 * 86_400).unwrap();
    assert!(late.contains("is not sent: its time ended at"), "{late}");
    let other = load("one", &folder.read("two.ocsp"), now()).unwrap();
    assert!(other.contains("is not sent: it is about another certificate"), "{other}");
    let mut forged = good.clone();
    let at = forged.windows(3).rposition(|window| window == [0x80, 0, 0x18]).unwrap();
    // Another second in thisUpdate.
    forged[at + 4 + 12] ^= 1;
    let forged = load("one", &forged, now()).unwrap();
    assert!(forged.contains("is not signed by the certificate's issuer"), "{forged}");
    let chain = [folder.read("two.pem"), folder.read("ca.pem")].concat();
    let (key, response) = (folder.read("two.key"), folder.read("two.ocsp"));
    let revoked =
        Certificate::load(Files { chain: &chain, key: &key, ocsp: Some(&response) }, now()).unwrap_err();
    assert_eq!(revoked.to_string(), "the OCSP response says that the certificate was revoked");
}

#[test]
fn a_server_of_ours_is_found_to_offer_what_its_policy_says_and_an_old_one_is_told_of() {
    let folder = Folder::new("check");
    let address = serve(server(&folder, Policy::Intermediate).resuming);
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(adit::tls::certificate::certificates(&folder.read("chain.pem")).unwrap());
    let check = |address, host: &str| Report::of_server("it", host, address, roots.clone(), now()).unwrap();
    let report = check(address, "www.example.com");
    let versions: Vec<_> = report.versions.iter().map(|it| (it.version, it.suites.len())).collect();
    assert_eq!(versions, [("TLS 1.3", 3), ("TLS 1.2", 3)], "{report:?}");
    assert_eq!(report.groups, ["X25519MLKEM768", "X25519", "P-256", "P-384"]);
    let wrong = check(address, "www.example.org").findings.to_string();
    assert!(wrong.contains("the certificate is not for www.example.org"), "{wrong}");

    made(&folder, "-newkey rsa:2048").unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let words = format!(
        "s_server -accept 127.0.0.1:{port} -key key.pem -cert chain.pem -cipher ALL:@SECLEVEL=0 -quiet"
    );
    let mut old = Command::new("openssl");
    let old = old.args(words.split(' ')).current_dir(&folder.0).stdin(Stdio::piped());
    let mut old = old.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    while std::net::TcpStream::connect(address).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let report = check(address, "www.example.com");
    old.kill().and_then(|()| old.wait()).unwrap();
    let told = report.findings.to_string();
    for fault in [
        "TLS 1.2 with AES128-SHA: no forward secrecy",
        "it speaks TLS 1.0",
        "its first group is X25519",
        "tickets under TLS 1.2",
    ] {
        assert!(told.contains(fault), "{fault}: {told}");
    }
}
