//! `[tls.NAME]`: what it may say, and what is told of one that is wrong.

use std::net::SocketAddr;
use std::sync::LazyLock;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};

use super::*;
use crate::config::Tls;
use crate::tls::choice::BackendAddress;
use crate::tls::clients::Mode;
use crate::tls::health::Check;
use crate::tls::policy::Policy;
use crate::tls::routes::Target;

struct Made {
    ca: String,
    list: String,
    chain: String,
    key: String,
    other_key: String,
}

/// Made once, so that a file is the same each time it is read.
static MADE: LazyLock<Made> = LazyLock::new(|| {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let names = ["www.example.com", "*.example.com"].map(str::to_owned);
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2099, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Made {
        chain: params.signed_by(&key, &issuer).unwrap().pem(),
        key: key.serialize_pem(),
        other_key: KeyPair::generate().unwrap().serialize_pem(),
        list: list.signed_by(&issuer).unwrap().pem().unwrap(),
        ca,
    }
});

/// What a file of this name holds, if it is one for TLS.
pub(super) fn file(name: &str) -> Option<String> {
    let made = &MADE;
    Some(match name.rsplit('/').next().unwrap_or(name) {
        "other-key.pem" => made.other_key.clone(),
        name if name.ends_with("-key.pem") => made.key.clone(),
        name if name.ends_with("-ca.pem") => made.ca.clone(),
        name if name.ends_with(".pem") => made.chain.clone(),
        name if name.ends_with(".crl") => made.list.clone(),
        "tickets.keys" => format!("now {PRIVATE}\nnext {A}\n"),
        _ => return None,
    })
}

const PAIR: &str = "certificates = [{ chain_file = \"www.pem\", key_file = \"www-key.pem\" }]\n";

/// A table with an address, a certificate, these lines, and a route with those.
fn web(lines: &str, route: &str) -> String {
    format!("[tls.web]\nlisten = [\"[::]:443\"]\n{PAIR}{lines}\n[tls.web.route.app]\n{route}\n")
}

const BACKEND: &str = "backend = [\"127.0.0.1:8080\"]\n";

fn read_web(text: &str) -> Tls {
    read(text).unwrap_or_else(|errors| panic!("{errors}")).tls.remove("web").unwrap()
}

#[test]
fn a_short_table_has_the_defaults() {
    let web = read_web(&web("", BACKEND));
    assert_eq!(web.listen, ["[::]:443".parse::<SocketAddr>().unwrap()]);
    assert_eq!((web.policy, web.alpn.len(), web.certificates.len()), (Policy::Modern, 0, 1));
    assert!(web.ticket_keys.is_none() && web.clients.is_none());
    assert_eq!(
        web.routes["app"].backends,
        [Target::Address(BackendAddress::Tcp("127.0.0.1:8080".parse().unwrap()))]
    );
    assert!(web.routes["app"].sni.is_empty() && !web.routes["app"].pass_through);
}

#[test]
fn everything_that_may_be_said_is_read() {
    let lines = "policy = \"intermediate\"\nalpn = [\"h2\", \"http/1.1\"]\nclient_certificates = { ca_file = \"x-ca.pem\", \
                 mode = \"optional\", crl_files = [\"x.crl\"], allow = [\"dns:a.example\", \"spiffe://a/b\"] }\n";
    let route =
        "sni = [\"WWW.example.com\", \"*.example.com\"]\nbackend = [\"[::1]:1\", \"unix:/run/a.sock\"]\n";
    let passed =
        "[tls.web.route.x]\nsni = [\"x.example.net\"]\npass_through = true\nbackend = [\"192.0.2.1:443\"]\n";
    let config = read(&(web(lines, route) + passed)).unwrap();
    let web = &config.tls["web"];
    assert_eq!(
        (web.policy, web.alpn.as_slice()),
        (Policy::Intermediate, &["h2".to_owned(), "http/1.1".to_owned()][..])
    );
    let clients = web.clients.as_ref().unwrap();
    assert_eq!((clients.mode, clients.allow.len()), (Mode::Optional, 2));
    assert!(clients.verifier.value.until().unwrap() > 4_000_000_000);
    assert_eq!(web.routes["app"].backends[1].to_string(), "unix:/run/a.sock");
    assert!(web.routes["x"].pass_through);
    let names = ["www.pem", "www-key.pem", "x-ca.pem", "x.crl"];
    assert!(config.files.iter().map(|file| file.to_str().unwrap()).eq(names), "{:?}", config.files);
}

