//! Why a token is of no use, in words.

use std::path::PathBuf;

use cryptoki::error::{Error as Failure, RvError};

use super::pin::{Pin, Stamp};
use super::uri::Kind;

/// Why a token is of no use.
#[derive(Debug, thiserror::Error)]
pub(in crate::client) enum Error {
    /// There is no module, or it does not start.
    #[error(
        "no PKCS#11 module: {}: {}; --pkcs11-module FILE or module-path= in the URI names the one of the token, such as \
         opensc-pkcs11.so; without it p11-kit is asked", path.display(), words(error)
    )]
    Module {
        /// Its file.
        path: PathBuf,
        /// What the loader or the module says.
        error: Failure,
    },
    /// No token is like this.
    #[error("there is no token {wanted:?}{found}; is it plugged in?")]
    NoToken {
        /// The label that was asked for.
        wanted: String,
        /// Those that are there.
        found: String,
    },
    /// Several are.
    #[error("the URI fits several tokens{found}; token= or serial= in it names one")]
    Tokens {
        /// Their labels.
        found: String,
    },
    /// It was not set up.
    #[error("the token {token} has no PIN yet: whoever gave it out has to set one")]
    NoPinYet {
        /// Its label.
        token: String,
    },
    /// It was given too many wrong PINs.
    #[error(
        "the token {token} is locked after too many wrong PINs; its PUK, or whoever gave it out, unlocks it"
    )]
    Locked {
        /// Its label.
        token: String,
    },
    /// The PIN has to be changed first.
    #[error("the PIN of the token {token} has run out, or is still the one it came with: change it first")]
    Expired {
        /// Its label.
        token: String,
    },
    /// One more wrong PIN would lock it.
    #[error(
        "the token {token} locks itself after one more wrong PIN, so it is not given that of a file; \
         without pin-source= it is asked for"
    )]
    LastTry {
        /// Its label.
        token: String,
    },
    /// The PIN is wrong.
    #[error(
        "the PIN of the token {token} is wrong ({from}); it was tried once, and is not tried again by itself"
    )]
    WrongPin {
        /// The token's label.
        token: String,
        /// Where it is from.
        from: String,
        /// Which PIN it was, if it is one of a file.
        stamp: Option<Stamp>,
    },
    /// It was given the PIN, and said neither that it is right nor that it is wrong.
    #[error(
        "the token {token} was given its PIN ({from}): {}; it was tried once, and is not tried again by itself",
        words(error)
    )]
    Unclear {
        /// The token's label.
        token: String,
        /// Where the PIN is from.
        from: String,
        /// Which PIN it was, if it is one of a file.
        stamp: Option<Stamp>,
        /// What the token says.
        error: Box<Failure>,
    },
    /// There is none to be had.
    #[error(
        "nobody is here to be asked for the PIN of the token {token}: pin-source=file:/PATH in the URI of the key names a \
         file with it (`adit enroll` with --replace), and without one this has to be done by hand"
    )]
    Unattended {
        /// The token's label.
        token: String,
    },
    /// The PIN cannot be had.
    #[error("{0}")]
    Pin(String),
    /// The URI is that of something else.
    #[error("type= in the URI: {} is expected", word(*kind))]
    OtherKind {
        /// What is wanted.
        kind: Kind,
    },
    /// No object is like this.
    #[error("there is no {} {wanted} in the token {token}{found}", noun(*kind))]
    NoObject {
        /// What is wanted.
        kind: Kind,
        /// The URI.
        wanted: String,
        /// The token's label.
        token: String,
        /// The labels of those that are there.
        found: String,
    },
    /// Several are.
    #[error("the URI fits {count} objects, of the kind {}{found}; object= or id= in it names one", noun(*kind))]
    Objects {
        /// What is wanted.
        kind: Kind,
        /// How many.
        count: usize,
        /// The labels of all objects of the kind.
        found: String,
    },
    /// A certificate without contents.
    #[error("the certificate in the token is empty, or leads elsewhere: give it as a file")]
    Empty,
    /// A certificate that cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// A kind of key that TLS 1.3 has no use for here.
    #[error("keys of this kind ({0}) are not signed with: ECDSA with P-256 or P-384 and RSA are")]
    Algorithm(String),
    /// The key wants a PIN for every signature.
    #[error(
        "the key in the token wants its PIN for each signature (CKA_ALWAYS_AUTHENTICATE); take one for authentication"
    )]
    EachTime,
    /// The token lacks a mechanism.
    #[error("the token cannot sign with {0}, which TLS 1.3 takes; a key for ECDSA may do")]
    Mechanism(&'static str),
    /// The key is another one's.
    #[error("the certificate and the key in the token do not match")]
    Mismatch,
    /// What the library says.
    #[error("the token: {}", words(.0))]
    Library(#[from] Failure),
}

impl Error {
    /// Why a token did not let a PIN in. Whatever does not show that it never looked at the PIN may have cost a try.
    #[must_use]
    pub(super) fn of_log_in(error: Failure, token: String, pin: Pin) -> Self {
        use RvError as Rv;
        let Failure::Pkcs11(code, _) = &error else { return error.into() };
        if matches!(code, Rv::PinLocked) {
            return Self::Locked { token };
        }
        if matches!(code, Rv::PinExpired) {
            return Self::Expired { token };
        }
        let Pin { from, stamp, .. } = pin;
        if matches!(code, Rv::PinIncorrect | Rv::PinInvalid | Rv::PinLenRange) {
            return Self::WrongPin { token, from, stamp };
        }
        let unseen = matches!(
            code,
            Rv::TokenNotPresent
                | Rv::DeviceRemoved
                | Rv::SessionClosed
                | Rv::SessionCount
                | Rv::SessionExists
                | Rv::SessionHandleInvalid
                | Rv::SessionParallelNotSupported
                | Rv::SessionReadOnly
                | Rv::SessionReadOnlyExists
                | Rv::SessionReadWriteSoExists
        );
        if unseen { error.into() } else { Self::Unclear { token, from, stamp, error: error.into() } }
    }

    /// The file with the PIN that was refused, or may have been.
    #[must_use]
    pub(in crate::client) fn refused_pin(&self) -> Option<Stamp> {
        if let Self::WrongPin { stamp, .. } | Self::Unclear { stamp, .. } = self {
            stamp.clone()
        } else {
            None
        }
    }
}

/// What the library says, without the chapters of the standard that it cites.
fn words(error: &Failure) -> String {
    match error {
        Failure::Pkcs11(code, function) => format!("{code:?} ({function:?})"),
        Failure::LibraryLoading(error) => error.to_string(),
        Failure::MissingSymbol(name) => format!("no PKCS#11 module: it has no {name}"),
        Failure::NotSupported
        | Failure::TryFromInt(_)
        | Failure::TryFromSlice(_)
        | Failure::ParseInt(_)
        | Failure::Utf8(_)
        | Failure::NulError(_)
        | Failure::NullFunctionPointer
        | Failure::InvalidValue
        | Failure::PinNotSet => error.to_string(),
    }
}

/// As RFC 7512 has it.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Certificate => "cert",
        Kind::Private => "private",
    }
}

fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Certificate => "certificate",
        Kind::Private => "private key",
    }
}

/// A token's words without what a terminal would obey.
pub(super) fn plain(label: &str) -> String {
    label.trim_end().escape_debug().to_string()
}

/// What there is.
pub(super) fn list<'a>(labels: impl Iterator<Item = &'a str>) -> String {
    let labels: Vec<_> = labels.map(plain).collect();
    if labels.is_empty() {
        "; there is none at all".into()
    } else {
        format!("; there are: {}", labels.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::super::Uri;
    use super::*;
    use crate::test_folder::Folder;

    #[test]
    fn a_pin_is_kept_back_after_whatever_may_have_cost_a_try() {
        let folder = Folder::new();
        let file = folder.path().join("pin");
        std::fs::write(&file, "4711").unwrap();
        let stamp = Stamp::of(&Uri::parse(&format!("pkcs11:?pin-source={}", file.display())).unwrap());
        assert!(stamp.is_some());
        let error = |code| {
            let pin = Pin { secret: None, from: "f".into(), stamp: stamp.clone() };
            Error::of_log_in(Failure::Pkcs11(code, Function::Login), "t".into(), pin)
        };
        for code in [RvError::PinIncorrect, RvError::PinInvalid, RvError::PinLenRange] {
            assert!(error(code).to_string().contains("is wrong (f)") && error(code).refused_pin() == stamp);
        }
        for code in
            [RvError::GeneralError, RvError::DeviceError, RvError::FunctionFailed, RvError::VendorDefined(1)]
        {
            let told = error(code).to_string();
            assert!(told.contains(&format!("{code:?}")) && error(code).refused_pin() == stamp, "{told}");
        }
        let unseen = [
            RvError::TokenNotPresent,
            RvError::DeviceRemoved,
            RvError::SessionClosed,
            RvError::SessionHandleInvalid,
        ];
        for code in unseen.into_iter().chain([RvError::PinLocked, RvError::PinExpired]) {
            assert_eq!(error(code).refused_pin(), None, "{code:?}");
        }
        assert!(error(RvError::PinLocked).to_string().contains("is locked"));
        assert!(error(RvError::PinExpired).to_string().contains("has run out"));
    }
}
