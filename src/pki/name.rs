//! What certificates are about: names, and the numbers that tell them apart.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::rand;

use super::Error;

/// The longest common name (RFC 5280, appendix A, `ub-common-name`).
const LONGEST: usize = 64;
/// The longest DNS name and mail address, and the longest label.
const DOMAIN: usize = 253;
const MAIL: usize = 254;
const LABEL: usize = 63;
/// The longest SPIFFE ID, in bytes (SPIFFE ID standard, section 2.3).
const SPIFFE: usize = 2_048;

/// Who a certificate is for. It is a file's name too.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let allowed = "a name has up to 64 letters, digits, and . _ - + @; it begins with a letter or a digit, \
                       and is neither ca nor crl";
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+@".contains(&byte);
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let reserved = ["ca", "crl"].contains(&text);
        if !first || text.len() > LONGEST || !text.bytes().all(inside) || reserved {
            return Err(Error::Name { found: text.escape_debug().to_string(), allowed });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Another name of whoever a certificate is for (RFC 5280, section 4.2.1.6).
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum AltName {
    /// A host, without a wildcard.
    Dns(String),
    /// A mail address.
    Mail(String),
    /// A workload's identity: `spiffe://example.org/laptop/7`.
    Spiffe(String),
}

impl AltName {
    /// Reads the name of a host.
    ///
    /// # Errors
    /// What is allowed.
    pub fn dns(text: &str) -> Result<Self, Error> {
        if !is_domain(text) {
            let allowed =
                "not the name of a host; allowed are letters, digits and - between dots, without wildcards";
            return Err(Error::Name { found: text.escape_debug().to_string(), allowed });
        }
        Ok(Self::Dns(text.to_ascii_lowercase()))
    }

    /// Reads a mail address (RFC 5321, without quotes and comments).
    ///
    /// # Errors
    /// What is allowed.
    pub fn mail(text: &str) -> Result<Self, Error> {
        let atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
        let good = text.rsplit_once('@').is_some_and(|(local, domain)| {
            let dots = local.split('.').all(|part| !part.is_empty() && part.bytes().all(atom));
            dots && local.len() <= 64 && is_domain(domain)
        });
        if !good || text.len() > MAIL {
            let allowed = "not a mail address as alice@example.org";
            return Err(Error::Name { found: text.escape_debug().to_string(), allowed });
        }
        Ok(Self::Mail(text.to_owned()))
    }

    /// Reads a SPIFFE ID (SPIFFE ID standard, section 2).
    ///
    /// # Errors
    /// What is allowed.
    pub fn spiffe(text: &str) -> Result<Self, Error> {
        let good = text.strip_prefix("spiffe://").is_some_and(|rest| {
            let (domain, path) =
                rest.split_once('/').map_or((rest, None), |(domain, path)| (domain, Some(path)));
            let inside =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
            let segment = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            let segments = path.is_none_or(|path| {
                path.split('/').all(|it| !["", ".", ".."].contains(&it) && it.bytes().all(segment))
            });
            !domain.is_empty() && domain.len() <= 255 && domain.bytes().all(inside) && segments
        });
        if !good || text.len() > SPIFFE {
            let allowed = "not a SPIFFE ID as spiffe://example.org/laptop/7";
            return Err(Error::Name { found: text.escape_debug().to_string(), allowed });
        }
        Ok(Self::Spiffe(text.to_owned()))
    }
}

impl fmt::Display for AltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Mail(name) => write!(f, "email:{name}"),
            Self::Spiffe(name) => f.write_str(name),
        }
    }
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        let inside = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=LABEL).contains(&label.len()) && inside && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= DOMAIN && text.split('.').all(label)
}

/// The number of a certificate, unique for its authority: 20 bytes at most (RFC 5280, section 4.1.2.2).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// Draws 128 random bits; never 0.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0; 16];
        loop {
            rand::fill(&mut bytes).map_err(Error::make("serial number"))?;
            // A first byte of its own keeps all of them equally long in decimal and in hex.
            if bytes[0] != 0 {
                return Ok(Self(bytes.to_vec()));
            }
        }
    }

    /// Takes the content of an ASN.1 integer, which may begin with zeros.
    pub(super) fn from_der(bytes: &[u8]) -> Self {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Self(bytes.get(zeros..).unwrap_or_default().to_vec())
    }

    /// Reads hex digits, as openssl prints them.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|digit| *digit != ':').collect();
        let good = digits.len().is_multiple_of(2) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !good || !(2..=40).contains(&digits.len()) {
            return None;
        }
        let pair = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(pair).collect();
        bytes.map(|bytes| Self::from_der(&bytes))
    }

    /// Most significant byte first, without leading zeros.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    /// In hex, as openssl prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_as_the_name_of_a_file() {
        for good in ["alice", "7", "a.b_c-d+e@example.org", &"x".repeat(64)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in ["", ".alice", "-a", "a/b", "a b", "\u{e9}", "ca", "crl", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
        assert!("a\u{1b}b".parse::<Name>().unwrap_err().to_string().starts_with("a\\u{1b}b: "));
    }

    #[test]
    fn alternative_names_follow_their_standards() {
        assert_eq!(AltName::dns("VPN.example.org").unwrap(), AltName::Dns("vpn.example.org".into()));
        for bad in ["", "*.example.org", "a..b", "-a.org", "a_b.org", "example.org.", &"a".repeat(64)] {
            assert!(AltName::dns(bad).is_err(), "{bad}");
        }
        assert!(AltName::mail("alice.b+c@example.org").is_ok());
        for bad in ["alice", "@example.org", "a@", "a b@c.org", ".a@c.org", "a@c.org\n"] {
            assert!(AltName::mail(bad).is_err(), "{bad}");
        }
        for good in ["spiffe://example.org", "spiffe://example.org/laptop/7", "spiffe://a_b/X.y-z_0"] {
            assert!(AltName::spiffe(good).is_ok(), "{good}");
        }
        for bad in [
            "spiffe://",
            "spiffe:///a",
            "spiffe://A/b",
            "spiffe://a/",
            "spiffe://a//b",
            "spiffe://a/../b",
            "spiffe://a/b?c",
            "spiffe://a:1/b",
            "https://a/b",
            "spiffe://a/%20",
        ] {
            assert!(AltName::spiffe(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn serial_numbers_are_read_as_they_are_written() {
        let serial = Serial::random().unwrap();
        assert_eq!(serial.as_bytes().len(), 16);
        assert_eq!(Serial::from_hex(&serial.to_string()), Some(serial.clone()));
        assert_ne!(Serial::random().unwrap(), serial);
        assert_eq!(Serial::from_hex("00:0a:ff").unwrap().to_string(), "0AFF");
        for bad in ["", "0", "0g", "0x12", &"12".repeat(21)] {
            assert_eq!(Serial::from_hex(bad), None, "{bad}");
        }
    }
}
