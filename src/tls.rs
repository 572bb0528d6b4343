//! TLS in front of plaintext services: what is offered, what is shown, who may come in, and where a connection goes.
//!
//! A connection's first message is read before rustls sees it ([`hello`]): its name decides where the connection goes
//! ([`names`]). [`policy`] is the one place that makes configurations of rustls; what it knows of certificates comes from
//! [`certificate`] by [`resolver`], of clients from [`clients`], of tickets from [`tickets`]. All of it is replaced
//! while connections come, and none of it waits or does I/O.
//!
//! What waits and does I/O is the data threads ([`listener`]). They ask the rest by the traits in [`choice`].

pub mod access_log;
mod attendant;
pub mod backend_tls;
mod buffers;
pub mod certificate;
mod channel;
pub mod check;
pub mod choice;
mod clear;
pub mod clients;
mod connection;
pub mod counters;
pub mod dial;
pub mod front;
mod guest;
mod handshake;
pub mod health;
pub mod hello;
pub mod http;
pub mod limits;
pub mod listener;
pub mod lookup;
pub mod names;
pub mod policy;
pub mod probe;
pub mod proxy;
mod reader;
mod record;
mod relay;
pub mod resolver;
pub mod routes;
mod socket;
mod suite;
pub mod terminator;
#[cfg(test)]
mod test_certificates;
#[cfg(test)]
mod test_link;
pub mod tickets;
pub mod upstream;
mod visit;
