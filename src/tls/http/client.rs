//! One connection of a client in HTTP mode, from the end of its handshake to the end.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional_with_sizes};
use tokio::time::Instant;

use super::Thread;
use super::activity::Activity;
use super::executor::Streams;
use super::forward::answer;
use super::headers::Told;
use super::refusal::{BACKEND, IDLE, LEFT};
use super::response::ResponseBody;
use super::running::{Running, malformed, told_of};
use super::settings::Rules;
use super::stream::Stream;
use super::watch::{Order, Watch};
use crate::tls::buffers::Pool;
use crate::tls::channel::Channel;
use crate::tls::choice::{Route, Secured};
use crate::tls::clients::Identity;
use crate::tls::counters::{Counters, Failure};
use crate::tls::socket::Socket;
use crate::tls::visit::{DONE, Requests};

/// How long a connection that is over may take to end.
pub(super) const PARTING: Duration = Duration::from_secs(2);
/// Least size of hyper's buffers.
const BUFFER: usize = 8192;
/// Bytes that hyper holds of one stream for a client that does not take them.
const HELD: usize = 65_536;
/// Windows of HTTP/2: what a client may send ahead, of one request and of all.
const WINDOWS: (u32, u32) = (262_144, 1_048_576);
/// Streams that a client has reset, and that were not looked at yet; and those that were reset for its mistakes.
const RESETS: (usize, usize) = (20, 256);
/// Of a WebSocket, in one direction.
const TUNNEL: usize = 16_384;

/// What is known of a client, and what answers it.
pub(in crate::tls) struct Client {
    /// What its thread shares.
    pub(super) thread: Rc<Thread>,
    /// Where its requests go.
    pub(super) route: Arc<dyn Route>,
    /// By which rules.
    pub(super) rules: Arc<Rules>,
    /// Its address.
    pub(super) address: SocketAddr,
    /// Ours.
    pub(super) local: Option<SocketAddr>,
    /// The name that it asked for.
    pub(super) sni: Option<String>,
    /// Who it is by its certificate.
    pub(super) identity: Option<HeaderValue>,
    /// What backends are told of it.
    pub(super) told: Told,
    /// What goes on.
    pub(super) activity: Rc<Activity>,
    /// The next answer is the last.
    pub(super) parting: Cell<bool>,
    /// Where its requests are taken down.
    pub(super) requests: Option<Rc<Requests>>,
    /// What follows the last request, if that was an upgrade.
    pub(super) tunnel: RefCell<Option<Box<Tunnel>>>,
}

/// A connection of a backend that was upgraded.
pub(super) struct Tunnel {
    pub(super) backend: Stream,
    /// What came on it already.
    pub(super) early: Bytes,
    /// The request that it was.
    pub(super) running: Option<Box<Running>>,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::tls) struct Ended {
    /// As the access log has it.
    pub(in crate::tls) end: &'static str,
    /// Bytes from the client, decrypted.
    pub(in crate::tls) received: u64,
    /// Bytes to it, before they are encrypted.
    pub(in crate::tls) sent: u64,
}

/// What hyper asks.
struct Answering(Rc<Client>);

impl Service<Request<Incoming>> for Answering {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        // Made where it stays: moved there it would be copied, and have room twice.
        let client = self.0.clone();
        Box::pin(async move { Ok(answer(client, request).await) })
    }
}

/// The connection itself.
pub(in crate::tls) struct Link {
    pub(in crate::tls) socket: Socket,
    pub(in crate::tls) channel: Option<Box<Channel>>,
    /// What came behind the handshake.
    pub(in crate::tls) carry: Vec<u8>,
    /// Whether HTTP/2 was agreed.
    pub(in crate::tls) http2: bool,
    pub(in crate::tls) pool: Rc<Pool>,
    pub(in crate::tls) counters: Arc<Counters>,
}

