//! A request that is being answered: counted, and taken down, when it is over.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri, Version};
use tokio::time::Instant;

use super::activity::Activity;
use super::body::Progress;
use super::client::Client;
use super::refusal::{BACKEND, LEFT, MALFORMED, Refusal, STOPPED};
use super::settings::Rules;
use super::thread::Thread;
use crate::tls::access_log::{self, Entry};
use crate::tls::choice::Backend;
use crate::tls::visit::{DONE, Requests};

/// Most bytes of a method, of a host and of a path that are taken down.
const LONGEST: (usize, usize, usize) = (32, 256, 2048);

/// A request that is being answered.
pub(super) struct Running {
    thread: Rc<Thread>,
    activity: Rc<Activity>,
    rules: Arc<Rules>,
    begun: Instant,
    /// `None`: the client left before it was answered.
    status: Cell<Option<StatusCode>>,
    /// Whether it was counted before its end.
    counted: Cell<bool>,
    /// There is nothing in the answer but its head.
    headless: bool,
    line: Option<Box<Line>>,
}

/// What is taken down of it.
struct Line {
    requests: Rc<Requests>,
    /// But for the end, and what `body` and `request` have.
    entry: RefCell<Entry>,
    request: RefCell<access_log::Request>,
    body: RefCell<Option<Rc<Progress>>>,
    sent: Cell<u64>,
    /// Bytes of the connection that were ahead of it when it was switched.
    behind: Cell<Option<(u64, u64)>>,
    end: Cell<Option<&'static str>>,
}

impl Line {
    /// Bytes of both bodies.
    fn moved(&self, (received, sent): (u64, u64)) -> (u64, u64) {
        if let Some(behind) = self.behind.get() {
            return (received.saturating_sub(behind.0), sent.saturating_sub(behind.1));
        }
        (self.body.borrow().as_ref().map_or(0, |body| body.received.get()), self.sent.get())
    }
}

impl Running {
    /// Its head is whole.
    pub(super) fn new<B>(client: &Client, request: &Request<B>) -> Self {
        client.activity.begin();
        let line = client.requests.as_ref().map(|requests| {
            requests.begin();
            Box::new(Line {
                requests: requests.clone(),
                entry: RefCell::default(),
                request: RefCell::new(said(request)),
                body: RefCell::default(),
                sent: Cell::new(0),
                behind: Cell::new(None),
                end: Cell::new(None),
            })
        });
        Self {
            thread: client.thread.clone(),
            activity: client.activity.clone(),
            rules: client.rules.clone(),
            begun: Instant::now(),
            status: Cell::new(None),
            counted: Cell::new(false),
            headless: *request.method() == Method::HEAD,
            line,
        }
    }

    /// The backend gets it under this id.
    pub(super) fn identified(&self, id: &HeaderValue) {
        if let Some(line) = &self.line {
            line.request.borrow_mut().id = id.to_str().ok().map(str::to_owned);
        }
    }

    /// Its body is passed on.
    pub(super) fn goes(&self, body: &Rc<Progress>) {
        if let Some(line) = &self.line {
            line.body.replace(Some(body.clone()));
        }
    }

    /// This backend is asked, whatever became of those before.
    pub(super) fn asks(&self, backend: &Backend) {
        if let Some(line) = &self.line {
            let mut entry = line.entry.borrow_mut();
            (entry.backend, entry.error) = (Some(backend.address.clone()), None);
        }
    }

    /// What is wrong with the backend that was asked last.
    pub(super) fn complains(&self, error: &str) {
        if let Some(line) = &self.line {
            line.entry.borrow_mut().error = Some(error.to_owned());
        }
    }

    /// What it was answered.
    pub(super) fn answered(&self, status: StatusCode) {
        self.status.set(Some(status));
        if let Some(line) = &self.line {
            line.request.borrow_mut().first_byte = Some(self.begun.elapsed());
        }
    }

    /// A part of the answer's body passed.
    pub(super) fn passes(&self, bytes: usize) {
        self.activity.pass();
        if let Some(line) = &self.line {
            line.sent.set(line.sent.get() + bytes as u64);
        }
    }

    /// It is no request any more but a connection: it counts as answered, and is taken down at the end.
    pub(super) fn switches(&self) {
        self.count();
    }

    /// Of a connection that was switched, what passes behind these bytes is taken down.
    pub(super) fn behind(&self, received: u64, sent: u64) {
        if let Some(line) = &self.line {
            line.behind.set(Some((received, sent)));
        }
    }

    /// The answer goes no further: by the client's fault if the request's body does not either, else by the backend's.
    pub(super) fn breaks(&self, error: &str) {
        let Some(line) = &self.line else { return };
        let fault = line.body.borrow().as_ref().and_then(|body| body.fault.get());
        if fault.is_none() {
            self.complains(error);
        }
        self.ends(fault.map_or(BACKEND, |fault| Refusal::from(fault).name()));
    }

