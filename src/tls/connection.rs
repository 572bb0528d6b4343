//! The journey of one connection, from its first byte to the last.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ProtocolVersion;
use tokio::time::timeout;

use super::buffers::Pool;
use super::channel::Channel;
use super::choice::{Alert, Backend, BackendEvent, Choice, Choose, Route, Secured};
use super::counters::{Counters, Failure};
use super::dial::dial;
use super::guest::Guest;
use super::handshake::Handshake;
use super::hello::{Assembly, ClientHello, LARGEST};
use super::http;
use super::policy::Server;
use super::proxy::Header;
use super::record::clear_alert;
use super::relay::Relay;
use super::socket::Socket;
use super::visit::{DONE, Visit};

/// The most that is held of a client's flights: certificates that it shows come in several records.
const FLIGHT: usize = 2 * LARGEST;

/// What is said of a backend that does not take a connection in time.
pub(super) const LATE: &str = "no answer in time";

/// What the connections of one thread share.
pub(super) struct Shared {
    pub(super) choose: Arc<dyn Choose>,
    pub(super) pool: Rc<Pool>,
    pub(super) counters: Arc<Counters>,
    /// What connections in HTTP mode share.
    pub(super) http: Rc<http::Thread>,
    /// From the first byte to the last of the handshake.
    pub(super) handshake: Duration,
}

impl Shared {
    /// How long a client may take until it is known what it wants, by the rules of the moment.
    pub(super) fn patience(&self) -> Duration {
        self.choose.handshake().unwrap_or(self.handshake)
    }
}

/// A client whose handshake is done, and whose backend is there.
struct Established {
    client: Socket,
    upstream: Socket,
    backend: Backend,
    route: Arc<dyn Route>,
    channel: Option<Box<Channel>>,
    /// What came from the client and is for the relay.
    carry: Vec<u8>,
}

/// What a connection becomes when its handshake is done.
enum Begun {
    Relay(Box<Established>),
    Http(Box<(http::Client, http::Link)>),
}

/// Serves a connection to its end. `slot` is what few may have at a time: it is dropped when the handshake is done.
pub(super) async fn serve<S>(client: Socket, guest: &mut Guest, shared: &Shared, slot: S) {
    let log = shared.choose.access_log();
    let mut visit = log.map(|log| Visit::new(log, guest.address(), client.local()));
    // What the beginning needs is more than the rest: it is given back before the relay runs.
    let established = Box::pin(establish(client, guest, &mut visit, shared, slot)).await;
    let established = match established {
        Ok(Begun::Relay(established)) => *established,
        Ok(Begun::Http(begun)) => {
            let (client, link) = *begun;
            let ended = Box::pin(client.serve(link)).await;
            if let Some(visit) = &mut visit {
                visit.moved(ended.received, ended.sent);
                visit.ended(ended.end);
            }
            return;
        }
        Err(failure) => {
            visit.iter_mut().for_each(|visit| visit.ended(failure.name()));
            return shared.counters.fail(&failure);
        }
    };
    let Established { client, upstream, backend, route, channel, carry } = established;
    let relay = Relay::new(client, upstream, channel, carry, shared.pool.clone(), route.timeouts());
    let ended = relay.run(&shared.counters).await;
    if let Some(visit) = &mut visit {
        visit.moved(ended.upward, ended.downward);
        visit.ended(ended.failure.as_ref().map_or(DONE, Failure::name));
    }
    if let Some(failure) = &ended.failure {
        shared.counters.fail(failure);
    }
    let (upward, downward, failure) = (ended.upward, ended.downward, ended.failure.as_ref());
    route.note(&backend, BackendEvent::Closed { upward, downward, failure });
}

