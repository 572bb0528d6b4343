//! How a client gets a lease: what it sends, what it is answered, and what is refused. [`Service`] has bytes, who sent them,
//! and the time; [`Server`] is the HTTPS around it.
//!
//! ```text
//!   POST /v1/enrol   with a client certificate, or with a token in the body: the first lease, or one for a new key
//!   POST /v1/renew   with a client certificate, or with the secret that came with the lease
//!
//!   body ── parse ── limits ── proof ── change of the store ── answer: addresses, routes, DNS, gateway, preshared key
//!             │         │        │              │
//!            400       429      403       403, 409, 503        each with a word for programs and a sentence for people
//! ```
//!
//! Attacks avoided: guessing (256-bit tokens, kept as digests; failures of a source are counted), using a token twice,
//! repeating an enrolment with another's key, an expired or revoked certificate, one that is revoked between the handshake and
//! the lease, a lease that outlives its certificate, a revocation list that was taken away, asking without proof who has a
//! lease or whose a key is, bodies and handshakes that are too large or too slow, and crowds of connections. It is spoken
//! inside TLS 1.3 alone, with X25519MLKEM768 preferred: the answer holds the preshared key.

mod certificates;
mod http;
mod invitation;
mod limits;
mod marks;
mod material;
mod message;
mod naming;
mod problem;
mod server;
#[cfg(test)]
mod server_tests;
mod service;

pub use invitation::{Fingerprint, Invitation};
pub use limits::Limits;
pub use material::{Material, Paths, Stamp};
pub use message::{Answer, Call, Gateway, LARGEST, Request};
pub use problem::Problem;
pub use server::{Lost, Patience, Peers, Server, Serving};
pub use service::{Caller, Certificate, Granted, Service, Standing, Terms};