#[test]
fn backends_are_checked_if_that_is_asked_for() {
    let check =
        |more: &str| read_web(&web("", &format!("{BACKEND}check = {{ {more} }}\nslow_start = \"30s\"\n")));
    let (milliseconds, half) = (std::time::Duration::from_millis, "every = \"500ms\"");
    let default =
        Check { every: milliseconds(2_000), timeout: milliseconds(1_000), rise: 2, fall: 3, http: None };
    let web = check("");
    assert_eq!(web.routes["app"].check, Some(default.clone()));
    assert_eq!(web.routes["app"].slow_start, Some(milliseconds(30_000)));
    let short = Check { every: milliseconds(500), timeout: milliseconds(500), ..default };
    assert_eq!(check(half).routes["app"].check, Some(short));
    let all = check("every = \"1m\", timeout = \"3s\", rise = 1, fall = 9, http = \"/health\"");
    let asked = all.routes["app"].check.as_ref().unwrap();
    assert_eq!((asked.rise, asked.fall, asked.http.as_deref()), (1, 9, Some("/health")));
}

#[test]
fn what_goes_to_backends_and_who_may_come_is_read() {
    let lines = "accept_proxy = [\"10.0.0.0/8\", \"fd00::/8\"]\ntimeouts = { handshake = \"3s\", idle = \"1h\" }\n\
                 max_connections = 9\nmax_connections_per_address = 8\nmax_handshakes_per_address = 7\n\
                 access_log = { file = \"/var/log/a\", format = \"text\" }";
    let own = "chain_file = \"www.pem\", key_file = \"www-key.pem\"";
    let route = format!(
        "backend = [\"app.internal:8080\"]\nproxy_protocol = \"v2\"\nbackend_tls = {{ ca_file = \"x-ca.pem\", {own} }}"
    );
    let web = read_web(&web(lines, &route));
    let app = &web.routes["app"];
    assert_eq!(app.backends, [Target::Name { host: "app.internal".into(), port: 8080 }]);
    assert!(app.proxy == Some(crate::tls::proxy::Version::V2) && app.backend_tls.is_some());
    assert_eq!(web.accept_proxy.len(), 2);
    assert_eq!((web.handshake.as_secs(), web.timeouts.idle.as_secs()), (3, 3600));
    assert_eq!(web.timeouts.connect.as_secs(), 5, "the others stay as they are");
    let limits = (web.limits.connections, web.limits.per_address, web.limits.handshakes);
    assert_eq!(limits, (Some(9), Some(8), Some(7)));
    assert_eq!(web.access_log.unwrap().file, Path::new("/var/log/a"));
}

#[test]
fn a_table_that_only_passes_through_needs_no_certificate() {
    let text =
        format!("[tls.web]\nlisten = [\"0.0.0.0:443\"]\n[tls.web.route.app]\npass_through = true\n{BACKEND}");
    assert!(read_web(&text).certificates.is_empty());
    refused(&text.replace("pass_through = true", ""), "tls.web.certificates", "nothing", "chain_file");
}

#[test]
fn equal_files_are_equal_and_others_are_not() {
    let both = [web("", BACKEND), web("ticket_key_file = \"tickets.keys\"", BACKEND)];
    for text in &both {
        assert_eq!(read(text).unwrap(), read(text).unwrap());
    }
    assert_ne!(read_web(&both[0]), read_web(&both[1]));
    assert_ne!(read_web(&both[0]), read_web(&both[0].replace("8080", "8081")));
    assert_ne!(read_web(&both[0]), read_web(&both[0].replace("\"www.pem", "\"other.pem")));
}

