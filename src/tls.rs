//! TLS in front of plaintext services: what is offered, what is shown, who may come in, and where a connection goes.
//!
//! A connection's first message is read before rustls sees it ([`hello`]): its name decides where the connection goes
//! ([`names`]). [`policy`] is the one place that makes configurations of rustls; what it knows of certificates comes from
//! [`certificate`] by [`resolver`], of clients from [`clients`], of tickets from [`tickets`]. All of it is replaced
//! while connections come, and none of it waits or does I/O.

pub mod certificate;
pub mod clients;
pub mod hello;
pub mod names;
pub mod policy;
mod reader;
pub mod resolver;
#[cfg(test)]
mod test_certificates;
pub mod tickets;
