//! What can go wrong with certificates, in words for the operator.

use std::io;
use std::path::{Path, PathBuf};

/// Why something was not done. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system said no.
    #[error("{}: {error}", path.display())]
    File {
        /// At which file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// The folder is open to others.
    #[error("{}: its mode is {mode:04o}, so others can look into it; mend it with `chmod 700 {}`", path.display(), path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A private key is open to others.
    #[error("{}: its mode is {mode:04o}, so others can read the key; mend it with `chmod 600 {}`", path.display(), path.display())]
    OpenKey {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// There is no authority in the folder.
    #[error("{}: no certificate authority is here; `aditctl pki init` makes one", .0.display())]
    NoAuthority(PathBuf),
    /// There is one already.
    #[error("{}: there is a certificate authority here already; it is left as it is", .0.display())]
    Exists(PathBuf),
    /// Its private key is not here.
    #[error(
        "{}: the authority's private key is not here; name its file with --ca-key, or have whoever holds it do this",
        .0.display()
    )]
    NoKey(PathBuf),
    /// The file holds no private key that can be used.
    #[error("{}: holds no private key; allowed are PEM (ECDSA P-256, P-384, P-521, RSA from 2048 bits, Ed25519) and age with a passphrase", .0.display())]
    NotAKey(PathBuf),
    /// The file has a private key that is protected in a way that is not known here.
    #[error("{}: the key is encrypted, but not by age with a passphrase; decrypt it with `openssl pkey`", .0.display())]
    Foreign(PathBuf),
    /// The passphrase is wrong, or the file is damaged.
    #[error("{}: the passphrase is wrong, or the file is damaged", .0.display())]
    Passphrase(PathBuf),
    /// A secret that is to be chosen is too short.
    #[error("the {what} has {found} characters; at least {least} are needed")]
    Short {
        /// Passphrase or password.
        what: &'static str,
        /// How long it is.
        found: usize,
        /// How long it has to be.
        least: usize,
    },
    /// Another private key belongs to the certificate.
    #[error("{}: this private key is not that of the certificate", .0.display())]
    OtherKey(PathBuf),
    /// The file holds no certificate, list or request.
    #[error("{}: holds no {what} in PEM: {why}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The certificate cannot be that of an authority.
    #[error("{}: cannot be used as an authority: {why}", path.display())]
    NotAnAuthority {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// Something is signed by somebody else, or was changed.
    #[error("{}: not signed by this authority, or damaged", .0.display())]
    Signature(PathBuf),
    /// There is no list that a new one could follow.
    #[error(
        "{}: there is no revocation list here that the next could follow; put the last one back by \
         `aditctl pki crl --import FILE`",
        .0.display()
    )]
    NoList(PathBuf),
    /// A list that is older than the one that is here.
    #[error("{}: older than the list that is here, by its number or its date", .0.display())]
    OlderList(PathBuf),
    /// A name that cannot be used.
    #[error("{found}: {allowed}")]
    Name {
        /// What was found.
        found: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A certificate for a server that no client would accept.
    #[error("a server's certificate needs a DNS name: clients look at nothing else")]
    Nameless,
    /// No such certificate.
    #[error("no certificate {0} was issued here")]
    Unknown(String),
    /// The wall clock cannot be right.
    #[error("the clock says {now}, {why}; set the clock")]
    Clock {
        /// What the clock says.
        now: String,
        /// Why that cannot be.
        why: String,
    },
    /// The authority's certificate has run out.
    #[error("the authority's certificate ended at {0}")]
    Expired(String),
    /// A library refused.
    #[error("cannot make the {what}: {why}")]
    Make {
        /// What was being made.
        what: &'static str,
        /// What the library says.
        why: String,
    },
}

impl Error {
    /// For `map_err` of what the system does with the file at `path`.
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |error| Self::File { path, error }
    }

    /// The same for rustix.
    pub(super) fn call(path: &Path) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.to_owned();
        |error| Self::File { path, error: error.into() }
    }

    /// For `map_err` of what a library makes.
    pub(super) fn make<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Make { what, why: error.to_string() }
    }

    /// For `map_err` of what a library reads from the file at `path`.
    pub(super) fn parse<E: std::fmt::Display>(path: &Path, what: &'static str) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |error| Self::Parse { path, what, why: error.to_string() }
    }
}