async fn establish<S>(
    mut client: Socket,
    guest: &mut Guest,
    visit: &mut Option<Visit>,
    shared: &Shared,
    slot: S,
) -> Result<Begun, Failure> {
    let mut received = Vec::new();
    let mut local = client.local();
    let greeting = async {
        if guest.is_passed_on() {
            local = introduce(&mut client, guest, visit, &mut received, shared).await?.or(local);
        }
        greet(&mut client, guest.address(), &mut received, shared).await
    };
    let greeted = timeout(shared.patience(), greeting).await;
    let Greeted { hello, handshake, route } = greeted.map_err(|_| Failure::HandshakeTime)??;
    drop(slot);
    let address = guest.address();
    let hello = ClientHello::parse(&hello)?;
    let about = match &handshake {
        Some(handshake) => handshake.secured(hello, address, local),
        None => untouched(hello, address, local),
    };
    let route = match &handshake {
        None => route,
        Some(_) => match shared.choose.admit(&about, route) {
            Ok(route) => route,
            // The handshake is done, so the alert is sealed.
            Err(alert) => {
                return Err(refuse_sealed(client, handshake, alert).await);
            }
        },
    };
    if let Some(visit) = visit {
        visit.greeted(&about, route.name());
    }
    if let (Some(rules), Some(_)) = (route.http(), &handshake) {
        let requests = visit.as_mut().map(Visit::requests);
        let answering = http::Client::new(&shared.http, &route, rules, &about, requests);
        let http2 = about.alpn == Some(b"h2".as_slice());
        let channel = handshake.map(Handshake::finish).transpose().map_err(Failure::Handshake)?.map(Box::new);
        let (pool, counters) = (shared.pool.clone(), shared.counters.clone());
        let link = http::Link { socket: client, channel, carry: received, http2, pool, counters };
        return Ok(Begun::Http(Box::new((answering, link))));
    }
    let (backend, upstream) = connect(&*route, &about, visit).await?;
    let channel = match handshake.map(Handshake::finish).transpose() {
        Ok(channel) => channel.map(Box::new),
        Err(error) => {
            let failure = Failure::Handshake(error);
            route.note(&backend, BackendEvent::Closed { upward: 0, downward: 0, failure: Some(&failure) });
            return Err(failure);
        }
    };
    let established = Established { client, upstream, backend, route, channel, carry: received };
    Ok(Begun::Relay(Box::new(established)))
}

/// Reads the PROXY header that comes ahead of all else. The address that the client came to, if it says so.
pub(super) async fn introduce(
    client: &mut Socket,
    guest: &mut Guest,
    visit: &mut Option<Visit>,
    received: &mut Vec<u8>,
    shared: &Shared,
) -> Result<Option<SocketAddr>, Failure> {
    let (header, taken) = loop {
        receive(client, received, &shared.pool).await?;
        if let Some(read) = Header::parse(received)? {
            break read;
        }
    };
    received.drain(..taken);
    let Header::Proxied { source, destination } = header else {
        guest.introduce(None)?;
        return Ok(None);
    };
    if let Some(visit) = visit {
        visit.introduce(source, destination);
    }
    guest.introduce(Some(source))?;
    Ok(Some(destination))
}

/// What the first phase leaves.
struct Greeted {
    /// The client's first message.
    hello: Vec<u8>,
    /// Done; `None` if the connection is passed through.
    handshake: Option<Handshake>,
    route: Arc<dyn Route>,
}

/// Everything that waits for the client alone: its first message, and the handshake.
async fn greet(
    client: &mut Socket,
    address: SocketAddr,
    received: &mut Vec<u8>,
    shared: &Shared,
) -> Result<Greeted, Failure> {
    let (mut assembly, mut seen) = (Assembly::new(), 0);
    let (message, choice) = loop {
        // What follows a PROXY header may have come with it.
        if received.len() == seen {
            receive(client, received, &shared.pool).await?;
        }
        seen = received.len();
        let message = match assembly.message(received) {
            Ok(None) => continue,
            Ok(Some(message)) => message,
            Err(error) => return Err(refuse(client, Alert::DecodeError, error.into()).await),
        };
        match ClientHello::parse(message) {
            Ok(hello) => {
                break (message.to_vec(), (hello.offers_tls13(), shared.choose.choose(&hello, address)));
            }
            Err(error) => return Err(refuse(client, Alert::DecodeError, error.into()).await),
        }
    };
    match choice {
        (_, Choice::Refuse(alert)) => Err(refuse(client, alert, Failure::Refused).await),
        (_, Choice::PassThrough { route }) => {
            shared.counters.passed.add(1);
            Ok(Greeted { hello: message, handshake: None, route })
        }
        (tls13, Choice::Terminate { server, route }) => {
            let handshake = shake(client, received, &server, tls13, shared).await?;
            let counters = &shared.counters;
            if handshake.is_resumed() { &counters.resumed } else { &counters.full }.add(1);
            Ok(Greeted { hello: message, handshake: Some(handshake), route })
        }
    }
}

