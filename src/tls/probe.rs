//! What a server of somebody offers, found out by asking: ClientHellos made by hand, so that also what no library speaks any
//! more can be asked for, of which no handshake is ever finished.
#![deny(clippy::indexing_slicing)]

mod suites;

pub use suites::{GROUPS, SUITES, Suite, group_name, version_name};

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::reader::Reader;

/// How long a server may take for each answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than an answer's first message needs, in bytes.
const LONGEST: usize = 16 << 10;
/// Versions in numbers.
pub const TLS13: u16 = 0x0304;
/// TLS 1.2.
pub const TLS12: u16 = 0x0303;
/// Types of extensions (IANA).
pub const SESSION_TICKET: u16 = 35;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;
/// Schemes from the oldest to the newest: what the server signs with does not matter here.
const SCHEMES: [u16; 14] = [
    0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0807, 0x0809, 0x0303, 0x0301,
    0x0201,
];

/// What a server is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The one version.
    pub version: u16,
    /// Suites.
    pub suites: &'a [u16],
    /// Groups for the key exchange.
    pub groups: &'a [u16],
    /// The server's name, unless it is an address.
    pub name: Option<&'a str>,
}

/// What it answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It would go on with this.
    Hello {
        /// The version.
        version: u16,
        /// The suite.
        suite: u16,
        /// The group, which only TLS 1.3 says here.
        group: Option<u16>,
        /// Types of the extensions.
        extensions: Vec<u16>,
    },
    /// It refuses: an alert, or the end of the connection.
    Refused,
    /// Something that is not TLS.
    NotTls,
}

/// Asks a server once.
///
/// # Errors
/// It cannot be reached, or does not answer in time.
pub fn ask(address: SocketAddr, question: &Question<'_>) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&hello(question))?;
    let mut received = Vec::new();
    let mut room = [0; 4_096];
    while received.len() < LONGEST {
        let read = match stream.read(&mut room) {
            // Some end the connection where others send an alert.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            other => other?,
        };
        received.extend_from_slice(room.get(..read).unwrap_or_default());
        if let Some(answer) = answer(&received) {
            return Ok(answer);
        }
        if read == 0 {
            return Ok(Answer::Refused);
        }
    }
    Ok(Answer::NotTls)
}

fn hello(question: &Question<'_>) -> Vec<u8> {
    let &Question { version, suites, groups, name } = question;
    let list = |values: &[u16]| vector(2, &numbers(values));
    let mut extensions = Vec::new();
    let mut add = |kind: u16, body: &[u8]| {
        extensions.extend_from_slice(&kind.to_be_bytes());
        extensions.extend_from_slice(&vector(2, body));
    };
    if let Some(name) = name {
        add(0, &vector(2, &[&[0][..], &vector(2, name.as_bytes())].concat()));
    }
    add(10, &list(groups));
    add(11, &[1, 0]);
    add(13, &list(&SCHEMES));
    add(23, &[]);
    add(SESSION_TICKET, &[]);
    add(0xff01, &[0]);
    if version == TLS13 {
        add(SUPPORTED_VERSIONS, &vector(1, &version.to_be_bytes()));
        // No share: the server has to say which group it wants (RFC 8446, section 4.2.8).
        add(KEY_SHARE, &vector(2, &[]));
        add(45, &[1, 1]);
    }
    let mut random = [0; 32];
    // Any bytes will do: no handshake is finished.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let body = [
        &version.min(TLS12).to_be_bytes()[..],
        &random,
        &vector(1, &random),
        &list(suites),
        &vector(1, &[0]),
        &vector(2, &extensions),
    ];
    let message = [&[1][..], &vector(3, &body.concat())].concat();
    [&[22, 3, 1][..], &vector(2, &message)].concat()
}

fn numbers(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// Bytes behind their length in so many bytes.
fn vector(length: usize, bytes: &[u8]) -> Vec<u8> {
    let count = bytes.len().to_be_bytes();
    let count = count.get(count.len() - length..).unwrap_or_default();
    [count, bytes].concat()
}

/// What the bytes that came so far say, once they say it.
fn answer(received: &[u8]) -> Option<Answer> {
    let mut reader = Reader::new(received);
    let (kind, _version) = (reader.u8()?, reader.u16()?);
    match kind {
        21 => return Some(Answer::Refused),
        22 => (),
        _ => return Some(Answer::NotTls),
    }
    let mut message = Reader::new(reader.vector16()?);
    if message.u8()? != 2 {
        return Some(Answer::NotTls);
    }
    let length = message.u24()?;
    Some(message.bytes(length).and_then(server_hello).unwrap_or(Answer::NotTls))
}

fn server_hello(body: &[u8]) -> Option<Answer> {
    let mut reader = Reader::new(body);
    let mut version = reader.u16()?;
    let _random = reader.bytes(32)?;
    let _session = reader.vector8()?;
    let (suite, _compression) = (reader.u16()?, reader.u8()?);
    let mut list = Reader::new(if reader.is_empty() { &[] } else { reader.vector16()? });
    let (mut extensions, mut group) = (Vec::new(), None);
    while !list.is_empty() {
        let kind = list.u16()?;
        let mut body = Reader::new(list.vector16()?);
        match kind {
            SUPPORTED_VERSIONS => version = body.u16()?,
            KEY_SHARE => group = Some(body.u16()?),
            _ => (),
        }
        extensions.push(kind);
    }
    Some(Answer::Hello { version, suite, group, extensions })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::hello::{Assembly, ClientHello};

    const QUESTION: Question<'_> =
        Question { version: TLS13, suites: &[0x1301], groups: &[0x11ec, 29], name: Some("a.example") };

    #[test]
    fn what_is_asked_is_a_hello_that_our_own_server_reads() {
        let bytes = hello(&QUESTION);
        let mut assembly = Assembly::new();
        let hello = ClientHello::parse(assembly.message(&bytes).unwrap().unwrap()).unwrap();
        assert_eq!(hello.server_name(), Some("a.example"));
        assert!(
            hello.offers_tls13() && hello.groups().eq([0x11ec, 29]) && hello.cipher_suites().eq([0x1301])
        );
        let old = super::hello(&Question { version: 0x0301, name: None, ..QUESTION });
        let mut assembly = Assembly::new();
        let hello = ClientHello::parse(assembly.message(&old).unwrap().unwrap()).unwrap();
        assert!(!hello.offers_tls13() && hello.legacy_version() == 0x0301);
    }

    #[test]
    fn an_answer_is_understood_however_it_is_cut() {
        let extensions = [&[0, 43, 0, 2, 3, 4][..], &[0, 51, 0, 2, 0, 29]].concat();
        let body = [&[3, 3][..], &[9; 32], &[0], &[0x13, 1], &[0], &vector(2, &extensions)].concat();
        let message = [&[2][..], &vector(3, &body)].concat();
        let record = [&[22, 3, 3][..], &vector(2, &message)].concat();
        let expected =
            Answer::Hello { version: TLS13, suite: 0x1301, group: Some(29), extensions: vec![43, 51] };
        assert_eq!(answer(&record), Some(expected));
        assert_eq!(answer(&record[..record.len() - 1]), None);
        assert_eq!(answer(&[21, 3, 3, 0, 2, 2, 40]), Some(Answer::Refused));
        assert_eq!(answer(b"HTTP/1.1 400 Bad Request"), Some(Answer::NotTls));
        assert_eq!(answer(&[22, 3, 3, 0, 4, 2, 0, 0, 9]), Some(Answer::NotTls));
        assert_eq!(answer(&[]), None);
    }
}
