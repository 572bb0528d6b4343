//! What is wrong with a request.

/// The number that ends an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Errno {
    /// Done.
    Success = 0,
    /// The system refused something: EIO.
    Io = -5,
    /// A value or a key is wrong: EINVAL.
    Invalid = -22,
    /// The caller may not: EPERM.
    NotPermitted = -1,
    /// A line that is no `key=value`, or too long: EPROTO.
    Protocol = -71,
    /// The port is taken: EADDRINUSE.
    PortInUse = -98,
}

impl Errno {
    /// The number: zero, or the negative of a system error.
    #[must_use]
    pub const fn code(self) -> i32 {
        self as i32
    }
}

/// What is wrong with a line. It never shows the value, which may be a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The first line is neither `get=1` nor `set=1`.
    #[error("neither get=1 nor set=1")]
    UnknownOperation,
    /// Something follows the blank line, or `get=1`.
    #[error("something behind the end of the request")]
    Trailing,
    /// The blank line is missing.
    #[error("the request does not end with a blank line")]
    Unfinished,
    /// Longer than [`MAX_REQUEST`](super::MAX_REQUEST).
    #[error("request too long")]
    RequestTooLong,
    /// Longer than [`MAX_LINE`](super::MAX_LINE).
    #[error("line too long")]
    LineTooLong,
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotText,
    /// No `=` in the line.
    #[error("not key=value")]
    NotKeyValue,
    /// A key that an interface does not have.
    #[error("unknown interface key")]
    UnknownDeviceKey,
    /// A key that a peer does not have.
    #[error("unknown peer key")]
    UnknownPeerKey,
    /// Not 64 hexadecimal digits.
    #[error("not a key of 64 hexadecimal digits")]
    BadKey,
    /// Not a number in the range that the key allows.
    #[error("not a number, or out of range")]
    BadNumber,
    /// Something else than `true`.
    #[error("only true is allowed")]
    NotTrue,
    /// Not `address:port` or `[address]:port`.
    #[error("not an address and a port")]
    BadEndpoint,
    /// Not `address/length`.
    #[error("not an address with a prefix length")]
    BadAllowedIp,
    /// Another version than 1.
    #[error("protocol version is not 1")]
    BadVersion,
}

/// A request that was refused. Nothing of it was applied.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Error {
    /// Which line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: Reason,
}

impl Error {
    /// The number to answer with.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self.reason {
            Reason::UnknownOperation
            | Reason::Unfinished
            | Reason::RequestTooLong
            | Reason::LineTooLong
            | Reason::NotText
            | Reason::NotKeyValue => Errno::Protocol,
            Reason::Trailing
            | Reason::UnknownDeviceKey
            | Reason::UnknownPeerKey
            | Reason::BadKey
            | Reason::BadNumber
            | Reason::NotTrue
            | Reason::BadEndpoint
            | Reason::BadAllowedIp
            | Reason::BadVersion => Errno::Invalid,
        }
    }
}
