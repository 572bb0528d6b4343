//! Why something was refused.

/// Why a datagram or a packet was refused. Each variant is one drop counter.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The authentication tag did not verify.
    #[error("authentication failed")]
    Auth,
    /// The counter was seen before, or lies behind the window.
    #[error("replayed")]
    Replay,
    /// The key has reached its limit of messages.
    #[error("key exhausted")]
    Exhausted,
    /// Too short or too long for what it says it is.
    #[error("wrong length")]
    Length,
}