impl Client {
    /// One whose handshake is done.
    pub(in crate::tls) fn new(
        thread: &Rc<Thread>,
        route: &Arc<dyn Route>,
        rules: &Arc<Rules>,
        about: &Secured<'_>,
        requests: Option<Rc<Requests>>,
    ) -> Self {
        let certificate = about.certificates.first().filter(|_| rules.settings.identity.is_some());
        Self {
            thread: thread.clone(),
            route: route.clone(),
            rules: rules.clone(),
            address: about.client,
            local: about.local,
            sni: about.hello.server_name().map(str::to_owned),
            identity: certificate.and_then(Identity::of).as_ref().and_then(told),
            told: Told::default(),
            activity: Rc::new(Activity::new()),
            parting: Cell::new(false),
            requests,
            tunnel: RefCell::new(None),
        }
    }

    /// Serves it to its end.
    pub(in crate::tls) async fn serve(self, link: Link) -> Ended {
        let activity = self.activity.clone();
        let end = self.end(link).await;
        let (received, sent) = activity.bytes();
        Ended { end, received, sent }
    }

    /// The same: how it ended.
    async fn end(self, link: Link) -> &'static str {
        let Link { socket, channel, carry, http2, pool, counters } = link;
        let parts = (pool, self.activity.clone(), counters.clone());
        let stream = match Stream::of_client(socket, channel, carry, parts) {
            Ok(stream) => stream,
            Err(failure) => {
                counters.fail(&failure);
                return failure.name();
            }
        };
        let client = Rc::new(self);
        let mut watch = Watch::new(&client);
        let failure = match http2 {
            true => client.http2(stream, &mut watch).await,
            false => client.http1(stream, &mut watch).await,
        };
        match (client.activity.refused(), failure) {
            (Some(counted), _) => counted,
            (None, Some(failure)) => {
                counters.fail(&failure);
                failure.name()
            }
            (None, None) => DONE,
        }
    }

    /// Waits until something comes: hyper takes a buffer at once, and who connects ahead of time needs none.
    ///
    /// # Errors
    /// It ended before that; why, if it should not have.
    async fn rests(&self, mut stream: Stream, watch: &mut Watch) -> Result<Stream, Option<Failure>> {
        loop {
            tokio::select! {
                biased;
                // Who goes without saying so is like many.
                came = poll_fn(|cx| stream.poll_fill(cx)) => return came.map(|()| stream).map_err(|_| None),
                order = watch.next() => match order {
                    Order::Last => self.parting.set(true),
                    Order::End => {
                        stream.finish(PARTING).await;
                        return Err(None);
                    }
                    Order::Break => return Err(Some(Failure::Idle)),
                },
            }
        }
    }

    async fn http1(self: &Rc<Self>, stream: Stream, watch: &mut Watch) -> Option<Failure> {
        let stream = match self.rests(stream, watch).await {
            Ok(stream) => stream,
            Err(failure) => return failure,
        };
        let settings = &self.rules.settings;
        let most = settings.header_bytes as usize;
        let mut connection = http1::Builder::new()
            .header_read_timeout(None)
            .max_headers(settings.headers)
            .max_header_size(most)
            .max_buf_size(most.max(BUFFER))
            .serve_connection(stream, Answering(self.clone()));
        let ended = loop {
            tokio::select! {
                biased;
                ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break Some(ended),
                order = watch.next() => match order {
                    Order::Last if !self.activity.is_running() => self.parting.set(true),
                    Order::End | Order::Last => Pin::new(&mut connection).graceful_shutdown(),
                    Order::Break => break None,
                },
            }
        };
        let Some(ended) = ended else { return Some(Failure::Idle) };
        let parts = connection.into_parts();
        match ended {
            Ok(()) => match self.tunnel.take() {
                // It is large and rare, and the others shall not have room for it.
                Some(tunnel) => Box::pin(self.join(*tunnel, parts.io, parts.read_buf)).await,
                None => {
                    parts.io.finish(PARTING).await;
                    None
                }
            },
            Err(error) if error.is_parse() => {
                self.malformed(told_of(&error), Version::HTTP_11);
                parts.io.finish(PARTING).await;
                None
            }
            // It went without saying so between two requests, as many do.
            Err(_) if self.activity.is_idle() => None,
            Err(_) => Some(Failure::Truncated),
        }
    }

    async fn http2(self: &Rc<Self>, stream: Stream, watch: &mut Watch) -> Option<Failure> {
        let settings = &self.rules.settings;
        self.activity.share();
        let streams = Streams { activity: self.activity.clone(), limit: settings.body_timeout };
        let mut builder = http2::Builder::new(streams);
        builder
            .max_concurrent_streams(settings.streams)
            .max_header_list_size(settings.header_bytes)
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .max_send_buf_size(HELD)
            .max_pending_accept_reset_streams(RESETS.0)
            .max_local_error_reset_streams(RESETS.1);
        let mut connection = std::pin::pin!(builder.serve_connection(stream, Answering(self.clone())));
        let mut ending = None::<Instant>;
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    let Err(error) = ended else { return None };
                    if is_mistake(&error) {
                        self.malformed(None, Version::HTTP_2);
                        return None;
                    }
                    return (!self.activity.is_idle()).then_some(Failure::Truncated);
                }
                order = watch.next() => match order {
                    Order::End | Order::Last if ending.is_none() => {
                        connection.as_mut().graceful_shutdown();
                        ending = Some(Instant::now());
                    }
                    // It was told to end, has no request, and does not go.
                    Order::Last => {}
                    Order::End if ending.is_some_and(|since| since.elapsed() < settings.header_timeout) => {}
                    Order::End | Order::Break => return Some(Failure::Idle),
                },
            }
        }
    }

    /// Passes on what a client and a backend say to each other after an upgrade.
    async fn join(&self, tunnel: Tunnel, stream: Stream, ahead: Bytes) -> Option<Failure> {
        let Tunnel { backend, early, running } = tunnel;
        let ends = |end| running.iter().for_each(|running| running.ends(end));
        let (received, sent) = self.activity.bytes();
        running.iter().for_each(|running| running.behind(received.saturating_sub(ahead.len() as u64), sent));
        let (mut stream, mut backend) = (TokioIo::new(stream), TokioIo::new(backend));
        let passing = async {
            backend.write_all(&ahead).await?;
            stream.write_all(&early).await?;
            copy_bidirectional_with_sizes(&mut stream, &mut backend, TUNNEL, TUNNEL).await
        };
        let failure = tokio::select! {
            biased;
            ended = passing => ended.err().map(|_| Failure::Truncated),
            () = self.activity.rests(self.route.timeouts().idle) => Some(Failure::Idle),
        };
        // Whose the error was is seen by who is whole.
        let failure = match failure {
            Some(Failure::Truncated) if backend.inner().is_broken() => Some(Failure::Backend),
            failure => failure,
        };
        ends(match &failure {
            None => DONE,
            Some(Failure::Backend) => BACKEND,
            Some(Failure::Idle) => IDLE,
            Some(_) => LEFT,
        });
        failure
    }

    /// What came was no request.
    fn malformed(&self, status: Option<StatusCode>, protocol: Version) {
        self.rules.counters.refuse();
        self.requests.iter().for_each(|requests| malformed(requests, status, protocol));
    }
}

