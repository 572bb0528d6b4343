//! The admin sockets and the metrics: HTTP and JSON over unix sockets, and `GET /metrics` over TCP.
//!
//! | request | answer | `read.sock` | `write.sock` | metrics |
//! |---|---|---|---|---|
//! | `GET /v1/status` | [`crate::status::Status`] | yes | yes | |
//! | `GET /v1/health` | 200, or 503 and why | yes | yes | |
//! | `GET /metrics` | for Prometheus | yes | yes | yes |
//! | `POST /v1/reload` | `{"changed": …, "faults": […]}`, or 409 `{"error": …}` | | yes | |
//! | `GET /v1/clients?tunnel=NAME` | the leases of a tunnel | yes | yes | |
//! | `POST /v1/clients/invite?tunnel=NAME&name=CLIENT&seconds=N` | `{"token": …, "url": …, "authority": …, "until": …}` | | yes | |
//! | `POST /v1/clients/remove?tunnel=NAME&name=CLIENT` | `{}` | | yes | |
//! | `POST /v1/clients/profile?tunnel=NAME&name=CLIENT&seconds=N&key=KEY` | as the enrolment API answers | | yes | |
//! | `GET /v1/trace?tunnel=NAME` | a [`trace::Line`] for each dropped packet, of all tunnels without a name | | yes | |
//!
//! A status may be a second old, but is never older than a reload asked for here: all clients share one, in each format.
//! What is not as it should be is answered with `{"error": …}`. A connection carries one request. What is asked for on
//! `write.sock` is in the [`Audit`] trail, or is not done.

pub mod audit;
pub mod metrics;
pub mod trace;

mod api;
mod latest;
mod patience;
mod rates;
mod resource;
mod server;
mod sockets;
pub(crate) mod stamp;
#[cfg(test)]
pub(crate) mod tests;

pub use audit::Audit;
pub use server::Server;
pub use sockets::Sockets;
