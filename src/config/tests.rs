//! What a file may say, and what is told of one that is wrong.

mod between;
mod clients;
mod examples;
mod files;
mod import;
mod macsec;
mod syntax;
mod tls;
mod tls_http;
mod values;

use std::path::Path;

use adit_noise::PrivateKey;
use zeroize::Zeroizing;

use super::{Config, Errors, parse};

/// A private key, and the public key that belongs to it.
const PRIVATE: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
const OWN: &str = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";
/// Public keys of others.
const A: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
const B: &str = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=";

/// Reads a text. Each file `NAME.sak` holds a static key of its own, of 16 octets if the name has "128" in it; each
/// `NAME.key` a private key of its own; what [`tls::file`] knows is for TLS; `wg0.key`, and every other file, [`PRIVATE`].
fn read(text: &str) -> Result<Config, Errors> {
    let secret = |path: &Path| {
        let name = path.to_string_lossy();
        if let Some(text) = tls::file(&name) {
            return text;
        }
        let stem = path.file_stem().unwrap_or_default().as_encoded_bytes().iter().copied().cycle();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("sak") => {
                let octets = if name.contains("128") { 16 } else { 32 };
                stem.take(octets).map(|octet| format!("{octet:02x}")).collect()
            }
            Some("key") if name != "wg0.key" => {
                let bytes: Vec<u8> = stem.take(32).collect();
                PrivateKey::from_bytes(bytes.try_into().unwrap()).to_base64().to_string()
            }
            _ => format!("{PRIVATE}\n"),
        }
    };
    parse("aditd.toml", text, &|path| Ok(Zeroizing::new(secret(path).into_bytes())))
}

/// What is told of a wrong text.
fn told(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

/// A tunnel with a key and these lines.
fn tunnel(lines: &str) -> String {
    format!("[wireguard.wg0]\nprivate_key_file = \"wg0.key\"\n{lines}\n")
}

/// A tunnel with a peer with a key and these lines.
fn peer(lines: &str) -> String {
    tunnel(&format!("[wireguard.wg0.peer.a]\npublic_key = \"{A}\"\n{lines}"))
}

/// Asserts that the one thing that is told of `text` is of `key`, found `found`, and ends with `allowed`.
#[track_caller]
fn refused(text: &str, key: &str, found: &str, allowed: &str) {
    let errors = read(text).expect_err(text);
    let mistakes: Vec<_> = errors.iter().collect();
    assert_eq!(mistakes.len(), 1, "{errors}");
    assert_eq!((mistakes[0].key.as_str(), mistakes[0].found.as_str()), (key, found), "{errors}");
    assert!(mistakes[0].allowed.contains(allowed), "{errors}");
}
