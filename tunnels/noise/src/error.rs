//! Why a handshake message was dropped.

/// Each variant is one reason, and one drop counter. None is ever told to the sender.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The message, or the buffer for one, does not have the length that the format demands.
    #[error("wrong length")]
    BadLength,
    /// mac1 does not verify: the sender does not know our public key.
    #[error("mac1 does not verify")]
    BadMac1,
    /// mac2 does not verify: the sender did not show that it receives at its address.
    #[error("mac2 does not verify")]
    BadMac2,
    /// Something did not decrypt: a wrong static key, a wrong preshared key, another protocol, or a
    /// forgery.
    #[error("decryption failed")]
    Decrypt,
    /// A public key of low order: the result of the key agreement would be known to everyone.
    #[error("public key of low order")]
    LowOrder,
    /// A cookie reply that answers nothing we sent.
    #[error("unexpected cookie reply")]
    UnexpectedCookie,
    /// The [`Protocol`](crate::Protocol) names a pattern or a primitive that is not built in.
    #[error("unsupported protocol")]
    Unsupported,
    /// The system gave no random bytes.
    #[error("no randomness")]
    Random,
}

impl From<snow::Error> for Error {
    fn from(error: snow::Error) -> Self {
        match error {
            snow::Error::Decrypt => Self::Decrypt,
            snow::Error::Dh => Self::LowOrder,
            snow::Error::Input => Self::BadLength,
            snow::Error::Rng => Self::Random,
            snow::Error::Pattern(_)
            | snow::Error::Init(_)
            | snow::Error::Prereq(_)
            | snow::Error::State(_)
            | _ => Self::Unsupported,
        }
    }
}

impl From<getrandom::Error> for Error {
    fn from(_: getrandom::Error) -> Self {
        Self::Random
    }
}
