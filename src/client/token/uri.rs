//! A PKCS#11 URI (RFC 7512): which token, which object in it, and where its PIN and its module are.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// What each URI begins with.
const SCHEME: &str = "pkcs11:";
/// What of a token or an object can be named.
const PATH: &str = "token, manufacturer, model, serial, object, id, type";
/// What can stand behind the question mark.
const QUERY: &str = "pin-source, module-path";

/// The class of an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::client) enum Kind {
    /// A certificate.
    Certificate,
    /// A private key.
    Private,
}

/// A URI that can be used. Attributes that are not given fit everything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::client) struct Uri {
    text: String,
    /// The token's label.
    pub(super) token: Option<String>,
    /// Who made it.
    pub(super) manufacturer: Option<String>,
    /// Its model.
    pub(super) model: Option<String>,
    /// Its serial number.
    pub(super) serial: Option<String>,
    /// The object's label.
    pub(super) object: Option<String>,
    /// The object's identifier.
    pub(super) id: Option<Vec<u8>>,
    /// The object's class.
    pub(super) kind: Option<Kind>,
    /// A file with the PIN.
    pub(super) pin: Option<PathBuf>,
    /// The module.
    pub(in crate::client) module: Option<PathBuf>,
}

impl Uri {
    /// Whether a text is meant to be one.
    #[must_use]
    pub(in crate::client) fn is_meant(text: &str) -> bool {
        text.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong, what is allowed; no value is repeated, as it may be a PIN.
    pub(in crate::client) fn parse(text: &str) -> Result<Self, String> {
        if !Self::is_meant(text) {
            return Err(format!("{SCHEME} is expected at its beginning"));
        }
        let rest = text.get(SCHEME.len()..).unwrap_or_default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self { text: text.to_owned(), ..Self::default() };
        for (name, value) in attributes(path, ';')? {
            uri.name(name, value)?;
        }
        for (name, value) in attributes(query, '&')? {
            uri.direct(name, value)?;
        }
        Ok(uri)
    }

    /// A file with the PIN, if one is named.
    #[must_use]
    pub(in crate::client) fn pin(&self) -> Option<&Path> {
        self.pin.as_deref()
    }

    /// An attribute of the path: of the token or the object.
    fn name(&mut self, name: &str, value: Vec<u8>) -> Result<(), String> {
        let place = match name {
            "token" => &mut self.token,
            "manufacturer" => &mut self.manufacturer,
            "model" => &mut self.model,
            "serial" => &mut self.serial,
            "object" => &mut self.object,
            "id" => return once(&mut self.id, name, value),
            "type" => {
                let kind = match value.as_slice() {
                    b"cert" => Kind::Certificate,
                    b"private" => Kind::Private,
                    _ => return Err("type: cert or private is expected".into()),
                };
                return once(&mut self.kind, name, kind);
            }
            _ => return Err(unknown(name, PATH)),
        };
        let value = String::from_utf8(value).map_err(|_| format!("{name}: no text (UTF-8)"))?;
        once(place, name, value)
    }

    /// An attribute of the query: how to get there.
    fn direct(&mut self, name: &str, value: Vec<u8>) -> Result<(), String> {
        match name {
            "pin-source" => once(&mut self.pin, name, file(name, value)?),
            "module-path" => once(&mut self.module, name, file(name, value)?),
            "pin-value" => {
                Err("pin-value: others can see a PIN that stands there; pin-source=file:/PATH names a \
                                file with it, and without that it is asked for"
                    .into())
            }
            "module-name" => Err("module-name: give its file, as module-path=/PATH".into()),
            _ => Err(unknown(name, QUERY)),
        }
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Names and decoded values.
fn attributes(text: &str, between: char) -> Result<Vec<(&str, Vec<u8>)>, String> {
    let parts = text.split(between).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').ok_or("each attribute is NAME=VALUE")?;
            let value = decoded(value)
                .ok_or_else(|| format!("{}: a % stands before two hexadecimal digits", printable(name)))?;
            Ok((name, value))
        })
        .collect()
}

/// Undoes the percent-encoding (RFC 3986 section 2.1).
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            _ => byte,
        });
    }
    Some(decoded)
}

/// An absolute path, or a URI of one (RFC 8089).
fn file(name: &str, value: Vec<u8>) -> Result<PathBuf, String> {
    let path = value.strip_prefix(b"file:").unwrap_or(&value);
    let path = path.strip_prefix(b"//").unwrap_or(path);
    if path.first() != Some(&b'/') || path.contains(&0) {
        return Err(format!("{name}: an absolute path is expected, or file: and one; nothing is run"));
    }
    Ok(PathBuf::from(OsString::from_vec(path.to_vec())))
}

fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name} stands there twice")),
    }
}

fn unknown(name: &str, known: &str) -> String {
    format!("{}: not known here; there are {known}", printable(name))
}

/// A name of somebody else's: no longer than ours are, and without what a terminal would obey.
fn printable(name: &str) -> String {
    name.chars().take(24).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_uri_names_token_object_pin_and_module() {
        let text = "pkcs11:model=PKCS%2315;manufacturer=piv_II;serial=00%20;token=alice%27s%20card;id=%01%ff;object=key;\
                    type=private?pin-source=file:/etc/adit/pin&module-path=/usr/lib/opensc-pkcs11.so";
        let uri = Uri::parse(text).unwrap();
        assert_eq!(uri.token.as_deref(), Some("alice's card"));
        assert_eq!((uri.model.as_deref(), uri.serial.as_deref()), (Some("PKCS#15"), Some("00 ")));
        assert_eq!((uri.manufacturer.as_deref(), uri.object.as_deref()), (Some("piv_II"), Some("key")));
        assert_eq!((uri.id.as_deref(), uri.kind), (Some(&[1, 255][..]), Some(Kind::Private)));
        assert_eq!(uri.pin(), Some(Path::new("/etc/adit/pin")));
        assert_eq!(uri.module.as_deref(), Some(Path::new("/usr/lib/opensc-pkcs11.so")));
        assert_eq!(uri.to_string(), text);
    }

    #[test]
    fn a_pin_source_is_an_absolute_path_however_that_is_written() {
        for source in ["/a%20b", "file:/a b", "file:///a%20b", "file%3A/a%20b"] {
            let uri = Uri::parse(&format!("PKCS11:?pin-source={source}")).unwrap();
            assert_eq!(uri.pin(), Some(Path::new("/a b")), "{source}");
        }
        for source in ["pin", "|cat%20/pin", "file:pin", "https://x/pin", "file://", "/a%00b", ""] {
            let error = Uri::parse(&format!("pkcs11:?pin-source={source}")).expect_err(source);
            assert!(error.contains("an absolute path"), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_allowed_and_without_a_pin() {
        for (text, says) in [
            ("pkcs11:token=a;token=b", "token stands there twice"),
            ("pkcs11:token=a;slot-id=4", "slot-id: not known here; there are token,"),
            ("pkcs11:token=a?pin-sourse=/a", "pin-sourse: not known here; there are pin-source"),
            ("pkcs11:token=a?pin-value=473913", "pin-source=file:/PATH"),
            ("pkcs11:token=a?module-name=opensc", "module-path="),
            ("pkcs11:type=public", "cert or private"),
            ("pkcs11:token", "NAME=VALUE"),
            ("pkcs11:token=%4", "two hexadecimal digits"),
            ("pkcs11:token=%ff", "UTF-8"),
            ("pkcs11:\u{1b}[2J=x", "\\u{1b}[2J: not known"),
            ("pkcs12:token=a", "pkcs11: is expected"),
        ] {
            let error = Uri::parse(text).expect_err(text);
            assert!(error.contains(says) && !error.contains("473913"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_told_or_comes_back(text in "(pkcs11:)?[a-z0-9%;&?=/:|# -]{0,60}|pkcs11:\\PC{0,40}") {
            if let Ok(uri) = Uri::parse(&text) {
                prop_assert_eq!(uri.to_string(), text.clone());
                prop_assert_eq!(Uri::parse(&uri.to_string()), Ok(uri));
            }
        }

        #[test]
        fn any_bytes_of_an_identifier_come_through(id in prop::collection::vec(any::<u8>(), 0..24)) {
            let text: String = id.iter().map(|byte| format!("%{byte:02X}")).collect();
            prop_assert_eq!(Uri::parse(&format!("pkcs11:id={text}")).unwrap().id, Some(id));
        }

        #[test]
        fn a_pin_in_it_is_never_repeated(pin in "[0-9]{6,8}", before in "(token=a;|type=private;)?", after in "(&pin-source=/a)?") {
            let error = Uri::parse(&format!("pkcs11:{before}?pin-value={pin}{after}")).unwrap_err();
            prop_assert!(!error.contains(&pin), "{}", error);
        }
    }
}
