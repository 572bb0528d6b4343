//! How a client gets a lease: what it sends, what it is answered, and what is refused. The HTTP server around it is
//! elsewhere; here are bytes, who sent them, and the time.
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
//! repeating an enrolment with another's key, an expired or revoked certificate, a lease that outlives its certificate, and
//! bodies that are too large. TLS 1.3 has to be around it: the answer holds the preshared key.

mod limits;
mod message;
mod problem;
mod service;

pub use limits::Limits;
pub use message::{Answer, Call, Gateway, LARGEST, Request};
pub use problem::Problem;
pub use service::{Caller, Certificate, Granted, Service, Terms};
