//! HTTP inside of TLS: HTTP/1.1 and HTTP/2 from clients, HTTP/1.1 or HTTP/2 in clear to backends.
//!
//! hyper reads what clients say and writes what backends get: nothing is passed on that was not understood, so a backend
//! sees whole requests in one form only. What could be understood in two ways is refused (`request`), what is for one hop
//! alone goes no further and what only we may say nobody else says (`headers`).
//!
//! A connection runs on the thread that accepted it (`client`), and so do those to backends, which are kept for the next
//! request (`backend`). Bodies go through as they come (`body`).

mod activity;
mod backend;
mod body;
mod client;
pub mod counters;
mod executor;
mod forward;
mod headers;
mod plain;
mod refusal;
mod request;
mod running;
pub mod settings;
mod shared;
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
