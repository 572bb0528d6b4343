//! HTTP inside of TLS: HTTP/1.1 and HTTP/2 from clients, HTTP/1.1 or HTTP/2 in clear to backends.
//!
//! hyper reads what clients say: nothing is passed on that was not understood, so a backend sees whole requests in one form
//! only. What could be understood in two ways is refused (`request`), what is for one hop alone goes no further and what only we
//! may say nobody else says (`headers`).
//!
//! A connection runs on the thread that accepted it (`client`). One to a backend of HTTP/1.1 (`single`) has no task of its own: it
//! is driven by who waits for the answer (`head`, `content`), as strict with backends as hyper is with clients. Those of HTTP/2
//! are hyper's (`shared`). Both are kept for the next request (`backend`). Bodies go through as they come (`body`, `response`).

mod activity;
mod answer;
mod backend;
mod body;
mod client;
pub mod content;
pub mod counters;
mod executor;
mod forward;
pub mod head;
mod headers;
mod mistake;
mod plain;
mod refusal;
mod request;
mod response;
mod running;
pub mod settings;
mod shared;
mod single;
mod stream;
#[cfg(test)]
mod tests;
mod thread;
mod watch;

/// What clients are offered, best first.
pub(super) const ALPN: [&str; 2] = ["h2", "http/1.1"];

pub(super) use client::{Client, Link};
pub(super) use plain::redirect;
pub use settings::{Rules, Settings};
pub(super) use thread::Thread;