    /// Why it ends; the first reason counts.
    pub(super) fn ends(&self, end: &'static str) {
        if let Some(line) = &self.line {
            line.end.set(line.end.get().or(Some(end)));
        }
    }

    fn count(&self) {
        if self.counted.replace(true) {
            return;
        }
        self.activity.end();
        match self.status.get() {
            Some(status) => self.rules.counters.note(status, self.begun.elapsed()),
            None => {
                self.rules.counters.leave();
                self.activity.leave();
            }
        }
    }

    /// Why it ended, if nobody has said so.
    fn end(&self) -> &'static str {
        if self.headless && self.status.get().is_some() {
            return DONE;
        }
        let over = self.thread.draining.borrow().is_some_and(|until| until <= Instant::now());
        self.activity.given_up().or(self.activity.refused()).unwrap_or(if over { STOPPED } else { LEFT })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.count();
        let Some(line) = self.line.take() else { return };
        let end = line.end.get().unwrap_or_else(|| self.end());
        let (received, sent) = line.moved(self.activity.bytes());
        let mut request = line.request.take();
        request.status = self.status.get().map(|status| status.as_u16());
        line.requests.add(Entry {
            request: Some(request),
            received: Some(received),
            sent: Some(sent),
            duration: self.begun.elapsed(),
            end,
            ..line.entry.take()
        });
    }
}

/// What a request says of itself, whether that makes sense or not.
pub(super) fn said<B>(request: &Request<B>) -> access_log::Request {
    access_log::Request {
        method: Some(cut(request.method().as_str(), LONGEST.0)),
        host: host(request.uri(), request.headers()),
        path: Some(cut(request.uri().path(), LONGEST.2)).filter(|path| !path.is_empty()),
        protocol: protocol(request.version()),
        ..access_log::Request::default()
    }
}

/// What came was none.
pub(super) fn malformed(requests: &Requests, status: Option<StatusCode>, protocol: Version) {
    requests.begin();
    let request = access_log::Request {
        protocol: self::protocol(protocol),
        status: status.map(|status| status.as_u16()),
        ..access_log::Request::default()
    };
    requests.add(Entry { request: Some(request), end: MALFORMED, ..Entry::default() });
}

/// What hyper answered to what it cannot read; `None`: nothing, as to who begins HTTP/2 where that was not agreed.
pub(super) fn told_of(error: &hyper::Error) -> Option<StatusCode> {
    match error.is_parse_too_large() {
        // It tells the two apart in words alone.
        true if error.to_string() == "URI too long" => Some(StatusCode::URI_TOO_LONG),
        true => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        false if error.is_parse_version_h2() => None,
        false => Some(StatusCode::BAD_REQUEST),
    }
}

/// Whom it is for, as it came. Ahead of `@` there may be a password.
fn host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let target = uri.authority().map(|authority| authority.as_str().into());
    let said = target.or_else(|| headers.get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes())))?;
    Some(cut(said.rsplit('@').next().unwrap_or_default(), LONGEST.1))
}

/// As it is spoken of.
fn protocol(version: Version) -> Option<&'static str> {
    let names = [(Version::HTTP_10, "HTTP/1.0"), (Version::HTTP_11, "HTTP/1.1"), (Version::HTTP_2, "HTTP/2")];
    names.iter().find(|(known, _)| *known == version).map(|(_, name)| *name)
}

/// What a client chose, and no more of it than there is room for.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    format!("{}\u{2026}", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_a_client_says_no_secret_and_no_flood_is_taken_down() {
        let long = format!("https://www.example.com/{}?q", "\u{e9}".repeat(2_000));
        for (method, uri, header, expected) in [
            ("GET", "/a/b?token=secret", "www.example.com:8443", ("GET", "www.example.com:8443", "/a/b")),
            ("GET", "https://user:secret@a.example/x#y", "a.example", ("GET", "a.example", "/x")),
            ("GET", "/", "user:secret@b@a.example", ("GET", "a.example", "/")),
            ("OPTIONS", "*", "a.example", ("OPTIONS", "a.example", "*")),
        ] {
            let request = Request::builder().method(method).uri(uri).header(HOST, header).body(()).unwrap();
            let said = said(&request);
            let found = (said.method.unwrap(), said.host.unwrap(), said.path.unwrap());
            let expected = (expected.0.to_owned(), expected.1.to_owned(), expected.2.to_owned());
            assert_eq!(found, expected, "{uri}");
        }
        let method = "M".repeat(99);
        let request = Request::builder().method(method.as_str()).uri(long).body(()).unwrap();
        let said = said(&request);
        assert_eq!(said.method.unwrap(), format!("{}\u{2026}", "M".repeat(32)));
        assert_eq!(said.path.unwrap(), format!("/{}\u{2026}", "\u{e9}".repeat(1_023)));
        let odd = Request::builder().uri("/").header(HOST, &b"a\xff\"b"[..]).body(()).unwrap();
        assert_eq!(super::said(&odd).host.unwrap(), "a\u{fffd}\"b");
    }
}