/// The handshake of TLS, begun by what was received.
async fn shake(
    client: &mut Socket,
    received: &mut Vec<u8>,
    server: &Server,
    tls13: bool,
    shared: &Shared,
) -> Result<Handshake, Failure> {
    // A ticket under TLS 1.2 would break forward secrecy.
    let config = if tls13 { &server.resuming } else { &server.full_only };
    let mut handshake = Handshake::new(config.clone()).map_err(Failure::Handshake)?;
    let mut answer = Vec::new();
    loop {
        let advanced = handshake.advance(received, &mut answer);
        if !answer.is_empty() {
            // Tickets: nobody waits for them, and they may go with the first data.
            let more = handshake.is_tls13() && matches!(advanced, Ok(true));
            client.send_ahead(&answer, more).await.map_err(|_| Failure::Left)?;
            answer.clear();
        }
        if advanced.map_err(Failure::Handshake)? {
            return Ok(handshake);
        }
        if received.len() > FLIGHT {
            return Err(Failure::Handshake(rustls::Error::General("a flight that is too long".into())));
        }
        receive(client, received, &shared.pool).await?;
    }
}

/// Appends what came from the client.
async fn receive(client: &mut Socket, received: &mut Vec<u8>, pool: &Rc<Pool>) -> Result<(), Failure> {
    std::future::poll_fn(|cx| client.poll_readable(cx)).await.map_err(|_| Failure::Left)?;
    let mut buffer = pool.take(false);
    let room = buffer.room();
    let read = std::future::poll_fn(|cx| client.poll_receive(cx, room)).await;
    match read {
        Ok(0) | Err(_) => Err(Failure::Left),
        Ok(count) => {
            received.extend_from_slice(room.get(..count).unwrap_or_default());
            Ok(())
        }
    }
}

/// Tells the client that it is refused, before there are keys.
async fn refuse(client: &mut Socket, alert: Alert, failure: Failure) -> Failure {
    // Who does not read it needs it not.
    let _ = client.send_all(&clear_alert(ProtocolVersion::TLSv1_2, alert.number())).await;
    client.end();
    failure
}

/// Tells it when there are.
async fn refuse_sealed(mut client: Socket, handshake: Option<Handshake>, alert: Alert) -> Failure {
    let channel = handshake.and_then(|handshake| handshake.finish().ok());
    if let Some(mut channel) = channel {
        let mut record = [0; 64];
        if let Ok(length) = channel.refuse(alert.number(), &mut record) {
            let _ = client.send_all(record.get(..length).unwrap_or_default()).await;
            client.end();
        }
    }
    Failure::Refused
}

/// What is known of a connection that is passed through.
fn untouched(hello: ClientHello<'_>, client: SocketAddr, local: Option<SocketAddr>) -> Secured<'_> {
    Secured {
        client,
        local,
        hello,
        alpn: None,
        version: None,
        suite: None,
        group: None,
        resumed: false,
        certificates: &[],
    }
}

/// A backend that took the connection and its preface.
async fn connect(
    route: &dyn Route,
    about: &Secured<'_>,
    visit: &mut Option<Visit>,
) -> Result<(Backend, Socket), Failure> {
    let mut preface = Vec::new();
    route.preface(about, &mut preface);
    let mut tried = 0;
    while let Some(backend) = route.backend(tried) {
        let attempt = async {
            let tls = route.tls(&backend, about.alpn).map_err(std::io::Error::other)?;
            dial(&backend.address, &preface, tls).await
        };
        let (error, event) = match timeout(route.timeouts().connect, attempt).await {
            Ok(Ok(socket)) => {
                route.note(&backend, BackendEvent::Connected);
                visit.iter_mut().for_each(|visit| visit.connected(&backend.address));
                return Ok((backend, socket));
            }
            Ok(Err(error)) => (error.to_string(), BackendEvent::Refused),
            Err(_) => (LATE.to_owned(), BackendEvent::TimedOut),
        };
        visit.iter_mut().for_each(|visit| visit.refused(&backend.address, &error));
        route.complain(&backend, &error);
        route.note(&backend, event);
        tried += 1;
    }
    Err(Failure::NoBackend)
}