#[test]
fn each_mistake_is_told_where_it_is() {
    for (lines, route, key, found, allowed) in [
        ("policy = \"old\"", BACKEND, "tls.web.policy", "\"old\"", "\"modern\" or \"intermediate\""),
        ("alpn = [\"\"]", BACKEND, "tls.web.alpn[0]", "\"\"", "1 to 255 bytes"),
        (
            "ciphers = \"ALL\"",
            BACKEND,
            "tls.web.ciphers",
            "an unknown key",
            "nothing weaker can be written down",
        ),
        (
            "",
            "sni = [\"*\"]\nbackend = [\"127.0.0.1:1\"]",
            "tls.web.route.app.sni[0]",
            "\"*\"",
            "one label more",
        ),
        ("", "sni = []\nbackend = [\"127.0.0.1:1\"]", "tls.web.route.app.sni", "an empty list", "no sni"),
        (
            "",
            "sni = [\"a.example.org\"]\nbackend = [\"127.0.0.1:1\"]",
            "tls.web.route.app.sni[0]",
            "\"a.example.org\", which no certificate names",
            "pass_through",
        ),
        ("", "", "tls.web.route.app.backend", "nothing", "127.0.0.1:8080"),
        ("", "backend = [\"app:0\"]", "tls.web.route.app.backend[0]", "\"app:0\"", "app.internal:8080"),
        ("", "backend = [\"unix:app\"]", "tls.web.route.app.backend[0]", "\"unix:app\"", "unix:/PATH"),
        (
            "",
            "backend = [\"127.0.0.1:1\", \"127.0.0.1:1\"]",
            "tls.web.route.app.backend[1]",
            "\"127.0.0.1:1\", after tls.web.route.app.backend[0] (line 6)",
            "once",
        ),
        (
            "",
            "backend = [\"127.0.0.1:1\"]\ntls = { ca_file = \"x\" }",
            "tls.web.route.app.tls",
            "an unknown key",
            "did you mean backend_tls?",
        ),
        (
            "",
            "backend = [\"127.0.0.1:1\"]\ncheck = { every = \"1s\", timeout = \"2s\" }",
            "tls.web.route.app.check.timeout",
            "\"2s\"",
            "a time from 10ms to 1s, as",
        ),
        (
            "",
            "backend = [\"127.0.0.1:1\"]\ncheck = { http = \"health\" }",
            "tls.web.route.app.check.http",
            "\"health\"",
            "/health",
        ),
        (
            "",
            "backend = [\"127.0.0.1:1\"]\nslow_start = \"5s\"",
            "tls.web.route.app.slow_start",
            "slow_start without check",
            "beside check",
        ),
        (
            "",
            "backend = [\"unix:/a\"]\nbackend_tls = { ca_file = \"x-ca.pem\" }",
            "tls.web.route.app.backend_tls.name",
            "nothing",
            "a backend here is a unix socket",
        ),
        (
            "",
            "backend = [\"a:1\"]\nbackend_tls = { ca_file = \"x-ca.pem\", verify = false }",
            "tls.web.route.app.backend_tls.verify",
            "an unknown key",
            "backends are always verified",
        ),
        (
            "",
            "backend = [\"a:1\"]\nbackend_tls = { ca_file = \"x-ca.pem\", chain_file = \"www.pem\" }",
            "tls.web.route.app.backend_tls.key_file",
            "nothing",
            "0600",
        ),
        (
            "",
            "backend = [\"a:1\"]\nproxy_protocol = \"v3\"",
            "tls.web.route.app.proxy_protocol",
            "\"v3\"",
            "\"v1\" or \"v2\"",
        ),
        ("accept_proxy = []", BACKEND, "tls.web.accept_proxy", "an empty list", "or no accept_proxy"),
        ("max_connections = 0", BACKEND, "tls.web.max_connections", "0", "from 1 to"),
        ("timeouts = { idle = \"0s\" }", BACKEND, "tls.web.timeouts.idle", "\"0s\"", "100ms to 24h"),
        ("access_log = { format = \"json\" }", BACKEND, "tls.web.access_log.file", "nothing", "a file"),
        (
            "access_log = { file = \"/a\", format = \"xml\" }",
            BACKEND,
            "tls.web.access_log.format",
            "\"xml\"",
            "\"json\" or \"text\"",
        ),
        (
            "client_certificates = { ca_file = \"x-ca.pem\" }",
            BACKEND,
            "tls.web.client_certificates.mode",
            "nothing",
            "\"required\" or \"optional\"",
        ),
        (
            "client_certificates = { ca_file = \"x-ca.pem\", mode = \"required\", allow = [\"bob\"] }",
            BACKEND,
            "tls.web.client_certificates.allow[0]",
            "\"bob\"",
            "dns:NAME",
        ),
        (
            "client_certificates = { ca_file = \"www-key.pem\", mode = \"required\" }",
            BACKEND,
            "tls.web.client_certificates.ca_file",
            "\"www-key.pem\": no certificate: expected PEM, \"-----BEGIN CERTIFICATE-----\"",
            "CAs in PEM",
        ),
        (
            "ticket_key_file = \"www.pem\"",
            BACKEND,
            "tls.web.ticket_key_file",
            "\"www.pem\": line 1: expected a name and a key of 32 bytes in base64, as `openssl rand -base64 32` prints it",
            "0600",
        ),
        (
            "ticket_key_file = \"tickets.keys\"\nclient_certificates = { ca_file = \"x-ca.pem\", mode = \"optional\" }",
            BACKEND,
            "tls.web.ticket_key_file",
            "ticket_key_file beside client_certificates",
            "no tickets",
        ),
    ] {
        refused(&web(lines, route), key, found, allowed);
    }
}