/// How backends are told of a client: by its SPIFFE ID, else by its first name of a host, else by its subject.
fn told(identity: &Identity) -> Option<HeaderValue> {
    let text = match (identity.spiffe_id(), identity.dns.first()) {
        (Some(id), _) => id.to_owned(),
        (None, Some(name)) => format!("dns:{name}"),
        (None, None) => format!("subject:{}", identity.subject),
    };
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    HeaderValue::try_from(escaped).ok()
}

/// Whether a connection of HTTP/2 ended since the client said what nobody may say.
fn is_mistake(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(h2::Error::is_library)
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, SanType};

    use super::*;
    use crate::tls::test_certificates::params;

    #[test]
    fn backends_are_told_of_a_client_by_the_best_name_that_it_has() {
        for (hosts, uris, text) in [
            (&[][..], &[][..], "subject:CN=Zo%C3%AB 100%25"),
            (&["a.example.org"], &[], "dns:a.example.org"),
            (&["a.example.org"], &["spiffe://example.org/a"], "spiffe://example.org/a"),
        ] {
            let mut params = params("Zoë 100%", hosts, 0, 9);
            let uri = |uri: &&str| SanType::URI((*uri).try_into().unwrap());
            params.subject_alt_names.extend(uris.iter().map(uri));
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(told(&Identity::of(certificate.der()).unwrap()).unwrap(), text);
        }
    }
}
