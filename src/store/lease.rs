//! Who a client is, and what it was given until when.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use adit_noise::{PresharedKey, PublicKey};

use super::Wall;

/// The longest name of an identity, in bytes: that of a certificate's common name.
const LONGEST: usize = 64;

/// The name of a client: a person's device, or a machine. Each has one key and one lease at a time.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Identity(String);

impl Identity {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Identity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+@".contains(&byte);
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !first || text.len() > LONGEST || !text.bytes().all(inside) {
            return Err(
                "expected up to 64 letters, digits, and . _ - + @, beginning with a letter or a digit".into(),
            );
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client may use until it ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lease {
    /// Whose it is.
    pub identity: Identity,
    /// Its WireGuard public key.
    pub key: PublicKey,
    /// The preshared key with the gateway, new with each enrolment and renewal.
    pub preshared: PresharedKey,
    /// Its IPv4 address in the tunnel, if there is a pool.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address in the tunnel, if there is a pool.
    pub v6: Option<Ipv6Addr>,
    /// When it began.
    pub since: Wall,
    /// When it ends.
    pub until: Wall,
    /// What the certificate that it was got with is known by, so that revoking that ends it; empty without one.
    pub certificate: Vec<u8>,
}
