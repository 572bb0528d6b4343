//! What is wrong with an answer of a backend.

use std::io;

use super::body::Fault;
use super::head::Malformed;

/// What it is, in words for the access log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Mistake {
    /// It is none.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The connection ended too soon.
    #[error("connection closed before the answer was whole")]
    Closed,
    /// Nothing more came of it.
    #[error("an answer that does not go on")]
    Silent,
    /// It came to the middle of a request whose rest does not come.
    #[error(transparent)]
    Request(#[from] Fault),
    /// The connection broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
    /// The same over HTTP/2.
    #[error("{}", super::answer::words(.0))]
    Hyper(#[from] hyper::Error),
}
