//! What is wrong with an answer of a backend.

use std::io;

use super::body::Fault;
use super::head::MOST;

/// What it is, in words for the access log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Mistake {
    /// It cannot be read.
    #[error("an answer that is no HTTP: {0}")]
    Syntax(#[from] httparse::Error),
    /// Its head has no end.
    #[error("an answer whose head has more than {MOST} bytes")]
    Long,
    /// Its number is none.
    #[error("an answer of a status that there is not")]
    Status,
    /// A name or a value that cannot be one.
    #[error("an answer with a field that is none")]
    Field,
    /// Its end cannot be told.
    #[error("an answer in a transfer coding that was not asked for")]
    Coding,
    /// Its end cannot be told.
    #[error("an answer whose length is none")]
    Length,
    /// Its content is no chunks.
    #[error("an answer of what are no chunks")]
    Chunks,
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
