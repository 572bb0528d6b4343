//! Clients of something that ends TLS: many connections on one thread, each with its own place in what is asked for.
//!
//! TLS 1.3, AES-128-GCM and one group, whatever a server would like better: what is compared has to do the same work.

use std::cell::OnceCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::alarm::Alarm;

/// What a client reads at a time.
const READ: usize = 1 << 18;

/// Whom to connect to, and how.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// The name that is asked for.
    pub name: ServerName<'static>,
    /// Whose certificates are trusted.
    pub roots: Arc<RootCertStore>,
    /// X25519MLKEM768 in place of X25519.
    pub hybrid: bool,
}

/// What came of the connections of one run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Handshakes or answers.
    pub done: u64,
    /// Of the handshakes, those that a ticket shortened.
    pub resumed: u64,
    /// Connections that broke.
    pub failed: u64,
    /// Bytes of bodies.
    pub bytes: u64,
    /// Microseconds from when a request was to be sent to the end of its answer.
    pub latencies: Vec<u32>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.done += other.done;
        self.resumed += other.resumed;
        self.failed += other.failed;
        self.bytes += other.bytes;
        self.latencies.extend(other.latencies);
    }

    /// So many hundredths of the latencies are no longer, in microseconds.
    pub fn percentile(&mut self, hundredths: usize) -> Option<u32> {
        self.latencies.sort_unstable();
        self.latencies.get(self.latencies.len() * hundredths / 100).copied()
    }
}

/// The certificates in a file.
///
/// # Errors
/// It cannot be read, or holds none.
pub fn roots(path: &str) -> Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).with_context(|| path.to_owned())? {
        roots.add(certificate?)?;
    }
    Ok(Arc::new(roots))
}

impl Target {
    /// With `resume` its tickets are kept, for whoever uses this configuration.
    fn connector(&self, resume: bool) -> Result<TlsConnector> {
        let mut provider = default_provider();
        provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
        provider.kx_groups = vec![if self.hybrid { kx_group::X25519MLKEM768 } else { kx_group::X25519 }];
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        let mut config = config.with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.resumption = if resume { Resumption::in_memory_sessions(8) } else { Resumption::disabled() };
        Ok(TlsConnector::from(Arc::new(config)))
    }

    async fn connect(&self, connector: &TlsConnector) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(connector.connect(self.name.clone(), stream).await?)
    }
}

/// Whole connections, one after the other at each of so many places, for so long: handshake, `close_notify`, and the
/// server's end. With `resume` all but the first of each place bring a ticket.
///
/// # Errors
/// The first connection of a place failed.
pub fn handshakes(target: &Target, places: usize, length: Duration, resume: bool) -> Result<Tally> {
    run(places, |_| {
        let target = target.clone();
        async move {
            let connector = target.connector(resume)?;
            // The first has no ticket, and what is wrong with all is wrong with it.
            whole(&target, &connector).await?;
            let (mut tally, end) = (Tally::default(), Instant::now() + length);
            while Instant::now() < end {
                match whole(&target, &connector).await {
                    Ok(resumed) => {
                        (tally.done, tally.resumed) = (tally.done + 1, tally.resumed + u64::from(resumed))
                    }
                    Err(_) => tally.failed += 1,
                }
            }
            Ok(tally)
        }
    })
}

/// One connection from its beginning to its end. Whether a ticket shortened it.
async fn whole(target: &Target, connector: &TlsConnector) -> Result<bool> {
    let mut stream = target.connect(connector).await?;
    let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
    stream.shutdown().await?;
    let mut rest = [0; 4096];
    // Some servers do not say that it is the end.
    while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    Ok(resumed)
}

/// Requests over connections that stay, for so long. With a rate they are due at even distances over all connections; one
/// that waits for the one before it waits from when it was due.
///
/// # Errors
/// No connection, or an answer that is none.
pub fn requests(
    target: &Target,
    places: usize,
    length: Duration,
    path: &str,
    rate: Option<f64>,
) -> Result<Tally> {
    let request: Rc<[u8]> =
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", target.name.to_str()).into_bytes().into();
    // Distances are even if all count from the same moment.
    let (all_there, common) = (Rc::new(Barrier::new(places)), Rc::new(OnceCell::new()));
    run(places, |place| {
        let (target, request) = (target.clone(), request.clone());
        let (all_there, common) = (all_there.clone(), common.clone());
        async move {
            let connector = target.connector(false)?;
            let mut stream = target.connect(&connector).await?;
            let mut buffer = vec![0; READ];
            answer(&mut stream, &request, &mut buffer).await?;
            let alarm = Alarm::new()?;
            all_there.wait().await;
            let (mut tally, begun) = (Tally::default(), *common.get_or_init(Instant::now));
            let mut number = place as f64;
            loop {
                // That an alarm comes late is no fault of the server's. That a request waits for the one before it is.
                let now = Instant::now();
                let due = rate.map_or(now, |rate| begun + Duration::from_secs_f64(number / rate));
                if due >= begun + length {
                    return Ok(tally);
                }
                let mut from = due;
                if due > now {
                    alarm.ring_in(due - now).await?;
                    from = Instant::now();
                }
                tally.bytes += answer(&mut stream, &request, &mut buffer).await? as u64;
                tally.done += 1;
                if rate.is_some() {
                    tally.latencies.push(from.elapsed().as_micros().try_into().unwrap_or(u32::MAX));
                }
                number += places as f64;
            }
        }
    })
}

/// Asks once, and reads the answer to its end: bytes of its body.
async fn answer(stream: &mut TlsStream<TcpStream>, request: &[u8], buffer: &mut [u8]) -> Result<usize> {
    stream.write_all(request).await?;
    // What the task's budget did not allow for waits in a buffer.
    stream.flush().await?;
    let (mut have, mut whole) = (0, None);
    loop {
        // Once the length is known, what comes is only counted.
        let free = if whole.is_some() { &mut *buffer } else { buffer.get_mut(have..).unwrap_or_default() };
        match stream.read(free).await? {
            0 => bail!("an answer that was cut short"),
            count => have += count,
        }
        if whole.is_none() {
            whole = lengths(buffer.get(..have).unwrap_or_default())?;
        }
        if let Some((head, body)) = whole
            && have >= head + body
        {
            return Ok(body);
        }
    }
}

/// How long an answer's head is, and its body, once the head is there.
fn lengths(came: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(end) = came.windows(4).take(2048).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = str::from_utf8(came.get(..end).unwrap_or_default())?.to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        bail!("{}", head.lines().next().unwrap_or_default());
    }
    let length = head.split("content-length: ").nth(1).context("an answer without its length")?;
    Ok(Some((end + 4, length.lines().next().unwrap_or_default().trim().parse()?)))
}

/// Opens connections that say nothing, some at a time, and calls `there` when all are: it returns when they may end.
///
/// # Errors
/// One of them failed.
pub fn hold(target: &Target, count: usize, there: impl FnOnce()) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let held = LocalSet::new().block_on(&runtime, async {
        let connector = target.connector(false)?;
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(target.connect(&connector).await?);
        }
        Ok::<_, anyhow::Error>(held)
    })?;
    there();
    drop(held);
    Ok(())
}

/// Runs all places at once on this thread, and adds up what came of them.
fn run<F: Future<Output = Result<Tally>> + 'static>(
    places: usize,
    work: impl Fn(usize) -> F,
) -> Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut tasks = JoinSet::new();
        for place in 0..places {
            tasks.spawn_local(work(place));
        }
        let mut all = Tally::default();
        while let Some(done) = tasks.join_next().await {
            all.add(done??);
        }
        Ok(all)
    })
}
