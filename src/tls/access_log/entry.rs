//! What is told of a connection.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::Format;
use crate::admin::stamp::rfc3339;

/// A line. What is not known is null in JSON, and left out in text.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Entry {
    /// When the connection ended (RFC 3339).
    pub time: String,
    /// The name of the table.
    pub listener: String,
    /// The client's address.
    pub client: Option<SocketAddr>,
    /// Who told of it by a PROXY header.
    pub proxy: Option<SocketAddr>,
    /// Ours, that it came to.
    pub local: Option<SocketAddr>,
    /// As `TLSv1.3`; absent if it was passed through.
    pub version: Option<&'static str>,
    /// The suite, as OpenSSL calls it.
    pub suite: Option<&'static str>,
    /// The group of the key exchange.
    pub group: Option<String>,
    /// The server's name that it asked for.
    pub sni: Option<String>,
    /// The protocol inside that was agreed.
    pub alpn: Option<String>,
    /// Whether a ticket spared the signature.
    pub resumed: Option<bool>,
    /// Who the client is by its certificate: its SPIFFE ID, its first name, or its subject.
    pub identity: Option<String>,
    /// SHA-256 of that certificate, in hex.
    pub certificate: Option<String>,
    /// The fingerprint of its first message.
    pub ja4: Option<String>,
    /// Bytes from the client, decrypted; absent where requests are read.
    pub received: Option<u64>,
    /// Bytes to it, before they are encrypted.
    pub sent: Option<u64>,
    /// From the first byte to the end of the handshake, in seconds.
    pub handshake: Option<f64>,
    /// From the first byte to the end, in seconds.
    pub duration: f64,
    /// Which route it took.
    pub route: Option<String>,
    /// Which backend.
    pub backend: Option<String>,
    /// Why it ended: `done`, one of the reasons that are counted, or `stopped` if it was ended from here.
    pub end: &'static str,
}

impl Entry {
    /// Takes down when it ended.
    pub(in crate::tls) fn at(&mut self, wall: Duration) {
        self.time = rfc3339(wall);
    }

    /// Appends the line.
    pub(super) fn write(&self, format: Format, into: &mut Vec<u8>) {
        match format {
            // It has nothing that JSON could not say.
            Format::Json => drop(self.serialize(&mut Serializer::with_formatter(&mut *into, Printable))),
            Format::Text => into.extend_from_slice(self.text().as_bytes()),
        }
        into.push(b'\n');
    }

    fn text(&self) -> String {
        let mut text = self.time.clone();
        let mut put = |key: &str, value: &dyn std::fmt::Display| {
            // It is a string: nothing can fail.
            let _ = write!(text, " {key}={value}");
        };
        put("listener", &plain(&self.listener));
        for (key, address) in [("client", self.client), ("proxy", self.proxy), ("local", self.local)] {
            address.inspect(|address| put(key, address));
        }
        for (key, word) in [("version", self.version), ("suite", self.suite)] {
            word.inspect(|word| put(key, word));
        }
        for (key, words) in [
            ("group", &self.group),
            ("sni", &self.sni),
            ("alpn", &self.alpn),
            ("identity", &self.identity),
            ("certificate", &self.certificate),
            ("ja4", &self.ja4),
            ("route", &self.route),
            ("backend", &self.backend),
        ] {
            if let Some(words) = words {
                put(key, &plain(words));
            }
        }
        self.resumed.inspect(|resumed| put("resumed", resumed));
        for (key, count) in [("received", self.received), ("sent", self.sent)] {
            count.inspect(|count| put(key, count));
        }
        self.handshake.inspect(|seconds| put("handshake", &format_args!("{seconds:.6}")));
        put("duration", &format_args!("{:.6}", self.duration));
        put("end", &self.end);
        text
    }
}

/// JSON in which whatever does not show, or changes how the rest is shown, is escaped (RFC 8259, section 7): clients choose
/// words, and operators read them in terminals.
struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for character in fragment.chars() {
            let mut units = [0; 2];
            // What needs no escape in a literal of Rust shows.
            if character == '\'' || character.escape_debug().len() == 1 {
                write!(writer, "{character}")?;
                continue;
            }
            for unit in character.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

/// A word as it is, or between quotes with escapes if it has anything that is not plain.
fn plain(word: &str) -> String {
    let sound = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
    if !word.is_empty() && word.bytes().all(sound) { word.to_owned() } else { format!("{word:?}") }
}