#[test]
fn a_key_that_does_not_fit_is_told() {
    let text = web("", BACKEND).replace("www-key.pem", "other-key.pem");
    let found = "\"www.pem\": the private key does not belong to the certificate";
    refused(&text, "tls.web.certificates[0].chain_file", found, "the key of the first");
}

#[test]
fn nothing_is_there_twice() {
    let route = "[tls.web.route.b]\nbackend = [\"127.0.0.1:1\"]\n";
    refused(
        &(web("", BACKEND) + route),
        "tls.web.route.b",
        "a second route without sni, after tls.web.route.app (line 5)",
        "one route",
    );
    let sni = "sni = [\"www.example.com\"]\n";
    let text = web("", &format!("{sni}{BACKEND}")) + route + sni;
    let found = "\"www.example.com\", after tls.web.route.app.sni[0] (line 6)";
    refused(&text, "tls.web.route.b.sni[0]", found, "no other route");
    let text = web("", BACKEND) + &web("", BACKEND).replace("tls.web", "tls.b");
    refused(&text, "tls.b.listen[0]", "\"[::]:443\", after tls.web.listen[0] (line 2)", "once");
    let text = tunnel("") + &web("", BACKEND).replace("tls.web", "tls.wg0");
    refused(&text, "tls.wg0", "\"wg0\", after wireguard.wg0 (line 1)", "no other tunnel");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "[tls.web]\nlisten = [\"443\"]\npolicy = 1\nalpn = 2\ncertificates = [{ chain_file = \"www.pem\" }]\n\
                [tls.web.route.a]\nbackends = 3\n";
    let told = told(text);
    let expected = [
        "2:11: tls.web.listen[0]",
        "3:10",
        "4:8",
        "5:17: tls.web.certificates[0].key_file",
        "6:16: tls.web.route.a.backend",
        "7:1",
    ];
    assert_eq!(told.lines().count(), expected.len(), "{told}");
    for place in expected {
        assert!(told.contains(&format!("aditd.toml:{place}")), "{place} in {told}");
    }
}
