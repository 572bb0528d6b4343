//! The site's own certificate authority (RFC 5280), or the part of a corporate one that a gateway needs.
//!
//! Everything is in one folder of mode 0700, in files that openssl reads:
//!
//! | file | what |
//! | --- | --- |
//! | `ca.pem` | the authority's certificate, and those above it. It is written last: without it there is no authority |
//! | `ca.key.age` | its private key under a passphrase (age, scrypt), unless it is kept elsewhere |
//! | `issued/NAME.SERIAL.pem` | each certificate that was ever issued; it is there before anybody gets it |
//! | `crl.pem` | the revocation list. It is signed, and it is the only record of what is revoked |
//! | `lock` | held by whoever changes something |
//!
//! Each change is one rename of one file, so that there is nothing half done after a crash.

mod authority;
mod bundle;
mod certificate;
mod crl;
mod error;
mod files;
mod issue;
mod key;
mod lifetime;
mod name;
mod signer;
mod splice;

pub use authority::{Authority, New};
pub use bundle::{Password, pkcs12};
pub use certificate::{Certificate, Issued};
pub use crl::{Crl, Reason, Revoked};
pub use error::Error;
pub use files::{write_new, write_public};
pub use issue::{Purpose, Request, Subject};
pub use key::{Algorithm, Key, Passphrase};
pub use lifetime::{lifetime, moment};
pub use name::{AltName, Name, Serial};
pub use signer::Signer;

/// The file in the authority's folder that holds its private key, unless that is elsewhere.
pub const KEY: &str = "ca.key.age";
