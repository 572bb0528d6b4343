//! The ClientHello (RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2), read before anything is decided about a connection:
//! where it goes hangs on the server's name in it.
//!
//! [`Assembly`] puts the message together from the bytes that came so far, however many records and segments they are;
//! [`ClientHello`] is a view of it that copies nothing. What is malformed is refused here, for what is passed through
//! is seen by no other parser of ours.
#![deny(clippy::indexing_slicing)]

mod assembly;
mod ja4;

pub use assembly::{Assembly, LARGEST};
pub use ja4::Ja4;

use super::reader::{Numbers, Reader};

/// TLS 1.3, as `supported_versions` has it.
const TLS13: u16 = 0x0304;
/// Handshake type `client_hello`.
const CLIENT_HELLO: u8 = 1;

/// Types of extensions (IANA, "TLS ExtensionType Values").
const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// Why bytes are no ClientHello. Each variant is one counter.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// The first bytes are no handshake record of TLS.
    #[error("not TLS")]
    NotTls,
    /// A handshake record, but of another message.
    #[error("another handshake message than a ClientHello")]
    NotHello,
    /// A record that is empty or longer than 2^14 bytes (RFC 8446, section 5.1).
    #[error("a record of a length that none may have")]
    Record,
    /// More than [`LARGEST`] bytes.
    #[error("a ClientHello of more than {LARGEST} bytes")]
    TooLarge,
    /// Lengths in it that cannot be true, an empty list, or an extension that comes twice.
    #[error("a malformed ClientHello")]
    Malformed,
    /// The name is none that a host can have.
    #[error("a server's name that is none")]
    Name,
}

/// A ClientHello, borrowed from its bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientHello<'a> {
    raw: &'a [u8],
    legacy_version: u16,
    cipher_suites: Numbers<'a>,
    /// All extensions, each of them whole.
    extensions: &'a [u8],
    named: bool,
    server_name: Option<&'a str>,
    /// Names behind their lengths, each of them whole.
    alpn: &'a [u8],
    versions: Option<Numbers<'a>>,
    groups: Option<Numbers<'a>>,
    signature_schemes: Option<Numbers<'a>>,
}

