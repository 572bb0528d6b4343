//! Which name of a certificate is that of a client.

use std::fmt;
use std::str::FromStr;

/// Where a client's name stands in its certificate (RFC 5280, sections 4.1.2.6 and 4.2.1.6). There has to be exactly one of
/// that kind: of two nobody could say which is meant.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Naming {
    /// The common name of the subject.
    #[default]
    CommonName,
    /// The e-mail address among the alternative names.
    Email,
    /// The DNS name among the alternative names.
    Dns,
}

const NAMES: [(Naming, &str, &str); 3] = [
    (Naming::CommonName, "common_name", "common name"),
    (Naming::Email, "email", "e-mail address"),
    (Naming::Dns, "dns", "DNS name"),
];

impl Naming {
    /// What is written for each in the configuration.
    pub const ALLOWED: &str = "\"common_name\", \"email\" or \"dns\"";
}

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = NAMES.iter().find(|(naming, _, _)| naming == self);
        f.write_str(known.map_or("name", |(_, _, shown)| shown))
    }
}

impl FromStr for Naming {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        NAMES.iter().find(|(_, written, _)| *written == text).map(|(naming, _, _)| *naming).ok_or(())
    }
}
