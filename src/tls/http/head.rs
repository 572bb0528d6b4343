//! Heads of messages between us and a backend of HTTP/1.1: what of a request is written, and of an answer is read (RFC 9112).
//!
//! An answer that could be understood in two ways is none: what it says of one request would become the answer to another.

use std::io::Write as _;
use std::mem::MaybeUninit;

use hyper::body::Bytes;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRAILER, TRANSFER_ENCODING,
};
use hyper::http::request;
use hyper::{Method, StatusCode};

use super::headers::lengths;
use super::request::target;

/// Most bytes of an answer's head, with those of interim answers ahead of it.
pub const MOST: usize = 65_536;
/// Most fields of one.
const FIELDS: usize = 256;

/// Why what a backend sends is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// It cannot be read.
    #[error("an answer that is no HTTP: {0}")]
    Syntax(#[from] httparse::Error),
    /// Its head has no end.
    #[error("an answer whose head has more than {MOST} bytes")]
    Long,
    /// Its number is none.
    #[error("an answer of a status that there is not")]
    Status,
    /// A name or a value that cannot be one.
    #[error("an answer with a field that is none")]
    Field,
    /// Its end cannot be told.
    #[error("an answer in a transfer coding that was not asked for")]
    Coding,
    /// Its end cannot be told.
    #[error("an answer whose length is none")]
    Length,
    /// Its content is no chunks.
    #[error("an answer of what are no chunks")]
    Chunks,
}

/// How the end of a message's content is found (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// By its length.
    Length(u64),
    /// It comes in chunks, and says itself which is the last.
    Chunked,
    /// By the end of the connection.
    End,
}

/// The head of an answer.
#[derive(Debug, PartialEq)]
pub struct Head {
    /// What became of the request.
    pub status: StatusCode,
    /// All of its headers.
    pub headers: HeaderMap,
    /// Where its content ends.
    pub framing: Framing,
    /// Whether another request may follow on the connection.
    pub lasts: bool,
}

/// Writes the head of a request. How its content is framed is said here, whatever stands in its headers; `None`: nothing is said
/// of it, and nothing follows.
pub(super) fn write(request: &request::Request<impl Sized>, framing: Option<Framing>, into: &mut Vec<u8>) {
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| into.extend_from_slice(part));
    put(&[request.method().as_str().as_bytes(), b" ", target(request.uri()).as_bytes(), b" HTTP/1.1\r\n"]);
    for (name, value) in request.headers() {
        if *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING {
            put(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
    }
    match framing {
        // A vector takes all that is written to it.
        Some(Framing::Length(length)) => drop(write!(into, "content-length: {length}\r\n")),
        Some(Framing::Chunked) => into.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Some(Framing::End) | None => {}
    }
    into.extend_from_slice(b"\r\n");
}

/// Writes the end of content in chunks: of `trailers`, those that `announced` names (RFC 9110, section 6.6.2).
pub(super) fn write_trailers(trailers: &HeaderMap, announced: &HeaderMap, into: &mut Vec<u8>) {
    into.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        if lists(announced, TRAILER, name.as_str()) {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                into.extend_from_slice(part);
            }
        }
    }
    into.extend_from_slice(b"\r\n");
}

/// Reads the head of the answer to a request of this method, and how many bytes it has; `None` if it is not whole yet. Interim
/// answers ahead of it are passed over: nobody asked for one.
///
/// # Errors
/// It is none, or could be understood in two ways.
pub fn read(bytes: &[u8], asked: &Method) -> Result<Option<(Head, usize)>, Malformed> {
    let mut start = 0;
    while let Some(rest) = bytes.get(start..).filter(|rest| !rest.is_empty()) {
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS];
        let mut answer = httparse::Response::new(&mut []);
        let parser = httparse::ParserConfig::default();
        let parsed = parser.parse_response_with_uninit_headers(&mut answer, rest, &mut fields)?;
        let httparse::Status::Complete(length) = parsed else { break };
        if start + length > MOST {
            return Err(Malformed::Long);
        }
        let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed::Status)?;
        start += length;
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            continue;
        }
        let headers = headers(rest.get(..length).unwrap_or_default(), answer.headers)?;
        let persistent = answer.version == Some(1);
        let framing = framing(status, asked, &headers, persistent)?;
        let says = |word| lists(&headers, CONNECTION, word);
        let lasts = framing != Framing::End
            && status != StatusCode::SWITCHING_PROTOCOLS
            && !says("close")
            && (persistent || says("keep-alive"))
            // Whoever says both may mean the other.
            && !(headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH));
        return Ok(Some((Head { status, headers, framing, lasts }, start)));
    }
    if bytes.len() >= MOST { Err(Malformed::Long) } else { Ok(None) }
}

/// Fields of a head, or trailers. Values share one copy of `bytes`, where they stand.
pub(super) fn headers(bytes: &[u8], fields: &[httparse::Header<'_>]) -> Result<HeaderMap, Malformed> {
    let all = Bytes::copy_from_slice(bytes);
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let start = field.value.as_ptr().addr().wrapping_sub(bytes.as_ptr().addr());
        // One without any byte may stand anywhere.
        let within = start.checked_add(field.value.len()).is_some_and(|end| end <= all.len());
        let value = if within { all.slice(start..start + field.value.len()) } else { Bytes::new() };
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed::Field)?;
        headers.append(name, HeaderValue::from_maybe_shared(value).map_err(|_| Malformed::Field)?);
    }
    Ok(headers)
}

/// Where the content of an answer ends (RFC 9112, section 6.3).
fn framing(
    status: StatusCode,
    asked: &Method,
    headers: &HeaderMap,
    persistent: bool,
) -> Result<Framing, Malformed> {
    let empty = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED, StatusCode::SWITCHING_PROTOCOLS];
    if *asked == Method::HEAD || empty.contains(&status) {
        return Ok(Framing::Length(0));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => {}
        // HTTP/1.0 has none, and no other was asked for.
        (Some(coding), None) if persistent && coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            return Ok(Framing::Chunked);
        }
        _ => return Err(Malformed::Coding),
    }
    let mut all = lengths(headers);
    let Some(length) = all.next() else { return Ok(Framing::End) };
    let is_one = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let agreed = is_one && all.all(|other| other == length);
    let length = length.parse().ok().filter(|_| agreed).ok_or(Malformed::Length)?;
    Ok(Framing::Length(length))
}

/// Whether a header that is a list of words has one.
fn lists(headers: &HeaderMap, header: HeaderName, word: &str) -> bool {
    let values = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|listed| listed.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests;
