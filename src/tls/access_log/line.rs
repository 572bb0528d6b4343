//! How an entry is written. Clients choose words, and operators read them in terminals: whatever does not show, or changes how
//! the rest is shown, is escaped.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::{Connection, Entry, Format, Request};
use crate::admin::stamp::rfc3339;

/// What a field may hold.
enum Value<'a> {
    Word(Cow<'a, str>),
    Number(u64),
    Seconds(Duration),
    Flag(bool),
}

type Field<'a> = (&'static str, Option<Value<'a>>);

fn word(text: Option<&str>) -> Option<Value<'_>> {
    text.map(|text| Value::Word(text.into()))
}

fn shown<'a>(value: Option<impl ToString>) -> Option<Value<'a>> {
    value.map(|value| Value::Word(value.to_string().into()))
}

/// All of it, in the order in which it is written.
fn fields(entry: &Entry) -> impl Iterator<Item = Field<'_>> {
    let kind = if entry.request.is_some() { "request" } else { "connection" };
    let head = [("time", shown(Some(rfc3339(entry.ended)))), ("kind", word(Some(kind)))];
    let tail = [
        ("received", entry.received.map(Value::Number)),
        ("sent", entry.sent.map(Value::Number)),
        ("duration", Some(Value::Seconds(entry.duration))),
        ("backend", shown(entry.backend.as_ref())),
        ("error", word(entry.error.as_deref())),
        ("end", word(Some(entry.end))),
    ];
    let request = entry.request.iter().flat_map(of_request);
    head.into_iter().chain(of_connection(&entry.connection)).chain(request).chain(tail)
}

fn of_connection(connection: &Connection) -> [Field<'_>; 15] {
    [
        ("listener", word(Some(&connection.listener))),
        ("client", shown(connection.client)),
        ("proxy", shown(connection.proxy)),
        ("local", shown(connection.local)),
        ("version", word(connection.version)),
        ("suite", word(connection.suite)),
        ("group", word(connection.group.as_deref())),
        ("sni", word(connection.sni.as_deref())),
        ("alpn", word(connection.alpn.as_deref())),
        ("resumed", connection.resumed.map(Value::Flag)),
        ("identity", word(connection.identity.as_deref())),
        ("certificate", word(connection.certificate.as_deref())),
        ("ja4", word(connection.ja4.as_deref())),
        ("handshake", connection.handshake.map(Value::Seconds)),
        ("route", word(connection.route.as_deref())),
    ]
}

fn of_request(request: &Request) -> [Field<'_>; 7] {
    [
        ("id", word(request.id.as_deref())),
        ("method", word(request.method.as_deref())),
        ("host", word(request.host.as_deref())),
        ("path", word(request.path.as_deref())),
        ("protocol", word(request.protocol)),
        ("status", request.status.map(|status| Value::Number(status.into()))),
        ("first_byte", request.first_byte.map(Value::Seconds)),
    ]
}

impl Entry {
    /// Appends the line.
    pub(super) fn write(&self, format: Format, into: &mut Vec<u8>) {
        // It goes to memory: nothing can fail.
        let _ = match format {
            Format::Json => self.json(into),
            Format::Text => self.text(into),
        };
        into.push(b'\n');
    }

    fn json(&self, into: &mut Vec<u8>) -> io::Result<()> {
        let mut before = '{';
        for (key, value) in fields(self) {
            write!(into, "{before}\"{key}\":")?;
            match value {
                None => write!(into, "null")?,
                Some(Value::Word(word)) => {
                    word.serialize(&mut Serializer::with_formatter(&mut *into, Printable))?;
                }
                Some(Value::Number(number)) => write!(into, "{number}")?,
                Some(Value::Seconds(time)) => write!(into, "{:.6}", time.as_secs_f64())?,
                Some(Value::Flag(flag)) => write!(into, "{flag}")?,
            }
            before = ',';
        }
        into.push(b'}');
        Ok(())
    }

    fn text(&self, into: &mut Vec<u8>) -> io::Result<()> {
        for (key, value) in fields(self) {
            match (key, value) {
                (_, None) => {}
                ("time", Some(Value::Word(word))) => write!(into, "{word}")?,
                (_, Some(Value::Word(word))) => write!(into, " {key}={}", plain(&word))?,
                (_, Some(Value::Number(number))) => write!(into, " {key}={number}")?,
                (_, Some(Value::Seconds(time))) => write!(into, " {key}={:.6}", time.as_secs_f64())?,
                (_, Some(Value::Flag(flag))) => write!(into, " {key}={flag}")?,
            }
        }
        Ok(())
    }
}

/// JSON in which whatever does not show is escaped (RFC 8259, section 7).
struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // What needs no escape in a literal of Rust shows.
        let shows = |character: char| character == '\'' || character.escape_debug().len() == 1;
        let mut rest = fragment;
        while let Some(at) = rest.find(|character| !shows(character)) {
            let (plain, odd) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut characters = odd.chars();
            for unit in characters.next().unwrap_or_default().encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// A word as it is, or between quotes with escapes if it has anything that is not plain.
fn plain(word: &str) -> Cow<'_, str> {
    let sound = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
    if !word.is_empty() && word.bytes().all(sound) { word.into() } else { format!("{word:?}").into() }
}