impl<'a> ClientHello<'a> {
    /// Reads a handshake message, from the octet of its type on, without headers of records.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(message: &'a [u8]) -> Result<Self, HelloError> {
        let mut reader = Reader::new(message);
        if reader.u8().ok_or(HelloError::Malformed)? != CLIENT_HELLO {
            return Err(HelloError::NotHello);
        }
        let length = reader.u24().ok_or(HelloError::Malformed)?;
        if length != reader.rest().len() {
            return Err(HelloError::Malformed);
        }
        let (mut hello, extensions) = Self::fixed(message, reader).ok_or(HelloError::Malformed)?;
        hello.extensions = extensions;
        let mut extensions = Reader::new(extensions);
        while !extensions.is_empty() {
            let kind = extensions.u16().ok_or(HelloError::Malformed)?;
            let body = extensions.vector16().ok_or(HelloError::Malformed)?;
            hello.extension(kind, Reader::new(body))?;
        }
        Ok(hello)
    }

    /// What stands before the extensions, and these.
    fn fixed(raw: &'a [u8], mut reader: Reader<'a>) -> Option<(Self, &'a [u8])> {
        let legacy_version = reader.u16()?;
        let _random = reader.bytes(32)?;
        let _session_id = reader.vector8().filter(|id| id.len() <= 32)?;
        let cipher_suites = Numbers::new(reader.vector16()?)?;
        let _compression = reader.vector8().filter(|methods| !methods.is_empty())?;
        // Before TLS 1.3 there may be none at all.
        let extensions = if reader.is_empty() { &[] } else { reader.vector16()? };
        let hello = Self {
            raw,
            legacy_version,
            cipher_suites,
            extensions: &[],
            named: false,
            server_name: None,
            alpn: &[],
            versions: None,
            groups: None,
            signature_schemes: None,
        };
        reader.is_empty().then_some((hello, extensions))
    }

    fn extension(&mut self, kind: u16, mut body: Reader<'a>) -> Result<(), HelloError> {
        let malformed = HelloError::Malformed;
        match kind {
            SERVER_NAME => {
                let twice = std::mem::replace(&mut self.named, true);
                let name = host_name(body).filter(|_| !twice).ok_or(malformed)?;
                let name = str::from_utf8(name).map_err(|_| HelloError::Name)?;
                self.server_name = if is_host_name(name) {
                    Some(name)
                } else if name.parse::<std::net::IpAddr>().is_ok() {
                    // RFC 6066, section 3, permits none, some clients send one all the same: it names nobody.
                    None
                } else {
                    return Err(HelloError::Name);
                };
                return Ok(());
            }
            ALPN if self.alpn.is_empty() => self.alpn = protocols(&mut body).ok_or(malformed)?,
            SUPPORTED_VERSIONS => once(&mut self.versions, body.vector8()).ok_or(malformed)?,
            SUPPORTED_GROUPS => once(&mut self.groups, body.vector16()).ok_or(malformed)?,
            SIGNATURE_ALGORITHMS => once(&mut self.signature_schemes, body.vector16()).ok_or(malformed)?,
            ALPN => return Err(malformed),
            _ => return Ok(()),
        }
        if body.is_empty() { Ok(()) } else { Err(malformed) }
    }

    /// The whole message.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The server's name as it was sent, not lower-cased. It is one that a host can have; an address is none.
    #[must_use]
    pub fn server_name(&self) -> Option<&'a str> {
        self.server_name
    }

    /// Whether there is an extension `server_name`, be it with an address.
    pub(super) fn has_server_name(&self) -> bool {
        self.named
    }

    /// Protocols that the client speaks inside (RFC 7301), in its order.
    pub fn alpn(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut reader = Reader::new(self.alpn);
        std::iter::from_fn(move || reader.vector8())
    }

    /// Suites in the client's order, GREASE and signalling values among them.
    pub fn cipher_suites(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.cipher_suites.iter()
    }

    /// Types of the extensions in the client's order.
    pub fn extensions(&self) -> impl Iterator<Item = u16> + use<'a> {
        let mut reader = Reader::new(self.extensions);
        std::iter::from_fn(move || {
            let kind = reader.u16()?;
            reader.vector16().map(|_| kind)
        })
    }

    /// Groups for the key exchange in the client's order.
    pub fn groups(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.groups.unwrap_or_default().iter()
    }

    /// Signature schemes in the client's order.
    pub fn signature_schemes(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.signature_schemes.unwrap_or_default().iter()
    }

    /// The field that said the version before TLS 1.3.
    #[must_use]
    pub fn legacy_version(&self) -> u16 {
        self.legacy_version
    }

    /// `supported_versions`; nothing if there is no such extension.
    pub fn versions(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.versions.unwrap_or_default().iter()
    }

    /// Whether it can be answered with TLS 1.3.
    #[must_use]
    pub fn offers_tls13(&self) -> bool {
        self.versions().any(|version| version == TLS13)
    }

    /// Who the client seems to be.
    #[must_use]
    pub fn ja4(&self) -> Ja4 {
        Ja4::of(self)
    }
}

/// Sets a list that must not be there twice.
fn once<'a>(list: &mut Option<Numbers<'a>>, bytes: Option<&'a [u8]>) -> Option<()> {
    let numbers = Numbers::new(bytes?)?;
    list.replace(numbers).is_none().then_some(())
}

/// The one host name in a `server_name` (RFC 6066, section 3).
fn host_name(mut body: Reader<'_>) -> Option<&[u8]> {
    let mut list = Reader::new(body.vector16()?);
    let mut found = None;
    while !list.is_empty() {
        let kind = list.u8()?;
        let name = list.vector16().filter(|name| !name.is_empty())?;
        if kind == 0 && found.replace(name).is_some() {
            return None;
        }
    }
    found.filter(|_| body.is_empty())
}

/// Whether a host can have that name: labels of letters, digits, '-' and '_', no dot at the end (RFC 6066, section 3).
pub(super) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // The last label of a name is not all digits, that of an IPv4 address is.
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// The list in an ALPN extension (RFC 7301, section 3.1): at least one name, none of them empty.
fn protocols<'a>(body: &mut Reader<'a>) -> Option<&'a [u8]> {
    let list = body.vector16().filter(|list| !list.is_empty())?;
    let mut names = Reader::new(list);
    while !names.is_empty() {
        names.vector8().filter(|name| !name.is_empty())?;
    }
    Some(list)
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
