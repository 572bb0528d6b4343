//! Enrolments by HTTPS: the daemon's own server, and clients that are no more than TLS needs.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit::config::Naming;
use adit::enrolment::{
    Gateway, Lost, Material, Paths, Patience, Peers, Problem, Server, Service, Serving, Terms,
};
use adit::pki::{Algorithm, AltName, Authority, Key, New, Purpose, Request, Subject, write_new};
use adit::store::{Change, Embedded, Identity, Lease, Store, Token};
use adit::tls::policy::Policy;
use adit_noise::{PrivateKey, PublicKey};
use anyhow::{Context, Result, bail, ensure};
use arc_swap::ArcSwap;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::threads::nanoseconds;
use super::{DAY, large, make, now, open};

const HOST: &str = "vpn.example.org";
/// Leases that a connection of one who keeps it is used for: it lasts 30 s.
const EACH: usize = 100;

/// Nobody is told.
struct Silent;

impl Peers for Silent {
    fn granted(&self, _: &Lease, _: Option<PublicKey>) -> Result<(), Problem> {
        Ok(())
    }

    fn revoked_meanwhile(&self) {}

    fn refused(&self, _: IpAddr, _: Option<&Identity>, _: &Problem) {}

    fn lost(&self, _: IpAddr, _: Lost) {}
}

/// A gateway without a tunnel.
struct Site {
    folder: PathBuf,
    address: SocketAddr,
    store: Arc<Embedded>,
    client: Arc<ClientConfig>,
    server: Server,
}

/// Enrolments a second by HTTPS.
///
/// # Errors
/// Anything failed or was refused.
pub fn api(folder: &Path, count: u32, abreast: u32, keep_alive: bool) -> Result<Value> {
    let site = Site::start(&folder.join(format!("leases-{}", std::process::id())))?;
    let bodies = site.bodies(count)?;
    let parts: Vec<_> = bodies.chunks(bodies.len().div_ceil(abreast as usize)).collect();
    let before = [nanoseconds("enrolment"), nanoseconds("store")];
    let begun = Instant::now();
    let (all, each) = (&site, if keep_alive { EACH } else { 1 });
    let done = std::thread::scope(|scope| {
        let ask = |part| scope.spawn(move || all.ask(part, each));
        let asking: Vec<_> = parts.into_iter().map(ask).collect();
        asking.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a client panicked")))
    });
    let seconds = begun.elapsed().as_secs_f64();
    let used = [nanoseconds("enrolment") - before[0], nanoseconds("store") - before[1]];
    let Site { folder, store, server, .. } = site;
    drop((server, store));
    std::fs::remove_dir_all(folder)?;
    done?;
    let micros = |used: u64| used as f64 / 1e3 / f64::from(count);
    Ok(json!({
        "figure": "api", "keep_alive": keep_alive, "abreast": abreast, "count": count, "rate": f64::from(count) / seconds,
        "enrolment_us": micros(used[0]), "store_us": micros(used[1]),
    }))
}

impl Site {
    fn start(folder: &Path) -> Result<Self> {
        std::fs::create_dir(folder)?;
        let (key, moment) = (Key::generate(Algorithm::EcdsaP256)?, OffsetDateTime::now_utc());
        let day = Duration::from_secs(DAY);
        let new = New { name: "CA", lifetime: day, next_update: day };
        let authority = Authority::create(&folder.join("pki"), &new, &key, None, moment)?;
        let wanted = Request {
            name: "gw".parse()?,
            alt_names: vec![AltName::dns(HOST)?],
            purpose: Purpose::Server,
            lifetime: day,
            subject: Subject::New(Algorithm::EcdsaP256),
        };
        let (issued, private) = authority.unlock(&key, moment)?.issue(&wanted)?;
        let paths = Paths {
            certificate: folder.join("gw.pem"),
            private_key: folder.join("gw.key"),
            authorities: None,
            revoked: Vec::new(),
            naming: Naming::default(),
        };
        write_new(&paths.certificate, issued.certificate.to_pem().as_bytes())?;
        write_new(&paths.private_key, private.context("no key")?.to_pem().as_bytes())?;
        let material = Arc::new(Material::load(&paths, now()).map_err(anyhow::Error::msg)?);
        let store = open(&folder.join("store"), large())?;
        let gateway = Gateway { public_key: String::new(), endpoints: vec![format!("{HOST}:51820")] };
        let terms = Terms {
            lease: day,
            routes: vec!["10.20.0.0/16".to_owned()],
            dns: Vec::new(),
            search: Vec::new(),
            gateway,
            reserved: Vec::new(),
        };
        let service = Arc::new(Service::new(store.clone() as Arc<dyn Store>, terms));
        let serving = Arc::new(ArcSwap::from_pointee(Serving { material, service }));
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let server =
            Server::start(vec![listener], serving, Arc::new(Silent), Patience::default(), day, || {})?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.certificate().der().to_vec()))?;
        let client = ClientConfig::builder_with_provider(Policy::Modern.provider());
        let client = client.with_safe_default_protocol_versions()?.with_root_certificates(roots);
        let client = Arc::new(client.with_no_client_auth());
        Ok(Self { folder: folder.to_owned(), address, store, client, server })
    }

    /// What as many clients send, each invited.
    fn bodies(&self, count: u32) -> Result<Vec<String>> {
        let tokens: Option<Vec<_>> = (0..count).map(|_| Token::random()).collect();
        let tokens = tokens.context("no random bytes")?;
        let until = now() + DAY;
        make(&self.store, count, 1_024, |number| {
            let token = tokens.get(number as usize).map(Token::digest).expect("one for each");
            let identity = format!("client-{number}").parse().expect("a name that clients can have");
            Change::Invite { token, identity, until }
        })?;
        let body = |token: &Token| {
            let key = PrivateKey::generate().public();
            format!(r#"{{"public_key":"{key}","token":"{}"}}"#, token.to_text().as_str())
        };
        Ok(tokens.iter().map(body).collect())
    }

    /// Asks for all of these, so many on a connection.
    fn ask(&self, bodies: &[String], each: usize) -> Result<()> {
        for bodies in bodies.chunks(each) {
            let connection = ClientConnection::new(self.client.clone(), ServerName::try_from(HOST)?)?;
            let stream = TcpStream::connect(self.address)?;
            stream.set_nodelay(true)?;
            let mut stream = StreamOwned::new(connection, stream);
            for body in bodies {
                let length = body.len();
                let head =
                    format!("POST /v1/enrol HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {length}\r\n\r\n");
                stream.write_all(format!("{head}{body}").as_bytes())?;
                answer(&mut stream)?;
            }
        }
        Ok(())
    }
}

/// Reads an answer to its end.
fn answer(stream: &mut impl Read) -> Result<()> {
    let mut text = Vec::with_capacity(2_048);
    let mut part = [0; 2_048];
    loop {
        let read = stream.read(&mut part)?;
        ensure!(read > 0, "the server ended the connection");
        text.extend_from_slice(part.get(..read).unwrap_or_default());
        let Some(head) = text.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let told = String::from_utf8_lossy(text.get(..head).unwrap_or_default()).to_ascii_lowercase();
        ensure!(told.starts_with("http/1.1 200"), "{}", String::from_utf8_lossy(&text));
        let length = told.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        if text.len() >= head + 4 + length.unwrap_or(0_usize) {
            return Ok(());
        }
    }
}
